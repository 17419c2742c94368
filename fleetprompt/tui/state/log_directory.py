"""Where the lines of a log are: chunks in the order they were stored, and nothing of their text.

A line has an index, from 0 among the lines there are, and a position within the run, which never changes. Two million
lines take two or three hundred kilobytes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate

from fleetprompt.engine.ports import LogChunk


class Directory:
    """The chunks of a log by number, from 0; numbers shift when chunks are pruned, ids do not."""

    def __init__(self) -> None:
        self.ids = array("q")
        self.levels: list[bytes | None] = []
        """The levels of a chunk's lines, where they were read."""
        self.steps: set[tuple[str, int]] = set()
        """Paths and attempts that have lines."""
        self.longest = 0
        """Characters of the longest path with its attempt."""
        self.counting: set[int] = set()
        """Ids of chunks that count dropped lines: their text may change."""
        self._untils = array("q")
        self._ends = array("q")
        self._latest = array("d")

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return len(self.ids)

    @property
    def lines(self) -> int:
        """How many lines there are."""
        return self._ends[-1] if self._ends else 0

    @property
    def last(self) -> int:
        """The position of the last line; 0 where there is none."""
        return self._untils[-1] if self._untils else 0

    @property
    def latest(self) -> float:
        """The latest time of any line; 0 where there is none."""
        return self._latest[-1] if self._latest else 0.0

    @property
    def earliest(self) -> float:
        """The time of the last line of the first chunk; 0 where there is none."""
        return self._latest[0] if self._latest else 0.0

    def add(self, chunks: Sequence[LogChunk]) -> int:
        """Note chunks that come after those that are known; how many lines are new."""
        before = self.lines
        for chunk in chunks:
            if chunk.until <= self.last:
                continue
            self._latest.append(max(chunk.at, self.latest))
            self._ends.append(self.lines + chunk.lines)
            self._untils.append(chunk.until)
            self.ids.append(chunk.id)
            self.levels.append(None)
            self._note(chunk.path, chunk.attempt)
            if chunk.dropped:
                self.counting.add(chunk.id)
        return self.lines - before

    def _note(self, path: str, attempt: int) -> None:
        if (path, attempt) not in self.steps:
            self.steps.add((path, attempt))
            self.longest = max(self.longest, len(path) + (len(str(attempt)) + 1 if attempt > 1 else 0))

    def keep(self, ids: Collection[int]) -> None:
        """Forget every chunk that is not one of these."""
        kept = [k for k, id_ in enumerate(self.ids) if id_ in ids]
        sizes = [self.size(k) for k in kept]
        self.ids = array("q", [self.ids[k] for k in kept])
        self.levels = [self.levels[k] for k in kept]
        self._untils = array("q", [self._untils[k] for k in kept])
        self._latest = array("d", [self._latest[k] for k in kept])
        self._ends = array("q", accumulate(sizes))
        self.counting &= set(self.ids)

    def size(self, k: int) -> int:
        """How many lines a chunk has."""
        return self._ends[k] - self.begin(k)

    def begin(self, k: int) -> int:
        """The index of a chunk's first line."""
        return self._ends[k - 1] if k else 0

    def positions(self, k: int) -> tuple[int, int]:
        """The positions of a chunk's first and last line."""
        until = self._untils[k]
        return until - self.size(k) + 1, until

    def number(self, id_: int) -> int | None:
        """The number of the chunk of that id, if it is still there."""
        k = bisect_left(self.ids, id_)
        return k if k < len(self.ids) and self.ids[k] == id_ else None

    def place(self, line: int) -> tuple[int, int]:
        """The chunk of a line, and how many lines of the chunk come before it."""
        k = bisect_right(self._ends, line)
        return k, line - self.begin(k)

    def position(self, line: int) -> int:
        """The position of a line."""
        k, offset = self.place(line)
        return self.positions(k)[0] + offset

    def chunk_at(self, position: int) -> int:
        """The chunk that holds a position, or the first one behind it; the number of chunks when there is none."""
        return bisect_left(self._untils, position)

    def id_at(self, position: int) -> int:
        """The id of the chunk that holds a position, which must be there."""
        return self.ids[self.chunk_at(position)]

    def line_at(self, position: int) -> int:
        """The line of a position, or the first one behind it; the number of lines when there is none."""
        k = self.chunk_at(position)
        if k == len(self.ids):
            return self.lines
        return self.begin(k) + max(0, position - self.positions(k)[0])

    def has(self, position: int) -> bool:
        """Whether there is a line of that position."""
        k = self.chunk_at(position)
        return k < len(self.ids) and position >= self.positions(k)[0]

    def chunk_since(self, at: float) -> int:
        """The first chunk with a line of that time or later; the number of chunks when there is none."""
        return bisect_left(self._latest, at)
