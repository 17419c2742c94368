"""A step type's door to the world: the log, notes, secrets, threads."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from fleetprompt.engine.core.facts import AnyFact, StepNoted
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import Effect, LogLine
from fleetprompt.engine.runtime.driver import Driver
from fleetprompt.engine.runtime.message import Message

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

Level = Literal["debug", "info", "warning", "error", "stdout", "stderr"]


class StepContext:
    """All that a step type sees."""

    __slots__ = ("_driver", "_engine", "effect")

    def __init__(self, engine: Engine, driver: Driver, effect: Effect) -> None:
        self._engine = engine
        self._driver = driver
        self.effect = effect

    def log(self, text: str, level: Level = "info", data: Any = None) -> None:
        """Write to the step log. Secrets are redacted by value."""
        engine, effect = self._engine, self.effect
        if engine.secrets.known:
            text = engine.secrets.redact(text)
            data = engine.secrets.redact_value(data)
        line = LogLine(at=engine.now(), level=level, text=text, data=data, path=effect.path, attempt=effect.attempt)
        engine.store.logs.write(effect.run, (line,), effect.tenant)
        engine.feed.progress(effect.run, line, effect.tenant)

    async def note(self, kind: str, key: str, value: Any) -> None:
        """Record a durable sub-result; returns when it is durable."""
        effect, value = self.effect, self._engine.secrets.redact_value(value)

        def ask(run: Run, now: float) -> list[AnyFact]:
            if not _is_on(run, effect):
                return []
            at = max(now, run.at)
            return [StepNoted(at=at, path=effect.path, kind=kind, key=key, value=value, attempt=effect.attempt)]

        durable: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._driver.deliver(Message(ask, answer=durable))
        await durable

    def reveal(self, pointer: str) -> str | None:
        """The text of an input field with its secrets filled in; None where the field holds none.

        Raises `NotFound` when a secret is not defined.
        """
        parts = self.effect.secrets.get(pointer)
        if parts is None:
            return None
        return "".join(
            part if isinstance(part, str) else self._engine.secrets.get(str(part["secret"])) for part in parts
        )

    async def in_thread(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run a blocking function in the engine's threads, with this task's context variables."""
        call = partial(copy_context().run, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._engine.threads, call)


def _is_on(run: Run, effect: Effect) -> bool:
    """Whether the run still waits for this work: a note that comes later says nothing any more."""
    step = run.steps.get(effect.path)
    return step is not None and not step.settled and step.attempt == effect.attempt
