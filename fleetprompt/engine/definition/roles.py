"""What stands in each field of a model, read from its type once per class."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, get_args, get_origin

from msgspec import Struct
from pydantic import BaseModel

from fleetprompt.engine.definition.fields import Bare, Condition, Sees, StepBody, StepList, Verbatim

What = Literal["template", "bare", "condition", "verbatim", "steps", "body"]
_MARKERS: dict[type, What] = {
    StepList: "steps",
    StepBody: "body",
    Condition: "condition",
    Bare: "bare",
    Verbatim: "verbatim",
}
"""From the one that says most to the one that says least."""


class Role(Struct, frozen=True):
    """What the text in a field is, and what its expressions see."""

    what: What = "template"
    sees: tuple[str, ...] = ()
    part: type[BaseModel] | None = None
    """The model of a mapping in the field, or in a list there."""
    keyed: bool = False
    """The field is a mapping from names to parts."""


@cache
def roles(model: type[BaseModel]) -> dict[str, Role]:
    """The roles of a model's fields, by the key they have in the file."""
    found: dict[str, Role] = {}
    for name, field in model.model_fields.items():
        pieces = [*field.metadata, *_pieces(field.annotation)]
        markers: set[type] = {type(piece) for piece in pieces}
        known: list[What] = [what for marker, what in _MARKERS.items() if marker in markers]
        sees = dict.fromkeys(seen for piece in pieces if isinstance(piece, Sees) for seen in piece.names)
        parts = [piece for piece in pieces if isinstance(piece, type) and issubclass(piece, BaseModel)]
        keyed = any(get_origin(piece) is dict for piece in pieces)
        found[field.alias or name] = Role(
            known[0] if known else "template", tuple(sees), parts[0] if parts else None, keyed
        )
    return found


def _pieces(annotation: Any) -> list[Any]:
    """Everything an annotation is made of, outermost first; of a mapping only the values count."""
    found: list[Any] = [annotation]
    parts = get_args(annotation)
    for part in (*(parts[1:] if get_origin(annotation) is dict else parts), *getattr(annotation, "__metadata__", ())):
        found += _pieces(part)
    return found
