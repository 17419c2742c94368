"""The world: the time, and what a step type is given of it and gives back."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from msgspec import Struct

from fleetprompt.engine.core.errors import Failure


class Clock(Protocol):
    """Wall-clock time. Timers of the runtime use the event loop's own clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...


class Done(Struct, frozen=True):
    """The effect happened."""

    output: Any = None
    port: str = ""
    usage: dict[str, int] = {}
    retry_after: float | None = None
    """Seconds the other side asked us to wait: where an assertion or a poll finds that this was not enough."""


class Failed(Struct, frozen=True):
    """The effect definitely did not succeed; another attempt may be made."""

    error: Failure
    retry_after: float | None = None
    """Seconds the other side asked us to wait."""


class Unknown(Struct, frozen=True):
    """Nobody can tell whether the effect happened: `safe` steps are repeated, `never` steps become in doubt."""

    reason: str


Outcome = Done | Failed | Unknown


class Effect(Struct, frozen=True, kw_only=True):
    """Outside work that a run owes the world. JSON-able: it could cross a process or a network unchanged."""

    run: str
    tenant: str
    path: str
    attempt: int
    type: str
    input: Any
    secrets: dict[str, list[Any]] = {}
    key: str
    """Idempotency key: the same for every attempt at the same work."""
    timeout: float | None = None
    pool: str = ""
    repeat: Literal["safe", "never"] = "safe"
    workflow: str = ""
    directory: str = ""
    """Folder of the project: relative paths start here."""
    code: str = ""
    """Folder of the workflow file: its code is looked for here; empty when it came from no file."""
    traceparent: str = ""
    """Where in a trace it is (W3C), to be told to whoever is called; empty where nothing is traced."""


class Context(Protocol):
    """All that a step type sees of the world."""

    @property
    def effect(self) -> Effect: ...

    def log(
        self,
        text: str,
        level: Literal["debug", "info", "warning", "error", "stdout", "stderr"] = "info",
        data: Any = None,
    ) -> None:
        """Write to the step log. Secrets are redacted by value."""
        ...

    async def note(self, kind: str, key: str, value: Any) -> None:
        """Record a durable sub-result; returns when it is durable."""
        ...

    def reveal(self, pointer: str) -> str | None:
        """The text of an input field with its secrets filled in; None where the field holds none."""
        ...

    async def in_thread(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run a blocking function in the step pool's threads."""
        ...
