"""The filters that work on lists and mappings. None changes its operand; all pay for what they visit and produce."""

from __future__ import annotations

import re
from typing import Any, Final

from fleetprompt.engine.core.expr_operation import Operation, list_of, registrar, text_of, wrong
from fleetprompt.engine.core.expr_values import (
    MISSING,
    NUMBERS,
    Meter,
    Nothing,
    Refusal,
    find,
    freeze,
    kind,
    less,
    member,
    number,
    truthy,
    type_of,
)

LIST_FILTERS: Final[dict[str, Operation]] = {}

_filter = registrar(LIST_FILTERS)
_INDEX: Final = re.compile("[0-9]{1,9}")


def path_of(attribute: Any) -> list[str | int]:
    """The path that an `attribute` argument names: a key, an index, or several such as `a.b.0`."""
    if type(attribute) is int:
        return [attribute]
    if type(attribute) is not str or len(attribute) > 500:
        raise Refusal(f"attribute is a name such as 'a.b', not a {kind(attribute)} like this")
    return [*attribute.split(".")]


def _key(item: Any, name: str | int) -> str | int:
    return int(name) if type_of(item) is list and type(name) is str and _INDEX.fullmatch(name) else name


def find_path(item: Any, path: list[str | int], meter: Meter) -> Any:
    """What is at the end of a path, or MISSING."""
    meter.spend(len(path))
    for name in path:
        if item is MISSING:
            break
        item = find(item, _key(item, name))
    return item


def pick(item: Any, path: list[str | int], meter: Meter) -> Any:
    """What is at the end of a path. Its absence is a mistake in the data, which `default` cannot answer."""
    meter.spend(len(path))
    try:
        for name in path:
            item = member(item, _key(item, name), "the item")
    except Nothing as nothing:
        raise Refusal(nothing.message, nothing.hint) from None
    return item


def keys_of(items: list[Any], attribute: Any, meter: Meter) -> list[Any]:
    """The items, or the member of each that `attribute` names."""
    if attribute is None:
        return items
    path = path_of(attribute)
    return [pick(item, path, meter) for item in items]


@_filter
def first(value: Any, meter: Meter) -> Any:
    """The first item of a list or character of a string; missing when empty, so `default` applies."""
    return _end("first", value, 0)


@_filter
def last(value: Any, meter: Meter) -> Any:
    """The last item of a list or character of a string; missing when empty, so `default` applies."""
    return _end("last", value, -1)


def _end(name: str, value: Any, index: int) -> Any:
    if type_of(value) is not list and type(value) is not str:
        wrong(name, "a list or string", value)
    if not value:
        raise Nothing(f"{name}: the {kind(value)} is empty", "add `| default(…)`")
    return value[index]


@_filter
def min_(value: Any, meter: Meter, attribute: Any = None) -> Any:
    """The smallest item (by `attribute`); missing when the list is empty, so `default` applies."""
    items, keys = _sortable("min", value, attribute, meter)
    return items[min(range(len(items)), key=keys.__getitem__)] if items else _end("min", items, 0)


@_filter
def max_(value: Any, meter: Meter, attribute: Any = None) -> Any:
    """The largest item (by `attribute`); missing when the list is empty, so `default` applies."""
    items, keys = _sortable("max", value, attribute, meter)
    return items[max(range(len(items)), key=keys.__getitem__)] if items else _end("max", items, 0)


def _sortable(name: str, value: Any, attribute: Any, meter: Meter) -> tuple[list[Any], list[Any]]:
    items = list_of(name, value, meter)
    keys = keys_of(items, attribute, meter)
    if not all(type_of(key) in NUMBERS for key in keys) and not all(type(key) is bool for key in keys):
        for key in keys:
            less(key, keys[0], meter)
    return items, keys


@_filter
def sum_(value: Any, meter: Meter, attribute: Any = None) -> Any:
    """The sum of the numbers in a list (or of their `attribute`)."""
    total: Any = 0
    for item in keys_of(list_of("sum", value, meter), attribute, meter):
        if type_of(item) not in NUMBERS:
            wrong("sum", "numbers", item)
        total = number(total + item)
    return total


@_filter
def sort(value: Any, meter: Meter, reverse: Any = False, attribute: Any = None) -> list[Any]:
    """In order (by `attribute`): all numbers, all strings or all booleans; equal items keep their order."""
    items, keys = _sortable("sort", value, attribute, meter)
    order = sorted(range(len(items)), key=keys.__getitem__, reverse=truthy(reverse))
    return [items[index] for index in order]


@_filter
def unique(value: Any, meter: Meter, attribute: Any = None) -> list[Any]:
    """Without the items that equal (by `attribute`) an earlier one."""
    items = list_of("unique", value, meter)
    seen: dict[Any, Any] = {}
    for item, key in zip(items, keys_of(items, attribute, meter), strict=True):
        seen.setdefault(freeze(key, meter), item)
    return list(seen.values())


@_filter
def reverse(value: Any, meter: Meter) -> Any:
    """A list or string backwards."""
    return (text_of if type(value) is str else list_of)("reverse", value, meter)[::-1]


@_filter
def list_(value: Any, meter: Meter) -> list[Any]:
    """The characters of a string, the keys of a mapping; a list stays as it is."""
    if type_of(value) not in (str, list, dict):
        wrong("list", "a string, list or mapping", value)
    meter.items(len(value))
    return list(value)


def _mapping(name: str, value: Any, meter: Meter) -> dict[str, Any]:
    if type_of(value) is not dict:
        wrong(name, "a mapping", value)
    meter.items(len(value))
    return value


@_filter
def keys(value: Any, meter: Meter) -> list[str]:
    """The keys of a mapping."""
    return list(_mapping("keys", value, meter))


@_filter
def values(value: Any, meter: Meter) -> list[Any]:
    """The values of a mapping."""
    return list(_mapping("values", value, meter).values())


@_filter
def items(value: Any, meter: Meter) -> list[list[Any]]:
    """The `[key, value]` pairs of a mapping."""
    return [[key, item] for key, item in _mapping("items", value, meter).items()]
