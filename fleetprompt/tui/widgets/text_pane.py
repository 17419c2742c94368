"""Text to be read as a whole: every character of it can be seen, for lines go on below where they are too long."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len, get_character_cell_size
from rich.segment import Segment
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.timer import Timer

from fleetprompt.client.wording import count, sign
from fleetprompt.tui.state.lines import CONTINUED, Exact, Part

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

GUTTER = 2
"""Cells before the text: empty for what begins a line, a dot for what goes on with the line above."""
LEAST = 8
"""Cells of text, however small the pane is."""
Row = tuple[bool, tuple[Part, ...]]
"""Whether it goes on with the row above, and what it says."""


FIRST = 500
"""Rows that are made at once; what comes after them is made bit by bit, between other things."""
BIT_SECONDS = 0.005
REST_SECONDS = 0.01


class _Laid:
    """A block of lines, as far as it was laid out at a width."""

    def __init__(self, block: Iterable[Sequence[Part]], width: int) -> None:
        self.block = block
        self.rows: list[Row] = []
        self.whole = False
        self._left = wrapped_lines(block, width)

    def lay(self, rows: int) -> int:
        """Lay out at most so many more rows; how many there were."""
        more = list(islice(self._left, rows))
        self.rows += more
        self.whole = len(more) < rows
        return len(more)


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

    class Read(Message):
        """Its end has come into sight, or has gone out of it."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._blocks: list[Iterable[Sequence[Part]]] = []
        self._laid: list[_Laid] = []
        """Blocks and their rows at the present width: one that is shown again is not laid out again."""
        self._width = 0
        self._later: Timer | None = None
        self._ended = False
        """Whether its end was in sight last."""

    def show(self, *blocks: Iterable[Sequence[Part]], keep: bool = False) -> None:
        """Show these blocks of lines, from the top unless `keep`. What is in a block must not change; one that is not
        a list is read bit by bit."""
        self._blocks = list(blocks)
        self._lay()
        if not keep:
            self.scroll_to(y=0, animate=False, immediate=True)

    def entitle(self, title: str, *, pressing: bool = False) -> None:
        """Write a title into the frame, inert already; `pressing`: something waits here."""
        self.border_title = Text(title).markup
        self.set_class(pressing, "-pressing")

    @property
    def below(self) -> int:
        """How many rows there are below what can be seen."""
        return max(0, self._count - self.scroll_offset.y - self.size.height)

    @property
    def whole(self) -> bool:
        """Everything is laid out: nothing comes after what can be scrolled to."""
        return all(laid.whole for laid in self._laid)

    @property
    def ended(self) -> bool:
        """Its end is in sight: all of it is, or was read."""
        return self.size.height > 0 and self.size.width > 0 and self.whole and not self.below

    @property
    def _count(self) -> int:
        return sum(len(laid.rows) for laid in self._laid)

    def _row(self, at: int) -> Row | None:
        for laid in self._laid:
            if at < len(laid.rows):
                return laid.rows[at]
            at -= len(laid.rows)
        return None

    def on_resize(self, event: Resize) -> None:
        self._lay()

    def _lay(self) -> None:
        # Without the scrollbar, which would stand over the last character.
        width = max(LEAST, self.scrollable_content_region.width - GUTTER)
        known = {id(laid.block): laid for laid in self._laid} if width == self._width else {}
        self._width = width
        self._laid = [known.get(id(block)) or _Laid(block, width) for block in self._blocks]
        left = FIRST
        for laid in self._laid:
            # What is short is there already, and has to be seen behind what is not.
            if isinstance(laid.block, Sequence) and not laid.whole:
                laid.lay(sys.maxsize)
            elif not laid.whole and not laid.rows:
                left -= laid.lay(max(1, left))
        self._told()
        self._lay_later()

    def _lay_later(self) -> None:
        if self._later is None and not self.whole:
            self._later = self.set_timer(REST_SECONDS, self._lay_on)

    def _lay_on(self) -> None:
        """Lay out some more, for so long that nobody waits for it."""
        self._later = None
        until = perf_counter() + BIT_SECONDS
        for laid in self._laid:
            while not laid.whole and perf_counter() < until:
                laid.lay(8)
        self._told()
        self._lay_later()

    def _told(self) -> None:
        self.virtual_size = Size(self.size.width, self._count)
        self.refresh()
        self._tell_below()

    def _tell_below(self) -> None:
        below = self.below
        more = "" if self.whole else ", and what is still being read"
        self.border_subtitle = f"{count(below, 'more line')}{more}" if below or more else ""
        if self.ended != self._ended:
            self._ended = self.ended
            self.post_message(self.Read())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._tell_below()

    def render_line(self, y: int) -> Strip:
        """A row as the compositor wants it."""
        ground = self.rich_style
        at = y + self.scroll_offset.y
        row = self._row(at)
        if row is None:
            return Strip.blank(self.size.width, ground)
        goes_on, parts = row
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
        self.scroll_to(y=row if row >= 0 else self._count, animate=False, immediate=True)


def wrapped(line: Sequence[Part], width: int) -> Iterator[Row]:
    """A line as rows of at most so many cells; nothing is left out."""
    return wrapped_lines((line,), width)


def wrapped_lines(lines: Iterable[Sequence[Part]], width: int) -> Iterator[Row]:
    """Lines as rows of at most so many cells. Words stay whole where they can, unless a line is `Exact`. A row far
    inside a long line takes no longer than the first."""
    row: list[Part] = []
    room = width
    goes_on = began = exact = False
    for line in lines:
        continued = tuple(line[:1]) == (CONTINUED,)
        if began and not continued:
            yield goes_on, tuple(row)
            row, room, goes_on = [], width, False
        exact = isinstance(line, Exact) or (continued and exact)
        began = True
        for text, style in line:
            plain = text.isascii()
            at = 0
            while at < len(text):
                end, taken = _fitting(text, at, room, plain=plain)
                if end > at:
                    row.append((text[at:end], style))
                    room -= taken
                    at = end
                if at < len(text):
                    ended, row = (row, []) if exact else _after_a_word(row, width)
                    yield goes_on, tuple(ended)
                    room, goes_on = width - sum(cell_len(said) for said, _ in row), True
    if began:
        yield goes_on, tuple(row)


def _after_a_word(row: list[Part], width: int) -> tuple[list[Part], list[Part]]:
    """A full row up to the last word that it has whole, and what goes below; a word that takes half of it is broken."""
    left = sum(len(text) for text, _ in row)
    for at in range(len(row) - 1, -1, -1):
        text, style = row[at]
        left -= len(text)
        space = text.rfind(" ") + 1
        if space and left + space > width // 2:
            below = row[at + 1 :]
            return [*row[:at], (text[:space], style)], [(text[space:], style), *below] if space < len(text) else below
        if space:
            break
    return row, []


def _fitting(text: str, at: int, width: int, *, plain: bool) -> tuple[int, int]:
    """Up to where a text fits into so many cells, and how many that takes; a wide character is never cut in two."""
    if plain:
        end = min(len(text), at + width)
        return end, end - at
    taken = 0
    for end in range(at, len(text)):
        size = get_character_cell_size(text[end])
        if taken + size > width:
            return end, taken
        taken += size
    return len(text), taken
