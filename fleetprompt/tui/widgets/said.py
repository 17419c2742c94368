"""What a question says, scrolled where it is more than fits: how much that is, is told."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text
from textual.containers import VerticalScroll
from textual.events import Resize
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static


class Said(VerticalScroll, can_focus=False):
    """A text above the answers."""

    DEFAULT_CSS = """
    Said { height: auto; scrollbar-size-vertical: 1; }
    Said Static { height: auto; }
    """

    class Cut(Message):
        """So many lines are out of sight."""

        def __init__(self, lines: int) -> None:
            super().__init__()
            self.lines = lines

    def __init__(self, text: Text) -> None:
        super().__init__(classes="said")
        self._text = text
        self._cut = 0

    def compose(self) -> Iterator[Widget]:
        yield Static(self._text)

    def on_resize(self, event: Resize) -> None:
        self._tell()

    def watch_virtual_size(self, virtual_size: Size) -> None:
        self._tell()

    def _tell(self) -> None:
        cut = max(0, self.virtual_size.height - self.size.height)
        if cut != self._cut:
            self._cut = cut
            self.post_message(self.Cut(cut))
