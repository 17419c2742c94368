"""What is held of a log: the directory of its chunks, and the lines of those looked at last."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from fleetprompt.engine.ports import LogChunk, LogLine, LogMatches
from fleetprompt.tui.state.log_directory import Directory
from fleetprompt.tui.state.log_pages import Pages

DIRECTORY = 5_000
"""Chunks of the directory that are read at a time."""


class LogSource(Protocol):
    """The part of a console that reads logs."""

    async def log_chunks(
        self, run: str, *, path: str | None = None, within: bool = False, after: int = 0, limit: int = 5000
    ) -> list[LogChunk]: ...
    async def log_lines(self, run: str, ids: Sequence[int]) -> list[list[LogLine]]: ...
    async def log_levels(self, run: str, ids: Sequence[int]) -> list[bytes]: ...
    async def log_find(
        self,
        run: str,
        needle: str,
        *,
        path: str | None = None,
        within: bool = False,
        regex: bool = False,
        after: int | None = None,
        before: int | None = None,
        limit: int = 1000,
    ) -> LogMatches: ...


class Content:
    """The lines of a log by index. Reading raises `StoreUnavailable`."""

    def __init__(self, source: LogSource, run: str, path: str | None, *, within: bool) -> None:
        self.run, self.path, self.within = run, path, within
        self.directory = Directory()
        self.pages = Pages()
        self._source = source
        self._held: dict[int, LogLine] = {}
        self._loading: set[int] = set()

    def line(self, index: int) -> LogLine | None:
        """A line; None while it is not held."""
        k, offset = self.directory.place(index)
        page = self.pages.get(self.directory.ids[k])
        if page is not None and offset < len(page):
            return page[offset]
        return self._held.get(self.directory.position(index))

    def missing(self, indexes: Iterable[int]) -> list[int]:
        """Ids of the chunks of lines that are neither held nor on their way."""
        ids: dict[int, None] = {}
        for index in indexes:
            id_ = self.directory.ids[self.directory.place(index)[0]]
            if id_ not in ids and id_ not in self._loading and self.line(index) is None:
                ids[id_] = None
        return [*ids]

    def hold(self, indexes: Iterable[int]) -> None:
        """Keep these lines, and no others, though their chunks may be let go."""
        lines = ((self.directory.position(index), self.line(index)) for index in indexes)
        self._held = {position: line for position, line in lines if line is not None}

    async def refresh(self) -> int:
        """Read which chunks have come; how many lines are new."""
        new = 0
        while True:
            found = await self._chunks(self.directory.last)
            new += self.directory.add(found)
            if len(found) < DIRECTORY:
                return new

    def forget_counts(self) -> list[int]:
        """Let go of the lines that count dropped ones, which say another number now; their positions."""
        positions: list[int] = []
        for id_ in self.directory.counting:
            k = self.directory.number(id_)
            if k is not None:
                self.pages.discard(id_)
                positions.append(self.directory.positions(k)[1])
                self._held.pop(positions[-1], None)
        return positions

    async def load(self, ids: Sequence[int]) -> bool:
        """Read the lines of chunks; whether all were still there."""
        self._loading.update(ids)
        try:
            found = await self._source.log_lines(self.run, ids)
        finally:
            self._loading.difference_update(ids)
        for id_, lines in zip(ids, found, strict=True):
            if lines:
                self.pages.put(id_, lines)
        return all(found)

    async def load_levels(self, ids: Sequence[int]) -> bool:
        """Read the levels of the lines of chunks; whether all were still there."""
        found = await self._source.log_levels(self.run, ids)
        for id_, levels in zip(ids, found, strict=True):
            k = self.directory.number(id_)
            if k is not None and levels:
                self.directory.levels[k] = levels
        return all(found)

    async def prune(self) -> None:
        """Forget what is no longer in the store."""
        left: set[int] = set()
        after = 0
        while found := await self._chunks(after):
            left.update(chunk.id for chunk in found)
            after = found[-1].until
        for id_ in set(self.directory.ids) - left:
            self.pages.discard(id_)
        self.directory.keep(left)

    async def first_since(self, at: float) -> int:
        """The first line of a time or later, else the last line there is."""
        k = self.directory.chunk_since(at)
        if k == self.directory.chunks:
            return self.directory.lines - 1
        id_ = self.directory.ids[k]
        (lines,) = await self._source.log_lines(self.run, [id_])
        k = self.directory.number(id_)
        if k is None:
            return 0
        return self.directory.begin(k) + next((offset for offset, line in enumerate(lines) if line.at >= at), 0)

    async def find(self, needle: str, *, regex: bool, after: int | None, before: int | None, limit: int) -> LogMatches:
        """Search a portion."""
        return await self._source.log_find(
            self.run,
            needle,
            path=self.path,
            within=self.within,
            regex=regex,
            after=after,
            before=before,
            limit=limit,
        )

    async def _chunks(self, after: int) -> list[LogChunk]:
        return await self._source.log_chunks(self.run, path=self.path, within=self.within, after=after, limit=DIRECTORY)
