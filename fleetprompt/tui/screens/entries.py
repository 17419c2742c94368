"""Screens of things of which all are read at once: agents, schedules."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fleetprompt.tui.screens.detailed import DetailedScreen, E, T
from fleetprompt.tui.state.entries import EntryList
from fleetprompt.tui.widgets.heading import Heading
from fleetprompt.tui.widgets.lines import Lines

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Console

L = TypeVar("L", bound=EntryList[Any])


class EntriesScreen(DetailedScreen[E, T], Generic[L, E, T]):
    """A list L of things of the kind E, and of the one at the cursor its details, for which some T are read."""

    def __init__(self) -> None:
        super().__init__()
        self._listed: L | None = None

    @abstractmethod
    def made(self, console: Console) -> L:
        """The list, which nobody has read yet."""

    @property
    def listed(self) -> L | None:
        """The list, once it is there."""
        return self._listed

    async def opened(self, console: Console) -> None:
        """Show the list."""
        self._listed = self.made(console)
        lines = Lines(self._listed)
        self.query_one(Heading).watch_lines(lines)
        await self.query_one("#list").mount(lines)
        self.lines = lines
        lines.focus()
        await self.load()

    async def values(self, name: str) -> Sequence[tuple[str, int]]:
        """What there is in a field."""
        return self.listed.values(name) if self.listed is not None else ()

    def entry(self) -> E | None:
        """What is at the cursor."""
        return self.listed.entry(self.lines.key) if self.listed is not None and self.lines is not None else None

    def chosen(self) -> list[E]:
        """What is marked, or what is at the cursor."""
        if self.listed is None or self.lines is None:
            return []
        found = (self.listed.entry(key) for key in self.lines.chosen())
        return [entry for entry in found if entry is not None]

    def tick(self) -> None:
        """Times go on."""
        if self.listed is not None and self.lines is not None:
            self.lines.repaint(self.lines.visible_range)
            self.show_details()
