"""What a filter or a test is to the compiler, and how one checks and pays for its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from fleetprompt.engine.core.expr_values import Meter, Refusal, kind, type_of


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


def registrar(table: dict[str, Operation]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that enters a function under its own name, which may carry a `_` to spare a builtin."""

    def register(run: Callable[..., Any]) -> Callable[..., Any]:
        name = run.__name__.removesuffix("_")
        table[name] = described(name, run)
        return run

    return register


def wrong(name: str, expected: str, value: Any) -> NoReturn:
    """Refuse the operand of `name`."""
    raise Refusal(f"{name} works on {expected}, not on {kind(value)}")


def text_of(name: str, value: Any, meter: Meter) -> str:
    """The string, paid for. Raises Refusal for anything else."""
    if type(value) is not str:
        wrong(name, "a string", value)
    meter.text(len(value))
    return value


def list_of(name: str, value: Any, meter: Meter) -> list[Any]:
    """The list, paid for. Raises Refusal for anything else."""
    if type_of(value) is not list:
        wrong(name, "a list", value)
    meter.items(len(value))
    return value


def whole(name: str, value: Any) -> int:
    """The integer given for the parameter `name`. Raises Refusal for anything else."""
    if type(value) is not int:
        raise Refusal(f"{name} is an integer, not {kind(value)}")
    return value


def produced(text: str, meter: Meter) -> str:
    """A string whose length was not known beforehand (some letters grow when their case changes), paid for."""
    meter.text(len(text))
    return text
