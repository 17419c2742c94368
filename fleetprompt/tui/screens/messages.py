"""What this console has said, the latest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult

from fleetprompt.tui.screens.base import ConsoleScreen
from fleetprompt.tui.state.lines import Cell, Column, Part, Rows
from fleetprompt.tui.widgets.heading import Heading
from fleetprompt.tui.widgets.lines import Lines
from fleetprompt.tui.widgets.text_pane import TextPane

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
    SHOWS_MESSAGES: ClassVar = True
    DEFAULT_CSS = """
    MessagesScreen TextPane { height: 30%; min-height: 4; max-height: 12; }
    MessagesScreen.-tiny TextPane { display: none; }
    """

    def body(self) -> ComposeResult:
        self._rows = Rows(COLUMNS)
        lines = Lines(self._rows)
        lines.empty = (("nothing was said yet", "dim"),)
        heading = Heading()
        heading.watch_lines(lines)
        yield heading
        yield lines
        yield TextPane()

    async def on_mount(self) -> None:
        self.app.clear_notifications()
        self._show()
        self.query_one(Lines).focus()

    async def on_screen_resume(self) -> None:
        self.app.clear_notifications()

    def _show(self) -> None:
        fleet = self.app.fleet
        fleet.unread = 0
        messages = list(fleet.messages)
        self._rows.set((at, self._cells(message)) for at, message in reversed(list(enumerate(messages))))
        self.query_one(Lines).renew()
        self._show_whole()

    def on_lines_moved(self) -> None:
        """Another message."""
        self._show_whole()

    def _show_whole(self) -> None:
        """The message at the cursor, every character of it."""
        key = self.query_one(Lines).key
        messages = list(self.app.fleet.messages)
        message = messages[key] if isinstance(key, int) and key < len(messages) else None
        self.query_one(TextPane).show([[_text(message)]] if message is not None else [])

    def _cells(self, message: Message) -> Sequence[Cell]:
        level = message.level
        return (
            (self.app.times.clock(message.at), "dim"),
            (level, level),
            _text(message),
        )

    def tick(self) -> None:
        """Show what was said since."""
        if self.app.fleet.unread:
            self._show()


def _text(message: Message) -> Part:
    return message.text, "error" if message.level == "error" else ""
