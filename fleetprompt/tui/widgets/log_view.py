"""A log of any length, on Textual's line API: the rows that a `LogView` says are on the screen, and keys to move it.

The view decides what is where; the scroll bar follows it. All reading is done by one worker: what has come first, then
what is on the screen, then filtering and searching, a portion at a time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.events import MouseEvent, MouseScrollDown, MouseScrollLeft, MouseScrollRight, MouseScrollUp, Resize
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.tui.actions import BY_ID, method
from fleetprompt.tui.keys import bindings
from fleetprompt.tui.state.log import CHOICES, LogView
from fleetprompt.tui.state.log_standing import left_out
from fleetprompt.tui.state.log_text import Part, Row, crop

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

WHEEL = 3
"""Rows, or cells, that a turn of the wheel moves."""
SIDEWAYS = 20
"""Cells that a key moves to the side."""
COPIED_MOST = 10_000
"""Lines that are copied at most."""


class LogLines(ScrollView, can_focus=True):
    """A log. Whoever shows it calls `look` when there may be more lines."""

    DEFAULT_CSS = """
    LogLines { height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1;
               scrollbar-gutter: stable; }
    """
    BINDINGS: ClassVar = bindings("log")

    class Changed(Message):
        """What is said about the log may be another thing now."""

        def __init__(self, log: LogLines) -> None:
            super().__init__()
            self.log = log

        @property
        def control(self) -> LogLines:
            """The log."""
            return self.log

        def can_replace(self, message: Message) -> bool:
            """One of them is enough."""
            return isinstance(message, LogLines.Changed) and message.log is self.log

    class Failed(Message):
        """The log could not be read; the next `look` tries again."""

        def __init__(self, error: FleetError) -> None:
            super().__init__()
            self.error = error

    class Asked(Message):
        """A text is to be asked for: what to find (`LogLines.search`), or a time (`LogLines.go_to_time`)."""

        def __init__(self, log: LogLines, what: Literal["find", "time"]) -> None:
            super().__init__()
            self.log = log
            self.what = what

        @property
        def control(self) -> LogLines:
            """The log."""
            return self.log

    app: FleetConsole

    def __init__(self, view: LogView, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.view = view
        self.empty: Sequence[Sequence[Part]] = ()
        """What is said in so many lines when the log has none."""
        self._stale = True
        self._reading = False
        self._placing = False
        self._drawn = -1
        self._rows: list[tuple[int, Row]] = []

    # ------------------------------------------------------------ reading

    def show(self, view: LogView) -> None:
        """Show another log."""
        self.view = view
        self._drawn = -1
        self._rows = []
        self.screen.clear_selection()
        self._fit()
        self.look()

    def look(self) -> None:
        """There may be more lines."""
        self._stale = True
        self._moved()

    def on_resize(self, event: Resize) -> None:
        self._fit()
        self._moved()

    def _fit(self) -> None:
        """The room beside the scroll bar is for text, whether or not that is shown."""
        room = self.scrollable_content_region.size
        self.view.resize(room.width, room.height)

    def _moved(self) -> None:
        """Draw what is there, and read what is missing."""
        self._update()
        if not self._reading and self.is_mounted:
            self._reading = True
            self.run_worker(self._read, group="log")

    async def _read(self) -> None:
        try:
            while await self._read_some(self.view):
                self._update()
        except FleetError as error:
            self.post_message(self.Failed(error))
        finally:
            self._reading = False

    async def _read_some(self, view: LogView) -> bool:
        if self._stale:
            self._stale = False
            await view.refresh()
            while not view.complete and await view.load():
                pass
            return True
        return await view.load() or await view.work()

    def _update(self) -> None:
        """Show the view as it is now."""
        if self.view.version == self._drawn or not self.size:
            return
        if self.view.follow and not self.view.complete:
            # Lines that are on their way would be seen as a flicker: what was drawn stays until they are there.
            return
        self._drawn = self.view.version
        self._rows = self.view.rows()
        self._placing = True
        try:
            self.virtual_size = Size(self.size.width, self.view.bottom + self.size.height)
            self.scroll_to(y=self.view.top, animate=False, force=True, immediate=True)
        finally:
            self._placing = False
        self.refresh()
        self.post_message(self.Changed(self))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """The scroll bar was moved, unless it is the view that moved it."""
        super().watch_scroll_y(old_value, new_value)
        if self._placing or round(new_value) == self.view.top:
            return
        if new_value >= self.max_scroll_y:
            self.view.end()
        else:
            self.view.go_to(round(new_value))
        self._moved()

    # ------------------------------------------------------------ drawing

    def render_line(self, y: int) -> Strip:
        """A row as the compositor wants it."""
        width = self.size.width
        ground = self.rich_style
        if y >= len(self._rows):
            said = self._instead() if not self._rows else ()
            if y >= len(said):
                return Strip.blank(width, ground)
            parts, _ = crop(said[y], 0, width)
            segments = [Segment(text, ground + self.app.palette.style(name)) for text, name in parts]
            return Strip(segments).adjust_cell_length(width, ground)
        number, row = self._rows[y]
        base = ground + self.app.palette.away if number == self.view.cursor else ground
        margin, body = self._strips(number, row, base)
        body = body.adjust_cell_length(max(0, width - margin.cell_length), base)
        if not row.continued:
            margin = margin.apply_offsets(0, number)
        return Strip.join([margin, body.apply_offsets(_margin(row) + row.before, number)]).adjust_cell_length(
            width, base
        )

    def _instead(self) -> Sequence[Sequence[Part]]:
        """What is said where no line is shown."""
        view = self.view
        if view.lines and not view.count:
            return left_out(view, lambda id_: self.app.keymap.shown(BY_ID[id_]))
        return () if view.lines or not view.opened else self.empty

    def _strips(self, number: int, row: Row, base: Style) -> tuple[Strip, Strip]:
        selection = self.text_selection
        span = selection.get_span(number) if selection is not None else None
        if span is None:
            return self._strip(row.margin, base), self._strip(row.body, base)
        begin, end = span
        # Offsets count from the beginning of the line.
        skipped = _margin(row) + row.before
        margin = (0, 0) if row.continued else span
        return (
            self._strip(row.margin, base, margin),
            self._strip(row.body, base, (begin - skipped, end if end < 0 else max(0, end - skipped))),
        )

    def _strip(self, parts: tuple[Part, ...], base: Style, span: tuple[int, int] = (0, 0)) -> Strip:
        """Parts in their styles, selected from one character to before another; -1 is their end."""
        style = self.app.palette.style
        begin, end = max(0, span[0]), span[1]
        if 0 <= end <= begin:
            return Strip([Segment(text, base + style(name)) for text, name in parts])
        text = Text("", no_wrap=True, end="")
        for part, name in parts:
            text.append(part, base + style(name))
        text.stylize(self.screen.get_component_rich_style("screen--selection"), begin, len(text) if end < 0 else end)
        return Strip(text.render(self.app.console))

    # ------------------------------------------------------------ selecting

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text: of the lines on the screen where all is selected, else from one line to the other."""
        if not self._rows:
            return None
        first = selection.start.y if selection.start is not None else self._rows[0][0]
        last = selection.end.y if selection.end is not None else self._rows[-1][0]
        lines: list[str] = []
        for number in range(first, min(last, first + COPIED_MOST - 1, self.view.count - 1) + 1):
            text = self.view.text(number)
            span = selection.get_span(number)
            if span is not None:
                lines.append("…" if text is None else text[span[0] : None if span[1] < 0 else span[1]])
        return "\n".join(lines), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Show what is selected now."""
        self.refresh()

    # ------------------------------------------------------------ moving

    async def action_do(self, id_: str) -> None:
        """Do one of the things a log can do."""
        result = getattr(self, method(id_))()
        if isinstance(result, Awaitable):
            await result

    def do_list_up(self) -> None:
        self._go(rows=-1)

    def do_list_down(self) -> None:
        self._go(rows=1)

    def do_list_page_up(self) -> None:
        self._go(pages=-1)

    def do_list_page_down(self) -> None:
        self._go(pages=1)

    def do_list_left(self) -> None:
        self._go(cells=-SIDEWAYS)

    def do_list_right(self) -> None:
        self._go(cells=SIDEWAYS)

    def _go(self, *, rows: int = 0, pages: Literal[-1, 0, 1] = 0, cells: int = 0) -> None:
        if rows:
            self.view.move(rows)
        if pages:
            self.view.page(pages)
        if cells:
            self.view.sideways(cells)
        self._moved()

    def do_list_top(self) -> None:
        self.view.go_to(0)
        self._moved()

    def do_list_bottom(self) -> None:
        """To the end as it is now, which is followed from then on."""
        self.view.end()
        self.look()

    def do_list_follow(self) -> None:
        """Follow the end, or stay here."""
        if self.view.follow:
            self.view.hold()
        else:
            self.view.end()
        self._moved()

    # ------------------------------------------------------------ what is shown

    def do_log_wrap(self) -> None:
        self.view.wrap(not self.view.wraps)
        self._moved()

    def do_log_levels(self) -> None:
        """Show the next of the choices of levels."""
        chosen = [levels for _, levels in CHOICES]
        at = chosen.index(self.view.levels) if self.view.levels in chosen else -1
        self.view.show_levels(chosen[(at + 1) % len(chosen)])
        self._moved()

    def do_log_find(self) -> None:
        self.post_message(self.Asked(self, "find"))

    def do_log_time(self) -> None:
        self.post_message(self.Asked(self, "time"))

    def do_log_next(self) -> None:
        self.view.go_to_match(1)
        self._moved()

    def do_log_previous(self) -> None:
        self.view.go_to_match(-1)
        self._moved()

    def do_log_only(self) -> None:
        self.view.show_only_matches(not self.view.only)
        self._moved()

    async def do_log_tail(self) -> None:
        await self._show_range(0)

    async def do_log_head(self) -> None:
        await self._show_range(1)

    async def do_log_1m(self) -> None:
        await self._show_range(2)

    async def do_log_5m(self) -> None:
        await self._show_range(3)

    async def do_log_15m(self) -> None:
        await self._show_range(4)

    async def do_log_30m(self) -> None:
        await self._show_range(5)

    async def do_log_1h(self) -> None:
        await self._show_range(6)

    async def _show_range(self, number: int) -> None:
        try:
            await self.view.show_range(number)
        except FleetError as error:
            self.post_message(self.Failed(error))
        self._moved()

    def search(self, text: str) -> None:
        """Find a text, or a regular expression between slashes; an empty text ends that.

        Raises `InvalidInput` for a regular expression that cannot be used.
        """
        regex = len(text) > 2 and text.startswith("/") and text.endswith("/")
        self.view.search(text[1:-1] if regex else text, regex=regex)
        self._moved()

    async def go_to_time(self, text: str) -> None:
        """Go to a time. Raises `InvalidInput`, `StoreUnavailable`."""
        await self.view.go_to_time(text)
        self._moved()

    # ------------------------------------------------------------ mouse

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        self._turn(event, WHEEL, sideways=event.shift)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        self._turn(event, -WHEEL, sideways=event.shift)

    def on_mouse_scroll_right(self, event: MouseScrollRight) -> None:
        self._turn(event, WHEEL, sideways=True)

    def on_mouse_scroll_left(self, event: MouseScrollLeft) -> None:
        self._turn(event, -WHEEL, sideways=True)

    def _turn(self, event: MouseEvent, by: int, *, sideways: bool) -> None:
        event.stop()
        # Textual would scroll as well.
        event.prevent_default()
        if sideways:
            self._go(cells=by)
        else:
            self._go(rows=by)


def _margin(row: Row) -> int:
    """Characters of a row's margin."""
    return sum(len(text) for text, _ in row.margin)
