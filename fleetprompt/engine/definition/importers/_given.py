"""What a foreign file gives, read key by key: whatever nobody asks for is told in the end, never dropped."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, cast

from fleetprompt.engine.definition.document import Document
from fleetprompt.engine.definition.problems import InvalidFile, Pointer, Problem, ProblemCode

MAX_LOSSES = 300
"""Losses that are told one by one: a hostile file may have a hundred thousand unknown keys."""
MAX_ERRORS = 100

_MISSING: Any = object()


class NotImportable(InvalidFile):
    """The file cannot be imported."""


class TooManyProblems(Exception):
    """Looking for more is of no use."""


class Report:
    """What is wrong with a foreign file, and what of it is not in the result as it was."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.errors: list[Problem] = []
        self.losses: dict[tuple[Pointer, str], Problem] = {}
        self.untold = 0
        """Losses beyond the limit."""

    def wrong(self, pointer: Pointer, code: ProblemCode, message: str, hint: str = "", *, on_key: bool = False) -> None:
        """Something without which there is no result."""
        self.errors.append(self.document.problem(pointer, code, message, hint, on="key" if on_key else "value"))
        if len(self.errors) >= MAX_ERRORS:
            raise TooManyProblems

    def lost(
        self,
        pointer: Pointer,
        message: str,
        hint: str = "",
        code: ProblemCode = ProblemCode.UNSUPPORTED,
        *,
        on: Literal["value", "key"] = "key",
    ) -> None:
        """Something that is not in the result, or not as it was."""
        if (pointer, message) in self.losses:
            return
        if len(self.losses) >= MAX_LOSSES:
            self.untold += 1
            return
        found = self.document.problem(pointer, code, message, hint, on=on, severity="warning")
        self.losses[pointer, message] = found

    def differs(self, pointer: Pointer, message: str, hint: str = "") -> None:
        """Something that is in the result and works otherwise here."""
        self.lost(pointer, message, hint, ProblemCode.DIFFERS)

    def assumed(self, pointer: Pointer, message: str, hint: str = "") -> None:
        """Something that the file leaves open."""
        self.lost(pointer, message, hint, ProblemCode.ASSUMED)

    def all_losses(self) -> tuple[Problem, ...]:
        """Every loss in the order of the file, and how many were not told."""
        found = sorted(self.losses.values(), key=lambda each: (each.line, each.column))
        if self.untold:
            more = f"and {self.untold:,} more things are not in the result, or not as they were"
            found.append(self.document.problem((), ProblemCode.TOO_MANY, more, severity="warning"))
        return tuple(found)

    def stop_if_wrong(self) -> None:
        """Raises `NotImportable` with everything that is wrong so far."""
        if self.errors:
            raise NotImportable(self.errors)


class Found(NamedTuple):
    """A value of the file and where it stands."""

    value: Any
    pointer: Pointer

    def __bool__(self) -> bool:
        return self.value is not None


NOTHING = Found(None, ())


class Given:
    """A mapping of the file. What is null counts as not given, as the systems that write such files mean it."""

    def __init__(self, report: Report, value: Any, pointer: Pointer) -> None:
        self.report = report
        self.pointer = pointer
        self.body: dict[str, Any] = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        self._taken: set[str] = set()
        if not isinstance(value, dict) and value is not None:
            report.wrong(pointer, ProblemCode.WRONG_TYPE, f"this must be a mapping, it is {kind_of(value)}")

    def find(self, *keys: str) -> Found:
        """The value of the first of these keys that has one; the others are synonyms of it."""
        found = NOTHING
        for key in keys:
            value = self.body.get(key, _MISSING)
            if value is _MISSING:
                continue
            self._taken.add(key)
            if value is None:
                continue
            if not found:
                found = Found(value, (*self.pointer, key))
            elif value != found.value:
                self.report.lost(
                    (*self.pointer, key), f"`{key}` is left out: `{found.pointer[-1]}` says the same thing"
                )
        return found

    def has(self, *keys: str) -> bool:
        """Whether one of these keys has a value."""
        return any(self.body.get(key) is not None for key in keys)

    def text(self, *keys: str) -> str:
        """A text, empty when it is not given. A number becomes one."""
        found = self.find(*keys)
        if isinstance(found.value, str):
            return found.value
        if isinstance(found.value, int | float) and not isinstance(found.value, bool):
            return str(found.value)
        if found:
            self._wrong_type(found, "text")
        return ""

    def number(self, *keys: str) -> float | None:
        """A number that is not negative; one that is written as text counts."""
        found = self.find(*keys)
        if not found:
            return None
        value = as_number(found.value)
        if value is None:
            self._wrong_type(found, "a number")
        elif value < 0:
            self.report.wrong(found.pointer, ProblemCode.BAD_VALUE, "this number must not be negative")
            return None
        return value

    def whole(self, *keys: str) -> int | None:
        """A whole number that is not negative."""
        found = self.find(*keys)
        value = self.number(*keys)
        if value is None:
            return None
        if value != int(value):
            self.report.wrong(found.pointer, ProblemCode.WRONG_TYPE, "this must be a whole number")
            return None
        return int(value)

    def flag(self, *keys: str) -> bool | None:
        """True or false, also where they are written as text."""
        found = self.find(*keys)
        value = {"true": True, "false": False}.get(str(found.value).lower())
        if found and value is None:
            self._wrong_type(found, "true or false")
        return value

    def items(self, *keys: str) -> list[Found]:
        """The items of a list; a value that is none is a list of one."""
        found = self.find(*keys)
        if not found:
            return []
        if not isinstance(found.value, list):
            return [found]
        values = cast("list[Any]", found.value)
        return [Found(value, (*found.pointer, index)) for index, value in enumerate(values)]

    def mapping(self, *keys: str) -> Given | None:
        """A mapping in this one."""
        found = self.find(*keys)
        return Given(self.report, found.value, found.pointer) if found else None

    def rest(self) -> list[str]:
        """The keys that nobody has asked for; they count as taken then."""
        keys = [key for key in self.body if key not in self._taken]
        self._taken.update(keys)
        return keys

    def leave(self, what: str = "", *, keys: Iterable[str] | None = None) -> None:
        """Tell every key that nobody has asked for. `what` is the mapping."""
        of = f" of {what}" if what else ""
        for key in self.rest() if keys is None else keys:
            self.report.lost((*self.pointer, key), f"`{key}`{of} has no counterpart here")

    def _wrong_type(self, found: Found, wanted: str) -> None:
        message = f"`{found.pointer[-1]}` must be {wanted}, it is {kind_of(found.value)}"
        self.report.wrong(found.pointer, ProblemCode.WRONG_TYPE, message)


def as_number(value: Any) -> float | None:
    """The number that a value is, or is the text of."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and len(value) <= 40:
        try:
            value = float(value.strip())
        except ValueError:
            return None
    if isinstance(value, int | float) and math.isfinite(value):
        return value
    return None


def kind_of(value: Any) -> str:
    """What kind of value something is, in words."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "text"
    return "nothing" if value is None else "a number"
