"""Values as JSON and as text: how heavy they are, whether all of them is there, and how they are written and read."""

from __future__ import annotations

from typing import Any, Final, NoReturn

import msgspec

from fleetprompt.engine.core.expr_values import (
    MAX_TEXT,
    SCALARS,
    Meter,
    Referred,
    Refusal,
    TooLarge,
    kind,
    number,
    type_of,
)

MAX_RESULT: Final = 4 * 1024 * 1024
"""Weight of a computed result: its characters, each value counting as four. Sharing makes `[[x] * 1000] * 1000` small
in memory and enormous as JSON, so it is the JSON that is bounded. What is only passed on is not computed."""


def check_loaded(value: Any) -> None:
    """Raises NeedsValue when a part of it is not loaded, Referred when it never is, Refusal when it is not JSON."""
    stack = [value]
    while stack:
        item = stack.pop()
        what = type_of(item)
        if what is dict:
            stack += [child for child in item.values() if type_of(child) not in SCALARS]
        elif what is list:
            stack += [child for child in item if type_of(child) not in SCALARS]
        elif what is TooLarge:
            raise Referred
        else:
            kind(item)


def weigh(value: Any, limit: int = MAX_RESULT) -> int:
    """How heavy a value is, as JSON would write it out: its characters, each value counting as four.

    Raises Refusal over the limit or for anything but JSON data, NeedsValue when a part is not loaded, Referred when one
    never is.
    """
    total, stack = 0, [value]
    while stack:
        item = stack.pop()
        what = type_of(item)
        total += 4
        if what is str:
            total += len(item)
        elif what is list:
            stack.extend(item if total + len(item) <= limit else _too_heavy(limit))
        elif what is dict:
            for key in item:
                if type(key) is not str:
                    raise Refusal(f"a mapping with a key of type {type(key).__name__} is not JSON data")
                total += len(key)
            stack.extend(item.values() if total + len(item) <= limit else _too_heavy(limit))
        elif what is TooLarge:
            raise Referred
        elif what not in SCALARS:
            kind(item)
        if total > limit:
            _too_heavy(limit)
    return total


def referring(value: Any) -> Any:
    """The value with `{ref, size}` in place of what is too large."""
    what = type_of(value)
    if what is TooLarge:
        return {"ref": value.ref, "size": value.size}
    if what is dict:
        return {key: referring(item) for key, item in value.items()}
    return [referring(item) for item in value] if what is list else value


def _too_heavy(limit: int) -> NoReturn:
    raise Refusal(f"the result is too large: more than {limit:,} characters")


def to_json(value: Any, meter: Meter) -> str:
    """Compact JSON."""
    try:
        meter.spend(1 + (weigh(value, MAX_TEXT) >> 6))
    except Referred:
        return to_json(referring(value), meter)
    try:
        text = msgspec.json.encode(value).decode()
    except ValueError as error:  # a lone surrogate, which no JSON text can carry
        raise Refusal(f"the value cannot be written as JSON: {error}") from None
    meter.text(len(text))
    return text


def to_text(value: Any, meter: Meter) -> str:
    """How a value reads inside a longer text: null is empty, containers are JSON."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is int:
        return str(number(value))
    if type(value) is float:
        return repr(value)
    if type(value) is list or type(value) is dict or type(value) is TooLarge:
        return to_json(value, meter)
    raise Refusal(f"{kind(value)} has no text")


def from_json(text: str, meter: Meter) -> Any:
    """The value of a JSON text."""
    meter.text(len(text))
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeEncodeError) as error:
        raise Refusal(f"the text is not JSON: {error}") from None
    meter.spend(weigh(value) >> 6)
    return value
