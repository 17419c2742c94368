"""The result of an agent: text, or a JSON value that fits a schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

_FENCE = re.compile(r"^```[a-zA-Z]*\s*\n(.*?)\n?```\s*$", re.DOTALL)
SHOWN = 3
"""Problems that are told at a time."""

Check = Callable[[str], tuple[Any, str]]


def checker(schema: Mapping[str, Any] | None) -> Check:
    """Turns the text of an answer into a result, and says what is wrong with it; empty where nothing is."""
    if schema is None:
        return lambda text: (text, "")
    from jsonschema import validators

    validator = validators.validator_for(schema)(schema)

    def check(text: str) -> tuple[Any, str]:
        found = _FENCE.match(text.strip())
        try:
            value: Any = msgspec.json.decode(found[1] if found else text)
        except (msgspec.DecodeError, UnicodeError) as error:
            return None, f"it is not JSON: {error}"
        problems = [
            f"{'.'.join(map(str, problem.absolute_path)) or 'it'}: {problem.message[:300]}"
            for problem, _ in zip(validator.iter_errors(value), range(SHOWN), strict=False)
        ]
        return value, "; ".join(problems)

    return check


def instruction(schema: Mapping[str, Any]) -> str:
    """What a model is told about the form of its result."""
    return (
        "When you are done, answer with nothing but one JSON value that fits this JSON Schema:\n"
        + msgspec.json.encode(schema).decode()
    )
