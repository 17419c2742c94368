"""Fields that people fill in, of an approval or as inputs of a workflow, and how what they type is read. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from fleetprompt.client.values import one_line_json, preview
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.entered import entered_problem
from fleetprompt.engine.core.plan import Input

_BOOLEANS = {"y": True, "yes": True, "true": True, "n": False, "no": False, "false": False}


class Field(Struct, frozen=True, kw_only=True):
    """One value that is asked for, as it was declared."""

    name: str
    type: str = "any"
    required: bool = False
    default: Any = UNSET
    description: str = ""
    enum: tuple[Any, ...] = ()
    pattern: str = ""
    min_length: int | None = None
    max_length: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    nullable: bool = False
    """Null is as good as no value."""

    @property
    def needed(self) -> bool:
        """It must be filled in: nothing stands in for it."""
        return self.required and self.default is UNSET

    def read(self, text: str) -> Any:
        """The value that a text means: by the declared type, and text as it is where it is nothing else."""
        for value in self.enum:
            if text in (value, self.text(value)):
                return value
        if self.type == "string":
            return text
        word = text.strip().lower()
        if self.type == "boolean" and word in _BOOLEANS:
            return _BOOLEANS[word]
        try:
            return msgspec.json.decode(text.encode("utf-8", "replace"))
        except (msgspec.DecodeError, RecursionError):
            return text

    def text(self, value: Any) -> str:
        """The text that is read as a value."""
        if isinstance(value, str) and (self.type == "string" or _plain(value)):
            return value
        return one_line_json(value)

    def problem(self, value: Any) -> str:
        """What is wrong with a value, to follow the name of the field; empty when nothing is."""
        if value is None and self.nullable:
            return ""
        return entered_problem(
            value,
            self.type,
            enum=self.enum,
            pattern=self.pattern,
            min_length=self.min_length,
            max_length=self.max_length,
            minimum=self.minimum,
            maximum=self.maximum,
        )

    @property
    def words(self) -> str:
        """What it takes, and what it is without an answer: `integer, at least 1, default 3`."""
        parts = [self.type]
        if self.enum:
            parts.append("one of " + ", ".join(map(str, self.enum)))
        if self.minimum is not None:
            parts.append(f"at least {self.minimum:g}")
        if self.maximum is not None:
            parts.append(f"at most {self.maximum:g}")
        if self.default is UNSET:
            parts.append("required" if self.required else "optional")
        else:
            parts.append(f"default {preview(self.default, 40)}")
        return ", ".join(parts)


def _plain(text: str) -> bool:
    """Whether a text, read as JSON, would be nothing but this text."""
    try:
        msgspec.json.decode(text.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        return True
    return False


def form_field(name: str, raw: Any) -> Field:
    """A field of an approval's form."""
    spec = mapping(raw) or {"type": raw}
    default: Any = spec.get("default", UNSET)
    return Field(
        name=name,
        type=str(spec.get("type") or "any"),
        required=bool(spec.get("required")),
        default=default,
        description=str(spec.get("description") or ""),
        enum=tuple(spec.get("enum") or ()),
        pattern=str(spec.get("pattern") or ""),
        min_length=spec.get("min_length"),
        max_length=spec.get("max_length"),
        minimum=spec.get("minimum"),
        maximum=spec.get("maximum"),
    )


def form_fields(form: Mapping[str, Any]) -> tuple[Field, ...]:
    """The fields of an approval's form, in the order in which they were declared."""
    return tuple(form_field(name, raw) for name, raw in form.items())


def input_fields(inputs: Mapping[str, Input]) -> tuple[Field, ...]:
    """The inputs of a workflow."""
    return tuple(
        Field(
            name=name,
            type=spec.type,
            required=spec.required,
            default=UNSET if spec.default is None else spec.default,
            description=spec.description,
            enum=spec.enum,
            pattern=spec.pattern,
            minimum=spec.minimum,
            maximum=spec.maximum,
            nullable=not spec.required,
        )
        for name, spec in inputs.items()
    )
