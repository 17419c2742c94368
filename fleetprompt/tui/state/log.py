"""The log of a run, of a step or of everything inside one, of any length: what is shown and what is on the screen.

Whoever shows it calls `refresh` when there may be more lines, `load` until all that is on the screen is there, and
`work` until there is nothing left to do; between any two of these calls it can be drawn.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from fleetprompt.client.wording import Times
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.query_fields import Field
from fleetprompt.engine.core.query_values import read_moment, span
from fleetprompt.engine.ports import Level, LogLine
from fleetprompt.tui.state.log_content import Content, LogSource
from fleetprompt.tui.state.log_find import Direction, Find
from fleetprompt.tui.state.log_rows import Rows
from fleetprompt.tui.state.log_sieve import Sieve
from fleetprompt.tui.state.log_text import Row
from fleetprompt.tui.state.log_window import Window

CHOICES: tuple[tuple[str, frozenset[Level]], ...] = (
    ("all", frozenset()),
    ("problems", frozenset({"warning", "error", "stderr"})),
    ("errors", frozenset({"error"})),
    ("output", frozenset({"stdout", "stderr"})),
    ("messages", frozenset({"debug", "info", "warning", "error"})),
)
"""Levels that are often wanted together."""
LOADED = 8
"""Chunks whose lines are read at a time, about four thousand lines."""
AHEAD = 4
"""Chunks beside those on the screen that are read before they are looked at."""
LEVELS_AT_A_TIME = 64
RANGES: tuple[tuple[str, float | None], ...] = (
    ("tail", None),
    ("head", None),
    ("1m", 60.0),
    ("5m", 300.0),
    ("15m", 900.0),
    ("30m", 1800.0),
    ("1h", 3600.0),
)
"""What the digits choose: everything from its end or from its beginning, or the last so many seconds of it."""

_TIME = Field(name="time", kind="time", column="at", doc="a time of the log")


class LogView:
    """A log as it is looked at. Shown lines are numbered from 0: those that no filter leaves out.

    `path` names a step; with `within`, also everything inside it. Reading raises `StoreUnavailable`.
    """

    def __init__(
        self, source: LogSource, run: str, path: str | None = None, *, within: bool = False, times: Times | None = None
    ) -> None:
        self.range = 0
        """The chosen one of `RANGES`."""
        self.version = 0
        """Changes with everything that can be seen."""
        self._times = times or Times()
        self._content = Content(source, run, path, within=within)
        self._directory = self._content.directory
        self._sieve = Sieve(self._directory)
        self._rows = Rows(self._content, self._times)
        self._window = Window(self._directory, self._sieve, lambda number: len(self._rows.of(self._sieve.line(number))))
        self._find: Find | None = None
        self._only = False
        self._levels: frozenset[Level] = frozenset()
        self._cursor: int | None = None
        """The position of the line that was gone to."""
        self._opened = False
        self._working = False
        self._unseen = False
        """The current match may be to the side of the screen."""

    # ------------------------------------------------------------ what is there

    @property
    def run(self) -> str:
        """Whose log it is."""
        return self._content.run

    @property
    def path(self) -> str | None:
        """Of which step; None for the whole run."""
        return self._content.path

    @property
    def lines(self) -> int:
        """How many lines the log has."""
        return self._directory.lines

    @property
    def count(self) -> int:
        """How many lines are shown."""
        return self._sieve.count

    @property
    def follow(self) -> bool:
        """Whether it is pinned to the end."""
        return self._window.follow

    @property
    def new(self) -> int:
        """Shown lines that have come since the end was let go, and were not seen."""
        return self._window.new

    @property
    def left(self) -> int:
        """Cells of the text to the left of the screen."""
        return self._rows.left

    @property
    def wraps(self) -> bool:
        """Whether long lines take several rows."""
        return self._window.wraps

    @property
    def levels(self) -> frozenset[Level]:
        """Only these are shown; empty: all."""
        return self._levels

    @property
    def find(self) -> Find | None:
        """What is searched for."""
        return self._find

    @property
    def only(self) -> bool:
        """Whether only lines that match are shown."""
        return self._only

    @property
    def cursor(self) -> int | None:
        """The number of the shown line that a search or a time has led to."""
        if self._cursor is None or not self._shows(self._cursor):
            return None
        return self._sieve.number(self._directory.line_at(self._cursor))

    @property
    def progress(self) -> float:
        """How much of the search and of the filter is done, from 0 to 1."""
        searched = self._find.progress(self._directory.last) if self._find is not None else 1.0
        return min(searched, self._sieve.progress)

    @property
    def opened(self) -> bool:
        """Whether it was read how many lines there are."""
        return self._opened

    @property
    def complete(self) -> bool:
        """Whether every line on the screen is there."""
        return all(self._content.line(index) is not None for index in self._on_screen())

    @property
    def held_bytes(self) -> int:
        """Bytes of lines that are held, about."""
        return self._content.pages.bytes

    def line(self, number: int) -> LogLine | None:
        """A shown line; None while it is on its way."""
        return self._content.line(self._sieve.line(number))

    # ------------------------------------------------------------ reading

    async def open(self) -> None:
        """Read the directory, and the lines on the screen."""
        await self.refresh()
        while await self.load():
            pass

    async def refresh(self) -> int:
        """Read what has come; how many lines are new."""
        new = await self._content.refresh()
        first, self._opened = not self._opened, True
        counts = self._content.forget_counts()
        for position in counts:
            self._rows.forget(position)
        if new:
            self._sieve.grow()
            if self._find is not None:
                self._find.go_on()
            self._rows.fit()
        if self._window.follow:
            self._window.end()
        if new or counts or first:
            self.version += 1
        return new

    def wanted(self) -> list[int]:
        """Ids of chunks that have to be read: those on the screen first, then some beside them."""
        shown = self._on_screen()
        ids = self._content.missing(shown)
        if ids or not shown:
            return ids
        first, last = (self._sieve.number(index) for index in (shown[0], shown[-1]))
        height, most = self._window.height, self._sieve.count - 1
        beside = (min(most, last + 1), min(most, last + height), max(0, first - 1), max(0, first - height))
        return self._content.missing([self._sieve.line(number) for number in beside])[:AHEAD]

    def _on_screen(self) -> list[int]:
        """The lines on the screen, by index."""
        return [self._sieve.line(number) for number in dict.fromkeys(number for number, _ in self._window.rows())]

    async def load(self) -> bool:
        """Read some of the lines that are wanted; whether there was anything to read."""
        ids = self.wanted()[:LOADED]
        if not ids:
            return False
        if not await self._content.load(ids):
            await self._prune()
        self._content.hold(self._on_screen())
        self.version += 1
        return True

    async def _prune(self) -> None:
        await self._content.prune()
        if self._find is not None:
            self._find.keep(self._directory.has)
        self._sieve.rebuild()

    async def work(self) -> bool:
        """Do a portion of filtering or searching; whether there was any. It can be cancelled, and goes on later."""
        if self._working:
            return False
        self._working = True
        try:
            ids = self._sieve.unknown(LEVELS_AT_A_TIME)
            if ids:
                await self._read_levels(ids)
            elif self._find is not None and not self._find.done:
                await self._search(self._find)
            else:
                return False
        finally:
            self._working = False
        self.version += 1
        return True

    async def _read_levels(self, ids: list[int]) -> None:
        if not await self._content.load_levels(ids):
            await self._prune()
        for id_ in ids:
            self._sieve.learn(id_)

    async def _search(self, find: Find) -> None:
        found = await find.portion(self._content.find)
        if find is not self._find:
            return
        if self._only:
            for id_ in dict.fromkeys(self._directory.id_at(position) for position in found):
                self._sieve.learn(id_)
        self._step()

    # ------------------------------------------------------------ finding

    def search(self, needle: str, *, regex: bool = False) -> None:
        """Search for a text or a regular expression from where one looks, and go there; an empty one ends the search.

        `work` finds it. Raises `InvalidInput` for a regular expression that is malformed or too costly.
        """
        self._find = self._new_find(needle, regex) if needle else None
        self._only = self._only and self._find is not None
        self._rows.find, self._cursor = self._find, None
        self._choose()

    def _new_find(self, needle: str, regex: bool) -> Find:
        if self._window.follow or not self.count:
            return Find(needle, regex=regex, origin=self._directory.last + 1, direction=-1)
        top = self._sieve.line(self._window.top()[0])
        return Find(needle, regex=regex, origin=self._directory.position(top), direction=1)

    def go_to_match(self, direction: Direction) -> None:
        """Go to the next match or the previous one, around the ends of the log."""
        if self._find is not None:
            self._find.pending = direction
            self._step()
            self.version += 1

    def show_only_matches(self, only: bool) -> None:
        """Leave out all lines that do not match, or show them again."""
        self._only = only and self._find is not None
        self._choose()

    def _step(self) -> None:
        """Go where one waits to go, if it is known by now what is there."""
        find = self._find
        if find is None or find.pending is None:
            return
        target = find.step(find.start(find.pending), find.pending, self._shows)
        if target is None:
            if find.done:
                find.pending = None
            return
        for position in (find.current, target):
            if position is not None:
                self._rows.forget(position)
        find.current, find.pending, self._unseen = target, None, True
        self._cursor = target
        self._window.reveal(self._sieve.number(self._directory.line_at(target)))

    def _shows(self, position: int) -> bool:
        return self._directory.has(position) and self._sieve.shows(self._directory.line_at(position))

    # ------------------------------------------------------------ filtering

    def show_levels(self, levels: Collection[Level]) -> None:
        """Show lines of these levels alone; none stands for all."""
        self._levels = frozenset(levels)
        self._choose()

    async def show_range(self, number: int) -> None:
        """Show one of `RANGES`, counted back from the time of the log's last line."""
        name, seconds = RANGES[number]
        start = 0
        if seconds is not None and self.lines:
            start = self._directory.position(await self._content.first_since(self._directory.latest - seconds))
        self.range = number
        self._choose(start)
        if name == "head":
            self.go_to(0)
        else:
            self.end()

    async def go_to_time(self, text: str) -> None:
        """Go to the first line of a time, written as in filters: `14:02`, `2026-11-20T14:02:11`, `5m` for so long
        before the log's last line. Days without a date are that line's. Raises `InvalidInput`.
        """
        try:
            at, _ = span(read_moment(_TIME, text.strip()), self._directory.latest, self._times.tzinfo)
        except (ValueError, OverflowError) as problem:
            raise InvalidInput(str(problem)) from None
        if self.lines:
            line = await self._content.first_since(at)
            self._cursor = self._directory.position(line)
            self.go_to(self._sieve.number(line))

    def _choose(self, start: int | None = None) -> None:
        if not self._window.follow:
            self._window.hold()
        find = self._find if self._only else None
        self._sieve.choose(levels=self._levels, start=self._sieve.start if start is None else start, find=find)
        self._redraw()

    # ------------------------------------------------------------ moving

    def resize(self, width: int, height: int) -> None:
        """The screen has so many cells and rows now."""
        self._rows.width, self._window.height = max(1, width), max(1, height)
        self._redraw()

    def move(self, rows: int) -> None:
        """Go so many rows down, or up, which lets go of the end."""
        self._window.move(rows)
        self.version += 1

    def page(self, direction: Literal[-1, 1]) -> None:
        """Go a screen down or up; one row stays."""
        self.move(direction * max(1, self._window.height - 1))

    def go_to(self, number: int) -> None:
        """Bring a shown line to the top of the screen."""
        self._window.show(number)
        self.version += 1

    def end(self) -> None:
        """Go to the end, and stay there whatever comes."""
        self._window.end()
        self.version += 1

    def hold(self) -> None:
        """Stay here, whatever comes."""
        self._window.hold()
        self.version += 1

    @property
    def top(self) -> int:
        """The number of the first line on the screen."""
        return self._window.top()[0]

    @property
    def bottom(self) -> int:
        """The number of the first line on the screen when the end is on it, too."""
        return self._window.bottom()[0]

    def wrap(self, wraps: bool) -> None:
        """Let long lines take several rows, or cut them."""
        self._window.wraps = self._rows.wraps = wraps
        self._rows.left = 0
        self._redraw()

    def sideways(self, cells: int) -> None:
        """Show what is so many cells to the right, or to the left."""
        if not self.wraps:
            self._rows.left = max(0, self._rows.left + cells)
            self._redraw()

    def _redraw(self) -> None:
        self._rows.renew()
        self.version += 1

    # ------------------------------------------------------------ drawing

    def rows(self) -> list[tuple[int, Row]]:
        """What is on the screen: rows from above, each with the number of its line. They are counted as seen."""
        if self._unseen and self._find is not None and self._find.current is not None and not self.wraps:
            self._unseen = not self._rows.bring_into_sight(self._directory.line_at(self._find.current))
        places = self._window.rows()
        if places:
            self._window.mark_seen(places[-1][0])
        return [(number, self._rows.of(self._sieve.line(number))[row]) for number, row in places]

    def text(self, number: int) -> str | None:
        """A shown line as text, margin included; None while it is on its way."""
        line = self.line(number)
        return None if line is None else self._rows.text(line)
