"""The feed: durable facts in order of commit, and lossy progress (log lines) between them.

A reader that does not keep up loses progress, never facts: it falls back to the journal for those. A listener is told
only where something has changed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator

from fleetprompt.engine.core.facts import AnyFact
from fleetprompt.engine.ports import Change, Journal, LogLine, Stored
from fleetprompt.engine.runtime.changes import Listener

DEPTH = 10_000
"""Entries a reader may be behind before it is sent to the journal."""


class Reader:
    """One subscription."""

    __slots__ = ("_event", "behind", "entries", "run", "seq", "tenant")

    def __init__(self, run: str, seq: int, tenant: str | None) -> None:
        self.run = run
        self.tenant = tenant
        self.seq = seq
        """Position of the last fact that was read."""
        self.entries: deque[Stored | tuple[str, LogLine]] = deque()
        self.behind = False
        """It has not kept up: what it has not read is in the journal only."""
        self._event = asyncio.Event()

    def wants(self, run: str, tenant: str) -> bool:
        """Whether it is told of a run of that tenant."""
        return (not self.run or self.run == run) and self.tenant in (None, tenant)

    def put(self, entry: Stored | tuple[str, LogLine]) -> None:
        if len(self.entries) >= DEPTH:
            self.behind = True
            self.entries.clear()
        self.entries.append(entry)
        self._event.set()

    async def wait(self) -> None:
        """Until there is something to read."""
        await self._event.wait()
        self._event.clear()


class Feed:
    """Fan-out of what was committed. Who listens for a tenant hears of nobody else's runs; for none (None), of all."""

    def __init__(self) -> None:
        self._readers: set[Reader] = set()
        self._listeners: set[Listener] = set()
        self._closed = False
        self.facts = 0
        """How many facts have become durable."""

    def publish(self, run: str, seq: int, after: int, facts: tuple[AnyFact, ...], tenant: str = "default") -> None:
        """Facts have become durable."""
        self.facts += len(facts)
        for listener in self._listeners:
            if listener.tenant in (None, tenant):
                listener.note(run, seq + len(facts) - 1, facts)
        for reader in self._readers:
            if reader.wants(run, tenant):
                for i, fact in enumerate(facts):
                    reader.put(Stored(seq + i, run, after + i + 1, fact))

    def progress(self, run: str, line: LogLine, tenant: str = "default") -> None:
        """Something worth showing happened; nobody keeps it here."""
        for reader in self._readers:
            if reader.wants(run, tenant):
                reader.put((run, line))

    def subscribe(self, run: str = "", after: int = 0, tenant: str | None = None) -> Reader:
        """Start to listen; end with `unsubscribe`."""
        reader = Reader(run, after, tenant)
        self._readers.add(reader)
        return reader

    def unsubscribe(self, reader: Reader) -> None:
        self._readers.discard(reader)

    def mark(
        self,
        *,
        run: str = "",
        tenant: str | None = None,
        signals: bool = False,
        workflows: bool = False,
        troubles: bool = False,
        lost: bool = False,
    ) -> None:
        """Something has changed that no fact tells; see `Change`. `tenant`: for whom; None: for everybody."""
        for listener in self._listeners:
            if tenant is not None and listener.tenant not in (None, tenant):
                continue
            listener.mark(run=run, signals=signals, workflows=workflows, troubles=troubles, lost=lost)

    def close(self) -> None:
        """Nothing will ever happen again: listeners are told what is left, and that the engine is gone."""
        self._closed = True
        for listener in self._listeners:
            listener.mark()

    @property
    def readers(self) -> int:
        """How many read the facts or listen to changes."""
        return len(self._readers) + len(self._listeners)

    async def changes(self, journal: Journal, seconds: float, tenant: str | None = None) -> AsyncGenerator[Change]:
        """What changes, at most once in so many seconds, until it is closed. The first comes at once, and is `lost`."""
        now = asyncio.get_running_loop().time
        listener = Listener(tenant)
        listener.mark(lost=True)
        self._listeners.add(listener)
        try:
            listener.reached(await journal.position())
            while True:
                await listener.wait()
                due, closed = now() + seconds, self._closed
                yield listener.take(engine=not closed)
                if closed:
                    return
                await asyncio.sleep(due - now())
        finally:
            self._listeners.discard(listener)

    async def watch(
        self, journal: Journal, after: int = 0, run: str = "", tenant: str | None = None
    ) -> AsyncIterator[Stored | tuple[str, LogLine]]:
        """Everything after a position, first from the journal and then live, without gap or repetition of facts."""
        reader = self.subscribe(run, after, tenant)
        try:
            async for stored in self._catch_up(journal, reader):
                yield stored
            while True:
                while reader.behind:
                    reader.behind = False
                    async for stored in self._catch_up(journal, reader):
                        yield stored
                while reader.entries and not reader.behind:
                    entry = reader.entries.popleft()
                    if isinstance(entry, Stored):
                        if entry.seq <= reader.seq:
                            continue
                        reader.seq = entry.seq
                    yield entry
                if not reader.behind:
                    await reader.wait()
        finally:
            self.unsubscribe(reader)

    async def _catch_up(self, journal: Journal, reader: Reader) -> AsyncIterator[Stored]:
        if reader.run:
            for entry in await journal.facts(reader.run, tenant=reader.tenant):
                if isinstance(entry, Stored) and entry.seq > reader.seq:
                    reader.seq = entry.seq
                    yield entry
            return
        while True:
            entries = await journal.since(reader.seq, tenant=reader.tenant)
            for entry in entries:
                reader.seq = entry.seq
                if isinstance(entry, Stored):
                    yield entry
            if not entries:
                return
