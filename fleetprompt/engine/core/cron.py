"""Cron expressions as sets of numbers: read once here, and so understood in one way. PURE.

Five fields: minute, hour, day of the month, month, weekday; Sunday is 0 and 7. As in Vixie's cron, a day fits when it
fits either of day and weekday where both are restricted; a field that begins with `*` restricts nothing.
"""

from __future__ import annotations

import re
from calendar import monthrange

from msgspec import Struct

from fleetprompt.engine.core.errors import InvalidInput

FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
"""Name, least and greatest number of each field."""
NAMES = {
    "month": ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    "weekday": ("sun", "mon", "tue", "wed", "thu", "fri", "sat"),
}
MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_LEAP = 2000
_FOREIGN = re.compile(r"[?#]|^([0-9]*[LW]|LW|L-[0-9]+)$", re.IGNORECASE)
"""What Quartz and others know besides."""


class Cron(Struct, frozen=True):
    """What fits each field, in order. `weekdays`: 0 is Sunday, 6 is Saturday."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    either: bool
    """A day that fits `days` or `weekdays` is enough; otherwise it has to fit both."""


def parse_cron(text: str) -> Cron:
    """What a cron expression says. Raises `InvalidInput` for one that is malformed, or that no day ever fits."""
    fields = MACROS.get(text, text).split()
    if text.startswith("@") and text not in MACROS:
        raise InvalidInput(f"unknown cron expression `{text}`", hint=f"known: {', '.join(MACROS)}")
    if len(fields) != len(FIELDS):
        more = (
            "; there is no field for seconds or years, `every: 10s` is an interval" if len(fields) > len(FIELDS) else ""
        )
        raise InvalidInput(
            f"a cron expression has five fields, this has {len(fields)}",
            hint=f"minute hour day month weekday, such as `*/15 * * * *`{more}",
        )
    found = [_numbers(field, *known) for field, known in zip(fields, FIELDS, strict=True)]
    minutes, hours, days, months, weekdays = (tuple(sorted(numbers)) for numbers in found)
    either = not any(field.startswith("*") for field in (fields[2], fields[4]))
    if not either and all(days[0] > monthrange(_LEAP, month)[1] for month in months):
        raise InvalidInput(f"it never comes: no such month has a day {days[0]}", hint="change the day or the month")
    return Cron(minutes, hours, days, months, tuple(sorted({day % 7 for day in weekdays})), either)


def _numbers(field: str, name: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        found |= _part(part, name, low, high)
    return found


def _part(part: str, name: str, low: int, high: int) -> set[int]:
    span, slash, every = part.partition("/")
    if slash and not (re.fullmatch(r"[0-9]{1,4}", every) and int(every)):
        raise InvalidInput(f"`{part}` is not a valid step in the {name} field", hint=f"write `*/n` or `{low}-{high}/n`")
    step = int(every) if slash else 1
    if span == "*":
        # Sunday once: with 7 the steps of `*/n` would begin anew.
        return {*range(low, high + (name != "weekday"), step)}
    first, dash, last = span.partition("-")
    begin = _number(first, name, low, high)
    if last.lower() == "sun":
        last = str(high)
    end = _number(last, name, low, high) if dash else high if slash else begin
    if end < begin:
        names = NAMES.get(name, (str(low), str(high)))
        hint = f"write `{first}-{names[-1]},{names[0]}-{last}`"
        raise InvalidInput(f"the range `{span}` in the {name} field ends before it begins", hint=hint)
    return {*range(begin, end + 1, step)}


def _number(text: str, name: str, low: int, high: int) -> int:
    names = NAMES.get(name, ())
    if text.lower() in names:
        return names.index(text.lower()) + low
    if not re.fullmatch(r"[0-9]{1,2}", text) or not low <= int(text) <= high:
        known = f", or {names[0]} to {names[-1]}" if names else ""
        hint = (
            "`L`, `W`, `#` and `?` of other dialects are not known; `*` is every one" if _FOREIGN.search(text) else ""
        )
        raise InvalidInput(f"`{text}` is not a {name}: {low} to {high}{known}", hint=hint)
    return int(text)
