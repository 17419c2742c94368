"""Server-sent events: what happened, from wherever the listener was, and then what happens.

A listener that reads slowly holds up nobody: the engine's feed sends it to the journal. Facts are translated once for
all who listen.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress

from fastapi import Response
from starlette.types import Message, Receive, Scope, Send

from fleetprompt.client.protocol import Console
from fleetprompt.daemon.events import BEGINNING, Position, deltas, frame, frames, unread
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.facts import RunFinished
from fleetprompt.engine.ports import Stored

HEARTBEAT_SECONDS = 30.0
DELTA_SECONDS = 0.05
"""Words of models are told at most so often."""
RETRY_MS = 2_000
"""When a browser that was cut off comes back."""
KEPT = 4_096
"""Facts whose events are kept for other listeners."""


class Translated:
    """The events of the facts that were told last, for all listeners of one store."""

    def __init__(self) -> None:
        self._told: OrderedDict[int, list[tuple[str, str, bytes]]] = OrderedDict()

    def of(self, stored: Stored) -> list[tuple[str, str, bytes]]:
        """Those of a fact."""
        found = self._told.get(stored.seq)
        if found is None:
            found = self._told[stored.seq] = frames(stored)
            if len(self._told) > KEPT:
                self._told.popitem(last=False)
        return found


class EventStream(Response):
    """A response that goes on until the execution is over, the listener leaves, or the daemon ends."""

    media_type = "text/event-stream"

    def __init__(
        self,
        console: Console,
        translated: Translated,
        closing: asyncio.Event,
        *,
        run: str = "",
        position: Position = BEGINNING,
        wanted: frozenset[str] = frozenset(),
        matching: str = "",
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> None:
        """Of one execution, `run`, or of all. `wanted`: names of events, all where it is empty. `matching`: a filter
        of executions. It ends when `closing` is set."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._console = console
        self._translated = translated
        self._closing = closing
        self._run = run
        self._position = position
        self._wanted = wanted
        self._matching = matching
        self._heartbeat = heartbeat
        self._sending = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events (ASGI)."""
        start: Message = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(start)
        hello = f"retry: {RETRY_MS}\n\n".encode() + frame("connected", {"execution_id": self._run or None})
        await self._send(send, hello)
        with suppress(*_LEFT):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._until_left(receive))
                group.create_task(self._until_closed())
                group.create_task(self._beat(send))
                if self._run and self._wants("delta"):
                    group.create_task(self._speak(send))
                await self._tell(send)
                raise _Over
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _wants(self, event: str) -> bool:
        return not self._wanted or event in self._wanted

    async def _send(self, send: Send, data: bytes) -> None:
        async with self._sending:
            await send({"type": "http.response.body", "body": data, "more_body": True})

    async def _until_left(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        raise _Over

    async def _until_closed(self) -> None:
        await self._closing.wait()
        raise _Over

    async def _beat(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self._heartbeat)
            await self._send(send, frame("heartbeat", {}))

    async def _speak(self, send: Send) -> None:
        async with aclosing(self._console.pieces(self._run, DELTA_SECONDS)) as pieces:
            async for some in pieces:
                if said := deltas(self._run, some):
                    await self._send(send, said)

    async def _tell(self, send: Send) -> None:
        async with aclosing(self._facts()) as facts:
            async for some in facts:
                told = b"".join(self._of(stored) for stored in some)
                if told:
                    await self._send(send, told)
                if self._run and any(isinstance(stored.fact, RunFinished) for stored in some):
                    return

    def _of(self, stored: Stored) -> bytes:
        found = unread(stored, self._position) if stored.seq == self._position.seq else self._translated.of(stored)
        return b"".join(data for event, _, data in found if self._wants(event))

    async def _facts(self) -> AsyncGenerator[Sequence[Stored]]:
        async for entry in self._console.watch(self._run, self._position.after):
            if isinstance(entry, Stored) and (not self._matching or await self._matches(entry.run)):
                yield (entry,)

    async def _matches(self, run: str) -> bool:
        try:
            return any(fits for _, fits in await self._console.matching([run], self._matching))
        except FleetError:
            return False


class _Over(Exception):
    """Nobody listens any more, or nothing more will come."""


_LEFT = (BaseExceptionGroup, _Over)
