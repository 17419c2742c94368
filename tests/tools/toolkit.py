"""A place for tools to be called in: a real folder, real threads, and a store of what was kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from fleetprompt.engine.core.errors import InvalidInput, NotFound, TimedOut
from fleetprompt.engine.ports.tool import Preview, Tool, ToolRoom
from fleetprompt.engine.ports.world import Done, Failed, Outcome
from fleetprompt.engine.registry import TOOLS
from fleetprompt.engine.tools.declare import Declared

TOOLS.discover("fleetprompt.engine.tools", "fleetprompt.tools")


class Room:
    """Where calls of a test take place."""

    def __init__(
        self,
        root: Path,
        settings: Mapping[str, Any] | None = None,
        *,
        secrets: Mapping[str, str] | None = None,
        key: str = "0123456789abcdef",
        timeout: float | None = None,
    ) -> None:
        self.root = root
        self.settings: Mapping[str, Any] = settings or {}
        self.key = key
        self.run = "run-1"
        self.tenant = "default"
        self.timeout = timeout
        self.bound: Any = None
        self.traceparent = ""
        self.logged: list[tuple[str, str, Any]] = []
        self.noted: list[Mapping[str, Any]] = []
        self.store: dict[str, bytes] = {}
        self._written = asyncio.Event()
        self._secrets = dict(secrets or {})

    def log(self, text: str, level: str = "info", data: Any = None) -> None:
        self.logged.append((level, text, data))
        self._written.set()

    async def line(self, level: str) -> str:
        """The first line that is logged at that level."""
        while True:
            for known, text, _ in self.logged:
                if known == level:
                    return text
            self._written.clear()
            await self._written.wait()

    def secret(self, name: str) -> str:
        if name not in self._secrets:
            raise NotFound(f"secret `{name}` is not defined")
        return self._secrets[name]

    async def runs(self, process: Mapping[str, Any]) -> None:
        self.noted.append(process)

    async def in_thread(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return await asyncio.to_thread(function, *args, **kwargs)

    async def keep(self, content: bytes) -> str:
        digest = sha256(content).hexdigest()
        self.store[digest] = content
        return digest

    async def kept(self, digest: str) -> bytes:
        if digest not in self.store:
            raise NotFound(f"nothing is kept under {digest}")
        return self.store[digest]


def _fits(room: Room) -> ToolRoom:
    return room  # pyright: ignore[reportReturnType]


def find(name: str) -> Tool:
    return TOOLS.get(name)


async def preview(room: Room, name: str, /, **arguments: Any) -> Preview:
    """What a call would do."""
    found = find(name)
    found.check(arguments)
    shown = await found.preview(arguments, _fits(room))
    if isinstance(found, Declared):
        # What policies are warned by, and what they are judged by, are the same.
        known = found.model.judged_by
        assert set(shown.subject) <= set(found.info.spec.parameters["properties"] if known is None else known)
        assert known is None or set(shown.subject) == set(known)
    return shown


async def call(room: Room, name: str, /, **arguments: Any) -> Outcome:
    """Call as the engine does: look first, then call with what was seen."""
    found = find(name)
    found.check(arguments)
    try:
        room.bound = (await found.preview(arguments, _fits(room))).bound
    except (InvalidInput, NotFound, TimedOut):
        room.bound = None
        outcome = await found.call(arguments, _fits(room))
        if not isinstance(outcome, Failed):
            raise AssertionError("refused when looked at, and done all the same") from None
        return outcome
    return await found.call(arguments, _fits(room))


async def done(room: Room, name: str, /, **arguments: Any) -> Any:
    """The output of a call that has to succeed."""
    outcome = await call(room, name, **arguments)
    assert isinstance(outcome, Done), outcome
    return outcome.output


async def refusal(room: Room, name: str, /, **arguments: Any) -> str:
    """The message and the hint of a call that has to be refused, when it is looked at and when it is made."""
    outcome = await call(room, name, **arguments)
    assert isinstance(outcome, Failed), outcome
    assert not outcome.error.retryable
    return f"{outcome.error.message} ({outcome.error.hint})"


def problem(name: str, arguments: Mapping[str, Any]) -> str:
    """What is wrong with arguments that do not fit."""
    try:
        find(name).check(arguments)
    except InvalidInput as error:
        return f"{error.message} ({error.hint})"
    raise AssertionError("they fit")
