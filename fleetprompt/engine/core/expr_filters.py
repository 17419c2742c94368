"""The filters of the expression language. One function is one filter: its name, parameters and docs are the language's.

None changes its operand, calls into an object or looks at anything but its arguments, and all pay the meter for
what they visit and produce. `map`, `select` and their kin take the name of another filter or test: `expr_apply.py`.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from fleetprompt.engine.core.expr_json import from_json, to_json, to_text
from fleetprompt.engine.core.expr_lists import LIST_FILTERS, keys_of
from fleetprompt.engine.core.expr_operation import Operation, list_of, produced, registrar, text_of, whole, wrong
from fleetprompt.engine.core.expr_values import (
    MAX_TEXT,
    MISSING,
    NUMBERS,
    Meter,
    Refusal,
    kind,
    number,
    quote,
    truthy,
    type_of,
)

FILTERS: Final[dict[str, Operation]] = dict(LIST_FILTERS)

_filter = registrar(FILTERS)
_WORD: Final = re.compile(r"\S+")
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_FLOAT: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_MAX_DIGITS: Final = 500


@_filter
def default(value: Any, meter: Meter, fallback: Any, boolean: Any = False) -> Any:
    """`fallback` where the value is missing; with `boolean` also where it is null, false, 0 or empty."""
    return fallback if value is MISSING or (truthy(boolean) and not truthy(value)) else value


@_filter
def length(value: Any, meter: Meter) -> int:
    """Characters of a string, items of a list, keys of a mapping."""
    if type_of(value) not in (str, list, dict):
        wrong("length", "a string, list or mapping", value)
    return len(value)


# Text


@_filter
def lower(value: Any, meter: Meter) -> str:
    """Lower case."""
    return produced(text_of("lower", value, meter).lower(), meter)


@_filter
def upper(value: Any, meter: Meter) -> str:
    """Upper case."""
    return produced(text_of("upper", value, meter).upper(), meter)


@_filter
def title(value: Any, meter: Meter) -> str:
    """Every word with a capital first letter."""
    text = text_of("title", value, meter)
    meter.spend(len(text.split()))
    return produced(_WORD.sub(lambda word: word[0][:1].upper() + word[0][1:].lower(), text), meter)


@_filter
def trim(value: Any, meter: Meter, chars: Any = None) -> str:
    """Without white space (or any of `chars`) at both ends."""
    text = text_of("trim", value, meter)
    if chars is not None and len(text_of("chars", chars, meter)) > 100:  # each is tried for each character
        raise Refusal("chars has more than 100 characters")
    return text.strip(chars)


@_filter
def replace(value: Any, meter: Meter, old: Any, new: Any) -> str:
    """Every `old` in a string replaced by `new`."""
    text, old, new = text_of("replace", value, meter), text_of("old", old, meter), text_of("new", new, meter)
    meter.text(len(text) + text.count(old) * max(len(new) - len(old), 0))
    return text.replace(old, new)


@_filter
def split(value: Any, meter: Meter, separator: Any = None, limit: Any = -1) -> list[str]:
    """The parts of a string between the separators (default: white space), cut at most `limit` times."""
    text = text_of("split", value, meter)
    if separator is not None and not text_of("separator", separator, meter):
        raise Refusal("split needs a separator that is not empty")
    parts = text.split(separator, whole("limit", limit))
    meter.items(len(parts))
    return parts


@_filter
def join(value: Any, meter: Meter, separator: Any = "", attribute: Any = None) -> str:
    """The items of a list (or their `attribute`) as one text."""
    between = text_of("separator", separator, meter)
    parts = [to_text(item, meter) for item in keys_of(list_of("join", value, meter), attribute, meter)]
    meter.text(sum(map(len, parts)) + len(between) * max(len(parts) - 1, 0))
    return between.join(parts)


@_filter
def truncate(value: Any, meter: Meter, limit: Any, end: Any = "…") -> str:
    """At most `limit` characters; where something was cut off, the last of them are `end`."""
    text, mark, most = text_of("truncate", value, meter), text_of("end", end, meter), max(whole("limit", limit), 0)
    return text if len(text) <= most else (text[: max(most - len(mark), 0)] + mark)[:most]


# Numbers, and from one type to another


@_filter
def abs_(value: Any, meter: Meter) -> Any:
    """Without its sign."""
    if type_of(value) not in NUMBERS:
        wrong("abs", "a number", value)
    return abs(value)


@_filter
def round_(value: Any, meter: Meter, precision: Any = None) -> Any:
    """The nearest integer, or the nearest number with `precision` decimals; halves go to the even neighbour."""
    if type_of(value) not in NUMBERS:
        wrong("round", "a number", value)
    if precision is not None and abs(whole("precision", precision)) > 300:  # Python would compute 10 ** precision
        raise Refusal("precision is an integer from -300 to 300")
    return number(round(value, precision))


@_filter
def int_(value: Any, meter: Meter, default: Any = MISSING) -> Any:
    """An integer, from a number (cut off), a boolean or a string such as '12'; else `default`, or an error."""
    if type_of(value) in NUMBERS or type(value) is bool:
        return number(int(value))
    if type(value) is str and len(value) <= _MAX_DIGITS and _INTEGER.fullmatch(value.strip()):
        return number(int(value))
    return _converted("an integer", value, default)


@_filter
def float_(value: Any, meter: Meter, default: Any = MISSING) -> Any:
    """A float, from a number, a boolean or a string such as '1.5e3'; else `default`, or an error."""
    if type_of(value) in NUMBERS or type(value) is bool:
        return number(float(value))
    if type(value) is str and len(value) <= _MAX_DIGITS and _FLOAT.fullmatch(value.strip()):
        return number(float(value))
    return _converted("a float", value, default)


def _converted(target: str, value: Any, default: Any) -> Any:
    what = kind(value)
    if default is MISSING:
        shown = f" {quote(value)}" if type(value) is str else ""
        raise Refusal(f"{what}{shown} is not {target}", "give the filter a default, if there is a sensible one")
    return default


@_filter
def string(value: Any, meter: Meter) -> str:
    """As it reads inside a text: null is empty, lists and mappings are JSON."""
    return to_text(value, meter)


@_filter
def bool_(value: Any, meter: Meter) -> bool:
    """A boolean: the strings 'true' and 'false' by name, anything else by its truth; other strings are an error."""
    if type(value) is str:
        name = value.strip().lower() if len(value) <= 100 else ""
        if name not in ("true", "false"):
            raise Refusal(f"string {quote(value)} is not a boolean", "compare it: value == 'yes'")
        return name == "true"
    return truthy(value)


@_filter
def tojson(value: Any, meter: Meter, indent: Any = 0) -> str:
    """JSON text: compact, or with each level indented by `indent` (at most 8) spaces."""
    width = min(max(whole("indent", indent), 0), 8)
    text = to_json(value, meter)
    if width:
        _check_indented(value, width, meter)
        text = msgspec.json.format(text, indent=width)
    return produced(text, meter)


def _check_indented(value: Any, width: int, meter: Meter) -> None:
    """Refuse what would be mostly indentation: many lines, many levels deep."""
    total, stack = 0, [(value, 0)]
    while stack:
        item, depth = stack.pop()
        total += width * depth + 2
        if total > MAX_TEXT:
            raise Refusal(f"the text would be longer than {MAX_TEXT:,} characters", "leave out indent")
        if type_of(item) in (list, dict):
            stack += [(child, depth + 1) for child in (item.values() if type_of(item) is dict else item)]
    meter.text(total)


@_filter
def fromjson(value: Any, meter: Meter) -> Any:
    """The value of a JSON text."""
    return from_json(text_of("fromjson", value, meter), meter)
