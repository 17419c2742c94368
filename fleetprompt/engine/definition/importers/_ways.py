"""When a step is reached, as a formula over the decisions before it: reduced ordered decision diagrams.

Two formulas that mean the same are the same number, so whether ways exclude each other, or always come together, is
one comparison.
"""

from __future__ import annotations

from fleetprompt.engine.core.errors import InvalidInput

MAX_WORK = 300_000
"""Steps of thinking about the decisions of one block: a second or so."""

Way = int
"""A formula; 0 is never, 1 is always."""
NEVER, ALWAYS = 0, 1


class TooEntangled(InvalidInput):
    """The decisions of this workflow depend on each other in too many ways."""


class Ways:
    """Formulas over the decisions of one block."""

    def __init__(self) -> None:
        self._nodes: list[tuple[int, Way, Way]] = [(1 << 60, NEVER, NEVER), (1 << 60, ALWAYS, ALWAYS)]
        """Decision, and what is left of the formula when it is taken one way (no) or the other (yes)."""
        self._known: dict[tuple[int, Way, Way], Way] = {}
        self._both: dict[tuple[Way, Way], Way] = {}
        self._either: dict[tuple[Way, Way], Way] = {}
        self._work = 0
        self._not: dict[Way, Way] = {NEVER: ALWAYS, ALWAYS: NEVER}

    def decision(self, index: int) -> Way:
        """The formula that a decision goes the first way; decisions are counted from 0."""
        return self._node(index, NEVER, ALWAYS)

    def no(self, way: Way) -> Way:
        """The opposite."""
        if way not in self._not:
            index, low, high = self._nodes[way]
            self._not[way] = self._node(index, self.no(low), self.no(high))
        return self._not[way]

    def both(self, one: Way, other: Way) -> Way:
        """Both hold."""
        if one == other or NEVER in (one, other):
            return min(one, other)
        if ALWAYS in (one, other):
            return max(one, other)
        pair = (min(one, other), max(one, other))
        if pair not in self._both:
            index, low, high = self._split(one, other)
            self._both[pair] = self._node(index, self.both(*low), self.both(*high))
        return self._both[pair]

    def either(self, one: Way, other: Way) -> Way:
        """At least one holds."""
        if one == other or NEVER in (one, other):
            return max(one, other)
        if ALWAYS in (one, other):
            return ALWAYS
        pair = (min(one, other), max(one, other))
        if pair not in self._either:
            index, low, high = self._split(one, other)
            self._either[pair] = self._node(index, self.either(*low), self.either(*high))
        return self._either[pair]

    def _split(self, one: Way, other: Way) -> tuple[int, tuple[Way, Way], tuple[Way, Way]]:
        """The first decision of two formulas, and what is left of both when it goes either way."""
        self._work += 1
        if self._work > MAX_WORK:
            raise TooEntangled
        (a, a_low, a_high), (b, b_low, b_high) = self._nodes[one], self._nodes[other]
        index = min(a, b)
        if a != index:
            a_low = a_high = one
        if b != index:
            b_low = b_high = other
        return index, (a_low, b_low), (a_high, b_high)

    def implies(self, one: Way, other: Way) -> bool:
        """Whether the other holds wherever the one does."""
        return self.both(one, other) == one

    def _node(self, index: int, low: Way, high: Way) -> Way:
        if low == high:
            return low
        key = (index, low, high)
        if key not in self._known:
            self._known[key] = len(self._nodes)
            self._nodes.append(key)
        return self._known[key]
