"""The tests of the expression language (`x is number`). One function is one test."""

from __future__ import annotations

from typing import Any, Final

from fleetprompt.engine.core.expr_operation import Operation, registrar
from fleetprompt.engine.core.expr_pattern import compile_pattern
from fleetprompt.engine.core.expr_values import MISSING, Meter, Refusal, equal, kind, less
from fleetprompt.engine.core.expr_values import contains as contains_

TESTS: Final[dict[str, Operation]] = {}

_test = registrar(TESTS)


@_test
def defined(value: Any, meter: Meter) -> bool:
    """There is such a value, be it null; the only test, with `undefined`, that a missing one may be put to."""
    return value is not MISSING


@_test
def undefined(value: Any, meter: Meter) -> bool:
    """There is no such value."""
    return value is MISSING


@_test
def none(value: Any, meter: Meter) -> bool:
    """It is null."""
    return kind(value) == "null"


@_test
def string(value: Any, meter: Meter) -> bool:
    """It is a string."""
    return kind(value) == "string"


@_test
def number(value: Any, meter: Meter) -> bool:
    """It is an integer or a float."""
    return kind(value) in ("integer", "float")


@_test
def integer(value: Any, meter: Meter) -> bool:
    """It is an integer."""
    return kind(value) == "integer"


@_test
def float_(value: Any, meter: Meter) -> bool:
    """It is a float."""
    return kind(value) == "float"


@_test
def boolean(value: Any, meter: Meter) -> bool:
    """It is true or false."""
    return kind(value) == "boolean"


@_test
def mapping(value: Any, meter: Meter) -> bool:
    """It is a mapping."""
    return kind(value) == "mapping"


@_test
def sequence(value: Any, meter: Meter) -> bool:
    """It is a list."""
    return kind(value) == "list"


@_test
def true(value: Any, meter: Meter) -> bool:
    """It is true itself, not merely something that counts as true."""
    return kind(value) == "boolean" and value


@_test
def false(value: Any, meter: Meter) -> bool:
    """It is false itself, not merely something that counts as false."""
    return kind(value) == "boolean" and not value


@_test
def empty(value: Any, meter: Meter) -> bool:
    """It is null, or a string, list or mapping with nothing in it."""
    return kind(value) == "null" or (type(value) in (str, list, dict) and not value)


def _remainder(value: Any, divisor: Any) -> int:
    if type(value) is not int or type(divisor) is not int:
        raise Refusal(f"only integers are divisible, not {kind(value)} by {kind(divisor)}")
    return value % divisor


@_test
def even(value: Any, meter: Meter) -> bool:
    """An integer divisible by 2."""
    return _remainder(value, 2) == 0


@_test
def odd(value: Any, meter: Meter) -> bool:
    """An integer not divisible by 2."""
    return _remainder(value, 2) == 1


@_test
def divisibleby(value: Any, meter: Meter, divisor: Any) -> bool:
    """An integer divisible by `divisor`."""
    return _remainder(value, divisor) == 0


@_test
def eq(value: Any, meter: Meter, other: Any) -> bool:
    """Equal to `other`."""
    return equal(value, other, meter)


@_test
def ne(value: Any, meter: Meter, other: Any) -> bool:
    """Not equal to `other`."""
    return not equal(value, other, meter)


@_test
def lt(value: Any, meter: Meter, other: Any) -> bool:
    """Less than `other`."""
    return less(value, other, meter)


@_test
def le(value: Any, meter: Meter, other: Any) -> bool:
    """Less than or equal to `other`."""
    return not less(other, value, meter)


@_test
def gt(value: Any, meter: Meter, other: Any) -> bool:
    """Greater than `other`."""
    return less(other, value, meter)


@_test
def ge(value: Any, meter: Meter, other: Any) -> bool:
    """Greater than or equal to `other`."""
    return not less(value, other, meter)


@_test
def in_(value: Any, meter: Meter, container: Any) -> bool:
    """A part of the string, an item of the list, a key of the mapping `container`."""
    return contains_(container, value, meter)


@_test
def contains(value: Any, meter: Meter, item: Any) -> bool:
    """A string with the part, a list with the item, a mapping with the key `item`."""
    return contains_(value, item, meter)


def _strings(name: str, value: Any, other: Any, meter: Meter) -> None:
    if type(value) is not str or type(other) is not str:
        raise Refusal(f"{name} works on two strings, not on {kind(value)} and {kind(other)}")
    meter.spend(1 + (len(other) >> 8))


@_test
def startswith(value: Any, meter: Meter, start: Any) -> bool:
    """A string that begins with `start`."""
    _strings("startswith", value, start, meter)
    return value.startswith(start)


@_test
def endswith(value: Any, meter: Meter, end: Any) -> bool:
    """A string that ends with `end`."""
    _strings("endswith", value, end, meter)
    return value.endswith(end)


@_test
def matches(value: Any, meter: Meter, pattern: Any) -> bool:
    """A string in which the regular expression `pattern` is found; anchor it with ^ and $ for all of the string."""
    _strings("matches", value, pattern, meter)
    meter.spend(len(pattern))
    return compile_pattern(pattern).search(value, meter)
