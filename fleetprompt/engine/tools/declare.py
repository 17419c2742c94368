"""How a tool is declared: one class is its schema, its documentation for models, and its behaviour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, ClassVar, Literal, TypeVar, cast

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.errors import Failure, FleetError, InvalidInput, TimedOut
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports.model import ToolSpec
from fleetprompt.engine.ports.tool import ActionType, Preview, Reach, ToolInfo, ToolRoom, Verdict
from fleetprompt.engine.ports.world import Failed, Outcome
from fleetprompt.engine.registry import TOOLS

MOST_PROBLEMS = 5
"""Problems that a message about arguments tells; it says how many more there are."""
SHOWN_CHARS = 200


class ToolModel(BaseModel):
    """The arguments of a tool, and what the tool does with them. What it cannot do it raises as a `FleetError`, before
    anything has taken effect."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, defer_build=True
    )

    reach: ClassVar[Reach] = "write"
    repeat: ClassVar[Literal["safe", "never"]] = "never"
    verdict: ClassVar[Verdict] = "ask"
    untrusted: ClassVar[bool] = False
    parallel: ClassVar[bool] = False
    waits: ClassVar[bool] = False
    action: ClassVar[ActionType] = "tool_execution"
    grants_bound: ClassVar[bool] = False
    """What the decision about a call is bound to is also a part of what a grant covers: another commit, another program
    behind a name, is asked about again."""
    judged_by: ClassVar[tuple[str, ...] | None] = None
    """What patterns of the policy can be about: keys of `Preview.subject`; None: the arguments."""

    async def preview(self, room: ToolRoom) -> Preview:
        """What the call would do. Raises `InvalidInput`."""
        del room
        return Preview(summary=summary_of(self.model_dump()), show=self.model_dump(), subject=self.model_dump())

    async def call(self, room: ToolRoom) -> Outcome:
        """Do it."""
        raise NotImplementedError

    async def reconcile(self, room: ToolRoom) -> Outcome | None:
        """Find out whether a call took effect."""
        del room
        return None


Model = TypeVar("Model", bound=type[ToolModel])


def tool(name: str) -> Callable[[Model], Model]:
    """File a class as the tool of that name."""

    def add(model: Model) -> Model:
        TOOLS.register(name)(Declared(name, model))
        return model

    return add


class Declared:
    """A tool that is a class, as the engine calls it."""

    def __init__(self, name: str, model: type[ToolModel], origin: str = "built-in") -> None:
        self.name = name
        self.model = model
        self._origin = origin
        self._info: ToolInfo | None = None

    @property
    def info(self) -> ToolInfo:
        """What is known of it; its schema is built when it is asked for."""
        if self._info is None:
            model = self.model
            self._info = ToolInfo(
                spec=ToolSpec(self.name, description_of(model), schema_of(model)),
                reach=model.reach,
                repeat=model.repeat,
                verdict=model.verdict,
                untrusted=model.untrusted,
                parallel=model.parallel,
                waits=model.waits,
                reconciles=model.reconcile is not ToolModel.reconcile,
                action=model.action,
                origin=self._origin,
            )
        return self._info

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Whether arguments fit. Raises `InvalidInput`."""
        read_arguments(self.name, self.model, arguments)

    async def preview(self, arguments: Mapping[str, Any], room: ToolRoom) -> Preview:
        """What the call would do. Raises `InvalidInput`."""
        try:
            model = self._read(arguments)
            preview = await model.preview(room)
            if preview.covers is not None:
                return preview
            given = model.model_dump(mode="json", by_alias=True, exclude_none=True)
            covers = {name: shortened(value) for name, value in given.items()}
            if model.grants_bound:
                covers["bound"] = preview.bound
            return msgspec.structs.replace(preview, covers=covers)
        except OSError as error:
            raise InvalidInput(_said(error)) from None

    async def call(self, arguments: Mapping[str, Any], room: ToolRoom) -> Outcome:
        """Do it; what the tool refuses is a definite failure."""
        try:
            return await self._read(arguments).call(room)
        except FleetError as error:
            return refused(error)
        except OSError as error:
            return Failed(Failure("TOOL_ERROR", _said(error)))

    async def reconcile(self, arguments: Mapping[str, Any], room: ToolRoom) -> Outcome | None:
        """Find out whether a call took effect."""
        try:
            return await self._read(arguments).reconcile(room)
        except (FleetError, OSError):
            return None

    def _read(self, arguments: Mapping[str, Any]) -> ToolModel:
        return cast("ToolModel", read_arguments(self.name, self.model, arguments))


def shortened(value: Any) -> Any:
    """A value that a grant covers: a long text, which nobody reads there, by its digest."""
    if not isinstance(value, str) or len(value) <= SHOWN_CHARS:
        return value
    return {"sha256": sha256(value.encode()).hexdigest(), "characters": len(value)}


def _said(error: OSError) -> str:
    name = f" with `{inert(str(error.filename))}`" if isinstance(error.filename, str) else ""
    return f"the operating system refuses{name}: {(error.strerror or type(error).__name__).lower()}"


def refused(error: FleetError) -> Failed:
    """The outcome of a call that was not made, or was stopped before it took effect."""
    again = isinstance(error, TimedOut)
    return Failed(Failure(error.code, error.message, hint=error.hint, retryable=again))


def read_arguments(name: str, model: type[BaseModel], arguments: Mapping[str, Any]) -> BaseModel:
    """Arguments as a model of them: JSON without conversions. Raises `InvalidInput`."""
    try:
        text = msgspec.json.encode(dict(arguments))
    except (TypeError, UnicodeError, RecursionError) as error:
        raise InvalidInput(f"the arguments of `{name}` are not JSON: {error}") from None
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        told = [_told(dict(problem), model) for problem in error.errors(include_url=False, include_input=False)]
    more = f"; and {len(told) - MOST_PROBLEMS} more" if len(told) > MOST_PROBLEMS else ""
    message = f"the arguments of `{name}` cannot be used: {'; '.join(told[:MOST_PROBLEMS])}{more}"
    raise InvalidInput(message, hint=allowed(schema_of(model)))


def _told(problem: dict[str, Any], model: type[BaseModel]) -> str:
    where = inert(".".join(map(str, problem["loc"])))[:SHOWN_CHARS]
    if problem["type"] == "extra_forbidden":
        known = schema_of(model).get("properties", {})
        close = did_you_mean(where, known) if "." not in where else ""
        return f"there is no argument `{where}`" + (f", {close}" if close else "")
    if problem["type"] == "missing":
        return f"`{where}` is missing"
    said = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return f"`{where}` {said}" if where else said


def allowed(schema: Mapping[str, Any]) -> str:
    """The arguments that a schema allows, in one line."""
    properties = cast("dict[str, dict[str, Any]]", schema.get("properties", {}))
    required = set(schema.get("required", ()))
    if not properties:
        return "it takes no arguments"
    parts = [f"{name} ({_kind(each)}{', required' * (name in required)})" for name, each in properties.items()]
    return f"arguments: {', '.join(parts)}"


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(map(repr, schema["enum"]))
    if "const" in schema:
        return repr(schema["const"])
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if schema.get("type") == "array" and "type" in schema.get("items", {}):
        return f"array of {schema['items']['type']}"
    return str(schema.get("type", "value"))


def description_of(model: type[BaseModel]) -> str:
    """The docstring, without the line breaks that the source has inside of paragraphs."""
    return paragraphs(model.__doc__ or "")


def paragraphs(text: str) -> str:
    """A docstring as it is read: one line for each paragraph."""
    return "\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of the arguments, without what only costs a model tokens."""
    schema = model.model_json_schema()
    schema.pop("description", None)
    return cast("dict[str, Any]", _plain(schema))


def _plain(value: Any, named: bool = False) -> Any:
    """Without the titles that pydantic makes of names; `named`: keys are names of arguments."""
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {
            key: paragraphs(item) if key == "description" and isinstance(item, str) else _plain(item, _names(key))
            for key, item in items
            if named or key != "title"
        }
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[Any]", value)]
    return value


def _names(key: str) -> bool:
    return key in ("properties", "$defs")


def summary_of(arguments: Mapping[str, Any]) -> str:
    """Arguments in one line that people can read."""
    text = inert(msgspec.json.encode(dict(arguments)).decode())
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]} …"
