"""A console that can be opened again behind its users: views hold on to the door, whatever is behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Console

Open = Callable[[], Awaitable["Console"]]
Again = Callable[["Console"], Awaitable["Console"]]
"""From a console without an engine to one that has it, or to the same one where others were faster."""


class Door:
    """Everything that is asked of it is asked of the console behind it."""

    def __init__(self, open_: Open, again: Again | None = None) -> None:
        """`again` brings an engine back; None where that is not for this process to do."""
        self._open = open_
        self._again = again
        self.behind: Console | None = None

    @property
    def as_console(self) -> Console:
        """The door, to be used as the console it leads to."""
        return cast("Console", self)

    async def open(self) -> None:
        """Open the console. Raises `FleetError`."""
        self.behind = await self._open()

    @property
    def can_start_engine(self) -> bool:
        """Whether an engine can be had here where none runs."""
        return self._again is not None

    @property
    def ends_engine(self) -> bool:
        """Whether an engine ends when this is closed: one in this process, or in a process beside it."""
        behind = self.behind
        if behind is None or behind.where == "none":
            return False
        beside = getattr(behind, "engine", None)
        return behind.where == "embedded" or bool(getattr(beside, "alive", False))

    async def start_engine(self) -> bool:
        """Have an engine where none runs; whether there is one now. Raises `FleetError`."""
        if self.behind is None or self._again is None:
            return False
        self.behind = await self._again(self.behind)
        return self.behind.where != "none"

    async def close(self) -> None:
        """Close the console, if it is open."""
        behind, self.behind = self.behind, None
        if behind is not None:
            await behind.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)
