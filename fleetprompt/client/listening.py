"""What changes where the engine is in another process, or nowhere: told by its socket, else looked for in the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

import msgspec

from fleetprompt.client.talking import ANSWER_SECONDS, Talk
from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.ports import Change, Store, Stored
from fleetprompt.engine.runtime.changes import Listener
from fleetprompt.engine.runtime.wire import ask_holds

LOOK_SECONDS = 0.5
"""How often the store is looked at while no engine tells anything."""
GOING_SECONDS = 0.05
"""How long a process that dies may take to give its lock back after its socket."""
SILENCE_SECONDS = 3.0
"""Silence after which an engine is asked whether it still answers: it may have nothing to tell, or be stopped."""
MOST_READS = 10
"""Reads of the journal after which it is quicker to read the lists again."""
LONGEST_LINE = 1024 * 1024

_decode = msgspec.json.Decoder(Change).decode


class Situation(Protocol):
    """What a listener has to know of the console it listens for."""

    store: Store
    tenant: str
    socket: Path | None
    closed: bool
    listening: set[Talk]

    @property
    def written(self) -> int:
        """How often this process has written to the store, which does not tell of that."""
        ...

    @property
    def driven(self) -> bool:
        """Whether somebody holds the engine."""
        ...

    async def look_elsewhere(self) -> None:
        """Look now and then whether an engine on another machine holds it."""


class Listening:
    """One listener beside an engine that others hold, or nobody."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._store = situation.store
        self._token = 0
        self._own = -1
        self._seq = 0
        self._lost = True
        """What was told so far is not all there was."""
        self._silent = False
        """An engine is there and does not answer."""
        self._unwell = False
        """The store cannot be read."""
        self._said = (False, False, False)
        """What was told last of these three."""
        self._talk = Talk()

    async def changes(self, seconds: float) -> AsyncGenerator[Change]:
        """What changes; see `Console.changes`."""
        self._situation.listening.add(self._talk)
        try:
            while not self._situation.closed:
                if (change := await self._look()) is not None:
                    yield change
                told = False
                async with aclosing(self._told(seconds)) as changes:
                    async for change in changes:
                        told = True
                        yield change
                await asyncio.sleep(GOING_SECONDS if told else LOOK_SECONDS)
        finally:
            self._situation.listening.discard(self._talk)

    async def _told(self, seconds: float) -> AsyncGenerator[Change]:
        """What the engine tells, until it hangs up; nothing where none can be reached."""
        socket = self._situation.socket
        if socket is None or not self._situation.driven:
            return
        try:
            # The kernel accepts for an engine that is stopped or hangs, which then never answers.
            async with self._talk.ask(
                socket, {"op": "changes", "seconds": seconds, "tenant": self._situation.tenant}, LONGEST_LINE
            ) as reader:
                async with asyncio.timeout(ANSWER_SECONDS):
                    line = await reader.readline()
                if not line:
                    return
                self._silent = False
                # It tells everything from here on; what was before is in the store.
                if (change := await self._look()) is not None:
                    yield change
                while line := await self._line(reader):
                    change = _decode(line)
                    self._seq = max(self._seq, change.seq)
                    yield change
        except TimeoutError:
            self._silent = True
        except (OSError, ValueError, msgspec.DecodeError):
            return

    async def _line(self, reader: asyncio.StreamReader) -> bytes:
        """The next line; empty when the engine has hung up. Raises `TimeoutError` when it has fallen silent."""
        while True:
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    return await reader.readline()
            except TimeoutError:
                socket = self._situation.socket
                if socket is not None and await ask_holds(socket) is None and self._situation.driven:
                    raise

    async def _look(self) -> Change | None:
        """What can be seen to have changed: in the store, whether it can be read, and in who drives the runs."""
        gathered = Listener()
        try:
            found = await self._read(gathered)
            self._unwell = False
        except StoreUnavailable:
            found, self._lost, self._unwell = False, True, True
        await self._situation.look_elsewhere()
        engine = self._situation.driven
        self._silent = self._silent and engine
        now = engine, self._silent, self._unwell
        if not found and now == self._said:
            return None
        if self._unwell != self._said[2]:
            gathered.mark(troubles=True, lost=True)
        self._said = now
        gathered.reached(self._seq)
        return gathered.take(engine=engine, silent=self._silent)

    async def _read(self, gathered: Listener) -> bool:
        """Gather what was written since the last time; whether anything was."""
        own, token = self._situation.written, await self._store.changed(self._token)
        if not self._lost and (token, own) == (self._token, self._own):
            return False
        before = self._seq
        if not self._lost:
            # Up to there the facts of others are not looked through once more.
            upto = await self._store.journal.position()
            await self._gather(gathered)
            self._seq = max(self._seq, upto)
        if self._lost or self._seq == before:
            # Where no fact was added, runs may have been pruned.
            gathered.mark(lost=True)
        if self._lost:
            self._seq = await self._store.journal.position()
        # Nobody says whether signals or workflows were written, too.
        gathered.mark(signals=True, workflows=True)
        self._token, self._own, self._lost = token, own, False
        return True

    async def _gather(self, gathered: Listener) -> None:
        for _ in range(MOST_READS):
            entries = await self._store.journal.since(self._seq, tenant=self._situation.tenant)
            for entry in entries:
                gathered.note(entry.run, entry.seq, (entry.fact,) if isinstance(entry, Stored) else ())
                self._seq = entry.seq
            if not entries:
                return
        self._lost = True
