"""When a step is reached, as a formula over the decisions before it: reduced ordered decision diagrams.

Two formulas that mean the same are the same number, so whether ways exclude each other, or always come together, is
one comparison.
"""

from __future__ import annotations

from fleetprompt.engine.core.errors import InvalidInput

MAX_NODES = 200_000

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
            (a, a_low, a_high), (b, b_low, b_high) = self._nodes[one], self._nodes[other]
            index = min(a, b)
            if a != index:
                a_low = a_high = one
            if b != index:
                b_low = b_high = other
            self._both[pair] = self._node(index, self.both(a_low, b_low), self.both(a_high, b_high))
        return self._both[pair]

    def either(self, one: Way, other: Way) -> Way:
        """At least one holds."""
        return self.no(self.both(self.no(one), self.no(other)))

    def implies(self, one: Way, other: Way) -> bool:
        """Whether the other holds wherever the one does."""
        return self.both(one, other) == one

    def _node(self, index: int, low: Way, high: Way) -> Way:
        if low == high:
            return low
        key = (index, low, high)
        if key not in self._known:
            if len(self._nodes) > MAX_NODES:
                raise TooEntangled
            self._known[key] = len(self._nodes)
            self._nodes.append(key)
        return self._known[key]
