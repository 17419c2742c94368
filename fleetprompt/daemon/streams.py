"""Server-sent events: what happened, from wherever the listener was, and then what happens.

A listener that reads slowly holds up nobody: what it has not read is in the journal. The fleet is read once for all who
follow it (`broadcast`); one execution is read for each who does.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import aclosing

from fastapi import Response
from starlette.types import Message, Receive, Scope, Send

from fleetprompt.client.matching import RunFilter
from fleetprompt.daemon.broadcast import Batch, Broadcast
from fleetprompt.daemon.caller import Caller
from fleetprompt.daemon.events import Position, frame, frames, unread
from fleetprompt.daemon.pump import Pump
from fleetprompt.daemon.service import Service
from fleetprompt.daemon.step_ids import OWN, Ids
from fleetprompt.daemon.values import told as told_whole
from fleetprompt.daemon.words import WORDS, Words
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.evolve_work import REQUESTED
from fleetprompt.engine.core.facts import RunFinished, StepNoted
from fleetprompt.engine.ports import Stored

HEARTBEAT_SECONDS = 30.0
LOOK_SECONDS = 5.0
"""How often it is looked whether who listens still may."""
DELTA_SECONDS = 0.05
"""Words of models are told at most so often."""
MOST_HEARD = 200
"""Executions whose words one listener of the fleet is told at a time."""
MOST_AT_ONCE = 1024 * 1024
"""Bytes that are sent before more of what happened is read: results may be large."""
RETRY_MS = 2_000
"""When a browser that was cut off comes back."""
_log = logging.getLogger(__name__)


class EventStream(Response, ABC):
    """A response that goes on until there is nothing more to tell, the listener leaves, or the daemon ends."""

    media_type = "text/event-stream"

    def __init__(
        self,
        service: Service,
        asking: Caller,
        *,
        position: Position,
        wanted: frozenset[str] = frozenset(),
        reset: bool = False,
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> None:
        """From behind a position. `wanted`: names of events, all where it is empty. `reset`: the listener was somewhere
        where nothing is, and is told so."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._service = service
        self._console = asking.console
        self._identity = asking.identity
        self._tenant = asking.identity.tenant
        self._position = position
        self._wanted = wanted
        self._reset = reset
        self._heartbeat = heartbeat
        self._sending = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events (ASGI)."""
        start: Message = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(start)
        hello = f"retry: {RETRY_MS}\n\n".encode() + frame("connected", {"execution_id": self._about or None})
        await self._send(send, hello + (self._anew() if self._reset else b""))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._until_left(receive))
                group.create_task(self._until_closed())
                group.create_task(self._beat(send))
                group.create_task(self._until_refused())
                await self._tell(send, group)
                raise _Over
        except* _Over:
            pass
        except* FleetError as failed:
            # Who listens comes back, and goes on where they were.
            _log.warning("a stream of %s ends: %s", self._about or "the fleet", failed.exceptions[0])
        except* Exception as failed:
            _log.error("a stream of %s ends", self._about or "the fleet", exc_info=failed)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    _about = ""
    """The execution that it is about; empty for all."""

    @abstractmethod
    async def _tell(self, send: Send, group: asyncio.TaskGroup) -> None:
        """Send what is to be told, until there is nothing more."""

    def _anew(self) -> bytes:
        """Say that something was missed: what was told before is to be forgotten."""
        return frame("reset", {"execution_id": self._about or None})

    def _wants(self, event: str) -> bool:
        return not self._wanted or event in self._wanted

    async def _send(self, send: Send, data: bytes) -> None:
        if data:
            async with self._sending:
                await send({"type": "http.response.body", "body": data, "more_body": True})

    async def _until_left(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        raise _Over

    async def _until_closed(self) -> None:
        await self._service.closing.wait()
        raise _Over

    async def _until_refused(self) -> None:
        while True:
            try:
                if not await self._service.access.still(self._identity):
                    raise _Over
            except FleetError:
                # The store cannot be read just now: that says nothing of who listens.
                pass
            await asyncio.sleep(LOOK_SECONDS)

    async def _beat(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self._heartbeat)
            await self._send(send, frame("heartbeat", {}))

    async def _speak(self, send: Send, run: str, words: Words) -> None:
        """Send what models are just saying in an execution."""
        async with aclosing(self._console.pieces(run, DELTA_SECONDS)) as pieces:
            async for some in pieces:
                await self._send(send, words.said(some))

    def _wire(self, stored: Stored, ids: Ids) -> bytes:
        told = unread(stored, self._position, ids) if stored.seq == self._position.seq else frames(stored, ids)
        return b"".join(each.wire for each in told if self._wants(each.event))


class ExecutionStream(EventStream):
    """What happens in one execution, with what models are just saying."""

    def __init__(self, service: Service, asking: Caller, run: str, ids: Ids, **given: object) -> None:
        super().__init__(service, asking, **given)  # pyright: ignore[reportArgumentType]
        self._about = run
        self._ids = ids

    async def _tell(self, send: Send, group: asyncio.TaskGroup) -> None:
        # What is being said comes after what has happened.
        told, past = self._position.after, await self._past()
        words = Words(self._about, self._ids, self._wanted) if self._wanted & WORDS or not self._wanted else None
        speaking = False
        pump = Pump(self._console.watch(self._about, told))
        group.create_task(pump.run())
        while True:
            if words is not None and not speaking and told >= past:
                speaking = True
                group.create_task(self._speak(send, self._about, words))
            facts = await pump.take()
            left = words.recorded(stored.fact for stored in facts) if words is not None and speaking else b""
            for stored in facts:
                left += self._wire(await told_whole(self._console, stored), self._ids)
                if len(left) > MOST_AT_ONCE:
                    await self._send(send, left)
                    left = b""
            await self._send(send, left)
            if not facts or any(isinstance(stored.fact, RunFinished) for stored in facts):
                return
            told = facts[-1].seq

    async def _past(self) -> int:
        """Position of what has happened last."""
        head = await self._console.run(self._about)
        last = await self._console.facts(self._about, after=head.n - 1)
        return last[-1].seq if last else 0


class FleetStream(EventStream):
    """What happens in all executions, or in those that match a filter; what models say in them for who asks for it."""

    def __init__(self, service: Service, asking: Caller, filter_: RunFilter | None, **given: object) -> None:
        super().__init__(service, asking, **given)  # pyright: ignore[reportArgumentType]
        self._filter = filter_
        self._heard: dict[str, tuple[Words, asyncio.Task[None]]] = {}
        """Executions whose words are told."""

    async def _tell(self, send: Send, group: asyncio.TaskGroup) -> None:
        seq = self._position.after
        with self._service.following(self._tenant) as cast:
            await cast.ready.wait()
            while not cast.ended:
                if seq < cast.floor:
                    seq = await self._catch_up(cast, seq, send, group)
                for batch in await cast.after(seq) if seq >= cast.floor else ():
                    if self._wanted & WORDS:
                        await self._hear(cast, batch, send, group)
                    await self._send(send, await self._told(cast, batch, seq))
                    seq = batch.last

    async def _hear(self, cast: Broadcast, batch: Batch, send: Send, group: asyncio.TaskGroup) -> None:
        """Listen where a model is asked, until that execution is over."""
        runs = await batch.fitting(self._filter, cast.runs)
        for stored in batch.facts:
            fact, run = stored.fact, stored.run
            if run in self._heard:
                words, speaking = self._heard[run]
                await self._send(send, words.recorded([fact]))
                if isinstance(fact, RunFinished):
                    del self._heard[run]
                    speaking.cancel()
            elif (
                isinstance(fact, StepNoted) and fact.kind == REQUESTED and run in runs and len(self._heard) < MOST_HEARD
            ):
                words = Words(run, (await cast.runs.ids([stored])).get(run, OWN), self._wanted)
                self._heard[run] = words, group.create_task(self._speak(send, run, words))

    async def _told(self, cast: Broadcast, batch: Batch, seq: int) -> bytes:
        # Within a fact only who comes back can be: to tell each newcomer anew what all are told would stop the engine.
        if self._position.part and batch.first <= self._position.seq <= batch.last:
            return await self._chosen(cast, batch.facts, seq)
        runs = await batch.fitting(self._filter, cast.runs)
        return batch.wire(self._wanted, self._filter.text if self._filter is not None else "", runs, seq)

    async def _catch_up(self, cast: Broadcast, seq: int, send: Send, group: asyncio.TaskGroup) -> int:
        """Read the journal until the broadcast can be followed; how far that was. Where it was pruned, the listener is
        told so and goes on from now: what is left would be taken for all there was."""
        pump = Pump(self._console.watch("", seq))
        reading = group.create_task(pump.run())
        facts: list[Stored] = []
        try:
            # Looked at when they were read: until then nothing was missing before the last of them.
            while seq >= await self._console.pruned():
                if facts:
                    await self._send(send, await self._chosen(cast, facts, seq))
                    seq = facts[-1].seq
                if seq >= cast.floor or not (facts := await pump.take()):
                    return seq
            await self._send(send, self._anew())
            return cast.last
        finally:
            reading.cancel()

    async def _chosen(self, cast: Broadcast, facts: Sequence[Stored], after: int) -> bytes:
        """The events of those facts behind a position that are wanted."""
        runs = frozenset(stored.run for stored in facts)
        fit = await cast.runs.fitting(runs, self._filter) if self._filter is not None else runs
        left = [stored for stored in facts if stored.run in fit and stored.seq > after]
        ids = await cast.runs.ids(left)
        return b"".join(self._wire(stored, ids.get(stored.run, OWN)) for stored in left)


class _Over(Exception):
    """Nobody listens any more, or nothing more will come."""
