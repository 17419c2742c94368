"""Patterns of arguments: what a rule of a policy says calls have to be like. PURE.

A rule that lets calls through errs on the side of not matching, one that denies on the side of matching.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeAlias, cast

from msgspec import Struct


class Wanted(Struct, frozen=True):
    """What one argument has to be like."""

    name: str
    patterns: tuple[str, ...] = ()
    """Any of these texts; `*` stands for anything, in a path not across `/`, `**` also across it."""
    items: tuple[str, ...] | None = None
    """A list: each item in turn; `*` at the end stands for any number of them."""
    exactly: Any = None
    """Numbers, booleans: this very value."""


Where: TypeAlias = tuple[Wanted, ...]
_PATHS = frozenset({"path", "repo", "cwd"})
_LISTS = frozenset({"argv"})


def read_where(values: Any) -> Where:
    """Patterns as they are written: `{argv = ["git", "log", "*"], path = "out/**"}`. Raises `ValueError`."""
    if not isinstance(values, Mapping):
        raise ValueError('`where` is a table such as {path = "out/**"}')
    found: list[Wanted] = []
    for name, value in cast("Mapping[str, Any]", values).items():
        if isinstance(value, str):
            if name in _LISTS:
                raise ValueError(f'`{name}` is a list: ["git", "log", "*"]')
            found.append(Wanted(name, patterns=(value,)))
        elif isinstance(value, bool | int | float):
            found.append(Wanted(name, exactly=value))
        elif isinstance(value, list) and value and all(isinstance(item, str) for item in cast("list[Any]", value)):
            texts = tuple(cast("list[str]", value))
            found.append(Wanted(name, items=texts) if name in _LISTS else Wanted(name, patterns=texts))
        else:
            raise ValueError(f"the pattern of `{name}` is a text, a list of texts, a number, true or false")
    return tuple(found)


def matches(where: Where, subject: Mapping[str, Any], *, narrow: bool) -> bool:
    """Whether arguments are like that. `narrow`: letter case and the exact length of lists count, as they should for
    a rule that lets something through."""
    return all(_one(wanted, subject, narrow) for wanted in where)


def _one(wanted: Wanted, subject: Mapping[str, Any], narrow: bool) -> bool:
    if wanted.name not in subject:
        return False
    value = subject[wanted.name]
    if wanted.items is not None:
        items = cast("list[Any]", value) if isinstance(value, list) else None
        return items is not None and _items(wanted.items, list(map(str, items)), narrow)
    if wanted.exactly is not None:
        return type(value) is type(wanted.exactly) and value == wanted.exactly
    values = cast("list[Any]", value) if isinstance(value, list) else [value]
    # Of several values, such as the paths of a commit, all have to be allowed, and one is enough to be denied.
    judge = all if narrow else any
    return bool(values) and judge(
        any(_text(str(item), pattern, wanted.name in _PATHS, narrow) for pattern in wanted.patterns) for item in values
    )


def _items(patterns: Sequence[str], values: Sequence[str], narrow: bool) -> bool:
    open_ended = bool(patterns) and patterns[-1] == "*"
    fixed = patterns[:-1] if open_ended else patterns
    rest = open_ended or not narrow
    if len(values) < len(fixed) or (len(values) > len(fixed) and not rest):
        return False
    return all(_text(value, pattern, False, narrow) for pattern, value in zip(fixed, values, strict=False))


def _text(value: str, pattern: str, path: bool, narrow: bool) -> bool:
    if not narrow:
        value, pattern = value.casefold(), pattern.casefold()
    if not path:
        return fnmatchcase(value, pattern)
    return _path([part for part in value.split("/") if part], [part for part in pattern.split("/") if part])


def _path(value: Sequence[str], pattern: Sequence[str]) -> bool:
    """Component by component; `**` stands for any number of them. In linear space, and time of their product."""
    reachable = {0}
    for part in pattern:
        if part == "**":
            reachable = set(range(min(reachable, default=len(value) + 1), len(value) + 1))
        else:
            reachable = {i + 1 for i in reachable if i < len(value) and fnmatchcase(value[i], part)}
    return len(value) in reachable
