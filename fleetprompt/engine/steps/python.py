"""`python`: call a function. The engine's shortest way to outside work: one dictionary look-up, then the call."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Mapping
from inspect import isawaitable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, cast

import msgspec
from pydantic import AfterValidator, Field

from fleetprompt.engine.core.plan import Repeat
from fleetprompt.engine.definition.fields import Templated, Verbatim, wrong
from fleetprompt.engine.definition.step import Kinds, StepModel, step
from fleetprompt.engine.outside.importing import Target, Unresolved, folder
from fleetprompt.engine.outside.printed import Printed, printing
from fleetprompt.engine.outside.result import NotJson, as_json
from fleetprompt.engine.outside.traceback import describe, tail_of
from fleetprompt.engine.outside.wording import failed
from fleetprompt.engine.ports import Context, Done, Failed, Outcome

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
CALL = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"


def _call_text(text: str) -> str:
    if not re.fullmatch(CALL, text):
        raise wrong("this is not the name of a function", "write module:function, such as billing.reports:monthly")
    return text


Call: TypeAlias = Annotated[
    str, AfterValidator(_call_text), Field(max_length=500, json_schema_extra={"pattern": CALL}), Verbatim()
]


class Permanent(Exception):
    """Raise it in a function that a `python` step calls: another attempt cannot help.

    Its text is what people read; where it was raised is not told, as with a bug.
    """


class RetryAfter(Exception):
    """Raise it in a function that a `python` step calls: another attempt makes sense after so many seconds.

    Its text is what people read, as with `Permanent`. How many attempts there are is for the step's `retry` to say.
    """

    def __init__(self, seconds: float, message: str = "") -> None:
        super().__init__(message or f"try again in {seconds:g} s")
        self.seconds = max(0.0, float(seconds))


class StepContext:
    """What a function may know about the step that calls it; passed as the parameter `context`.

    A parameter of that name, or one annotated with this class, receives it. Usable from the function's own thread.
    """

    def __init__(self, ctx: Context) -> None:
        effect = ctx.effect
        self.key = effect.key
        """Idempotency key: the same for every attempt at this work. Hand it to services that take one."""
        self.run = effect.run
        """Id of the run."""
        self.path = effect.path
        """Path of the step in the run, such as `audit[3].deps`."""
        self.attempt = effect.attempt
        """Number of this attempt, from 1."""
        self.directory = Path(effect.directory)
        """Folder of the project, where relative paths of its inputs start."""
        self.cancelled = threading.Event()
        """Set when the step was cancelled or timed out. A thread cannot be stopped from outside: a function that
        takes long and is not `async` should look at this now and then, and return."""
        self._log = ctx.log
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def log(self, text: str, level: Level = "info", data: Any = None) -> None:
        """Write a line to the step's log; `data` is any JSON value to keep with it."""
        if threading.get_ident() == self._thread:
            self._log(text, level, data)
            return
        try:
            self._loop.call_soon_threadsafe(self._log, text, level, data)
        except RuntimeError:
            # The engine has stopped and this thread was left behind; nobody reads the log any more.
            pass


@step("python")
class Python(StepModel):
    """Call a Python function with keyword arguments; what it returns is the output.

    `async` functions run in the engine's own event loop, others in a thread. The module is looked for in the folder of
    the workflow file first, then among the installed packages; a file of that folder that has changed is loaded again
    (its module-level state starts anew). The result has to be JSON: None, texts, finite numbers, booleans, lists and
    mappings of them; dataclasses, pydantic models, dates, enums, UUIDs and sets are converted.

    An exception fails the step with TOOL_ERROR, told with its traceback, and may be retried. `Permanent` and
    `RetryAfter` from `fleetprompt.engine.steps.python` say otherwise, and are told by their text alone. A parameter
    named `context` receives a `StepContext`. What it prints goes to the step's log. A crash of the engine leaves the
    step in doubt, unless `repeat: safe` says that the function may be called again.
    """

    pool_name: ClassVar[str] = "python"
    naming: ClassVar[Mapping[str, Kinds]] = {"call": "function"}

    call: Call
    """The function as `module:function`, such as `billing.reports:monthly`; `module:Class.method` works too."""
    with_: Templated[dict[str, Any]] = Field({}, alias="with")
    """Keyword arguments. The function gets copies: it may change them."""

    def repeats(self) -> Repeat:
        return self.repeat or "never"

    @classmethod
    async def perform(cls, ctx: Context) -> Outcome:
        effect = ctx.effect
        call: str = effect.input["call"]
        arguments: Any = effect.input.get("with") or {}
        home = folder(effect.code or effect.directory)
        target = home.known(call)
        try:
            if target is None:
                target = await _load(ctx, home.load, call)
            arguments = _own(arguments)
            if not target.accepts(arguments):
                raise target.mismatch(arguments)
        except Unresolved as error:
            return failed(error.message, hint=error.hint, retryable=False, data=error.data)
        return await _called(ctx, target, arguments)


async def _load(ctx: Context, load: Callable[[str], Target], call: str) -> Target:
    found, error = await ctx.in_thread(_guarded, load, {"call": call}, Printed(ctx.log))
    if error is not None:
        raise error
    return found


def _own(arguments: Any) -> dict[str, Any]:
    """Arguments that the function may change: the input they come from is part of the run's state."""
    if not isinstance(arguments, dict):
        raise Unresolved(f"`with` has to be a mapping of arguments, it is {type(arguments).__name__}")
    for value in cast("dict[str, Any]", arguments).values():
        if type(value) is dict or type(value) is list:
            return msgspec.json.decode(msgspec.json.encode(arguments))
    return cast("dict[str, Any]", arguments)


async def _called(ctx: Context, target: Target, arguments: dict[str, Any]) -> Outcome:
    context: StepContext | None = None
    if target.context and target.context not in arguments:
        context = StepContext(ctx)
        arguments = {**arguments, target.context: context}
    printed = Printed(ctx.log)
    try:
        if target.is_async:
            with printing(printed):
                result = await target.function(**arguments)
        else:
            result, error = await ctx.in_thread(_guarded, target.function, arguments, printed)
            if error is not None:
                return _raised(error)
            if isawaitable(result):
                with printing(printed):
                    result = await result
        return Done(as_json(result))
    except NotJson as error:
        return failed(f"the result of `{target.name}` is not JSON: {error}", hint=error.hint, retryable=False)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            if context is not None:
                context.cancelled.set()
            raise
        return _raised(error)
    except BaseException as error:
        # `SystemExit` too: a function that ends its own process must not end the engine.
        return _raised(error)


def _guarded(
    function: Callable[..., Any], arguments: dict[str, Any], printed: Printed
) -> tuple[Any, BaseException | None]:
    """Call in a thread. Exceptions come back as values: `StopIteration` cannot pass a future, `SystemExit` must not.

    What it prints is taken here, not where it is waited for: a thread goes on when its step was cancelled."""
    try:
        with printing(printed):
            return function(**arguments), None
    except BaseException as error:
        return None, error


def _raised(error: BaseException) -> Failed:
    name = type(error).__name__
    if isinstance(error, Permanent | RetryAfter) and (text := describe(error).removeprefix(f"{name}: ")):
        if isinstance(error, RetryAfter):
            return failed(text, data={"exception": name}, retry_after=error.seconds)
        return failed(text, data={"exception": name}, retryable=False)
    return failed(describe(error), data={"exception": name, "traceback": tail_of(error)})
