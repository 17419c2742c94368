"""Values that are written as short text in workflow files: durations, sizes, names, patterns of signal types.

Each has one way to be read, a schema for editors, and an error that says how to write it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, TypeAlias

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from fleetprompt.engine.core.duration import AMOUNT, DURATION, MAX_DURATION, parse_duration
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.signal import MAX_PATTERN, PATTERN, RESERVED

MAX_SIZE: Final = 2**63 - 1

_BYTES = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)},
}
_SIZE = rf"^({AMOUNT})(B|[KMGT]i?B)$"
_STEP_ID = r"^[a-z][a-z0-9_]*$"
_WORKFLOW_NAME = r"^[a-z][a-z0-9_-]*$"


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
        usual = f"write `{amount}{unit or 'B'}`" if re.fullmatch(AMOUNT, amount, re.ASCII) else ""
        raise InvalidInput("this is not a size", hint=usual or "write it like `64KiB`, `10MB` or `512B`")
    amount, unit = match.groups()
    return int(amount) * _BYTES[unit] if amount.isdigit() else float(amount) * _BYTES[unit]


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
    if isinstance(value, str) and len(value) <= MAX_PATTERN and re.fullmatch(PATTERN, value):
        if not f"{value}.".startswith(RESERVED):
            return value
        message = (
            f"signals of the engine's own (`{RESERVED}*`) are heard by no trigger of type `signal` and by no `wait`"
        )
        hint = "of ends a trigger `{type: completion, workflow: NAME}` hears; others are told by [subscriptions]"
        raise PydanticCustomError("bad-value", "{message}", {"message": message, "hint": hint})
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
                {"type": "string", "pattern": DURATION},
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
    _text_schema(PATTERN, MAX_PATTERN, "Types of signals: `*` is one word, `**` is any number of words."),
]
