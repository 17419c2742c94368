"""Settings of tools: what a table of `fleet.toml` may hold, told as exactly as arguments are, and where."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeGuard, TypeVar, get_args

from msgspec import Struct
from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.definition.problems import Pointer, ProblemCode, Severity
from fleetprompt.engine.definition.shape import limit_words

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_WANTED: Final = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_KINDS: Final[dict[type, str]] = {
    str: "text",
    int: "a whole number",
    list: "a list",
    dict: "a table",
}


class Misfit(Struct, frozen=True):
    """Something that is to be said about a table of the settings."""

    path: Pointer
    """Keys, and positions in lists, from the top of the settings; of what a table says of itself, from there on."""
    message: str
    hint: str = ""
    code: ProblemCode = ProblemCode.BAD_VALUE
    severity: Severity = "error"


class Section(BaseModel):
    """A table of the settings: no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)

    def doubts(self) -> Iterable[Misfit]:
        """What of it can be used, and is of no effect."""
        return ()


class Unfit(ValueError):
    """What a check finds: of a value, or of a whole table, then at one of its keys."""

    def __init__(
        self, message: str, hint: str = "", *, key: str = "", code: ProblemCode = ProblemCode.BAD_VALUE
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.key = key
        self.code = code


S = TypeVar("S", bound=Section)


def read_section(path: tuple[str, ...], section: type[S], values: Mapping[str, Any]) -> S:
    """The table at a path of keys as its model. Raises `InvalidInput` with all that does not fit."""
    try:
        return section.model_validate(dict(values))
    except ValidationError as error:
        found = list(_misfits(path, section, error))
    said = "; ".join(misfit.message for misfit in found)
    raise InvalidInput(f"[{dotted(path)}] of the settings cannot be used: {said}", hint=found[0].hint)


def misfits(path: tuple[str, ...], section: type[Section], values: Any) -> Iterator[Misfit]:
    """What does not fit the model of the table at a path of keys; of one that fits, what is of no effect in it."""
    try:
        found = section.model_validate(values)
    except ValidationError as error:
        yield from _misfits(path, section, error)
        return
    for each in found.doubts():
        yield replace(each, path=(*path, *each.path), code=ProblemCode.SUSPICIOUS, severity="warning")


def no_table(path: tuple[str, ...]) -> Misfit:
    """What is said where there is something else than a table."""
    hint = f"write [{dotted(path)}], and its keys below it"
    return Misfit(path, f"[{dotted(path)}] has to be a table", hint, ProblemCode.WRONG_TYPE)


def dotted(path: Pointer) -> str:
    """A path of keys as it is written in TOML."""
    return ".".join(str(key) if _BARE.fullmatch(str(key)) else f'"{inert(str(key))}"' for key in path)


def _misfits(path: tuple[str, ...], section: type[BaseModel], error: ValidationError) -> Iterator[Misfit]:
    for each in error.errors(include_url=False):
        yield _misfit(path, section, each)


def _misfit(path: tuple[str, ...], section: type[BaseModel], error: ErrorDetails) -> Misfit:
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    loc = tuple(error["loc"])
    at_key = loc[-1:] == ("[key]",)
    loc = loc[:-1] if at_key else loc
    place, inside = (*path, *loc), dotted((*path, *loc[:-1]))
    if kind == "extra_forbidden":
        known = _known(section, loc[:-1])
        hint = did_you_mean(str(loc[-1]), known) or f"settings are {', '.join(known)}"
        message = f"there is no setting `{inert(str(loc[-1]))}` in [{inside}]"
        return Misfit(place, message, hint, ProblemCode.UNKNOWN_KEY)
    if kind == "missing":
        return Misfit(place[:-1], f"`{loc[-1]}` is missing in [{inside}]", "", ProblemCode.MISSING_KEY)
    if kind in _WANTED:
        message = f"{_subject(place)} must be {_WANTED[kind]}{_actual(value)}"
        return Misfit(place, message, _conversion(kind, value), ProblemCode.WRONG_TYPE)
    raised = context.get("error")
    if isinstance(raised, Unfit):
        return Misfit((*place, raised.key) if raised.key else place, str(raised), raised.hint, raised.code)
    if isinstance(raised, Exception):
        return Misfit(place, str(raised))
    subject = f"the key `{inert(str(loc[-1]))}` of [{inside}]" if at_key else _subject(place)
    limit = limit_words(kind, context, value)
    return Misfit(place, f"{subject} {limit}" if limit else f"{subject} cannot be used: {error['msg']}")


def _known(section: type[BaseModel], loc: Pointer) -> list[str]:
    """The keys that the table at a place of a section can have."""
    type_: Any = section
    for part in loc:
        type_ = type_.model_fields[str(part)].annotation if _is_section(type_) else get_args(type_)[-1]
    return list(type_.model_fields) if _is_section(type_) else []


def _is_section(type_: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(type_, type) and issubclass(type_, BaseModel)


def _subject(place: Pointer) -> str:
    if isinstance(place[-1], int):
        return f"this item of `{dotted(place[:-1])}`"
    return f"`{dotted(place)}`"


def _actual(value: object) -> str:
    kind = str(value).lower() if isinstance(value, bool | float) else _KINDS.get(type(value), "")
    return f", not {kind}" if kind else ""


def _conversion(kind: str, value: object) -> str:
    """How to write a value so that it has the right type, where that is plain to see."""
    if isinstance(value, str):
        if kind == "list_type":
            return f'write ["{inert(value)[:60]}"]'
        number = re.fullmatch(r"-?\d+(\.\d+)?", value) and kind in ("int_type", "float_type")
        return "remove the quotes" if number or (kind == "bool_type" and value in ("true", "false")) else ""
    if kind == "string_type" and type(value) in (bool, int, float):
        return "put it in quotes"
    return ""
