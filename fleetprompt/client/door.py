"""A console that can be opened again behind its users: views hold on to the door, whatever is behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from fleetprompt.engine.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from fleetprompt.client.beside import BesideConsole
    from fleetprompt.client.identity import Identity
    from fleetprompt.client.protocol import Console

Open = Callable[[], Awaitable["Console"]]
Again = Callable[["Console"], Awaitable["Console"]]
"""From a console without an engine to one that has it, or to the same one where others were faster."""


class Door:
    """Everything that is asked of it is asked of the console behind it, as somebody may."""

    def __init__(self, open_: Open, again: Again | None = None, identity: Identity | None = None) -> None:
        """`again` brings an engine back; None where that is not for this process to do. Without an identity everything
        may be asked."""
        self._open = open_
        self._again = again
        self._identity = identity
        self._starting = False
        self._lent = False
        """Others held the engine when it was last seen to run, and the one beside this process had ended."""
        self.behind: Console | None = None
        self._asked: Console | None = None
        """The console behind it, in the hands of who uses it."""

    @property
    def as_console(self) -> Console:
        """The door, to be used as the console it leads to."""
        return cast("Console", self)

    async def open(self) -> None:
        """Open the console, also again after it was closed. Raises `FleetError`."""
        self._lead_to(await self._open())

    def _lead_to(self, console: Console) -> None:
        # Doors are what the operator console opens, wherever its engine is.
        console.face = "console"
        self.behind = self._asked = console
        if self._identity is not None:
            from fleetprompt.client.guarded import guarded

            self._asked = guarded(console, self._identity, own=True)

    @property
    def can_start_engine(self) -> bool:
        """Whether an engine can be had here where none runs."""
        return self._again is not None

    @property
    def _beside(self) -> BesideConsole | None:
        """The console behind it, where its engine is a process that is ours."""
        return cast("BesideConsole", self.behind) if hasattr(self.behind, "begin") else None

    @property
    def ends_engine(self) -> bool:
        """Whether an engine ends when this is closed: one in this process, or in a process beside it."""
        behind = self.behind
        if behind is None or behind.where == "none":
            return False
        beside = self._beside
        return behind.where == "embedded" or (beside is not None and beside.engine.alive)

    @property
    def starting(self) -> bool:
        """Whether an engine is being started that is not there yet."""
        return self._starting and self.behind is not None and self.behind.where == "none"

    @property
    def is_served(self) -> bool:
        """A daemon answers, and not the store itself."""
        return hasattr(self.behind, "lost")

    @property
    def lost(self) -> str:
        """Why the daemon behind it cannot be reached; empty while it can, and where there is none elsewhere."""
        return getattr(self.behind, "lost", "")

    @property
    def refused(self) -> bool:
        """It answers, and does not let one in."""
        return bool(getattr(self.behind, "refused", False))

    def note_engine(self) -> None:
        """An engine runs at this moment: the one beside this process, or that of others."""
        beside = self._beside
        self._lent = beside is not None and beside.engine.pid > 0 and not beside.engine.alive

    @property
    def is_given_back(self) -> bool:
        """Whether others held the engine in place of the one beside this process, and have left in order."""
        beside = self._beside
        return self._lent and beside is not None and beside.was_left

    async def last_words(self) -> str:
        """How the engine beside this process ended; empty where none was, or where it has not."""
        beside = self._beside
        return await beside.engine.last_words() if beside is not None else ""

    @property
    def is_to_begin(self) -> bool:
        """Whether the engine of what was opened is yet to be started: `begin` does it."""
        beside = self._beside
        return beside is not None and not beside.engine.pid

    async def begin(self) -> None:
        """Start the engine of what was opened. Raises `FleetError`, with the last words of one that has ended."""
        beside = self._beside
        if beside is None:
            return
        self._starting = True
        try:
            await beside.begin()
        finally:
            self._starting = False

    async def start_engine(self) -> bool:
        """Have an engine where none runs; whether there is one now, ours or that of who was faster. Raises
        `FleetError`."""
        if self.behind is None or self._again is None:
            return False
        # The frame is painted before this is needed.
        from fleetprompt.engine.runtime.lock import EngineIsRunning

        self._starting = True
        try:
            with suppress(EngineIsRunning):
                self._lead_to(await self._again(self.behind))
        finally:
            self._starting = False
        return self.behind.where != "none"

    async def close(self) -> None:
        """Close the console, if it is open."""
        behind, self.behind, self._asked = self.behind, None, None
        if behind is not None:
            await behind.close()

    def __getattr__(self, name: str) -> Any:
        if self._asked is None:
            raise StoreUnavailable("the store is not open", hint="read it again once it is back")
        return getattr(self._asked, name)
