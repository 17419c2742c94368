"""A log of any length, on Textual's line API: the rows that a `LogView` says are on the screen, and keys to move it.

The view decides what is where; the scroll bar follows it. All reading is done by one worker: what has come first, then
what is on the screen, then filtering and searching, a portion at a time.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.app import App
from textual.binding import Binding, BindingType
from textual.events import MouseScrollDown, MouseScrollLeft, MouseScrollRight, MouseScrollUp, Resize
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.tui.state.log import CHOICES, RANGES, LogView
from fleetprompt.tui.state.log_text import Part, Row

WHEEL = 3
"""Rows, or cells, that a turn of the wheel moves."""
SIDEWAYS = 20
"""Cells that a key moves to the side."""
COPIED_MOST = 10_000
"""Lines that are copied at most."""


class Styles(Protocol):
    """What style names look like in the theme that is on."""

    def style(self, name: str) -> Style: ...
    @property
    def away(self) -> Style:
        """Behind the line one was led to."""
        ...


class StyledApp(App[object]):
    """An app that has styles by name."""

    palette: Styles


class LogLines(ScrollView, can_focus=True):
    """A log. Whoever shows it calls `look` when there may be more lines."""

    DEFAULT_CSS = """
    LogLines { height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1;
               scrollbar-gutter: stable; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "do('log.up')", "up", show=False),
        Binding("down,j", "do('log.down')", "down", show=False),
        Binding("pageup,ctrl+b", "do('log.page_up')", "page up", show=False),
        Binding("pagedown,ctrl+f", "do('log.page_down')", "page down", show=False),
        Binding("home,g", "do('log.top')", "top", show=False),
        Binding("end,G", "do('log.follow')", "follow", show=False),
        Binding("left,h", "do('log.left')", "left", show=False),
        Binding("right", "do('log.right')", "right", show=False),
        Binding("w", "do('log.wrap')", "wrap"),
        Binding("l", "do('log.levels')", "levels"),
        Binding("n", "do('log.next_match')", "next match", show=False),
        Binding("N", "do('log.previous_match')", "previous match", show=False),
        Binding("&", "do('log.only')", "matches only", show=False),
        *(Binding(str(at), f"range({at})", name, show=False) for at, (name, _) in enumerate(RANGES)),
    ]

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

    app: StyledApp

    def __init__(self, view: LogView, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.view = view
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
        self.screen.clear_selection()
        view.resize(self.size.width, self.size.height)
        self.look()

    def look(self) -> None:
        """There may be more lines."""
        self._stale = True
        self._moved()

    def on_resize(self, event: Resize) -> None:
        self.view.resize(self.size.width, self.size.height)
        self._moved()

    def _moved(self) -> None:
        """Draw what is there, and read what is missing."""
        self._update()
        if not self._reading and self.is_mounted:
            self._reading = True
            self.run_worker(self._read(), group="log")

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
            return True
        return await view.load() or await view.work()

    def _update(self) -> None:
        """Show the view as it is now."""
        if self.view.version == self._drawn or not self.size:
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
            return Strip.blank(width, ground)
        number, row = self._rows[y]
        base = ground + self.app.palette.away if number == self.view.cursor else ground
        margin, body = self._strips(number, row, base)
        body = body.adjust_cell_length(max(0, width - margin.cell_length), base)
        if not row.continued:
            margin = margin.apply_offsets(0, number)
        return Strip.join([margin, body.apply_offsets(_margin(row) + row.before, number)]).adjust_cell_length(
            width, base
        )

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

    def action_do(self, id_: str) -> None:
        """Do one of the things a log can do."""
        getattr(self, "do_" + id_.replace(".", "_"))()
        self._moved()

    def do_log_up(self) -> None:
        self.view.move(-1)

    def do_log_down(self) -> None:
        self.view.move(1)

    def do_log_page_up(self) -> None:
        self.view.page(-1)

    def do_log_page_down(self) -> None:
        self.view.page(1)

    def do_log_top(self) -> None:
        self.view.go_to(0)

    def do_log_follow(self) -> None:
        self.view.end()

    def do_log_left(self) -> None:
        self.view.sideways(-SIDEWAYS)

    def do_log_right(self) -> None:
        self.view.sideways(SIDEWAYS)

    def do_log_wrap(self) -> None:
        self.view.wrap(not self.view.wraps)

    def do_log_levels(self) -> None:
        """Show the next of the choices of levels."""
        chosen = [levels for _, levels in CHOICES]
        at = chosen.index(self.view.levels) if self.view.levels in chosen else -1
        self.view.show_levels(chosen[(at + 1) % len(chosen)])

    def do_log_next_match(self) -> None:
        self.view.go_to_match(1)

    def do_log_previous_match(self) -> None:
        self.view.go_to_match(-1)

    def do_log_only(self) -> None:
        self.view.show_only_matches(not self.view.only)

    def search(self, needle: str, *, regex: bool = False) -> None:
        """Search; an empty text ends it. Raises `InvalidInput` for a regular expression that cannot be used."""
        self.view.search(needle, regex=regex)
        self._moved()

    async def action_range(self, number: int) -> None:
        """Show one of the ranges."""
        try:
            await self.view.show_range(number)
        except FleetError as error:
            self.post_message(self.Failed(error))
        self._moved()

    async def go_to_time(self, text: str) -> None:
        """Go to a time. Raises `InvalidInput`."""
        await self.view.go_to_time(text)
        self._moved()

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        self._turn(event, rows=WHEEL)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        self._turn(event, rows=-WHEEL)

    def on_mouse_scroll_right(self, event: MouseScrollRight) -> None:
        self._turn(event, cells=WHEEL)

    def on_mouse_scroll_left(self, event: MouseScrollLeft) -> None:
        self._turn(event, cells=-WHEEL)

    def _turn(
        self,
        event: MouseScrollDown | MouseScrollUp | MouseScrollLeft | MouseScrollRight,
        *,
        rows: int = 0,
        cells: int = 0,
    ) -> None:
        event.stop()
        event.prevent_default()
        if event.shift and rows:
            rows, cells = 0, rows
        if rows:
            self.view.move(rows)
        if cells:
            self.view.sideways(cells)
        self._moved()


def _margin(row: Row) -> int:
    """Characters of a row's margin."""
    return sum(len(text) for text, _ in row.margin)
