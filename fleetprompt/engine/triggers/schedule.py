"""When a schedule comes: cron expressions and intervals, in a time zone. The only module that imports APScheduler.

Its `CronTrigger` finds local minutes on a calendar without time zones; what they mean is said here. A minute that does
not exist, because clocks were set forward, comes once, as much later as clocks jumped; where that is a time of the
schedule itself, the two are one. Of a minute that exists twice, because clocks were set back, the first is the one that
counts; the second is told of, so that it can be recorded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from fleetprompt.engine.core.cron import Cron, parse_cron
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.firing import After, Occurrence, Schedule

NEAR = 90_000.0
"""Seconds. Clocks are never set by more: some islands have skipped a day."""
HALF = 0.5
"""Clocks are set, and minutes begin, at whole seconds: what is later than half a second before one includes it."""
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def times_of(schedule: Schedule) -> After:
    """How to find the times of a schedule. Raises `InvalidInput` for a rhythm or a time zone that cannot be read."""
    if schedule.every:
        return interval(schedule.every)
    return calendar(schedule.cron, schedule.timezone)


def interval(seconds: float) -> After:
    """Times at a fixed interval, counted from 1970 in UTC, so that every engine finds the same ones."""
    step = max(1, round(seconds * 1000))

    def after(at: float) -> Occurrence | None:
        count = math.floor(at * 1000 / step)
        while count * step / 1000 <= at:
            count += 1
        moment = _EPOCH + timedelta(milliseconds=count * step)
        spec = "milliseconds" if moment.microsecond else "seconds"
        return Occurrence(f"{moment.replace(tzinfo=None).isoformat(timespec=spec)}Z", count * step / 1000)

    return after


@lru_cache(maxsize=1024)
def calendar(cron: str, timezone: str) -> After:
    """The times of a cron expression in a time zone. Raises `InvalidInput`."""
    return _Calendar(parse_cron(cron), zone(timezone)).after


def zone(name: str) -> ZoneInfo:
    """A time zone by its IANA name. Raises `InvalidInput` for an unknown one."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InvalidInput(
            f"unknown time zone `{name}`", hint="an IANA name such as `Europe/Berlin` or `UTC`"
        ) from None


def local_minute(at: float, timezone: str) -> str:
    """The minute on the wall in a time zone, such as `2026-03-29T02:30`."""
    return _text(at + _offset(at, zone(timezone)))


class _Stretch(Struct, frozen=True):
    """A time in which clocks are not set."""

    begin: float
    end: float
    offset: float
    """Seconds by which the wall is ahead of UTC."""


class _Calendar:
    """The minutes that fit a cron expression."""

    def __init__(self, cron: Cron, zone: ZoneInfo) -> None:
        self._zone = zone
        self._triggers = _triggers(cron)
        self._steady = _Stretch(0.0, 0.0, 0.0)
        """One that was looked at: clocks are not set before its end."""

    def after(self, at: float) -> Occurrence | None:
        """The first time later than a moment."""
        while True:
            steady = self._steady
            if steady.begin <= at < steady.end:
                found = self._on_wall(_Stretch(-math.inf, math.inf, steady.offset), at)
                if found is not None and found.at < steady.end:
                    return found
            found = self._among(self._stretches(at), at)
            if found is None or found.at < at + 2 * NEAR:
                return found
            # Clocks may have been set by then: nothing comes before that, so it is looked for anew from there.
            at = found.at - NEAR

    def _stretches(self, at: float) -> list[_Stretch]:
        """Those around a moment, the last without an end."""
        moments = (at - NEAR, at, at + NEAR, at + 2 * NEAR)
        offsets = [_offset(moment, self._zone) for moment in moments]
        found = [_Stretch(-math.inf, math.inf, offsets[0])]
        for (low, high), offset in zip(pairwise(moments), offsets[1:], strict=True):
            before = found[-1]
            if offset != before.offset:
                change = _change(low, high, before.offset, self._zone)
                found[-1:] = [_Stretch(before.begin, change, before.offset), _Stretch(change, math.inf, offset)]
        if len(found) == 1:
            self._steady = _Stretch(at, at + 2 * NEAR, offsets[0])
        return found

    def _among(self, stretches: Sequence[_Stretch], at: float) -> Occurrence | None:
        found = [self._on_wall(each, at, stretches[:index]) for index, each in enumerate(stretches)]
        found += [self._moved(before, each, at) for before, each in pairwise(stretches)]
        # Of two at one moment the first is what is on the wall.
        return min((each for each in found if each is not None), key=lambda each: each.at, default=None)

    def _on_wall(self, stretch: _Stretch, at: float, before: Sequence[_Stretch] = ()) -> Occurrence | None:
        """The first time in a stretch, by the wall."""
        wall = self._next(max(at, stretch.begin - HALF) + stretch.offset)
        if wall is None or wall - stretch.offset >= stretch.end:
            return None
        again = any(each.begin <= wall - each.offset < each.end for each in before)
        return Occurrence(_text(wall), wall - stretch.offset, again=again)

    def _moved(self, before: _Stretch, stretch: _Stretch, at: float) -> Occurrence | None:
        """The first time that was left out between two stretches, as much later as clocks were set forward."""
        gap = stretch.begin + before.offset
        wall = self._next(max(at + before.offset, gap - HALF))
        if wall is None or wall >= stretch.begin + stretch.offset:
            return None
        moment = wall - before.offset
        return Occurrence(_text(moment + stretch.offset), moment, f"{_wall(wall):%H:%M} does not exist on that day")

    def _next(self, wall: float) -> float | None:
        """The first minute that fits and is later than one on the wall."""
        found = [_next(trigger, wall) for trigger in self._triggers]
        return min((each for each in found if each is not None), default=None)


def _triggers(cron: Cron) -> list[Any]:
    """APScheduler's triggers for the local minutes that fit: two, where a day has to fit one of two fields."""
    from apscheduler.triggers.cron import CronTrigger  # pyright: ignore[reportMissingTypeStubs]

    common = {"month": _list(cron.months, 12), "hour": _list(cron.hours, 24), "minute": _list(cron.minutes, 60)}
    day, weekday = _list(cron.days, 31), _list([_WEEKDAYS[each] for each in cron.weekdays], 7)
    days = [{"day": day}, {"day_of_week": weekday}] if cron.either else [{"day": day, "day_of_week": weekday}]
    return [CronTrigger(**common, **each, second="0", timezone=UTC) for each in days]


def _next(trigger: Any, wall: float) -> float | None:
    """The first minute later than one on the wall; None where there is none before the calendar ends."""
    try:
        found = trigger.get_next_fire_time(None, _EPOCH + timedelta(seconds=math.floor(wall) + 1))
    except (OverflowError, ValueError):
        return None
    return (found - _EPOCH).total_seconds() if found is not None else None


def _list(fitting: Sequence[object], all_: int) -> str:
    """What fits a field, as the trigger reads it; a list of everything would be gone through one by one."""
    return "*" if len(fitting) == all_ else ",".join(map(str, fitting))


def _change(low: float, high: float, offset: float, zone: ZoneInfo) -> float:
    """The moment between two, to the second, from which on the offset is another one."""
    first, last = math.floor(low), math.ceil(high)
    while last - first > 1:
        middle = (first + last) // 2
        if _offset(middle, zone) == offset:
            first = middle
        else:
            last = middle
    return float(last)


def _offset(at: float, zone: ZoneInfo) -> float:
    return ((_EPOCH + timedelta(seconds=at)).astimezone(zone).utcoffset() or timedelta()).total_seconds()


def _wall(seconds: float) -> datetime:
    """What the wall shows; its seconds are counted as if it were in UTC."""
    return (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None)


def _text(wall: float) -> str:
    return _wall(wall).isoformat(timespec="minutes")
