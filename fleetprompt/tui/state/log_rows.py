"""The rows that lines of a log take on the screen, kept as they were made until something about them changes."""

from __future__ import annotations

from fleetprompt.client.wording import Times
from fleetprompt.engine.ports import LogLine
from fleetprompt.tui.state import log_text
from fleetprompt.tui.state.log_content import Content
from fleetprompt.tui.state.log_find import Find
from fleetprompt.tui.state.log_text import STEP_MOST, Form, Row

LONG = 20 * 3600
"""Seconds after which times of day alone would mislead."""
KEPT = 1024
"""Lines whose rows are kept."""
_ABSENT = Row((), (("…", "faint"),), 0)


class Rows:
    """Makes rows of lines; what it is told by its attributes holds after `renew`."""

    def __init__(self, content: Content, times: Times) -> None:
        self.width = 80
        self.wraps = False
        self.left = 0
        """Cells of the text to the left of the screen."""
        self.find: Find | None = None
        self._content = content
        self._times = times
        self._form = self._new_form()
        self._kept: dict[int, list[Row]] = {}
        """By position."""

    def renew(self) -> None:
        """Make every row anew."""
        self._form = self._new_form()
        self._kept.clear()

    def fit(self) -> None:
        """There are more lines: if their steps or days need other margins, make every row anew."""
        if self._form != self._new_form():
            self.renew()

    def forget(self, position: int) -> None:
        """Make the rows of this line anew."""
        self._kept.pop(position, None)

    def of(self, index: int) -> list[Row]:
        """The rows of a line; a single one while the line is on its way."""
        position = self._content.directory.position(index)
        rows = self._kept.get(position)
        if rows is None:
            line = self._content.line(index)
            if line is None:
                return [_ABSENT]
            rows = self._kept[position] = self._make(line, current=self._is_current(position))
            if len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
        return rows

    def bring_into_sight(self, index: int) -> bool:
        """Move `left` so that the first match of a line is on the screen; whether the line is there to tell."""
        line = self._content.line(index)
        if line is None:
            return False
        body = log_text.body(line, self.find)
        whole = sum(log_text.cells(text) for text, _ in body)
        at = 0
        for text, style in body:
            end = at + log_text.cells(text)
            if style == "match":
                if not self._is_in_sight(self.left, at, end, whole):
                    self.left = 0 if self._is_in_sight(0, at, end, whole) else max(0, at - self._form.room // 3)
                    self._kept.clear()
                break
            at = end
        return True

    def _is_in_sight(self, left: int, at: int, end: int, whole: int) -> bool:
        """Whether cells of a line of so many are seen when so many are left of the screen, and not behind a `…`."""
        right = left + self._form.room
        return at >= left + (left > 0) and end <= right - (whole > right)

    def text(self, line: LogLine) -> str:
        """A line as text, margin included."""
        return "".join(text for text, _ in (*log_text.margin(line, self._form), *log_text.body(line)))

    def _is_current(self, position: int) -> bool:
        return self.find is not None and self.find.current == position

    def _make(self, line: LogLine, *, current: bool) -> list[Row]:
        form = self._form
        margin = log_text.margin(line, form)
        body = log_text.body(line, self.find, current=current)
        if not self.wraps:
            return [Row(margin, *log_text.crop(body, self.left, form.room))]
        blank = ((" " * form.margin, ""),)
        wrapped = log_text.wrap(body, form.room)
        (first, before), *rest = wrapped
        return [Row(margin, first, before), *(Row(blank, parts, before, continued=True) for parts, before in rest)]

    def _new_form(self) -> Form:
        directory, path = self._content.directory, self._content.path or ""
        step = 0
        if len(directory.steps) > 1:
            step = max(4, min(directory.longest - len(path), STEP_MOST, self.width // 4))
        return Form(
            times=self._times,
            width=self.width,
            step=step,
            within=path,
            dated=directory.latest - directory.earliest > LONG,
        )
