"""A question about something that is shown as a whole, however long it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from fleetprompt.tui.screens.dialog import Confirm
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.widgets.text_pane import TextPane


class ConfirmShown(Confirm):
    """`y` does it, also before everything has been read: how much is not seen yet stands below. Where nothing of it
    can be seen it does nothing."""

    DEFAULT_CSS = """
    ConfirmShown > .box { width: 110; height: 90%; }
    ConfirmShown .keys { dock: bottom; margin: 0; background: $surface; }
    ConfirmShown TextPane { height: 1fr; border: none; border-bottom: solid $foreground 30%; background: $surface; }
    """

    def __init__(self, title: str, blocks: Sequence[Iterable[Sequence[Part]]], does: str) -> None:
        super().__init__(title, (), does, danger=False)
        self.blocks = blocks
        """What is shown."""

    def compose(self) -> ComposeResult:
        box = Vertical(classes="box")
        box.border_title = Text(self._title).markup
        with box:
            pane = TextPane()
            # Keys are for the question.
            pane.can_focus = False
            yield pane
            keys: list[Part] = [("y", "completed"), (f" {self._does}    ", ""), ("n", "accent"), (" leave it    ", "")]
            keys += [("↑↓", "accent"), (" read", "")]
            yield Static(self.text(keys), classes="keys")

    def on_mount(self) -> None:
        self.query_one(TextPane).show(*self.blocks)

    def action_yes(self) -> None:
        """Do it, unless it was only a title that could be seen."""
        if self.query_one(TextPane).scrollable_content_region.height > 0:
            self.dismiss(True)
        else:
            self.app.say("warning", f"{self._does}: nothing of it can be seen, make the terminal larger")

    def action_read(self, lines: int) -> None:
        """Scroll what is shown."""
        self.query_one(TextPane).action_scroll_by(lines)
