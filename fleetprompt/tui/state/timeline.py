"""When something was going on: intervals of steps, and a scale on which idle time takes next to no room. PURE.

Times are seconds since the epoch, columns are counted from 0.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from msgspec import Struct

GAP_COLUMNS = 3
"""Columns of a gap that was squeezed."""
MOST_INTERVALS = 500
"""Intervals of one step that are kept apart; of more, the oldest become one."""

Doing = Literal["active", "inside", "waiting"]
"""`inside`: a composite, whose work is that of the steps in it."""


class Interval(Struct):
    """A stretch of time in which a step did one thing; `end` is None while it goes on."""

    start: float
    end: float | None
    doing: Doing
    attempt: int = 1
    on: str = ""
    """What it waited for."""


class Intervals:
    """What one step did, and when."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: list[Interval] = []

    @property
    def doing(self) -> Doing | None:
        """What it does now."""
        return self.found[-1].doing if self.found and self.found[-1].end is None else None

    def move(self, at: float, doing: Doing | None, on: str, attempt: int) -> None:
        """From now on it does this; None: nothing any more."""
        last = self.found[-1] if self.found and self.found[-1].end is None else None
        if last is not None:
            if (last.doing, last.on, last.attempt) == (doing, on, attempt):
                return
            last.end = max(at, last.start)
        if doing is not None:
            self.found.append(Interval(at, None, doing, attempt, on))
        if len(self.found) > MOST_INTERVALS:
            first, second = self.found[:2]
            self.found[:2] = [Interval(first.start, second.end, second.doing, second.attempt, second.on)]


class Busy:
    """When anything at all was active in a run: intervals that neither overlap nor touch, in order."""

    def __init__(self) -> None:
        self._closed: list[tuple[float, float]] = []
        self._active = 0
        self._since = 0.0

    def begin(self, at: float) -> None:
        """One more thing is active."""
        self._active += 1
        if self._active == 1:
            self._since = at
            if self._closed and self._closed[-1][1] >= at:
                self._since = self._closed.pop()[0]

    def end(self, at: float) -> None:
        """One thing fewer is active."""
        self._active -= 1
        if not self._active:
            self._closed.append((self._since, max(at, self._since)))

    def restart(self, at: float) -> None:
        """What is active goes on at this moment, and was not active until then."""
        if self._active:
            self._since = at

    def until(self, now: float) -> list[tuple[float, float]]:
        """The intervals up to now."""
        return [*self._closed, (self._since, max(now, self._since))] if self._active else self._closed.copy()


class Gap(Struct, frozen=True):
    """A time in which nothing was active, squeezed into a few columns."""

    column: int
    columns: int
    seconds: float


class _Part(Struct, frozen=True):
    start: float
    end: float
    column: int
    columns: int
    is_gap: bool


class TimeScale:
    """From times to columns. Monotonic; every busy interval has at least one column, and none lies in a gap."""

    def __init__(self, busy: Sequence[tuple[float, float]], width: int, start: float, end: float) -> None:
        """`busy`: intervals in order that do not overlap. `width`: columns in all, at least 1. The scale begins at
        `start` and ends at `end`, or where the intervals do if that is further out."""
        if width < 1:
            raise ValueError("a scale needs at least one column")
        self.width = width
        self.start = min(start, busy[0][0]) if busy else start
        self.end = max(self.start, end, busy[-1][1] if busy else end)
        squeezed = _squeezed(_gaps(busy, self.start, self.end), self.end - self.start, width)
        idle_first = bool(busy) and busy[0][0] > self.start
        idle_last = bool(busy) and busy[-1][1] < self.end
        first = bool(squeezed) and idle_first and squeezed[0][0] == self.start
        last = bool(squeezed) and idle_last and squeezed[-1][1] == self.end
        self._parts = _parts(squeezed, self.start, self.end, width, first, last)
        self._starts = [part.start for part in self._parts]
        self._ends = [part.end for part in self._parts]

    @property
    def gaps(self) -> list[Gap]:
        """What was squeezed."""
        return [Gap(part.column, part.columns, part.end - part.start) for part in self._parts if part.is_gap]

    def column(self, at: float) -> int:
        """The column in which a moment lies."""
        i = max(0, bisect_right(self._starts, at) - 1)
        if i and self._parts[i].is_gap and at == self._starts[i]:
            # What happened at the moment at which a gap begins is not in it.
            i -= 1
        part = self._parts[i]
        return min(int(_position(part, at)), part.column + part.columns - 1)

    def cells(self, start: float, end: float) -> tuple[int, int]:
        """The columns of an interval, the second not included: at least one."""
        first = self.column(start)
        part = self._parts[min(len(self._parts) - 1, bisect_left(self._ends, end))]
        position = _position(part, end)
        last = int(position) + (position > int(position))
        return first, min(self.width, max(first + 1, last))

    def at(self, column: int) -> float:
        """The time at which a column begins."""
        column = min(max(column, 0), self.width)
        part = next((part for part in reversed(self._parts) if part.column <= column), self._parts[0])
        return part.start + (part.end - part.start) * min(1.0, (column - part.column) / part.columns)


def _position(part: _Part, at: float) -> float:
    length = part.end - part.start
    share = min(1.0, max(0.0, (at - part.start) / length)) if length > 0 else 0.0
    return part.column + share * part.columns


def _gaps(busy: Sequence[tuple[float, float]], start: float, end: float) -> list[tuple[float, float]]:
    if not busy:
        return []
    edges = [(start, busy[0][0]), *((left[1], right[0]) for left, right in pairwise(busy)), (busy[-1][1], end)]
    return [(left, right) for left, right in edges if right > left]


def _squeezed(gaps: list[tuple[float, float]], seconds: float, width: int) -> list[tuple[float, float]]:
    """The gaps worth squeezing, in order: those that would take more room than a squeezed one, the longest first."""
    chosen: list[tuple[float, float]] = []
    columns = width
    for gap in sorted(gaps, key=lambda gap: gap[0] - gap[1]):
        length = gap[1] - gap[0]
        # What remains must have room for a column of activity beside each gap, and gaps never take most of it.
        if columns - GAP_COLUMNS < max(len(chosen) + 2, (width + 1) // 2) or length * columns <= GAP_COLUMNS * seconds:
            break
        chosen.append(gap)
        columns -= GAP_COLUMNS
        seconds -= length
    return sorted(chosen)


def _parts(
    squeezed: list[tuple[float, float]], start: float, end: float, width: int, gap_first: bool, gap_last: bool
) -> list[_Part]:
    """Stretches of time with their columns, which add up to the width. Between gaps something happened, if only for a
    moment, so there is a stretch also where it has no length."""
    spans: list[tuple[float, float, bool]] = []
    at = start
    for left, right in squeezed:
        if spans or not gap_first:
            spans.append((at, left, False))
        spans.append((left, right, True))
        at = right
    if not gap_last:
        spans.append((at, end, False))
    plain = [span for span in spans if not span[2]]
    shares = iter(_shares([right - left for left, right, _ in plain], width - GAP_COLUMNS * len(squeezed)))
    parts: list[_Part] = []
    column = 0
    for left, right, is_gap in spans:
        columns = GAP_COLUMNS if is_gap else next(shares)
        parts.append(_Part(left, right, column, columns, is_gap))
        column += columns
    return parts


def _shares(lengths: list[float], columns: int) -> list[int]:
    """Columns in proportion to lengths, at least one each, by largest remainder; they add up."""
    if not lengths:
        return []
    total = sum(lengths)
    spare = columns - len(lengths)
    exact = [spare * length / total if total > 0 else spare / len(lengths) for length in lengths]
    shares = [int(share) for share in exact]
    by_rest = sorted(range(len(lengths)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_rest[: max(0, spare - sum(shares))]:
        shares[i] += 1
    return [share + 1 for share in shares]
