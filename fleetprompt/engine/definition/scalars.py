"""Values that are written as short text in workflow files: durations, sizes, names, patterns of signal types.

Each has one way to be read, a schema for editors, and an error that says how to write it.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Final, TypeAlias

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from fleetprompt.engine.core.errors import InvalidInput

MAX_DURATION: Final = 3650 * 86_400.0
"""Ten years: longer is a slip, and timers of it would overflow somewhere."""
MAX_SIZE: Final = 2**63 - 1

_SECONDS = {"w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_AMOUNT = r"\d+(?:\.\d+)?"
_DURATION = rf"^(?=\d)(?:{_AMOUNT}w)?(?:{_AMOUNT}d)?(?:{_AMOUNT}h)?(?:{_AMOUNT}m)?(?:{_AMOUNT}s)?(?:{_AMOUNT}ms)?$"
_BYTES = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)},
}
_SIZE = rf"^({_AMOUNT})(B|[KMGT]i?B)$"
_STEP_ID = r"^[a-z][a-z0-9_]*$"
_WORKFLOW_NAME = r"^[a-z][a-z0-9_-]*$"
_SEGMENT = r"(?:\*{1,2}|[A-Za-z0-9_-]+)"
_SIGNAL_PATTERN = rf"^{_SEGMENT}(?:\.{_SEGMENT})*$"


def parse_duration(value: Any) -> float:
    """Seconds of `5m`, `1h30m`, `250ms`, `7d`, or of a number, which is seconds already.

    Units go from large to small, each at most once: w, d, h, m, s, ms. Raises `InvalidInput` for anything else, and
    for what is negative, not a number, or longer than ten years.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidInput("a duration is text such as `5m` or a number of seconds")
    if isinstance(value, str):
        if len(value) > 100 or not re.fullmatch(_DURATION, value, re.ASCII):
            raise InvalidInput("this is not a duration", hint=_duration_hint(value))
        parts = re.findall(rf"({_AMOUNT})([a-z]+)", value)
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


def parse_size(value: Any) -> int:
    """Bytes of `64KiB` (1024), `10MB` (1000), `512B`, or of a whole number, which is bytes already.

    Raises `InvalidInput` for anything else, for fractions of a byte and for what is negative.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidInput("a size is text such as `64KiB` or a whole number of bytes")
    size: float = value if isinstance(value, int) else _bytes(value)
    if size < 0:
        raise InvalidInput("a size cannot be negative")
    if size > MAX_SIZE:
        raise InvalidInput("this size is too large")
    if size != int(size):
        raise InvalidInput("a size is a whole number of bytes")
    return int(size)


def _bytes(text: str) -> float:
    match = re.fullmatch(_SIZE, text, re.ASCII) if len(text) <= 100 else None
    if match is None:
        compact = text.replace(" ", "")[:100]
        unit = next((unit for unit in reversed(_BYTES) if compact.lower().endswith(unit.lower())), "")
        amount = compact[: len(compact) - len(unit)] if unit else compact
        usual = f"write `{amount}{unit or 'B'}`" if re.fullmatch(_AMOUNT, amount, re.ASCII) else ""
        raise InvalidInput("this is not a size", hint=usual or "write it like `64KiB`, `10MB` or `512B`")
    amount, unit = match.groups()
    return int(amount) * _BYTES[unit] if amount.isdigit() else float(amount) * _BYTES[unit]


def _duration_hint(text: str) -> str:
    compact = text.replace(" ", "")[:100].lower()
    if re.fullmatch(_AMOUNT, compact, re.ASCII):
        return f"write `{compact}s` for seconds"
    words = r"(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)"
    parts: list[tuple[str, str]] = re.findall(rf"({_AMOUNT}){words}(?![a-z])", compact, re.ASCII)
    if parts and "".join(amount + unit for amount, unit in parts) == compact:
        short = "".join(amount + ("ms" if unit.startswith(("ms", "milli")) else unit[0]) for amount, unit in parts)
        if re.fullmatch(_DURATION, short, re.ASCII):
            return f"write `{short}`"
    return "write it like `250ms`, `90s`, `5m`, `1h30m` or `7d`"


def _duration(value: Any) -> float:
    try:
        return parse_duration(value)
    except InvalidInput as error:
        raise _bad_value(error) from None


def _size(value: Any) -> int:
    try:
        return parse_size(value)
    except InvalidInput as error:
        raise _bad_value(error) from None


def _bad_value(error: InvalidInput) -> PydanticCustomError:
    return PydanticCustomError("bad-value", "{message}", {"message": error.message, "hint": error.hint})


def _step_id(value: Any) -> str:
    return _name(value, "an id", _STEP_ID, 64, "_")


def _workflow_name(value: Any) -> str:
    return _name(value, "a name", _WORKFLOW_NAME, 100, "-")


def _name(value: Any, what: str, pattern: str, length: int, joint: str) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("wrong-type", "{message}", {"message": f"{what} must be text", "hint": ""})
    if re.fullmatch(pattern, value) and len(value) <= length:
        return value
    message = f"{what} starts with a-z and goes on with a-z, 0-9, `_`" + (" and `-`" if joint == "-" else "")
    if len(value) > length:
        message = f"{what} has at most {length} characters"
    usual = re.sub(r"[^a-z0-9]+", joint, re.sub(r"(?<=[a-z0-9])(?=[A-Z])", joint, value[:200]).lower())
    usual = re.sub(r"^[^a-z]+", "", usual).strip(joint)[:length].rstrip(joint)
    hint = f"for example `{usual}`" if usual else ""
    raise PydanticCustomError("bad-id", "{message}", {"message": message, "hint": hint})


def _signal_pattern(value: Any) -> str:
    if isinstance(value, str) and len(value) <= 200 and re.fullmatch(_SIGNAL_PATTERN, value):
        return value
    message = "a signal pattern is words separated by dots"
    hint = "`*` stands for one whole word and `**` for any number of them, as in `deploy.*` or `**.failed`"
    raise PydanticCustomError("bad-value", "{message}", {"message": message, "hint": hint})


def _text_schema(pattern: str, length: int, description: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "maxLength": length, "description": description})


DurationField: TypeAlias = Annotated[
    float,
    PlainValidator(_duration),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": _DURATION},
                {"type": "number", "minimum": 0, "maximum": MAX_DURATION},
            ],
            "description": "A duration: `250ms`, `90s`, `5m`, `1h30m`, `7d`, or a number of seconds.",
            "examples": ["30s", "5m", "1h30m", "7d"],
        }
    ),
]
"""Seconds in the model; `5m`, `1h30m` or a number of seconds in the file."""

SizeField: TypeAlias = Annotated[
    int,
    PlainValidator(_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": _SIZE},
                {"type": "integer", "minimum": 0, "maximum": MAX_SIZE},
            ],
            "description": "A size: `64KiB` (1024), `10MB` (1000), or a number of bytes.",
            "examples": ["64KiB", "10MB"],
        }
    ),
]
"""Bytes in the model; `64KiB`, `10MB` or a number of bytes in the file."""

StepId: TypeAlias = Annotated[
    str, PlainValidator(_step_id), _text_schema(_STEP_ID, 64, "Name of a step, unique in the file.")
]
WorkflowName: TypeAlias = Annotated[
    str, PlainValidator(_workflow_name), _text_schema(_WORKFLOW_NAME, 100, "Name of a workflow.")
]
SignalPattern: TypeAlias = Annotated[
    str,
    PlainValidator(_signal_pattern),
    _text_schema(_SIGNAL_PATTERN, 200, "Types of signals: `*` is one word, `**` is any number of words."),
]
