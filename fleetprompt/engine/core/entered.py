"""Values that people enter, as inputs of a run or in the form of an approval: what one may be."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from fleetprompt.engine.core.expr_pattern import whole_problem

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def is_of_type(value: Any, type_: str) -> bool:
    """Whether a value is of a declared type; every value is of `any`, and true is no number."""
    wanted = _TYPES.get(type_)
    return wanted is None or (isinstance(value, wanted) and (bool in wanted or not isinstance(value, bool)))


def entered_problem(
    value: Any,
    type_: str,
    *,
    enum: Collection[Any] = (),
    pattern: str = "",
    min_length: int | None = None,
    max_length: int | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
) -> str:
    """What is wrong with a value, to follow its name; empty when nothing is."""
    if not is_of_type(value, type_):
        return f"must be of type {type_}"
    if enum and value not in enum:
        return f"must be one of {', '.join(map(str, enum))}"
    if isinstance(value, str):
        if min_length is not None and len(value) < min_length:
            return f"needs at least {min_length} characters"
        if max_length is not None and len(value) > max_length:
            return f"may have at most {max_length} characters"
        if pattern and (problem := whole_problem(pattern, value)):
            return f"cannot be this text: {problem}"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if minimum is not None and value < minimum:
            return f"must be at least {minimum:g}"
        if maximum is not None and value > maximum:
            return f"must be at most {maximum:g}"
    return ""
