"""Durations and times as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
LONGEST = 10 * 365 * 86400.0


def parse_duration(value: object) -> float:
    """Seconds of `250ms`, `2s`, `1h30m`, `7d`, or a plain number of seconds. Raises `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"not a duration: {value!r}")
    if isinstance(value, str):
        text = value.strip().replace(" ", "")
        parts = _PART.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            try:
                seconds = float(text)
            except ValueError:
                raise ValueError(f"not a duration: {value!r} (write it as 30s, 5m, 1h30m)") from None
        else:
            seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    else:
        seconds = float(value)
    if not 0 <= seconds <= LONGEST:
        raise ValueError(f"a duration is between 0 and 10 years, not {value!r}")
    return seconds


def parse_time(value: object) -> float:
    """Epoch seconds of an RFC 3339 time (UTC when it names no zone) or of a number. Raises `ValueError`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        raise ValueError(f"not a time: {value!r}")
    try:
        time = datetime.fromisoformat(value.strip())
    except ValueError:
        raise ValueError(f"not a time: {value!r} (write it as 2026-11-20T18:00:00Z)") from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
