"""A search through a log: portions ahead of where it began, then those behind, and the match one is at."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Literal, Protocol

from fleetprompt.engine.core import query_regex
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.ports import LogMatches

MOST = 100_000
"""Matches that are found at most; who has more needs another search."""
PORTION = 10_000

Direction = Literal[-1, 1]
Suits = Callable[[int], bool]
"""Whether a position will do."""


class Finds(Protocol):
    """Searches a portion of the log."""

    async def __call__(
        self, needle: str, *, regex: bool, after: int | None, before: int | None, limit: int
    ) -> LogMatches: ...


class Find:
    """What is searched for and where it was found, by position within the run.

    `origin` is where the search begins: it goes on from there, and back from before it. Raises `InvalidInput` for a
    regular expression that is malformed or too costly.
    """

    def __init__(self, needle: str, *, regex: bool, origin: int, direction: Direction) -> None:
        if regex:
            try:
                query_regex.check(needle)
            except ValueError as problem:
                raise InvalidInput(str(problem)) from None
        self.needle = needle
        self.regex = regex
        self.current: int | None = None
        """The position of the match one is at."""
        self.pending: Direction | None = direction
        """Which way to go as soon as it is known what is there."""
        self._origin = origin
        self._first: Direction = direction
        self._ahead = array("q")
        self._behind = array("q")
        """From the origin backwards."""
        self._reached = {1: origin - 1, -1: origin}
        self._done = {1: False, -1: origin <= 1}

    # ------------------------------------------------------------ searching

    @property
    def done(self) -> bool:
        """Whether everything there is was searched."""
        return self._done[1] and self._done[-1]

    @property
    def count(self) -> int:
        """Matches found so far."""
        return len(self._ahead) + len(self._behind)

    @property
    def full(self) -> bool:
        """Whether there may be more, which are not searched for."""
        return self.count >= MOST

    def progress(self, last: int) -> float:
        """The part that was searched, from 0 to 1, of a log whose last line has this position."""
        if self.done or last <= 0:
            return 1.0
        ahead = last if self._done[1] else self._reached[1]
        behind = 0 if self._done[-1] else self._reached[-1]
        return max(0.0, min(1.0, (ahead - behind) / last))

    async def portion(self, finds: Finds) -> list[int]:
        """Search a portion; the matches that are new."""
        way = self._first if not self._done[self._first] else -self._first
        reached = self._reached[way]
        found = await finds(
            self.needle,
            regex=self.regex,
            after=reached if way == 1 else None,
            before=reached if way == -1 else None,
            limit=min(PORTION, MOST - self.count),
        )
        (self._ahead if way == 1 else self._behind).extend(found.positions)
        self._reached[way] = found.reached
        self._done[way] = found.done
        if self.full:
            self._done = {1: True, -1: True}
        return [*found.positions]

    def go_on(self) -> None:
        """The log has become longer."""
        self._done[1] = self.full

    def keep(self, is_there: Suits) -> None:
        """Forget the matches in lines that are gone."""
        self._ahead = array("q", filter(is_there, self._ahead))
        self._behind = array("q", filter(is_there, self._behind))
        if self.current is not None and not is_there(self.current):
            self.current = None

    # ------------------------------------------------------------ matches

    def between(self, first: int, last: int) -> list[int]:
        """The matches from one position to another, both included."""
        behind = self._behind[bisect_left(self._behind, -last, key=_negative) : self._below(first)]
        ahead = self._ahead[bisect_left(self._ahead, first) : bisect_right(self._ahead, last)]
        return [*reversed(behind), *ahead]

    def rank(self) -> int:
        """The number of the current match, from 1; 0 where there is none."""
        if self.current is None:
            return 0
        if self.current < self._origin:
            return len(self._behind) - bisect_left(self._behind, -self.current, key=_negative)
        return len(self._behind) + bisect_right(self._ahead, self.current)

    def start(self, direction: Direction) -> int:
        """Where to look for a match from: the current one, or just before where the search begins."""
        if self.current is not None:
            return self.current
        return self._origin - 1 if direction == 1 else self._origin

    def step(self, start: int, direction: Direction, suits: Suits) -> int | None:
        """The next match from a position that suits, around the end if need be; None where there is none, or while
        that is not known."""
        look = self._next if direction == 1 else self._previous
        first = target = look(start)
        while target is not None and not suits(target):
            target = look(target)
            if target == first:
                return None
        return target

    def _next(self, start: int) -> int | None:
        at = self._below(start + 1)
        if at:
            return self._behind[at - 1]
        at = bisect_right(self._ahead, start)
        if at < len(self._ahead):
            return self._ahead[at]
        if not self.done:
            return None
        return self._behind[-1] if self._behind else self._ahead[0] if self._ahead else None

    def _previous(self, start: int) -> int | None:
        at = bisect_left(self._ahead, start)
        if at:
            return self._ahead[at - 1]
        at = self._below(start)
        if at < len(self._behind):
            return self._behind[at]
        if not self.done:
            return None
        return self._ahead[-1] if self._ahead else self._behind[0] if self._behind else None

    def _below(self, position: int) -> int:
        """How many of the matches behind are at a position or after it."""
        return bisect_right(self._behind, -position, key=_negative)


def _negative(position: int) -> int:
    return -position
