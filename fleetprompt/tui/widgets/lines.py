"""A list of any length, on Textual's line API: only the lines that can be seen are ever made.

Whoever shows a list gives a `Source`; the list draws its cells in columns, moves the cursor, keeps marks, and repaints
single lines when it is told which have changed.
"""

from __future__ import annotations

import string
from collections.abc import Awaitable, Collection, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.cache import LRUCache
from textual.events import Blur, Click, Focus, Key, MouseScrollDown, MouseScrollUp, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from fleetprompt.client.wording import sign
from fleetprompt.tui.keys import bindings
from fleetprompt.tui.state.lines import GAP, Cell, Part, Place, Selection, Source, layout

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole
    from fleetprompt.tui.widgets.palette import Palette

GUTTER = 2
"""Cells before the columns: the mark of a line, or its letter while one jumps."""
LETTERS = "asdfghjklqwertyuiopzxcvbnm" + string.ascii_uppercase


DRAWN = 200
"""Lines that are kept as they were drawn."""


class _Line(NamedTuple):
    """All that the looks of a line depend on, in a list that is drawn one way."""

    cells: tuple[Cell, ...] | None
    gutter: str
    behind: Style


class Lines(ScrollView, can_focus=True):
    """A list with a cursor."""

    DEFAULT_CSS = """
    Lines { height: 1fr; background: $background; scrollbar-size-vertical: 1; overflow-x: hidden; overflow-y: auto;
            scrollbar-gutter: stable; }
    """
    BINDINGS: ClassVar = bindings("list")
    COPY_MOST: ClassVar = 10_000
    """Marked lines whose ids are copied at most."""

    class Moved(Message):
        """The cursor stands on another line."""

        def __init__(self, lines: Lines) -> None:
            super().__init__()
            self.lines = lines

        @property
        def control(self) -> Lines:
            """The list."""
            return self.lines

    class Opened(Moved):
        """The line of the cursor is to be opened."""

    class Marked(Moved):
        """Marks have changed."""

    class Shown(Moved):
        """Other lines are looked at: the source may have to get them."""

    app: FleetConsole

    def __init__(self, source: Source, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.source = source
        self.selection = Selection()
        self.pinned = False
        """The cursor stays on the first line while lines come above it."""
        self.empty: tuple[Part, ...] = ()
        """What is said when there is no line."""
        self._places: list[Place] = []
        self._jumping = False
        self._shown = (0, 0)
        self._bare = False
        self._ground = Style.null()
        self._drawn: LRUCache[_Line, Strip] = LRUCache(DRAWN)
        """Lines as they were drawn: most of those that are drawn again look as before, here or a line further up."""
        self._drawn_with: tuple[object, ...] = ()
        self.moved_by_hand = 0
        """How often the operator has chosen a line."""

    # ------------------------------------------------------------ what is there

    @property
    def palette(self) -> Palette:
        return self.app.palette

    @property
    def places(self) -> Sequence[Place]:
        """Where the columns stand now."""
        return self._places

    @property
    def cursor(self) -> int:
        """The index of the cursor's line."""
        return self.selection.index

    @property
    def key(self) -> object | None:
        """The key of the cursor's line; None in an empty list."""
        return self.selection.key

    def chosen(self) -> list[object]:
        """Keys of the marked lines in the order they were marked; without marks that of the cursor's line."""
        if self.selection.marks:
            return list(self.selection.marks)
        return [self.selection.key] if self.selection.key is not None else []

    def on_mount(self) -> None:
        self._measure()

    def on_resize(self, event: Resize) -> None:
        self._measure()
        self._keep_visible()
        self._tell_shown()

    def _measure(self) -> None:
        self._places = layout(self.source.columns, max(1, self.scrollable_content_region.width - GUTTER))
        self.virtual_size = Size(self.size.width, self.source.count)

    def renew(self) -> None:
        """Draw everything again: the list, or what is known of it, has changed."""
        if not self.is_mounted:
            return
        before = self.selection.key
        offset = self.selection.index - self.scroll_offset.y
        top = self.pinned and self.selection.index == 0
        self.selection.settle(self.source, top=top)
        self._measure()
        moved = self.selection.index - offset
        if not top and moved != self.scroll_offset.y and self.scroll_offset.y:
            # The cursor's line stays where it is on the screen.
            self.scroll_to(y=moved, animate=False, immediate=True)
        self._tell_shown()
        self.refresh()
        if self.selection.key != before:
            self.post_message(self.Moved(self))

    def repaint(self, indexes: Iterable[int]) -> None:
        """Draw these lines again, where they can be seen."""
        top, height = self.scroll_offset.y, self.size.height
        for index in indexes:
            if top <= index < top + height:
                self.refresh(Region(0, index - top, self.size.width, 1))

    def repaint_keys(self, keys: Iterable[object]) -> None:
        """Draw the lines of these keys again, where they can be seen."""
        found = (self.source.find(key) for key in keys)
        self.repaint(index for index in found if index is not None)

    def repaint_cells(self, cells: Iterable[tuple[int, Sequence[int]]]) -> None:
        """Draw some columns of these lines again, where they can be seen."""
        top, height = self.scroll_offset.y, self.size.height
        spots = {place.column: (GUTTER + place.x, place.width) for place in self._places}
        for index, columns in cells:
            if top <= index < top + height:
                for x, width in (spots[column] for column in columns if column in spots):
                    self.refresh(Region(x, index - top, width, 1))

    @property
    def visible_range(self) -> range:
        """Indexes of the lines that can be seen."""
        top = self.scroll_offset.y
        return range(top, min(top + self.size.height, self.source.count))

    def _tell_shown(self) -> None:
        seen = self.visible_range
        if (seen.start, seen.stop) != self._shown or not seen:
            self._shown = (seen.start, seen.stop)
        self.source.show(seen.start, seen.stop)
        self.post_message(self.Shown(self))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self._tell_shown()

    # ------------------------------------------------------------ drawing

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines of a part, for the compositor."""
        # To ask for it takes half as long as to draw a line, and it is the same for all of them.
        self._ground = self.rich_style
        if self.styles.gutter:
            return super().render_lines(crop)
        # Without a border Textual has nothing to add. It would make new strips of these, and with them throw away
        # what it knows of those that were painted before.
        _, background = self.background_colors
        strips = [self.render_line(y) for y in crop.line_range]
        for line_filter in self.get_line_filters():
            strips = [strip.apply_filter(line_filter, background) for strip in strips]
        if crop.column_span != (0, self.size.width):
            strips = [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def render_line(self, y: int) -> Strip:
        """A line as the compositor wants it."""
        width = self.size.width
        index = y + self.scroll_offset.y
        ground = self._ground
        if index >= self.source.count:
            if self.source.count == 0 and y == min(1, self.size.height - 1) and self.empty:
                style = self.palette.style
                said = [Segment("  ", ground), *(Segment(text, ground + style(name)) for text, name in self.empty)]
                return Strip(said).adjust_cell_length(width, ground)
            return Strip.blank(width, ground)
        cells = self.source.cells(index)
        line = _Line(None if cells is None else tuple(cells), self._gutter(index), self._behind(index))
        drawn = (ground, width, self.palette, self.source.columns, self._places)
        if drawn != self._drawn_with:
            self._drawn.clear()
            self._drawn_with = drawn
        strip = self._drawn.get(line)
        if strip is None:
            strip = self._drawn[line] = self._draw(line, width)
        return strip

    def _draw(self, line: _Line, width: int) -> Strip:
        base = self._ground + line.behind
        # Reversed video over coloured cells would be a row of coloured blocks.
        self._bare = bool(line.behind.reverse)
        segments = [Segment(line.gutter, base + self.palette.style("accent") if line.gutter.strip() else base)]
        if line.cells is None:
            segments.append(Segment("·".ljust(max(0, width - GUTTER)), base + self.palette.style("faint")))
        else:
            self._draw_cells(segments, line.cells, base)
        return Strip(segments).adjust_cell_length(width, base)

    def _behind(self, index: int) -> Style:
        if index == self.selection.index:
            return self.palette.cursor if self.has_focus else self.palette.away
        if self.selection.ranging and index in self.selection.spanned(self.source):
            return self.palette.range
        return Style.null()

    def _gutter(self, index: int) -> str:
        if self._jumping:
            at = index - self.scroll_offset.y
            return f"{LETTERS[at]} " if at < len(LETTERS) else "  "
        if self.selection.marks and self.source.key(index) in self.selection.marks:
            return sign("▌") + " "
        return "  "

    def _draw_cells(self, segments: list[Segment], cells: Sequence[Cell], base: Style) -> None:
        columns = self.source.columns
        last = len(self._places) - 1
        for at, place in enumerate(self._places):
            self._draw_cell(segments, cells[place.column], place.width, columns[place.column].right, base)
            if at != last:
                segments.append(Segment(" " * GAP, base))

    def _draw_cell(self, segments: list[Segment], cell: Cell, width: int, right: bool, base: Style) -> None:
        parts: tuple[Part, ...] = (cell,) if cell and isinstance(cell[0], str) else cell  # type: ignore[assignment]
        style = _no_style if self._bare else self.palette.style
        if len(parts) == 1:
            text, name = parts[0]
            segments.append(Segment(fit(text, width, right), base + style(name)))
            return
        left = width
        whole = sum(cell_len(text) for text, _ in parts)
        if right and whole < width:
            segments.append(Segment(" " * (width - whole), base))
            left = whole
        for text, name in parts:
            if left <= 0:
                break
            length = cell_len(text)
            segments.append(Segment(text if length <= left else fit(text, left, False), base + style(name)))
            left -= min(length, left)
        if left > 0 and not (right and whole < width):
            segments.append(Segment(" " * left, base))

    # ------------------------------------------------------------ moving

    def go(self, index: int, *, by_hand: bool = True) -> None:
        """Put the cursor on a line and make it visible."""
        before = self.selection.index
        count = self.source.count
        if not count:
            return
        old = self.selection.key
        self.selection.place(self.source, index)
        if by_hand:
            self.moved_by_hand += 1
        self._keep_visible()
        if self.selection.ranging:
            self.refresh()
        else:
            self.repaint((before, self.selection.index))
        if self.selection.key != old or self.selection.index != before:
            self.post_message(self.Moved(self))

    def _keep_visible(self) -> None:
        top, height = self.scroll_offset.y, self.size.height
        index = self.selection.index
        if not height:
            return
        if index < top:
            self.scroll_to(y=index, animate=False, immediate=True)
        elif index >= top + height:
            self.scroll_to(y=index - height + 1, animate=False, immediate=True)

    async def action_do(self, id_: str) -> None:
        """Do one of the things of every list; the next key waits for it."""
        result = getattr(self, "do_" + id_.replace(".", "_"))()
        if isinstance(result, Awaitable):
            await result

    def do_list_up(self) -> None:
        self.go(self.cursor - 1)

    def do_list_down(self) -> None:
        self.go(self.cursor + 1)

    def do_list_page_up(self) -> None:
        self.go(self.cursor - max(1, self.size.height - 1))

    def do_list_page_down(self) -> None:
        self.go(self.cursor + max(1, self.size.height - 1))

    def do_list_top(self) -> None:
        self.go(0)

    def do_list_bottom(self) -> None:
        self.go(self.source.count - 1)

    def do_list_left(self) -> None:
        """Lists of whole lines have nothing to the left."""

    def do_list_right(self) -> None:
        """Lists of whole lines have nothing to the right."""

    def do_list_open(self) -> None:
        if self.selection.key is not None:
            self.post_message(self.Opened(self))

    def do_list_mark(self) -> None:
        self.selection.toggle(self.source)
        self.post_message(self.Marked(self))
        self.repaint((self.cursor,))
        self.go(self.cursor + 1)

    def do_list_range(self) -> None:
        self.selection.range(self.source)
        self.post_message(self.Marked(self))
        self.refresh()

    def do_list_mark_all(self) -> Awaitable[None] | None:
        """Mark everything that matches; a list that was not read as a whole has to ask what that is."""
        keys = (self.source.key(index) for index in range(self.source.count))
        self.mark(key for key in keys if key is not None)

    async def listed(self) -> Iterable[object]:
        """The keys of everything that matches, however little of it was read. Raises `FleetError`."""
        return [self.source.key(index) for index in range(self.source.count)]

    def mark(self, keys: Iterable[Hashable]) -> None:
        """Mark these."""
        self.selection.mark(keys)
        self.post_message(self.Marked(self))
        self.refresh()

    def unmark(self, keys: Collection[Hashable]) -> None:
        """Take the marks of these away."""
        for key in keys:
            self.selection.marks.pop(key, None)
        if keys:
            self.post_message(self.Marked(self))
            self.refresh()

    def do_list_unmark_all(self) -> None:
        if self.selection.clear():
            self.post_message(self.Marked(self))
            self.refresh()

    def do_list_copy(self) -> None:
        keys = self.chosen()[: self.COPY_MOST]
        if keys:
            self.app.copy("\n".join(self.copied(key) for key in keys), len(keys))

    def do_list_copy_line(self) -> None:
        if self.source.count:
            self.app.copy(self.text(self.cursor), 1)

    def copied(self, key: object) -> str:
        """What is copied of a line: its key, unless a list knows better."""
        return str(key)

    def text(self, index: int) -> str:
        """A line as text."""
        cells = self.source.cells(index) or ()
        parts = ["".join(t for t, _ in ((c,) if isinstance(c[0], str) else c)) for c in cells if c]  # type: ignore[misc]
        return "  ".join(part.strip() for part in parts if part.strip())

    # ------------------------------------------------------------ jumping

    def do_list_jump(self) -> None:
        if self.source.count:
            self._jumping = True
            self.refresh()

    def on_key(self, event: Key) -> None:
        """While one jumps, every key is the letter of a line."""
        if not self._jumping:
            return
        self._jumping = False
        event.stop()
        event.prevent_default()
        at = LETTERS.find(event.character) if event.character else -1
        self.refresh()
        if 0 <= at < len(self.visible_range):
            self.go(self.scroll_offset.y + at)

    # ------------------------------------------------------------ mouse, focus

    def on_click(self, event: Click) -> None:
        """A click chooses a line, a second one opens it, one with ctrl marks it."""
        index = int(event.y) + self.scroll_offset.y
        if index >= self.source.count:
            return
        self.go(index)
        if event.ctrl:
            self.selection.toggle(self.source)
            self.post_message(self.Marked(self))
            self.repaint((index,))
        elif event.chain == 2:
            self.do_list_open()

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        event.stop()
        event.prevent_default()
        self.scroll_to(y=self.scroll_offset.y + 3, animate=False, immediate=True)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        event.stop()
        event.prevent_default()
        self.scroll_to(y=self.scroll_offset.y - 3, animate=False, immediate=True)

    def on_focus(self, event: Focus) -> None:
        self.repaint((self.cursor,))

    def on_blur(self, event: Blur) -> None:
        self._jumping = False
        self.refresh()


def _no_style(name: str) -> Style:
    return Style.null()


def fit(text: str, width: int, right: bool = False) -> str:
    """Text in exactly so many cells, the last one telling that there was more."""
    length = len(text) if text.isascii() else cell_len(text)
    if length == width:
        return text
    if length < width:
        space = " " * (width - length)
        return space + text if right else text + space
    if width <= 0:
        return ""
    return (text[: width - 1] if text.isascii() else set_cell_size(text[: width * 2], width - 1)) + "…"
