"""What this console has said, the latest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult

from fleetprompt.tui.screens.base import ConsoleScreen
from fleetprompt.tui.state.lines import Cell, Column, Rows
from fleetprompt.tui.widgets.heading import Heading
from fleetprompt.tui.widgets.lines import Lines

if TYPE_CHECKING:
    from fleetprompt.tui.state.fleet import Message

COLUMNS = (
    Column(title="TIME", width=8),
    Column(title="LEVEL", width=7, drop=2),
    Column(title="MESSAGE", width=20, grow=1),
)


class MessagesScreen(ConsoleScreen):
    """The messages of this console."""

    PLACES: ClassVar = ("messages",)
    NAME: ClassVar = "messages"

    def body(self) -> ComposeResult:
        self._rows = Rows(COLUMNS)
        lines = Lines(self._rows)
        lines.empty = (("nothing was said yet", "dim"),)
        heading = Heading()
        heading.watch_lines(lines)
        yield heading
        yield lines

    async def on_mount(self) -> None:
        self._show()
        self.query_one(Lines).focus()

    def _show(self) -> None:
        fleet = self.app.fleet
        fleet.unread = 0
        messages = list(fleet.messages)
        self._rows.set((at, self._cells(message)) for at, message in reversed(list(enumerate(messages))))
        self.query_one(Lines).renew()

    def _cells(self, message: Message) -> Sequence[Cell]:
        level = message.level
        return (
            (self.app.times.clock(message.at), "dim"),
            (level, level),
            (message.text, "error" if level == "error" else ""),
        )

    def tick(self) -> None:
        """Show what was said since."""
        if self.app.fleet.unread:
            self._show()
