"""A context for step types that keeps what it is told, as the performer's does, and resolves secrets from a dict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleetprompt.engine.definition.step import step_type
from fleetprompt.engine.ports import Effect, Outcome


class Recorder:
    """`fleetprompt.engine.ports.Context`, with a memory."""

    def __init__(self, effect: Effect, revealed: dict[str, str]) -> None:
        self.effect = effect
        self.lines: list[tuple[str, str]] = []
        self.notes: list[tuple[str, str, Any]] = []
        self.threads = 0
        self.on_log: Callable[[str, str], None] | None = None
        self.on_note: Callable[[Any], Any] | None = None
        self._revealed = revealed

    def log(self, text: str, level: str = "info", data: Any = None) -> None:
        if self.on_log is not None:
            self.on_log(level, text)
        else:
            self.lines.append((level, text))

    async def note(self, kind: str, key: str, value: Any) -> None:
        if self.on_note is not None:
            await self.on_note(value)
        self.notes.append((kind, key, value))

    def reveal(self, pointer: str) -> str | None:
        return self._revealed.get(pointer)

    async def in_thread(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.threads += 1
        return await asyncio.to_thread(function, *args, **kwargs)

    def logged(self, level: str) -> list[str]:
        return [text for at, text in self.lines if at == level]

    @property
    def log_text(self) -> str:
        return "\n".join(text for _, text in self.lines)

    async def perform(self) -> Outcome:
        return await step_type(self.effect.type).perform(self)


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for what other tasks, threads or processes bring about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.005)


Make = Callable[..., Recorder]


@pytest.fixture(name="until")
def until_() -> Any:
    return until


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """`make("shell", {"argv": [...]}, secrets={"/env/TOKEN": "text"}, attempt=2)`: a context ready to perform.

    The input is validated as in a file first, so that no test uses a field the language does not have.
    """

    def build(
        type: str, config: dict[str, Any], /, *, secrets: dict[str, str] | None = None, **fields: Any
    ) -> Recorder:
        __import__(f"fleetprompt.engine.steps.{type}")
        model = step_type(type).model_validate({"type": type, **config})
        effect = Effect(
            **{
                "run": "r1",
                "tenant": "default",
                "path": "audit[3].deps",
                "attempt": 1,
                "type": type,
                "input": model.config(),
                "secrets": {pointer: [{"secret": "NAME"}] for pointer in secrets or {}},
                "key": "key-1",
                "pool": type,
                "repeat": model.repeats(),
                "directory": str(tmp_path),
                **fields,
            }
        )
        return Recorder(effect, secrets or {})

    return build
