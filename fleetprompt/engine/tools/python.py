"""Functions of users as tools: the signature is the schema, the docstring is what models read.

A function is a tool because it is marked with `@tool`, and there because the operator lists it; nothing that a model
writes is ever evaluated.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
from collections.abc import Callable, Mapping
from inspect import isawaitable
from typing import Any, ClassVar, Literal, TypeVar, cast, get_args, get_type_hints

from msgspec import Struct
from pydantic import BaseModel, Field, PydanticUserError, create_model

from fleetprompt.engine.core.errors import Failure, InvalidInput
from fleetprompt.engine.outside.importing import Unresolved, folder
from fleetprompt.engine.outside.printed import Printed, printing
from fleetprompt.engine.outside.result import NotJson, as_json
from fleetprompt.engine.outside.traceback import describe, tail_of
from fleetprompt.engine.ports.model import ToolSpec
from fleetprompt.engine.ports.tool import ActionType, Preview, Reach, ToolInfo, ToolRoom
from fleetprompt.engine.ports.world import Done, Failed, Outcome, Unknown
from fleetprompt.engine.tools.declare import ToolModel, paragraphs, read_arguments, refused, schema_of, summary_of

NAME = re.compile(r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$")
CALL = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")
_MARK = "__fleet_tool__"
_SECTION = re.compile(r"^(\w[\w ]*):\s*$")
_PARAMETER = re.compile(r"^(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")

Function = TypeVar("Function", bound=Callable[..., Any])


class OutcomeUnknown(Exception):
    """Raise it in a tool: nobody knows whether the call took effect. An operator, or `reconcile`, finds out."""


class DidNotHappen(Exception):
    """Raise it in a `reconcile` function: the call certainly took no effect."""


class Mark(Struct, frozen=True, kw_only=True):
    """What a function says about itself as a tool."""

    name: str = ""
    effect: Reach = "write"
    repeat: Literal["safe", "never"] | None = None
    reconcile: Callable[..., Any] | None = None
    untrusted: bool = False
    parallel: bool = False
    action: ActionType = "tool_execution"


def tool(
    *,
    effect: Reach,
    repeat: Literal["safe", "never"] | None = None,
    reconcile: Callable[..., Any] | None = None,
    untrusted: bool = False,
    parallel: bool = False,
    name: str = "",
    action: ActionType = "tool_execution",
) -> Callable[[Function], Function]:
    """Mark a function as a tool; it stays the function that it is.

    `effect`: whether it only looks (`read`, called without asking) or changes something (`write`, asked about unless a
    policy allows it). `repeat`: whether it may be called again when nobody knows if it took effect; by default what
    only looks may, and what changes something may not. `reconcile`: a function of the same arguments that returns the
    result if the call took effect, raises `DidNotHappen` if it did not, and `OutcomeUnknown` if it cannot tell.
    `untrusted`: the result may be written to deceive. `name`: how models call it; by default the function's name.
    `action`: of which type its calls are on the record, such as `api_call` or `code_generation`.
    """
    if effect not in ("read", "write"):
        raise ValueError("effect is 'read' or 'write'")
    if repeat not in (None, "safe", "never"):
        raise ValueError("repeat is 'safe' or 'never'")
    if action not in get_args(ActionType):
        raise ValueError(f"action is one of {', '.join(get_args(ActionType))}")
    mark = Mark(
        name=name,
        effect=effect,
        repeat=repeat,
        reconcile=reconcile,
        untrusted=untrusted,
        parallel=parallel,
        action=action,
    )

    def add(function: Function) -> Function:
        setattr(function, _MARK, mark)
        return function

    return add


def mark_of(function: Any) -> Mark | None:
    """What `@tool` said about a function; None: it is not marked."""
    mark = getattr(function, _MARK, None)
    return mark if isinstance(mark, Mark) else None


class ToolContext:
    """What a tool may know about its call: a parameter with this type, or named `context`, receives it."""

    def __init__(self, room: ToolRoom) -> None:
        self.key = room.key
        """Idempotency key: the same for every attempt at this call. Hand it to services that take one."""
        self.run = room.run
        """Id of the run."""
        self.root = room.root
        """The workspace."""
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def log(self, text: str, level: Literal["debug", "info", "warning", "error"] = "info", data: Any = None) -> None:
        """Write a line to the step's log."""
        if threading.get_ident() == self._thread:
            self._room.log(text, level, data)
            return
        try:
            self._loop.call_soon_threadsafe(self._room.log, text, level, data)
        except RuntimeError:
            # The engine has stopped, and this thread was left behind.
            pass

    def secret(self, name: str) -> str:
        """The value of a secret. Raises `NotFound`."""
        return self._room.secret(name)


class FunctionTool:
    """A marked function as the engine calls it."""

    def __init__(self, function: Callable[..., Any], origin: str) -> None:
        """Raises `InvalidInput` for a function that cannot be a tool."""
        mark = mark_of(function)
        if mark is None:
            raise InvalidInput(f"`{origin}` is not marked as a tool", hint="write @tool(effect=…) above it")
        self._function = function
        self._mark = mark
        self._name = mark.name or str(getattr(function, "__name__", ""))
        if not NAME.match(self._name):
            raise InvalidInput(
                f"`{origin}`: `{self._name}` cannot be a tool's name", hint="write name='billing.refund'"
            )
        self._context, self._model, self._fields = _model_of(function, self._name, origin)
        text, _ = _docstring(function)
        self.info = ToolInfo(
            spec=ToolSpec(self._name, text or self._name, schema_of(self._model)),
            reach=mark.effect,
            repeat=mark.repeat or ("safe" if mark.effect == "read" else "never"),
            verdict="allow" if mark.effect == "read" else "ask",
            untrusted=mark.untrusted,
            parallel=mark.parallel,
            reconciles=mark.reconcile is not None,
            action=mark.action,
            origin=f"python {origin}",
        )

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Whether arguments fit. Raises `InvalidInput`."""
        read_arguments(self._name, self._model, arguments)

    async def preview(self, arguments: Mapping[str, Any], room: ToolRoom) -> Preview:
        """The arguments."""
        del room
        self.check(arguments)
        given = dict(arguments)
        risk = "" if self._mark.effect == "read" else "calls code that changes something"
        return Preview(summary=f"{self._name} {summary_of(given)}", show=given, risk=risk, subject=given, covers=given)

    async def call(self, arguments: Mapping[str, Any], room: ToolRoom) -> Outcome:
        """Call the function: an `async` one here, another in a thread."""
        try:
            given = self._arguments(arguments, room)
        except InvalidInput as error:
            return refused(error)
        result, error = await _called(self._function, given, room)
        if isinstance(error, OutcomeUnknown):
            return Unknown(describe(error).removeprefix("OutcomeUnknown: "))
        if error is not None:
            data = {"exception": type(error).__name__, "traceback": tail_of(error)}
            return Failed(Failure("TOOL_ERROR", describe(error), data=data))
        return Done(_told(result))

    async def reconcile(self, arguments: Mapping[str, Any], room: ToolRoom) -> Outcome | None:
        """Ask the function that was given for that."""
        if self._mark.reconcile is None:
            return None
        result, error = await _called(self._mark.reconcile, self._arguments(arguments, room), room)
        if isinstance(error, DidNotHappen):
            return Failed(Failure("TOOL_ERROR", describe(error).removeprefix("DidNotHappen: ")))
        if error is not None:
            room.log(f"reconcile: {describe(error)}", "warning")
            return None
        return Done(_told(result))

    def _arguments(self, arguments: Mapping[str, Any], room: ToolRoom) -> dict[str, Any]:
        read = read_arguments(self._name, self._model, arguments)
        given = {name: getattr(read, field) for field, name in self._fields.items() if field in read.model_fields_set}
        if self._context:
            given[self._context] = ToolContext(room)
        return given


class PythonTool:
    """A function that is named as `module:function`, looked for beside the workflow first. A file that has changed is
    loaded again."""

    def __init__(self, call: str, code: str = "") -> None:
        """Imports the module. Raises `InvalidInput`."""
        if not CALL.match(call):
            raise InvalidInput(f"`{call}` is not the name of a function", hint="write module:function")
        self._call = call
        self._folder = folder(code)
        self._function: Any = None
        self._tool = self._loaded()

    @property
    def info(self) -> ToolInfo:
        """What was known of it when it was last looked at."""
        return self._tool.info

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Whether arguments fit. Raises `InvalidInput`."""
        self._tool.check(arguments)

    async def preview(self, arguments: Mapping[str, Any], room: ToolRoom) -> Preview:
        """The arguments."""
        return await (await self._current(room)).preview(arguments, room)

    async def call(self, arguments: Mapping[str, Any], room: ToolRoom) -> Outcome:
        """Call the function as its file is now."""
        try:
            current = await self._current(room)
        except InvalidInput as error:
            return refused(error)
        return await current.call(arguments, room)

    async def reconcile(self, arguments: Mapping[str, Any], room: ToolRoom) -> Outcome | None:
        """Ask the function that was given for that."""
        return await (await self._current(room)).reconcile(arguments, room)

    async def _current(self, room: ToolRoom) -> FunctionTool:
        if self._folder.known(self._call) is None:
            try:
                await room.in_thread(self._folder.load, self._call)
            except Unresolved as error:
                raise InvalidInput(error.message, hint=error.hint) from None
        self._tool = self._loaded()
        return self._tool

    def _loaded(self) -> FunctionTool:
        try:
            target = self._folder.known(self._call) or self._folder.load(self._call)
        except Unresolved as error:
            raise InvalidInput(error.message, hint=error.hint) from None
        if target.function is self._function:
            return self._tool
        made = FunctionTool(target.function, self._call)
        self._function = target.function
        return made


def _model_of(function: Callable[..., Any], name: str, origin: str) -> tuple[str, type[BaseModel], dict[str, str]]:
    """The parameter for the context, the model of the others, and their names by its fields."""
    try:
        hints = get_type_hints(function, include_extras=True)
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError, NameError) as error:
        raise InvalidInput(f"the signature of `{origin}` cannot be read: {error}") from None
    told = _docstring(function)[1]
    context, fields, names = "", cast("dict[str, Any]", {}), cast("dict[str, str]", {})
    for i, parameter in enumerate(parameters.values()):
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise InvalidInput(f"`{origin}` takes `{parameter}`", hint="a tool's parameters are passed by name")
        hint = hints.get(parameter.name, Any)
        if hint is ToolContext or parameter.name == "context":
            context = parameter.name
            continue
        default: Any = ... if parameter.default is parameter.empty else parameter.default
        # Names of its own: a parameter may be called `json` or `copy`, which a model has already.
        names[f"p{i}"] = parameter.name
        fields[f"p{i}"] = (hint, Field(default, alias=parameter.name, description=told.get(parameter.name)))
    try:
        model = create_model("Arguments", __base__=_Arguments, **fields)
        model.model_json_schema()
    except (PydanticUserError, TypeError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise InvalidInput(f"the parameters of `{origin}` have no JSON Schema: {said}") from None
    return context, model, names


class _Arguments(BaseModel):
    model_config: ClassVar[Any] = {**ToolModel.model_config, "use_attribute_docstrings": False}


def _docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """What a docstring says about a function, and about its parameters in a section `Args:`."""
    text: list[str] = []
    parameters: dict[str, str] = {}
    section, current = "", ""
    for line in (inspect.getdoc(function) or "").splitlines():
        if found := _SECTION.match(line):
            section, current = found[1].casefold(), ""
        elif not section:
            text.append(line)
        elif section in ("args", "arguments", "parameters") and line.strip():
            if (found := _PARAMETER.match(line.strip())) and _indent(line) <= 4:
                current = found[1]
                parameters[current] = found[2].strip()
            elif current:
                parameters[current] += f" {line.strip()}"
    return paragraphs("\n".join(text)), parameters


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


async def _called(
    function: Callable[..., Any], arguments: dict[str, Any], room: ToolRoom
) -> tuple[Any, BaseException | None]:
    """What a function returned, or what it raised. What it prints goes to the step's log."""
    printed = Printed(room.log)
    try:
        if inspect.iscoroutinefunction(function):
            with printing(printed):
                return await function(**arguments), None
        result, error = await room.in_thread(_guarded, function, arguments, printed)
        if error is None and isawaitable(result):
            with printing(printed):
                result = await result
        return result, error
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return None, error
    except BaseException as error:
        # `SystemExit` too: a function that ends its own process must not end the engine.
        return None, error


def _guarded(
    function: Callable[..., Any], arguments: dict[str, Any], printed: Printed
) -> tuple[Any, BaseException | None]:
    """Call in a thread. Exceptions come back as values: `StopIteration` cannot pass a future, `SystemExit` must not."""
    try:
        with printing(printed):
            return function(**arguments), None
    except BaseException as error:
        return None, error


def _told(result: Any) -> Any:
    try:
        return as_json(result)
    except NotJson as error:
        # It returned, so it took effect: that its result cannot be recorded is no failure of the call.
        return {"note": f"the call succeeded; its result is not JSON: {error}"}
