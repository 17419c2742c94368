"""Durations and times as people write them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any, Final

from fleetprompt.engine.core.errors import InvalidInput

MAX_DURATION: Final = 3650 * 86_400.0
"""Ten years: longer is a slip, and timers of it would overflow somewhere."""
AMOUNT: Final = r"\d+(?:\.\d+)?"
DURATION: Final = rf"^(?=\d)(?:{AMOUNT}w)?(?:{AMOUNT}d)?(?:{AMOUNT}h)?(?:{AMOUNT}m)?(?:{AMOUNT}s)?(?:{AMOUNT}ms)?$"
_SECONDS = {"w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def parse_duration(value: Any) -> float:
    """Seconds of `5m`, `1h30m`, `250ms`, `7d`, or of a number, which is seconds already.

    Units go from large to small, each at most once: w, d, h, m, s, ms. Raises `InvalidInput` for anything else, and
    for what is negative, not a number, or longer than ten years.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidInput("a duration is text such as `5m` or a number of seconds")
    if isinstance(value, str):
        if len(value) > 100 or not re.fullmatch(DURATION, value, re.ASCII):
            raise InvalidInput("this is not a duration", hint=_duration_hint(value))
        parts = re.findall(rf"({AMOUNT})([a-z]+)", value)
        seconds = math.fsum(float(amount) * _SECONDS[unit] for amount, unit in parts)
    else:
        # Compared before it becomes a float: an integer of a thousand digits cannot become one.
        seconds = float(value) if abs(value) <= MAX_DURATION else math.inf
    if not 0 <= seconds <= MAX_DURATION:
        raise InvalidInput("a duration is between 0 and ten years")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest way to write a duration, to the millisecond: `1h30m`, `2.5s`, `250ms`; `parse_duration` reads it."""
    if not math.isfinite(seconds):
        return "∞" if seconds > 0 else "-∞" if seconds < 0 else "?"
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m")]
    text = "".join(f"{amount}{unit}" for amount, unit in parts if amount)
    return text + (f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s" if rest else "")


def _duration_hint(text: str) -> str:
    compact = text.replace(" ", "")[:100].lower()
    if re.fullmatch(AMOUNT, compact, re.ASCII):
        return f"write `{compact}s` for seconds"
    words = r"(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)"
    parts: list[tuple[str, str]] = re.findall(rf"({AMOUNT}){words}(?![a-z])", compact, re.ASCII)
    if parts and "".join(amount + unit for amount, unit in parts) == compact:
        short = "".join(amount + ("ms" if unit.startswith(("ms", "milli")) else unit[0]) for amount, unit in parts)
        if re.fullmatch(DURATION, short, re.ASCII):
            return f"write `{short}`"
    return "write it like `250ms`, `90s`, `5m`, `1h30m` or `7d`"


def parse_time(value: Any) -> float:
    """Epoch seconds of an RFC 3339 time (UTC when it names no zone) or of a number. Raises `InvalidInput`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        raise InvalidInput("a time is text such as `2026-11-20T18:00:00Z`")
    try:
        time = datetime.fromisoformat(value.strip())
    except ValueError:
        raise InvalidInput("this is not a time", hint="write it like `2026-11-20T18:00:00Z`") from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
