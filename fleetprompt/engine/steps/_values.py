"""What step types share: rendered values as text, secrets filled in, and problems told without the values."""

from __future__ import annotations

import math
from typing import Annotated, Any, TypeAlias, cast

from pydantic import PlainValidator, ValidationError, WithJsonSchema

from fleetprompt.engine.definition.fields import wrong
from fleetprompt.engine.outside.wording import failed
from fleetprompt.engine.ports import Context, Failed


def _word(value: Any) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, int | float):
        if not math.isfinite(value):
            raise wrong("this number is not finite")
        text = repr(value)
    else:
        kind = "null" if value is None else "a mapping" if isinstance(value, dict) else "a list"
        raise wrong(f"this has to be text, a number, true or false; it is {kind}")
    if "\0" in text:
        raise wrong("a text with a NUL byte cannot be passed on")
    return text


Word: TypeAlias = Annotated[str, PlainValidator(_word), WithJsonSchema({"type": ["string", "number", "boolean"]})]
"""Text, or a number or boolean written as text (`true`, `2.5`). Null, lists and mappings are refused."""

OptionalWord: TypeAlias = Annotated[
    str | None,
    PlainValidator(lambda value: None if value is None else _word(value)),
    WithJsonSchema({"type": ["string", "number", "boolean", "null"]}),
]
"""A word, or null where the thing it would be given to is left out."""


def _words(value: Any) -> list[str]:
    if isinstance(value, list):
        return [_word(item) for item in cast("list[Any]", value)]
    return [] if value is None else [_word(value)]


Words: TypeAlias = Annotated[
    list[str],
    PlainValidator(_words),
    WithJsonSchema(
        {
            "type": ["string", "number", "boolean", "null", "array"],
            "items": {"type": ["string", "number", "boolean"]},
        }
    ),
]
"""One word or a list of them; null is the empty list."""


def pointer(*keys: str | int) -> str:
    """The JSON pointer of a place in a step's input."""
    return "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in keys)


def revealed(ctx: Context, value: Any, at: str) -> Any:
    """A part of the input, found at that pointer, with its secrets filled in."""
    if not ctx.effect.secrets:
        return value
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return {key: revealed(ctx, item, at + pointer(key)) for key, item in items.items()}
    if isinstance(value, list):
        return [revealed(ctx, item, at + pointer(i)) for i, item in enumerate(cast("list[Any]", value))]
    text = ctx.reveal(at)
    return value if text is None else text


def unusable(error: ValidationError) -> Failed:
    """The outcome when a template became something that its field cannot hold. Names places, never values."""
    problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_url=False)]
    shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
    return failed(f"the rendered input cannot be used: {shown}", code="VALIDATION_ERROR", retryable=False)
