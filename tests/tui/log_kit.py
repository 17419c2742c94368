"""Real logs in a real store, for tests of the log view."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC
from pathlib import Path
from typing import Any
from uuid import uuid4

from fleetprompt.client.log_reading import LogReading
from fleetprompt.client.wording import Times
from fleetprompt.engine.ports import LogChunk, LogLine
from fleetprompt.engine.store.database import SqlStore
from fleetprompt.tui.state.log import LogView

NOW = 1_800_000_000.0
RUN = "r1"


def line(text: str, **fields: Any) -> LogLine:
    values: dict[str, Any] = {"at": NOW, "level": "info", "text": text, "path": "a"}
    return LogLine(**(values | fields))


class Logged(LogReading):
    """A console's way to logs, which remembers what was asked of it."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.tenant = "default"
        self.read: list[int] = []
        self.directories: list[int] = []
        self.reading = asyncio.Event()
        """While it is not set, who reads lines has to wait, and who reads for the first time which there are."""
        self.reading.set()
        self.waiting = 0
        """So many wait."""

    async def log_chunks(
        self, run: str, *, path: str | None = None, within: bool = False, after: int = 0, limit: int = 5000
    ) -> list[LogChunk]:
        self.directories.append(after)
        if not self.directories[1:]:
            await self._wait()
        return await super().log_chunks(run, path=path, within=within, after=after, limit=limit)

    async def log_lines(self, run: str, ids: Sequence[int]) -> list[list[LogLine]]:
        self.read += ids
        await self._wait()
        return await super().log_lines(run, ids)

    async def _wait(self) -> None:
        self.waiting += 1
        await self.reading.wait()
        self.waiting -= 1

    async def write(self, *lines: LogLine) -> None:
        """Store lines as a chunk for each of their steps."""
        self.store.logs.write(RUN, lines)
        await self.store.logs.flush()

    async def write_many(self, count: int, each: int = 10, **fields: Any) -> None:
        """Store numbered lines, a second apart, in chunks of so many."""
        for first in range(0, count, each):
            numbers = range(first, min(count, first + each))
            await self.write(*(line(f"line {n}", at=NOW + n, **fields) for n in numbers))


@asynccontextmanager
async def logged(folder: Path, **options: Any) -> AsyncIterator[Logged]:
    """An open store of its own."""
    store = SqlStore(folder / f"{uuid4().hex}.db", **options)
    await store.open()
    yield Logged(store)
    await store.close()


async def opened(source: Logged, *, width: int = 80, height: int = 10, **options: Any) -> LogView:
    """A view that has read what is on its screen."""
    view = LogView(source, RUN, times=Times(UTC), **options)
    view.resize(width, height)
    await view.open()
    return view


async def settle(view: LogView) -> None:
    """Do all that is left to do."""
    while await view.load() or await view.work():
        pass


def bodies(view: LogView) -> list[str]:
    """The texts on the screen."""
    return ["".join(text for text, _ in row.body) for _, row in view.rows()]


async def all_texts(view: LogView) -> list[str]:
    """The text of every shown line, walked through from the beginning."""
    follow, texts = view.follow, dict[int, str]()
    view.go_to(0)
    while True:
        await settle(view)
        for number, row in view.rows():
            texts[number] = "".join(text for text, _ in row.body)
        before = view.top
        view.page(1)
        if view.top == before:
            break
    if follow:
        view.end()
    assert sorted(texts) == list(range(view.count))
    return [texts[number] for number in range(view.count)]
