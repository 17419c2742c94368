"""The titles above a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.events import Click
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from fleetprompt.tui.widgets.lines import GUTTER, Lines, fit

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole


class Heading(Widget):
    """The titles of a list's columns; a click on one sorts by it."""

    DEFAULT_CSS = "Heading { height: 1; background: $background; }"
    app: FleetConsole

    class Chosen(Message):
        """The list is to be sorted."""

        def __init__(self, sort: str) -> None:
            super().__init__()
            self.sort = sort

    def __init__(self) -> None:
        super().__init__()
        self._lines: Lines | None = None
        self._sort = ("", True)

    def watch_lines(self, lines: Lines) -> None:
        """Stand above this list."""
        self._lines = lines
        self.watch(lines, "virtual_size", self._moved, init=False)

    def _moved(self) -> None:
        self.refresh()

    def sorted_by(self, sort: str, descending: bool) -> None:
        """Show what the list is sorted by."""
        self._sort = (sort, descending)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """The titles where the columns stand."""
        ground = self.rich_style
        style = ground + self.app.palette.style("title")
        width = self.size.width
        segments = [Segment(" " * GUTTER, ground)]
        lines = self._lines
        sort, descending = self._sort
        for place in lines.places if lines is not None else ():
            column = lines.source.columns[place.column]  # type: ignore[union-attr]
            title = column.title
            if column.sort and column.sort == sort:
                title += "▼" if descending else "▲"
                # Several columns may stand for one order: the first one shows it.
                sort = ""
            segments.append(Segment(fit(title, place.width, column.right) + " ", style))
        return Strip(segments).adjust_cell_length(width, ground)

    def on_click(self, event: Click) -> None:
        """Sort by the title that was clicked."""
        x = int(event.x) - GUTTER
        lines = self._lines
        for place in lines.places if lines is not None else ():
            if place.x <= x < place.x + place.width + 1:
                sort = lines.source.columns[place.column].sort  # type: ignore[union-attr]
                if sort:
                    self.post_message(self.Chosen(sort))
