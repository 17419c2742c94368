"""The filters of the expression language. One function is one filter: its name, parameters and docs are the language's.

None changes its operand, calls into an object or looks at anything but its arguments, and all pay the meter for
what they visit and produce. `map`, `select` and their kin take the name of another filter or test: see `expr.py`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, NoReturn

import msgspec

from fleetprompt.engine.core.expr_values import (
    MISSING,
    NUMBERS,
    Meter,
    Nothing,
    Refusal,
    freeze,
    from_json,
    kind,
    less,
    member,
    number,
    quote,
    to_json,
    to_text,
    truthy,
    type_of,
)


class Operation(NamedTuple):
    """A filter or a test as the compiler sees it."""

    name: str
    run: Callable[..., Any]
    """Called with the operand, the meter, and one value per parameter."""
    params: tuple[str, ...]
    defaults: tuple[Any, ...]
    """The values of the last parameters, when they are not given."""
    doc: str


def described(name: str, run: Callable[..., Any]) -> Operation:
    """An operation read off its function's signature and docstring."""
    params = list(inspect.signature(run).parameters.values())[2:]
    defaults = tuple(param.default for param in params if param.default is not param.empty)
    return Operation(name, run, tuple(param.name for param in params), defaults, (run.__doc__ or "").strip())


_INDEX: Final = re.compile("[0-9]{1,9}")
_INTEGER: Final = re.compile(r"\s*[+-]?[0-9]{1,400}\s*")
_FLOAT: Final = re.compile(r"\s*[+-]?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,4})?\s*")

FILTERS: Final[dict[str, Operation]] = {}


def _filter(run: Callable[..., Any]) -> Callable[..., Any]:
    name = run.__name__.removesuffix("_")
    FILTERS[name] = described(name, run)
    return run


def _wrong(name: str, expected: str, value: Any) -> NoReturn:
    raise Refusal(f"{name} works on {expected}, not on {kind(value)}")


def _text(name: str, value: Any, meter: Meter) -> str:
    if type(value) is not str:
        _wrong(name, "a string", value)
    meter.text(len(value))
    return value


def _items(name: str, value: Any, meter: Meter) -> list[Any]:
    if type_of(value) is not list:
        _wrong(name, "a list", value)
    meter.items(len(value))
    return value


def _count(name: str, value: Any) -> int:
    if type(value) is not int:
        raise Refusal(f"{name} is an integer, not {kind(value)}")
    return value


def pick(item: Any, attribute: Any, meter: Meter) -> Any:
    """The member of an item that `attribute` names: a key, an index, or a path such as `a.b.0`."""
    if type(attribute) is int:
        return member(item, attribute, "the item")
    if type(attribute) is not str:
        raise Refusal(f"attribute is a name such as 'a.b', not {kind(attribute)}")
    for name in attribute.split("."):
        meter.spend(1)
        item = member(item, int(name) if type_of(item) is list and _INDEX.fullmatch(name) else name, "the item")
    return item


def _keys_of(items: list[Any], attribute: Any, meter: Meter) -> list[Any]:
    if attribute is None:
        return items
    try:
        return [pick(item, attribute, meter) for item in items]
    except Nothing as nothing:  # an item without it is a mistake in the data, not an absence to be defaulted
        raise Refusal(nothing.message, nothing.hint) from None


# What there is


@_filter
def default(value: Any, meter: Meter, fallback: Any, boolean: Any = False) -> Any:
    """`fallback` where the value is missing; with `boolean` also where it is null, false, 0 or empty."""
    return fallback if value is MISSING or (truthy(boolean) and not truthy(value)) else value


@_filter
def length(value: Any, meter: Meter) -> int:
    """Characters of a string, items of a list, keys of a mapping."""
    if type_of(value) not in (str, list, dict):
        _wrong("length", "a string, list or mapping", value)
    return len(value)


# Text


@_filter
def lower(value: Any, meter: Meter) -> str:
    """Lower case."""
    return _text("lower", value, meter).lower()


@_filter
def upper(value: Any, meter: Meter) -> str:
    """Upper case."""
    return _produced(_text("upper", value, meter).upper(), meter)


@_filter
def title(value: Any, meter: Meter) -> str:
    """Every word with a capital first letter."""
    text = re.sub(r"\S+", lambda word: word[0][:1].upper() + word[0][1:].lower(), _text("title", value, meter))
    return _produced(text, meter)


def _produced(text: str, meter: Meter) -> str:
    meter.text(len(text))  # a few letters grow when their case changes
    return text


@_filter
def trim(value: Any, meter: Meter, chars: Any = None) -> str:
    """Without white space (or any of `chars`) at both ends."""
    return _text("trim", value, meter).strip(None if chars is None else _text("chars", chars, meter))


@_filter
def replace(value: Any, meter: Meter, old: Any, new: Any) -> str:
    """Every `old` in a string replaced by `new`."""
    text, old, new = _text("replace", value, meter), _text("old", old, meter), _text("new", new, meter)
    meter.text(len(text) + text.count(old) * max(len(new) - len(old), 0))
    return text.replace(old, new)


@_filter
def split(value: Any, meter: Meter, separator: Any = None, limit: Any = -1) -> list[str]:
    """The parts of a string between the separators (default: white space), cut at most `limit` times."""
    text = _text("split", value, meter)
    if separator is not None and not _text("separator", separator, meter):
        raise Refusal("split needs a separator that is not empty")
    parts = text.split(separator, _count("limit", limit))
    meter.items(len(parts))
    return parts


@_filter
def join(value: Any, meter: Meter, separator: Any = "", attribute: Any = None) -> str:
    """The items of a list (or their `attribute`) as one text."""
    between = _text("separator", separator, meter)
    parts = [to_text(item, meter) for item in _keys_of(_items("join", value, meter), attribute, meter)]
    meter.text(sum(map(len, parts)) + len(between) * max(len(parts) - 1, 0))
    return between.join(parts)


@_filter
def truncate(value: Any, meter: Meter, limit: Any, end: Any = "…") -> str:
    """At most `limit` characters; where something was cut off, the last of them are `end`."""
    text, mark, most = _text("truncate", value, meter), _text("end", end, meter), max(_count("limit", limit), 0)
    return text if len(text) <= most else (text[: max(most - len(mark), 0)] + mark)[:most]


# Lists and mappings


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
        _wrong(name, "a list or string", value)
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
    items = _items(name, value, meter)
    keys = _keys_of(items, attribute, meter)
    if not all(type_of(key) in NUMBERS for key in keys) and not all(type(key) is bool for key in keys):
        for key in keys:
            less(key, keys[0], meter)
    return items, keys


@_filter
def sum_(value: Any, meter: Meter, attribute: Any = None) -> Any:
    """The sum of the numbers in a list (or of their `attribute`)."""
    total: Any = 0
    for item in _keys_of(_items("sum", value, meter), attribute, meter):
        if type_of(item) not in NUMBERS:
            _wrong("sum", "numbers", item)
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
    items = _items("unique", value, meter)
    seen: dict[Any, Any] = {}
    for item, key in zip(items, _keys_of(items, attribute, meter), strict=True):
        seen.setdefault(freeze(key, meter), item)
    return list(seen.values())


@_filter
def reverse(value: Any, meter: Meter) -> Any:
    """A list or string backwards."""
    return (_text if type(value) is str else _items)("reverse", value, meter)[::-1]


@_filter
def list_(value: Any, meter: Meter) -> list[Any]:
    """The characters of a string, the keys of a mapping; a list stays as it is."""
    if type_of(value) not in (str, list, dict):
        _wrong("list", "a string, list or mapping", value)
    meter.items(len(value))
    return list(value)


def _mapping(name: str, value: Any, meter: Meter) -> dict[str, Any]:
    if type_of(value) is not dict:
        _wrong(name, "a mapping", value)
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


# Numbers, and from one type to another


@_filter
def abs_(value: Any, meter: Meter) -> Any:
    """Without its sign."""
    if type_of(value) not in NUMBERS:
        _wrong("abs", "a number", value)
    return abs(value)


@_filter
def round_(value: Any, meter: Meter, precision: Any = None) -> Any:
    """The nearest integer, or the nearest number with `precision` decimals; halves go to the even neighbour."""
    if type_of(value) not in NUMBERS:
        _wrong("round", "a number", value)
    return number(round(value) if precision is None else round(value, _count("precision", precision)))


@_filter
def int_(value: Any, meter: Meter, default: Any = MISSING) -> Any:
    """An integer, from a number (cut off), a boolean or a string such as '12'; else `default`, or an error."""
    if type_of(value) in NUMBERS or type(value) is bool:
        return number(int(value))
    if type(value) is str and _INTEGER.fullmatch(value):
        return number(int(value))
    return _converted("an integer", value, default)


@_filter
def float_(value: Any, meter: Meter, default: Any = MISSING) -> Any:
    """A float, from a number, a boolean or a string such as '1.5e3'; else `default`, or an error."""
    if type_of(value) in NUMBERS or type(value) is bool:
        return number(float(value))
    if type(value) is str and _FLOAT.fullmatch(value):
        return number(float(value))
    return _converted("a float", value, default)


def _converted(target: str, value: Any, default: Any) -> Any:
    what = kind(value)
    if default is MISSING:
        shown = f" {quote(value)}" if type(value) is str else ""
        raise Refusal(f"{what}{shown} is not {target}", "give the filter a default")
    return default


@_filter
def string(value: Any, meter: Meter) -> str:
    """As it reads inside a text: null is empty, lists and mappings are JSON."""
    return to_text(value, meter)


@_filter
def bool_(value: Any, meter: Meter) -> bool:
    """A boolean: the strings 'true' and 'false' by name, anything else by its truth; other strings are an error."""
    if type(value) is str:
        name = value[:8].strip().lower()
        if name not in ("true", "false"):
            raise Refusal(f"string {quote(value)} is not a boolean", "compare it: value == 'yes'")
        return name == "true"
    return truthy(value)


@_filter
def tojson(value: Any, meter: Meter, indent: Any = 0) -> str:
    """JSON text: compact, or with each level indented by `indent` spaces."""
    text = to_json(value, meter)
    width = min(max(_count("indent", indent), 0), 8)
    return _produced(msgspec.json.format(text, indent=width), meter) if width else text


@_filter
def fromjson(value: Any, meter: Meter) -> Any:
    """The value of a JSON text."""
    return from_json(_text("fromjson", value, meter), meter)
