"""The values of the expression language: plain JSON, nothing else, and never an attribute of a Python object.

What can grow a value or walk through one pays a `Meter`. Operations refuse with `Refusal`, which knows no position;
the compiled expression adds that and raises `ExpressionError`. Truth and equality are JSON's: `true` is not 1.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, cast

from msgspec import Struct

from fleetprompt.engine.core.errors import InvalidInput

MAX_TEXT: Final = 1024 * 1024
"""Characters of the longest string an expression may produce."""
MAX_ITEMS: Final = 100_000
"""Items of the longest list an expression may produce."""
MAX_BITS: Final = 1_000
"""Size of the largest integer an expression may produce."""
MAX_STEPS: Final = 200_000
"""Elements an evaluation may visit; 256 characters of a string count as one."""


class ExpressionError(InvalidInput):
    """The expression is not valid, or cannot be evaluated with these values."""

    def __init__(self, message: str, *, offset: int = 0, length: int = 0, hint: str = "", where: str = "") -> None:
        super().__init__(message, where=where, hint=hint)
        self.offset = offset
        """Where in the source it went wrong, in characters from 0; 0 when unknown."""
        self.length = length
        """How many characters the offending piece has; 0 when unknown."""

    def moved(self, by: int = 0, where: str = "") -> ExpressionError:
        """The same error as seen from the text, or the value (`where`, a JSON pointer), that holds the expression."""
        return ExpressionError(
            self.message, offset=self.offset + by, length=self.length, hint=self.hint, where=where or self.where
        )


class NeedsValue(Exception):
    """A value that is not in memory is needed: load it by its digest and evaluate again."""

    def __init__(self, digest: str) -> None:
        super().__init__(digest)
        self.digest = digest


class Refusal(Exception):
    """An operation cannot be done with these values; becomes an `ExpressionError` with a position."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Nothing(Refusal):
    """There is no such value (the first of an empty list): `default` and `is defined` can answer that."""


class NotLoaded(Struct, frozen=True):
    """Stands in the scope for a large value that nobody has asked for yet."""

    digest: str
    size: int


class TooLarge(Struct, frozen=True):
    """Stands in the scope for a value that is too large to be loaded: only what stands for it can be read."""

    ref: str
    size: int
    head: dict[str, Any] = {}
    """The small members of a mapping, which can be read as well."""


class Referred(Exception):
    """A result holds what is `TooLarge`."""


class Missing:
    """The type of `MISSING`: what a failed lookup yields under `default` and `is defined`, and nobody else sees."""


MISSING: Final = Missing()

NUMBERS: Final = frozenset({int, float})
SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_KINDS: Final[dict[type, str]] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "float",
    str: "string",
    list: "list",
    dict: "mapping",
}


type_of: Final = cast(Callable[[Any], type[Any]], type)
"""The type of a value. Types are compared, never asked for subclasses: JSON has none."""


class Meter:
    """What is left of one evaluation's allowance."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_STEPS

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise Refusal(f"the expression takes more than {MAX_STEPS:,} steps", "do this work in a python step")

    def text(self, length: int) -> None:
        """Pay for a string about to be produced (or read as a whole)."""
        if length > MAX_TEXT:
            raise Refusal(f"the text would be longer than {MAX_TEXT:,} characters")
        self.spend(1 + (length >> 8))

    def items(self, count: int) -> None:
        """Pay for a list about to be produced."""
        if count > MAX_ITEMS:
            raise Refusal(f"the list would have more than {MAX_ITEMS:,} items")
        self.spend(1 + count)


def kind(value: Any) -> str:
    """The JSON type of a value, for messages. Raises NeedsValue for one that is not loaded: naming its type is
    reading it, so every operation that does not know what to do with a value ends here."""
    name = _KINDS.get(type_of(value))
    if name is None:
        if type(value) is NotLoaded:
            raise NeedsValue(value.digest)
        if type(value) is TooLarge:
            known = ", ".join(f"`{key}`" for key in [*value.head, "ref", "size"][:12])
            message = f"the value is larger than 1 MiB ({value.size:,} bytes): of it, only these can be read: {known}"
            raise Refusal(message, "let the step that made it give less, or write it to a file")
        raise Refusal(f"a {type(value).__name__} is not JSON data")
    return name


def truthy(value: Any) -> bool:
    """The truth of a value: false are null, false, 0, and the empty string, list and mapping.

    Raises NeedsValue for a value that is not loaded.
    """
    if type(value) is NotLoaded:
        raise NeedsValue(value.digest)
    return bool(value)


def number(value: Any) -> Any:
    """The number itself, if JSON and memory can hold it."""
    if type(value) is int:
        if value.bit_length() > MAX_BITS:
            raise Refusal(f"the integer would have more than {MAX_BITS:,} bits")
    elif type(value) is not float or not math.isfinite(value):
        raise Refusal("the result is not a finite number")
    return value


def quote(name: object) -> str:
    """A name as messages show it: short, and without the control characters that data may carry."""
    text = str(name)
    return repr(text if len(text) <= 64 else text[:63] + "…")


def suggest(name: object, available: Iterable[Any]) -> str:
    """The hint for an unknown name: what was probably meant, and what there is."""
    names = [key for key in islice(available, 200) if type(key) is str and len(key) <= 64]
    if not names:
        return ""
    close = difflib.get_close_matches(name[:64], names, 1) if isinstance(name, str) else []
    shown = ", ".join(key if key.isidentifier() else repr(key) for key in names[:12])
    more = ", …" if len(names) > 12 else ""
    return (f"did you mean {quote(close[0])}? " if close else "") + f"Available: {shown}{more}"


def find(value: Any, key: Any) -> Any:
    """`value[key]`, or MISSING. Raises NeedsValue when one of them is not loaded."""
    holder = type_of(value)
    if holder is dict and type(key) is str:
        return value.get(key, MISSING)
    if holder is list and type(key) is int and -len(value) <= key < len(value):
        return value[key]
    if holder is TooLarge and type(key) is str:
        if key in value.head:
            return value.head[key]
        if key in ("ref", "size"):
            return getattr(value, key)
    kind(value)
    kind(key)
    return MISSING


def member(value: Any, key: Any, of: str = "") -> Any:
    """`value[key]`. Raises Nothing, naming the value as `of`, when it has no such key or index."""
    found = find(value, key)
    if found is MISSING:
        raise Nothing(*_absence(value, key, of))
    return found


def _absence(value: Any, key: Any, of: str) -> tuple[str, str]:
    """What to say, and what to suggest, when a value has no such member."""
    holder, sought = type_of(value), _sought(key)
    name = of or (f"the {kind(value)}" if holder in (list, dict) else _a(value))
    if holder is dict:
        if type(key) is not str:
            return f"the keys of {name} are strings: it has no {sought}", ""
        return f"{name} has no {sought}", suggest(key, value)
    if holder is list:
        if type(key) is int:
            return f"{name} has {len(value)} items, there is no {sought}", ""
        return f"{name} is a list and has no {sought}", "take one item with [0], or all with map()"
    hint = "cut it: [0:1]" if holder is str and type(key) is int else ""
    if key in ("length", "lower", "upper"):
        hint = f"write `| {key}`"
    return (f"{name} is {_a(value)} and has no {sought}" if of else f"{name} has no {sought}"), hint


def _sought(key: Any) -> str:
    """What was looked for: only of strings and integers is it known that they are short enough to show."""
    what = kind(key)
    if what == "integer":
        return f"item {str(key)[:64]}"
    return quote(key) if what == "string" else f"key that is {_a(key)}"


def _a(value: Any) -> str:
    what = kind(value)
    return what if what == "null" else ("an " if what == "integer" else "a ") + what


def lookup(scope: Mapping[str, Any], path: Sequence[str | int]) -> Any:
    """The value a member chain leads to, or MISSING. Raises NeedsValue where the chain enters one not loaded."""
    value: Any = scope.get(str(path[0]), MISSING)
    for key in path[1:]:
        if value is MISSING:
            break
        value = find(value, key)
    return value


def freeze(value: Any, meter: Meter) -> Any:
    """A hashable stand-in: two values are equal in the language exactly if their stand-ins are equal."""
    what = type_of(value)
    meter.spend(1)
    if what is str:
        meter.spend(len(value) >> 8)
        return value
    if what in NUMBERS or value is None:
        return value
    if what is bool:
        return (bool, value)
    if what is list:
        return (list, *[freeze(item, meter) for item in value])
    if what is dict:
        return (dict, frozenset((key, freeze(item, meter)) for key, item in value.items()))
    return kind(value)


def equal(left: Any, right: Any, meter: Meter) -> bool:
    """Deep equality. Numbers compare by value; a boolean equals booleans only."""
    a, b = type_of(left), type_of(right)
    if a is str and b is str:
        if len(left) > 256:
            meter.spend(len(left) >> 8)
        return left == right
    if a in NUMBERS and b in NUMBERS:
        return left == right
    if a is b and a in (list, dict):
        return len(left) == len(right) and freeze(left, meter) == freeze(right, meter)
    kind(left)
    kind(right)
    return a is b and left == right


def less(left: Any, right: Any, meter: Meter) -> bool:
    """`left < right` for two numbers or two strings."""
    a, b = type_of(left), type_of(right)
    if a in NUMBERS and b in NUMBERS:
        return left < right
    if a is str and b is str:
        meter.spend(min(len(left), len(right)) >> 8)
        return left < right
    raise Refusal(f"cannot order {kind(left)} and {kind(right)}")


def contains(container: Any, item: Any, meter: Meter) -> bool:
    """`item in container`: a part of a string, an item of a list, a key of a mapping."""
    what = type_of(container)
    if what is str:
        if type(item) is not str:
            raise Refusal(f"a string contains strings, not {kind(item)}")
        meter.spend(1 + (len(container) >> 8))
        return item in container
    if what is list:
        meter.spend(len(container))
        return any(equal(item, other, meter) for other in container)
    if what is dict:
        if type(item) is not str:
            raise Refusal(f"the keys of a mapping are strings, not {kind(item)}")
        return item in container
    raise Refusal(f"{kind(container)} contains nothing", "`in` works on strings, lists and mappings")
