"""Counters and histograms in memory: as cheap as a dictionary, with a bound on how many series there can be."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

MOST_VALUES: Final = 200
"""Different values of one label that are told apart; what comes later is counted together."""
OTHER: Final = "other"

Labels = tuple[str, ...]


class Values:
    """The values of one label, bounded: names come from files and from models, and each makes series for ever."""

    def __init__(self, most: int = MOST_VALUES) -> None:
        self._most = most
        self._known: set[str] = set()

    def bound(self, value: str) -> str:
        """The value, or `other` where there are too many already."""
        if value in self._known:
            return value
        if len(self._known) >= self._most:
            return OTHER
        self._known.add(value)
        return value


class Counter:
    """Sums by labels; they only rise while the process lives."""

    def __init__(self) -> None:
        self.values: dict[Labels, float] = {}

    def add(self, labels: Labels, amount: float = 1) -> None:
        """Count something."""
        self.values[labels] = self.values.get(labels, 0) + amount


class Histogram:
    """How often values fell into which range, by labels."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        """The inclusive upper ends of the ranges, rising; above the last is one more."""
        self.counts: dict[Labels, list[int]] = {}
        self.sums: dict[Labels, float] = {}

    def observe(self, labels: Labels, value: float) -> None:
        """Count a value. One below 0 counts as 0: it is a clock that was set."""
        value = max(0.0, value)
        counts = self.counts.get(labels)
        if counts is None:
            counts = self.counts[labels] = [0] * (len(self.bounds) + 1)
            self.sums[labels] = 0.0
        counts[bisect_left(self.bounds, value)] += 1
        self.sums[labels] += value

    def copied(self) -> tuple[Mapping[Labels, list[int]], Mapping[Labels, float]]:
        """Counts and sums as they are now: what is rendered elsewhere must not change meanwhile."""
        return {labels: list(counts) for labels, counts in self.counts.items()}, dict(self.sums)
