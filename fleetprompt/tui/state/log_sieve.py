"""Which lines of a log are shown: those of some levels, from a line on, those that match; found by number both ways.

What it knows of a line is its level, one byte, read in portions from the end of the log backwards.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Collection
from itertools import accumulate, compress

from fleetprompt.engine.ports import LEVELS, Level
from fleetprompt.tui.state.log_directory import Directory
from fleetprompt.tui.state.log_find import Find

HELD = 64
"""Chunks for which it is remembered which of their lines are shown."""


class Sieve:
    """Shown lines by number, from 0, against lines by index."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self.levels: frozenset[Level] = frozenset()
        """Only these are shown; empty: all."""
        self.start = 0
        """The position of the first line that may be shown."""
        self.find: Find | None = None
        """Only what it has found is shown."""
        self._table = bytes(256)
        self._counts = array("q")
        self._ends: array[int] | None = None
        self._offsets: OrderedDict[int, array[int]] = OrderedDict()
        self._known = (0, 0)
        """All levels were read from this chunk to before that one."""

    @property
    def active(self) -> bool:
        """Whether it takes more than the first line to know what is shown."""
        return bool(self.levels) or self.find is not None

    def choose(self, *, levels: Collection[Level], start: int, find: Find | None) -> None:
        """Show other lines from now on."""
        self.levels, self.start, self.find = frozenset(levels), start, find
        chosen = {LEVELS.index(level) for level in levels}
        self._table = bytes(code in chosen for code in range(256))
        self.rebuild()

    def rebuild(self) -> None:
        """Chunks have gone, or other lines are chosen."""
        self._offsets.clear()
        self._ends = None
        self._counts = array("q")
        self._known = (self._directory.chunks, self._directory.chunks)
        if self.active:
            self.grow()

    def grow(self) -> None:
        """There are more chunks."""
        if self.active:
            for k in range(len(self._counts), self._directory.chunks):
                self._counts.append(self._count(k))
            self._ends = None

    def learn(self, id_: int) -> None:
        """Something about a chunk has become known: its levels, or what was found in it."""
        k = self._directory.number(id_)
        if self.active and k is not None and k < len(self._counts):
            self._offsets.pop(id_, None)
            self._counts[k] = self._count(k)
            self._ends = None

    def unknown(self, most: int) -> list[int]:
        """Ids of chunks whose levels have to be read, the newest first; none when all are known."""
        if not self.levels:
            return []
        low, high = self._advance()
        levels, chunks = self._directory.levels, self._directory.chunks
        first = self._directory.chunk_at(self.start)
        new = range(high, min(chunks, high + most))
        old = range(low - 1, max(first, low - most + len(new)) - 1, -1)
        return [self._directory.ids[k] for k in (*new, *old) if levels[k] is None]

    @property
    def progress(self) -> float:
        """The part of the log whose levels were read, from 0 to 1."""
        if not self.levels:
            return 1.0
        low, high = self._advance()
        whole = self._directory.chunks - self._directory.chunk_at(self.start)
        return min(1.0, (high - low) / whole) if whole else 1.0

    def _advance(self) -> tuple[int, int]:
        low, high = self._known
        levels = self._directory.levels
        first = self._directory.chunk_at(self.start)
        while high < self._directory.chunks and levels[high] is not None:
            high += 1
        while low > first and levels[low - 1] is not None:
            low -= 1
        self._known = (low, high)
        return low, high

    # ------------------------------------------------------------ numbers

    @property
    def count(self) -> int:
        """How many lines are shown."""
        if not self.active:
            return self._directory.lines - self._first
        ends = self._cumulated()
        return ends[-1] if ends else 0

    def line(self, number: int) -> int:
        """The index of a shown line."""
        if not self.active:
            return self._first + number
        ends = self._cumulated()
        k = bisect_right(ends, number)
        return self._directory.begin(k) + self._shown(k)[number - (ends[k - 1] if k else 0)]

    def number(self, line: int) -> int:
        """How many shown lines come before a line: its number, or that of the next one that is shown."""
        if not self.active:
            return max(0, line - self._first)
        if line >= self._directory.lines:
            return self.count
        k, offset = self._directory.place(line)
        before = self._cumulated()[k - 1] if k else 0
        return before + bisect_left(self._shown(k), offset)

    def shows(self, line: int) -> bool:
        """Whether a line is shown."""
        number = self.number(line)
        return number < self.count and self.line(number) == line

    @property
    def _first(self) -> int:
        return self._directory.line_at(self.start) if self.start else 0

    def _cumulated(self) -> array[int]:
        if self._ends is None:
            self._ends = array("q", accumulate(self._counts))
        return self._ends

    def _shown(self, k: int) -> array[int]:
        """Which lines of a chunk are shown, by their place in it."""
        id_ = self._directory.ids[k]
        offsets = self._offsets.get(id_)
        if offsets is None:
            offsets = self._offsets[id_] = self._make(k)
            if len(self._offsets) > HELD:
                self._offsets.popitem(last=False)
        return offsets

    def _count(self, k: int) -> int:
        levels = self._directory.levels[k]
        if self.find is None and levels is not None and self._directory.positions(k)[0] >= self.start:
            return levels.translate(self._table).count(1)
        return len(self._make(k))

    def _make(self, k: int) -> array[int]:
        first, last = self._directory.positions(k)
        first_shown = max(0, self.start - first)
        if self.find is not None:
            offsets = [position - first for position in self.find.between(first + first_shown, last)]
        else:
            offsets = range(first_shown, last - first + 1)
        if self.levels:
            levels = self._directory.levels[k]
            if levels is None:
                return array("q")
            offsets = compress(offsets, map(self._table.__getitem__, map(levels.__getitem__, offsets)))
        return array("q", offsets)
