"""Every expression of a file: where it stands, what kind of text it is, and what it may see there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from msgspec import Struct

from fleetprompt.engine.definition.outline import Outline, Site, mapping, sequence
from fleetprompt.engine.definition.problems import Pointer
from fleetprompt.engine.definition.roles import Role, roles
from fleetprompt.engine.definition.step import ReconcileModel, StepModel, known_type
from fleetprompt.engine.definition.triggers import TRIGGERS, TriggerModel

Realm = Literal["step", "undo", "output", "group", "trigger"]
"""Where a text stands: in a step, in its compensation, in the file's `output`, its `concurrency`, or a trigger."""


class Place(Struct, frozen=True):
    """What the expressions at a place may see."""

    realm: Realm
    site: Site | None = None
    """The step they belong to."""
    sees: tuple[str, ...] = ()
    """Names besides the usual ones."""
    model: type[StepModel] | type[TriggerModel] | None = None
    """The type that says which of its fields take secrets."""
    base: Pointer = ()
    """The pointer of that model's mapping."""


class Text(Struct, frozen=True):
    """A value of the file in which expressions stand."""

    pointer: Pointer
    value: Any
    what: Literal["template", "bare", "condition", "constant"]
    """`constant`: a value in which expressions are not evaluated."""
    place: Place


def texts(outline: Outline) -> Iterator[Text]:
    """Every text of the file, in its order where that is easy."""
    data = outline.data
    yield from _triggers(data.get("triggers"))
    yield from _value(data.get("concurrency"), ("concurrency",), Place("group"))
    for key in ("vars", "inputs", "labels"):
        yield from _constants(data.get(key), (key,), Place("group"))
    yield from _value(data.get("output"), ("output",), Place("output"))
    for site in outline.sites:
        yield from _step(site.raw, site.pointer, site.type, Place("step", site))


def _triggers(triggers: Any) -> Iterator[Text]:
    for index, raw in enumerate(sequence(triggers)):
        body = mapping(raw)
        model = TRIGGERS.get(str(body.get("type")), TriggerModel)
        pointer: Pointer = ("triggers", index)
        yield from _fields(body, pointer, roles(model), Place("trigger", model=model, base=pointer))


def _step(raw: dict[str, Any], pointer: Pointer, model: type[StepModel] | None, place: Place) -> Iterator[Text]:
    place = Place(place.realm, place.site, model=model, base=pointer)
    yield from _fields(raw, pointer, roles(model or StepModel), place)


def _fields(raw: dict[str, Any], pointer: Pointer, known: dict[str, Role], place: Place) -> Iterator[Text]:
    for key, value in raw.items():
        yield from _field(value, (*pointer, key), known.get(key, Role()), place)


def _field(value: Any, pointer: Pointer, role: Role, place: Place) -> Iterator[Text]:
    if role.sees:
        place = Place(place.realm, place.site, role.sees, place.model, place.base)
    if role.what == "steps":
        yield from _cases(value, pointer, role, place)
    elif role.what == "body":
        yield from _body(value, pointer, place)
    elif role.part is not None:
        yield from _part(value, pointer, role, place)
    elif role.what == "condition":
        for index, item in enumerate(sequence(value)):
            yield Text((*pointer, index), item, "condition", place)
        if not isinstance(value, list):
            yield Text(pointer, value, "condition", place)
    elif role.what == "bare":
        yield from _bare(value, pointer, place)
    elif role.what == "verbatim":
        if pointer[-1] not in ("name", "description"):
            yield from _constants(value, pointer, place)
    else:
        yield from _value(value, pointer, place)


def _part(value: Any, pointer: Pointer, role: Role, place: Place) -> Iterator[Text]:
    assert role.part is not None
    if isinstance(value, str):
        # One expression stands for the whole.
        yield from _value(value, pointer, place)
    for index, item in enumerate(sequence(value)):
        yield from _part(item, (*pointer, index), role, place)
    if role.keyed:
        inner = Role(role.what, role.sees, role.part)
        for key, item in mapping(value).items():
            yield from _part(item, (*pointer, key), inner, place)
    else:
        yield from _fields(mapping(value), pointer, roles(role.part), place)


def _cases(value: Any, pointer: Pointer, role: Role, place: Place) -> Iterator[Text]:
    """The fields of cases; the steps in them are sites of their own."""
    if role.part is None or issubclass(role.part, StepModel):
        return
    for index, item in enumerate(sequence(value)):
        if "type" not in mapping(item):
            yield from _fields(mapping(item), (*pointer, index), roles(role.part), place)


def _body(value: Any, pointer: Pointer, place: Place) -> Iterator[Text]:
    raw = mapping(value)
    model = known_type(raw.get("type"))
    undo = pointer[-1] == "compensate"
    inner = Place("undo" if undo else place.realm, place.site, () if undo else ("key", "input"), model, pointer)
    known = roles(model or StepModel)
    yield from _fields(raw, pointer, known if undo else {**known, **roles(ReconcileModel)}, inner)


def _bare(value: Any, pointer: Pointer, place: Place) -> Iterator[Text]:
    if isinstance(value, str):
        yield Text(pointer, value, "bare", place)
    elif isinstance(value, dict):
        for key, item in mapping(value).items():
            yield from _bare(item, (*pointer, key), place)
    else:
        yield from _constants(value, pointer, place)


def _value(value: Any, pointer: Pointer, place: Place) -> Iterator[Text]:
    for where, text in templates(value, pointer, "{"):
        yield Text(where, text, "template", place)


def _constants(value: Any, pointer: Pointer, place: Place) -> Iterator[Text]:
    for where, text in templates(value, pointer):
        yield Text(where, text, "constant", place)


def templates(value: Any, pointer: Pointer, mark: str = "${{") -> Iterator[tuple[Pointer, str]]:
    """The strings in a value in which an expression may stand, with their places."""
    if isinstance(value, str) and mark in value:
        yield pointer, value
    for key, item in mapping(value).items():
        yield from templates(item, (*pointer, key), mark)
    for index, item in enumerate(sequence(value)):
        yield from templates(item, (*pointer, index), mark)
