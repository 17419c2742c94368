"""Where the values that complete a filter are found: the column of a field, and what in it is a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal

from msgspec import Struct

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.engine.core.query_values import fold

NEWEST = 20_000
"""Matching runs that are looked at."""

_COLUMNS = {"error": "error_code", "tool": "tools", "model": "models", "agent": "agents"}


class Wanted(Struct, frozen=True):
    """What is looked for in a column of `runs`."""

    column: str
    shape: Literal["text", "list", "keys", "key"] = "text"
    """The text itself, the texts of a list, the keys of a mapping, or the text under `key` of one."""
    key: str = ""


def wanted(name: str) -> Wanted | None:
    """What the values of a field of runs are; None for a field of numbers or times, which has none.

    Raises `InvalidInput` for a field that runs do not have.
    """
    first, dot, key = name.partition(".")
    field = RUN_FIELDS.find(first)
    if field is None or (dot and field.kind != "label"):
        raise InvalidInput(f'runs have no field "{name}"', hint=f"fields: {', '.join(RUN_FIELDS.names())}")
    column = _COLUMNS.get(field.column, field.column)
    if field.kind == "label":
        return Wanted(column, "key", key) if dot else Wanted(column, "keys")
    if field.many:
        return Wanted(column, "list")
    return Wanted(column) if field.kind in ("text", "enum") else None


def held(value: Any, asked: Wanted) -> Iterable[str]:
    """The values in a column of a head, each once."""
    if asked.shape == "list":
        return set(value)
    if asked.shape == "keys":
        return value
    return (value.get(asked.key),) if asked.shape == "key" else (value,)


def most_frequent(values: Iterable[str | None], prefix: str, limit: int) -> list[tuple[str, int]]:
    """The values that begin with a text in any letter case and how often they occur, the most frequent first."""
    wanted_ = fold(prefix)
    counts = Counter(value for value in values if value and fold(value).startswith(wanted_))
    return sorted(counts.items(), key=lambda found: (-found[1], found[0]))[:limit]
