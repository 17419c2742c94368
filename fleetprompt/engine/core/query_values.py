"""The values of the filter language: texts with wildcards, amounts, and moments in time.

Readers raise `ValueError` with a sentence for the user; writers give the one canonical spelling, which reads back as
the same value. Moments stay relative until `span` is told what time it is.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from string import ascii_lowercase, ascii_uppercase

from msgspec import Struct

from fleetprompt.engine.core.query_fields import Field
from fleetprompt.engine.core.query_scan import Piece, quote

LARGEST = 2**63 - 1
"""Values beyond what an integer column can hold are refused when read."""

_NUMBER = re.compile(r"\$?([0-9][0-9_]*(?:\.[0-9]+)?|\.[0-9]+)([kmg]?)", re.IGNORECASE)
_DURATION_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,3})?)(ms|[smhdw])", re.IGNORECASE)
_DATE = r"(?:19|2[0-9])[0-9]{2}-[0-9]{2}"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?)?"
_MONTH = re.compile(_DATE)
_DAY = re.compile(_DATE + r"-[0-9]{2}")
_TIME_TODAY = re.compile(_CLOCK)
_DATE_TIME = re.compile(rf"({_DATE}-[0-9]{{2}})[T ]({_CLOCK})(Z|[+-][0-9]{{2}}:[0-9]{{2}})?", re.IGNORECASE)

_FOLD = str.maketrans(ascii_uppercase, ascii_lowercase)
_MULTIPLE = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
_UNIT_MS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_LONGEST_MS = 36_500 * _UNIT_MS["d"]
_NANO = 1_000_000_000


class Text(Struct, frozen=True, tag=True):
    """A text to compare with, ignoring the case of the letters A to Z alone (what SQLite and Postgres both can do).

    Between two parts any characters may stand, also none: `("deploy", "")` begins with "deploy", `("deploy",)` is
    "deploy", and `("", "")` is any text that is not empty.
    """

    parts: tuple[str, ...]


class Amount(Struct, frozen=True, tag=True):
    """A count, nano-USD or seconds, as the field's kind says: the unit of the column."""

    number: int | float


class Moment(Struct, frozen=True, tag=True):
    """A point in time, or the whole day, month, minute or second that was named."""

    text: str
    """Canonical spelling."""
    offset: float | None = None
    """Seconds from now when the moment was given as a duration or `now`."""


Value = Text | Amount | Moment


def read_text(field: Field, piece: Piece) -> Text:
    """A text, or the value of an enum; raises ValueError for an enum value that no row can have."""
    if field.kind == "enum":
        parts = tuple(fold(part) for part in piece.parts)
        if not any(fits(parts, value) for value in field.values):
            raise ValueError(f'"{piece.text}" is not a {field.name}')
        return Text(parts=parts)
    return Text(parts=anywhere(piece.parts) if field.contains else piece.parts)


def fold(text: str) -> str:
    """The letters A to Z in lower case, everything else as it is."""
    return text.lower() if text.isascii() else text.translate(_FOLD)


def fits(parts: tuple[str, ...], text: str) -> bool:
    """Whether a folded text is what folded parts describe; the empty text fits nothing."""
    first, *middle = parts
    if not middle:
        return text == first != ""
    last = middle.pop()
    position, end = len(first), len(text) - len(last)
    if not text or position > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in middle:
        at = text.find(part, position, end)
        if at < 0:
            return False
        position = at + len(part)
    return True


def anywhere(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The same text with a wildcard at both ends."""
    parts = parts if parts[0] == "" else ("", *parts)
    return parts if parts[-1] == "" and len(parts) > 1 else (*parts, "")


def read_amount(field: Field, text: str) -> Amount:
    """An amount in the column's unit; raises ValueError."""
    if field.kind in ("duration", "age"):
        return Amount(number=read_seconds(text))
    match = _NUMBER.fullmatch(text)
    if match is None or ("$" in text and field.kind != "money"):
        example = "0.5" if field.kind == "money" else "3 or 10k"
        raise ValueError(f'"{text}" is not a number: write it like {example}')
    digits, suffix = match[1].replace("_", ""), match[2].lower()
    if len(digits) > 20:
        raise ValueError("the number has too many digits")
    number = Decimal(digits) * _MULTIPLE[suffix]
    if field.kind == "money":
        number *= _NANO
        if number % 1:
            raise ValueError("money has at most nine decimals")
    if number > LARGEST:
        raise ValueError("the number is too large")
    return Amount(number=int(number) if number % 1 == 0 or float(number).is_integer() else float(number))


def read_seconds(text: str) -> float:
    """Seconds of `90s`, `2h30m`, `1.5h`, `250ms`, `0`; raises ValueError."""
    if text == "0":
        return 0.0
    total, position = Decimal(0), 0
    while match := _DURATION_PART.match(text, position):
        total += Decimal(match[1]) * _UNIT_MS[match[2].lower()]
        position = match.end()
    if position < len(text) or not text:
        number = text if text.isdecimal() and text.isascii() else "10"
        raise ValueError(f'"{text}" is not a duration: write it like {number}s, {number}m, {number}h or 2h30m')
    if total > _LONGEST_MS:
        raise ValueError("the duration is longer than a hundred years")
    return int(total) / 1000


def read_moment(field: Field, text: str) -> Moment:
    """A moment from a date, a time or a duration; raises ValueError."""
    lowered = text.lower()
    if lowered in ("today", "yesterday"):
        return Moment(text=lowered)
    if lowered == "now":
        return Moment(text="now", offset=0.0)
    if match := _DATE_TIME.fullmatch(text):
        written = f"{match[1]}T{match[2]}{(match[3] or '').upper()}"
    elif _MONTH.fullmatch(text) or _DAY.fullmatch(text) or _TIME_TODAY.fullmatch(text):
        written = text
    elif _DURATION_PART.match(text):
        seconds = read_seconds(text)
        return Moment(text=write_seconds(seconds), offset=seconds if field.ahead else -seconds)
    else:
        raise ValueError(f'"{text}" is not a time: write it like 2h, today, 2026-11-20, 14:30 or 2026-11-20T14:30')
    try:
        _civil(written)
    except ValueError as problem:
        raise ValueError(f'"{text}" is not a time: {problem}') from None
    return Moment(text=written)


def write(field: Field, value: Value) -> str:
    """The canonical spelling of a value."""
    match value:
        case Text(parts=parts):
            return write_text(parts, contains=field.contains)
        case Moment(text=text):
            return text
        case Amount(number=number) if field.kind in ("duration", "age"):
            return write_seconds(number)
        case Amount(number=number) if field.kind == "money":
            return _plain(Decimal(number).scaleb(-9))
        case Amount(number=int(number)):
            suffix = next(s for s in ("g", "m", "k", "") if number % _MULTIPLE[s] == 0 and (number or not s))
            return f"{number // _MULTIPLE[suffix]}{suffix}"
        case Amount(number=number):
            return _plain(Decimal(repr(number)))


def write_text(parts: tuple[str, ...], *, contains: bool) -> str:
    """A text with its wildcards; those at the ends of a `contains` text go without saying."""
    if contains and any(parts):
        parts = parts[1:-1]
    return "*".join(quote(part) if part else "" for part in parts)


def write_seconds(seconds: float) -> str:
    """`2h30m` for 9000.0."""
    rest, written = round(seconds * 1000), ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, _UNIT_MS[unit])
        written += f"{count}{unit}" if count else ""
    return written or "0s"


def span(moment: Moment, now: float, zone: tzinfo) -> tuple[float, float]:
    """From when (inclusive) to when (exclusive) a moment lasts, in seconds since 1970; equal for a relative one.

    `now` is in the same unit; `zone` is where days begin and where times without an offset are meant.
    """
    if moment.offset is not None:
        return now + moment.offset, now + moment.offset
    today = datetime.fromtimestamp(now, zone).date()
    if moment.text == "today":
        begin, width = datetime(today.year, today.month, today.day), timedelta(days=1)
    elif moment.text == "yesterday":
        begin, width = datetime(today.year, today.month, today.day) - timedelta(days=1), timedelta(days=1)
    elif _TIME_TODAY.fullmatch(moment.text):
        begin, width = _civil(f"{today.isoformat()}T{moment.text}")
    else:
        begin, width = _civil(moment.text)
    if begin.tzinfo is not None or width < timedelta(days=1):
        low = begin if begin.tzinfo is not None else begin.replace(tzinfo=zone)
        return low.timestamp(), low.timestamp() + width.total_seconds()
    # A civil day is not always 24 hours: both ends are looked up on the wall clock.
    return begin.replace(tzinfo=zone).timestamp(), (begin + width).replace(tzinfo=zone).timestamp()


def _civil(text: str) -> tuple[datetime, timedelta]:
    """Where a written time begins and how long it lasts; naive unless it names an offset; raises ValueError."""
    if _MONTH.fullmatch(text):
        begin = datetime.fromisoformat(text + "-01")
        return begin, (begin + timedelta(days=32)).replace(day=1) - begin
    if _DAY.fullmatch(text):
        return datetime.fromisoformat(text), timedelta(days=1)
    if _TIME_TODAY.fullmatch(text):
        text = f"2000-01-01T{text}"
    clock = re.sub(r"(Z|[+-]\d\d:\d\d)$", "", text.split("T")[1])
    if "." in clock:
        width = timedelta(microseconds=10 ** (6 - len(clock.split(".")[1])))
    else:
        width = timedelta(seconds=1) if clock.count(":") == 2 else timedelta(minutes=1)
    return datetime.fromisoformat(text), width


def _plain(number: Decimal) -> str:
    written = f"{number:f}"
    return written.rstrip("0").rstrip(".") if "." in written else written
