"""Text to be read as a whole: every character of it can be seen, for lines go on below where they are too long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len, get_character_cell_size
from rich.segment import Segment
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from fleetprompt.client.wording import count, sign
from fleetprompt.tui.state.lines import Part

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

GUTTER = 2
"""Cells before the text: empty for what begins a line, a dot for what goes on with the line above."""
LEAST = 8
"""Cells of text, however small the pane is."""
Row = tuple[bool, tuple[Part, ...]]
"""Whether it goes on with the row above, and what it says."""


class TextPane(ScrollView, can_focus=True):
    """Lines of parts, wrapped."""

    DEFAULT_CSS = """
    TextPane { background: $background; scrollbar-size-vertical: 1; overflow-x: hidden; overflow-y: auto;
        scrollbar-gutter: stable; border: round $foreground 30%; border-title-color: $foreground 60%;
        border-subtitle-color: $foreground 60%; }
    TextPane.-pressing { border: round $warning 60%; border-title-color: $warning; border-title-style: bold; }
    TextPane:focus { border: round $primary; border-title-color: $primary; }
    TextPane.-pressing:focus { border: round $warning; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_by(-1)", "up", show=False),
        Binding("down,j", "scroll_by(1)", "down", show=False),
        Binding("pageup,ctrl+u", "page(-1)", "page up", show=False),
        Binding("pagedown,ctrl+d", "page(1)", "page down", show=False),
        Binding("home", "scroll_to_row(0)", "top", show=False),
        Binding("end,G", "scroll_to_row(-1)", "bottom", show=False),
    ]
    app: FleetConsole

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._blocks: list[Sequence[Sequence[Part]]] = []
        self._wrapped: list[tuple[Sequence[Sequence[Part]], list[Row]]] = []
        """Blocks and their rows at the present width: one that is shown again is not wrapped again."""
        self._rows: list[Row] = []
        self._width = 0

    def show(self, *blocks: Sequence[Sequence[Part]], keep: bool = False) -> None:
        """Show these blocks of lines, from the top unless `keep`. What is in a block must not change."""
        self._blocks = list(blocks)
        self._wrap()
        if not keep:
            self.scroll_to(y=0, animate=False, immediate=True)

    def entitle(self, title: str, *, pressing: bool = False) -> None:
        """Write a title into the frame, inert already; `pressing`: something waits here."""
        self.border_title = Text(title).markup
        self.set_class(pressing, "-pressing")

    @property
    def below(self) -> int:
        """How many rows there are below what can be seen."""
        return max(0, len(self._rows) - self.scroll_offset.y - self.size.height)

    def on_resize(self, event: Resize) -> None:
        self._wrap()

    def _wrap(self) -> None:
        # Without the scrollbar, which would stand over the last character.
        width = max(LEAST, self.scrollable_content_region.width - GUTTER)
        known = {id(block): rows for block, rows in self._wrapped} if width == self._width else {}
        self._width = width
        self._wrapped = [
            (block, known[id(block)] if id(block) in known else [row for line in block for row in wrapped(line, width)])
            for block in self._blocks
        ]
        self._rows = [row for _, rows in self._wrapped for row in rows]
        self.virtual_size = Size(self.size.width, len(self._rows))
        self.refresh()
        self._tell_below()

    def _tell_below(self) -> None:
        below = self.below
        self.border_subtitle = f"{count(below, 'more line')}" if below else ""

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._tell_below()

    def render_line(self, y: int) -> Strip:
        """A row as the compositor wants it."""
        ground = self.rich_style
        at = y + self.scroll_offset.y
        if at >= len(self._rows):
            return Strip.blank(self.size.width, ground)
        goes_on, parts = self._rows[at]
        style = self.app.palette.style
        segments = [Segment(sign("·") + " " if goes_on else "  ", ground + style("faint"))]
        segments += [Segment(text, ground + style(name)) for text, name in parts]
        return Strip(segments).adjust_cell_length(self.size.width, ground)

    def action_scroll_by(self, rows: int) -> None:
        """Move by rows."""
        self.scroll_to(y=self.scroll_offset.y + rows, animate=False, immediate=True)

    def action_page(self, pages: int) -> None:
        """Move by pages, of which one line stays."""
        self.action_scroll_by(pages * max(1, self.size.height - 1))

    def action_scroll_to_row(self, row: int) -> None:
        """To the top, or to the bottom."""
        self.scroll_to(y=row if row >= 0 else len(self._rows), animate=False, immediate=True)


def wrapped(line: Sequence[Part], width: int) -> Iterator[Row]:
    """A line as rows of at most so many cells; nothing is left out."""
    row: list[Part] = []
    room = width
    goes_on = False
    for text, style in line:
        rest = text
        while rest:
            length = len(rest) if rest.isascii() else cell_len(rest)
            if length <= room:
                row.append((rest, style))
                room -= length
                break
            at = room if rest.isascii() else _fitting(rest, room)
            if at:
                row.append((rest[:at], style))
            rest = rest[at:]
            yield goes_on, tuple(row)
            row, room, goes_on = [], width, True
    yield goes_on, tuple(row)


def _fitting(text: str, width: int) -> int:
    """How many characters of a text fit into so many cells; a wide one is never cut in two."""
    for at, character in enumerate(text):
        width -= get_character_cell_size(character)
        if width < 0:
            return at
    return len(text)
