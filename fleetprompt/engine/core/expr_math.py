"""Arithmetic of the expression language: Python's, on numbers that JSON can hold, bounded before it is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fleetprompt.engine.core.expr_values import MAX_BITS, NUMBERS, Meter, Refusal, kind, number, type_of

Operation = Callable[[Any, Any, Meter], Any]


def _numbers(left: Any, right: Any) -> bool:
    return type(left) in NUMBERS and type(right) in NUMBERS


def _refuse(verb: str, left: Any, right: Any) -> Refusal:
    kinds = (kind(left), kind(right))
    hint = "join text with ~" if verb == "add" and "string" in kinds else ""
    return Refusal(f"cannot {verb} {kinds[0]} and {kinds[1]}", hint)


def _add(left: Any, right: Any, meter: Meter) -> Any:
    if _numbers(left, right):
        return number(left + right)
    if type_of(left) is type_of(right) and type_of(left) in (str, list):
        (meter.text if type_of(left) is str else meter.items)(len(left) + len(right))
        return left + right
    raise _refuse("add", left, right)


def _subtract(left: Any, right: Any, meter: Meter) -> Any:
    if _numbers(left, right):
        return number(left - right)
    raise _refuse("subtract", left, right)


def _multiply(left: Any, right: Any, meter: Meter) -> Any:
    if _numbers(left, right):
        return number(left * right)
    many, times = (right, left) if type(left) is int else (left, right)
    if type(times) is int and type(many) is str:
        meter.text(len(many) * max(times, 0))
        return many * times
    if type(times) is int and type_of(many) is list:
        meter.items(len(many) * max(times, 0))
        return many * times
    raise _refuse("multiply", left, right)


def _divide(left: Any, right: Any, meter: Meter) -> Any:
    if _numbers(left, right):
        return number(left / right)
    raise _refuse("divide", left, right)


def _floor(left: Any, right: Any, meter: Meter) -> Any:
    if _numbers(left, right):
        return number(left // right)
    raise _refuse("divide", left, right)


def _modulo(left: Any, right: Any, meter: Meter) -> Any:
    if _numbers(left, right):
        return number(left % right)
    if type(left) is str:
        raise Refusal("% does not format text", "join text with ~")
    raise _refuse("divide", left, right)


def _power(left: Any, right: Any, meter: Meter) -> Any:
    if not _numbers(left, right):
        raise _refuse("raise to a power", left, right)
    if type(left) is int and type(right) is int and right > 0 and (abs(left).bit_length() - 1) * right > MAX_BITS:
        raise Refusal(f"the integer would have more than {MAX_BITS:,} bits")
    return number(left**right)


OPERATIONS: Final[dict[str, Operation]] = {
    "+": _add,
    "-": _subtract,
    "*": _multiply,
    "/": _divide,
    "//": _floor,
    "%": _modulo,
    "**": _power,
}


def negative(value: Any) -> Any:
    """`-value`."""
    if type(value) in NUMBERS:
        return -value
    raise Refusal(f"cannot negate {kind(value)}")


def positive(value: Any) -> Any:
    """`+value`."""
    if type(value) in NUMBERS:
        return value
    raise Refusal(f"cannot take + of {kind(value)}")
