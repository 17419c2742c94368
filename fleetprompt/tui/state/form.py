"""A form while it is filled in: texts as they are typed, the values they mean, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET, Struct

from fleetprompt.client.forms import Field
from fleetprompt.client.values import preview
from fleetprompt.engine.core.errors import InvalidInput

NEEDED = "is needed"


class Filled(Struct, frozen=True):
    """What somebody has filled in."""

    values: dict[str, Any]
    comment: str = ""


class Form:
    """The fields, and the texts that stand in them."""

    def __init__(self, fields: Sequence[Field], values: Mapping[str, Any] | None = None) -> None:
        """`values` are what the fields hold now; where there is none it is the default."""
        self.fields = tuple(fields)
        self._by_name = {field.name: field for field in self.fields}
        current = {field.name: field.default for field in self.fields if field.default is not UNSET} | dict(
            values or {}
        )
        self._texts = {field.name: "" for field in self.fields}
        self._texts |= {name: self._by_name[name].text(value) for name, value in current.items() if name in self._texts}
        self._began = dict(self._texts)

    def field(self, name: str) -> Field:
        """A field by its name. Raises `KeyError`."""
        return self._by_name[name]

    def text(self, name: str) -> str:
        """What stands in a field."""
        return self._texts[name]

    def type(self, name: str, text: str) -> None:
        """Put something else into a field. Raises `KeyError`."""
        if name not in self._texts:
            raise KeyError(name)
        self._texts[name] = text

    def large(self, name: str) -> bool:
        """Whether a field wants several lines."""
        return self._by_name[name].type in ("array", "object") or "\n" in self._began[name]

    def choices(self, name: str) -> tuple[str, ...]:
        """The texts among which one chooses; empty where one types. No value is one of them where that is possible."""
        field = self._by_name[name]
        texts = tuple(map(field.text, field.enum)) or (("true", "false") if field.type == "boolean" else ())
        if not texts:
            return ()
        return texts if field.required or self._began[name] else ("", *texts)

    def step(self, name: str, by: int) -> None:
        """Go on to the next choice, or the one before."""
        choices = self.choices(name)
        if choices:
            text = self._texts[name]
            at = choices.index(text) if text in choices else -1 if by > 0 else 0
            self._texts[name] = choices[(at + by) % len(choices)]

    def value(self, name: str) -> Any:
        """The value that stands in a field; `UNSET` when there is none."""
        field, text = self._by_name[name], self._texts[name]
        if text.strip():
            return field.read(text)
        # A text that was there and was taken away is an empty text; anything else that is empty is no value.
        return text if field.type == "string" and self._began[name] else UNSET

    def problem(self, name: str) -> str:
        """What is wrong with a field, to follow its name; empty when nothing is."""
        field, value = self._by_name[name], self.value(name)
        if value is UNSET:
            return NEEDED if field.needed else ""
        if value == "" and field.needed:
            return NEEDED
        return field.problem(value)

    def hint(self, name: str) -> str:
        """What is said beside a field that is in order: what it takes, and what it is when it stays empty."""
        field = self._by_name[name]
        if self.value(name) is UNSET and field.default is not UNSET:
            return f"{field.type}; empty: {preview(field.default, 40)}"
        return field.words

    @property
    def wrong(self) -> str:
        """The first field that is not in order; empty when all are."""
        return next((field.name for field in self.fields if self.problem(field.name)), "")

    def values(self) -> dict[str, Any]:
        """Every value that stands in the form. Raises `InvalidInput` when one is not of its type, or is missing."""
        wrong = self.wrong
        if wrong:
            raise InvalidInput(f"`{wrong}` {self.problem(wrong)}", hint=self._by_name[wrong].words)
        found = {field.name: self.value(field.name) for field in self.fields}
        return {name: value for name, value in found.items() if value is not UNSET}
