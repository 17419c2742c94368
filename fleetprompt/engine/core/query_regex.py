"""Regular expressions that users type: a small, portable subset whose cost is bounded before anything is searched.

Python's matcher backtracks, so a pattern is admitted by counting the ways it can be tried: no nested repetitions, and
few choices beside open repetitions, of which there are at most two. No look-around, back-references or flags.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice

from msgspec import Struct

MAX_LENGTH = 200
MAX_COST = 2_000
"""The most choices that a pattern may leave to the matcher."""
OPEN_COST = 30
"""Choices that an open repetition counts for: three are refused, for they take seconds on 300 characters (measured)."""
MAX_DEPTH = 20
MAX_COUNT = 100
SEARCHED = 1_000
"""Characters at the beginning of a text in which a pattern is searched."""

_REPEAT = re.compile(r"([*+?])|\{([0-9]*)(,?)([0-9]*)\}")
_LEADING = re.compile(r"^(?:\.\*)+(?![*+?{])")


def check(pattern: str) -> None:
    """Raise ValueError, with a sentence for the user, unless the pattern is well-formed and cheap."""
    if not pattern:
        raise ValueError("the regular expression is empty")
    if len(pattern) > MAX_LENGTH:
        raise ValueError(f"a regular expression may have {MAX_LENGTH} characters, this one has {len(pattern)}")
    cost = _Reader(pattern).read()
    try:
        _compiled(pattern)
    except (re.error, OverflowError, RecursionError) as problem:
        raise ValueError(f"the regular expression is malformed: {problem}") from None
    if OPEN_COST**cost.wide > MAX_COST:
        raise ValueError(
            "a regular expression may have two open repetitions such as .* or \\d+; bound the others: {1,9}"
        )
    if cost.paths * OPEN_COST**cost.wide > MAX_COST:
        raise ValueError("the regular expression leaves too many choices: simplify its groups and repetitions")


def found(pattern: str, text: str | None) -> bool:
    """Whether a checked pattern occurs in the first `SEARCHED` characters, in any letter case; never in null."""
    if not text:
        return False
    return _searching(pattern).search(text, 0, SEARCHED) is not None


def spans(pattern: str, text: str, most: int = 20) -> list[tuple[int, int]]:
    """Where a checked pattern occurs in the first `SEARCHED` characters: beginnings and ends, so many at most."""
    matches = islice(_searching(pattern).finditer(text, 0, SEARCHED), most)
    return [match.span() for match in matches if match.end() > match.start()]


@lru_cache(maxsize=64)
def _searching(pattern: str) -> re.Pattern[str]:
    # A search looks at every position anyway: what a leading `.*` adds is quadratic time and no result.
    return _compiled(_LEADING.sub("", pattern))


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


class _Cost(Struct, frozen=True):
    """How many ways there are to try a piece of a pattern."""

    paths: int = 1
    wide: int = 0
    repeats: bool = False

    def then(self, other: _Cost) -> _Cost:
        return _Cost(
            paths=min(self.paths * other.paths, MAX_COST + 1),
            wide=self.wide + other.wide,
            repeats=self.repeats or other.repeats,
        )

    def otherwise(self, other: _Cost) -> _Cost:
        return _Cost(
            paths=min(self.paths + other.paths, MAX_COST + 1),
            wide=max(self.wide, other.wide),
            repeats=self.repeats or other.repeats,
        )


class _Reader:
    """Walks a pattern once; may accept what `re` will refuse, never the reverse of what it costs."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.position = 0
        self.depth = 0

    def read(self) -> _Cost:
        cost = self._choice()
        if self.position < len(self.pattern):
            raise ValueError("the regular expression is malformed: a ) without its (")
        return cost

    def _choice(self) -> _Cost:
        cost = self._sequence()
        while self.pattern.startswith("|", self.position):
            self.position += 1
            cost = cost.otherwise(self._sequence())
        return cost

    def _sequence(self) -> _Cost:
        cost = _Cost()
        while self.position < len(self.pattern) and self.pattern[self.position] not in "|)":
            cost = cost.then(self._repeated(self._atom()))
        return cost

    def _atom(self) -> _Cost:
        char = self.pattern[self.position]
        self.position += 1
        if char == "(":
            return self._group()
        if char == "[":
            self._characters()
        elif char == "\\":
            if self.pattern[self.position : self.position + 1] in tuple("123456789"):
                raise ValueError("back-references are not part of the filter language")
            self.position += 1
        return _Cost()

    def _group(self) -> _Cost:
        if self.pattern.startswith("?:", self.position):
            self.position += 2
        elif self.pattern.startswith("?", self.position):
            raise ValueError("groups that begin with (? are not part of the filter language")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError(f"groups may be nested {MAX_DEPTH} deep")
        cost = self._choice()
        if not self.pattern.startswith(")", self.position):
            raise ValueError("the regular expression is malformed: a ( without its )")
        self.position += 1
        self.depth -= 1
        return cost

    def _characters(self) -> None:
        if self.pattern.startswith("^", self.position):
            self.position += 1
        first = self.position
        while self.position < len(self.pattern):
            char = self.pattern[self.position]
            if char == "]" and self.position > first:
                self.position += 1
                return
            # Python warns that these will mean something else one day, and elsewhere they already do.
            if char == "[" or self.pattern[self.position : self.position + 2] in ("--", "&&", "||", "~~"):
                raise ValueError(f"write \\{char} for a {char} between square brackets")
            self.position += 2 if char == "\\" else 1
        raise ValueError("the regular expression is malformed: a [ without its ]")

    def _repeated(self, atom: _Cost) -> _Cost:
        match = _REPEAT.match(self.pattern, self.position)
        if match is None or match[0] == "{}":
            return atom
        self.position = match.end()
        if self.pattern[self.position : self.position + 1] in ("?", "+"):
            self.position += 1
        low, high = _bounds(match)
        if high is not None and high > MAX_COUNT:
            raise ValueError(f"a repetition may count to {MAX_COUNT}")
        if high is not None and high <= 1:
            return _Cost(paths=atom.paths + high - low, wide=atom.wide, repeats=True)
        if atom.repeats:
            raise ValueError("nested repetitions such as (a+)+ can take forever")
        if high is None:
            if atom.paths > 1:
                raise ValueError("an open repetition of alternatives such as (a|b)+ can take forever; write [ab]+")
            return _Cost(wide=1, repeats=True)
        return _Cost(paths=min(atom.paths**high * (high - low + 1), MAX_COST + 1), repeats=True)


def _bounds(match: re.Match[str]) -> tuple[int, int | None]:
    if match[1]:
        return (1 if match[1] == "+" else 0), (1 if match[1] == "?" else None)
    low = int(match[2] or 0)
    if not match[3]:
        return low, low
    return low, int(match[4]) if match[4] else None
