"""Civil days as spans of time: where they begin depends on the zone, and not each has 24 hours. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple


class Day(NamedTuple):
    """From when (inclusive) to when (exclusive) a day lasts, in epoch seconds."""

    name: str
    """`2026-11-20`."""
    low: float
    high: float


def days(first: float, last: float, zone: tzinfo) -> Iterator[Day]:
    """The days from the one that `last` is in back to the one that `first` is in."""
    date = datetime.fromtimestamp(last, zone).date()
    high = _midnight(date.toordinal() + 1, zone)
    while high > first:
        low = _midnight(date.toordinal(), zone)
        yield Day(date.isoformat(), low, high)
        date, high = date - timedelta(days=1), low


def _midnight(day: int, zone: tzinfo) -> float:
    return datetime.fromordinal(day).replace(tzinfo=zone).timestamp()
