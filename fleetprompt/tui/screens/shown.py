"""A question about something that is shown as a whole, however long it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from msgspec.structs import replace
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from fleetprompt.client.wording import count
from fleetprompt.tui.screens.base import QUIET
from fleetprompt.tui.screens.dialog import Confirm
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.widgets.answers import LEAVE, Answers, Offer
from fleetprompt.tui.widgets.text_pane import TextPane

Blocks = Sequence[Iterable[Sequence[Part]]]
TICK = 1.0
"""Seconds after which the times in it are others."""


class ConfirmShown(Confirm):
    """`y` does it once the end of it has been in sight, also if that was a while ago; until then it reads on by a page,
    and says so. Where nothing of it can be seen it does nothing."""

    DEFAULT_CSS = """
    ConfirmShown > .box { width: 110; height: 90%; }
    ConfirmShown .keys { dock: bottom; margin: 0; background: $surface; }
    ConfirmShown TextPane { height: 1fr; border: none; border-bottom: solid $foreground 30%; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("e,E", "edit", "edit", show=False)]

    def __init__(
        self, title: str, blocks: Callable[[], Blocks], does: str, *, edits: Callable[[], None] | None = None
    ) -> None:
        """`blocks` are what is shown at this moment; one that is the same object as before is not laid out again.
        `edits` is done by `e`, instead."""
        super().__init__(title, (), does, danger=False)
        self.blocks: Blocks = ()
        """What is shown."""
        self._make = blocks
        self._edits = edits
        self._read = False
        """The end has been in sight."""
        self._paged: float | None = None
        """When a key has read on instead of doing it."""

    @property
    def pane(self) -> TextPane:
        """Where it is shown."""
        return self.query_one(TextPane)

    def compose(self) -> ComposeResult:
        box = Vertical(classes="box")
        box.border_title = Text(self._title).markup
        with box:
            pane = TextPane()
            # Keys are for the question.
            pane.can_focus = False
            yield pane
            yield Answers()

    def on_mount(self) -> None:
        self._show()
        self._offer()
        self.set_interval(TICK, self._show)

    def _show(self) -> None:
        """Show it, with the times of this moment."""
        blocks = self._make()
        if blocks != self.blocks:
            keep, self.blocks = bool(self.blocks), blocks
            self.pane.show(*blocks, keep=keep)

    def answers(self) -> Sequence[Offer]:
        """What stands below."""
        yes = Offer("y", self._does if self._read else "read on", "yes", style="completed" if self._read else "accent")
        edit = [Offer("e", "edit the values", "edit")] if self._edits is not None and self._read else []
        return [yes, *edit, replace(LEAVE, key="n"), Offer("↑↓", "read", "read(10)")]

    def _offer(self) -> None:
        self.query_one(Answers).offer(*self.answers())

    def on_text_pane_read(self) -> None:
        """Its end has come into sight, or has gone out of it again."""
        if self.pane.ended and not self._read:
            self._read = True
            self._offer()

    def _reads_on(self) -> bool:
        """Whether a key that would decide has to read on instead: the end was not in sight before, or was only brought
        there by that key, which is still held or pressed over and over."""
        pane, now = self.pane, self.app.now()
        self.on_text_pane_read()
        if pane.scrollable_content_region.height <= 0:
            self.app.say("warning", f"{self._does}: nothing of it can be seen, make the terminal larger")
            return True
        again = self._paged is not None and now - self._paged < QUIET
        if self._read and not again:
            return False
        self._paged = now
        if not again:
            below = pane.below
            pane.action_page(1)
            more = f"{count(below, 'more line')} to read" if below else "it is still being read"
            self.app.say("info", f"{self._does}: {more} first", quiet=True)
        return True

    def action_yes(self) -> None:
        """Do it, unless there is more to read."""
        if not self._reads_on():
            self.dismiss(True)

    def action_edit(self) -> None:
        """Edit the values, unless there is more to read."""
        if self._edits is not None and not self._reads_on():
            self.dismiss(None)
            self._edits()

    def action_read(self, lines: int) -> None:
        """Scroll what is shown."""
        self.pane.action_scroll_by(lines)
