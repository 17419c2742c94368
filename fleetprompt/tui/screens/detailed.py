"""Screens that are a list under a filter and, below it or beside it, details of what the cursor rests on."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Generic, Protocol, TypeVar

from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.events import Resize
from textual.timer import Timer

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import FieldSet
from fleetprompt.tui.screens.filtered import FilteredScreen
from fleetprompt.tui.state.lines import Line, Part
from fleetprompt.tui.widgets.filter_bar import FilterBar
from fleetprompt.tui.widgets.heading import Heading
from fleetprompt.tui.widgets.lines import Lines
from fleetprompt.tui.widgets.text_pane import TextPane

REST = 0.06
"""Seconds the cursor rests on a line before its details are shown."""
SHARE = 20
"""The list is not read again for so many times what reading it has taken."""
BESIDE = 170
"""Cells from which on the details stand beside the list."""


class Named(Protocol):
    """What a line stands for."""

    @property
    def key(self) -> str:
        """What tells it from the others."""
        ...

    @property
    def name(self) -> str:
        """What people call it."""
        ...


class Listed(Protocol):
    """The list that such a screen shows: what it holds, under a filter."""

    filter: str
    """What its lines match."""

    async def load(self) -> None:
        """Read it. Raises `FleetError`."""

    def arrange(self) -> None:
        """Take those that match, in order."""

    def find(self, key: str) -> int | None:
        """Where a line is."""
        ...


E = TypeVar("E", bound=Named)
T = TypeVar("T")


class DetailedScreen(FilteredScreen[Lines], Generic[E, T]):
    """A list of things of the kind E, and of the one at the cursor its details, for which some T are read."""

    FIELDS: ClassVar[FieldSet]
    """What can be asked about the lines."""
    LEAST_SECONDS: ClassVar[float]
    """How often the list is read again because runs have changed, at most."""
    DEFAULT_CSS = """
    DetailedScreen #panes { height: 1fr; layout: vertical; }
    DetailedScreen.-beside #panes { layout: horizontal; }
    DetailedScreen.-beside #list, DetailedScreen.-beside #details { height: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._rest: Timer | None = None
        self._due: Timer | None = None
        self._took = 0.0
        self._shown = ""
        """Key of what the details are of."""
        self._known: dict[str, Sequence[T]] = {}
        """What was read for details, by the key of what they are of."""
        self.sought = ""
        """What the cursor goes to as soon as it is there."""

    def body(self) -> ComposeResult:
        yield FilterBar(self.FIELDS, self.about, self.values)
        with Container(id="panes"):
            with Vertical(id="list"):
                yield Heading()
            yield TextPane(id="details")

    @property
    def pane(self) -> TextPane:
        """The details."""
        return self.query_one("#details", TextPane)

    def on_resize(self, event: Resize) -> None:
        self.fit(event.size.width)

    def fit(self, width: int) -> None:
        """Arrange everything for so many cells."""
        self.set_class(width >= BESIDE, "-beside")

    @abstractmethod
    async def values(self, name: str) -> Sequence[tuple[str, int]]:
        """What a field of the filter can be."""

    @abstractmethod
    def entry(self) -> E | None:
        """What is at the cursor."""

    @property
    @abstractmethod
    def listed(self) -> Listed | None:
        """The list, once it is there."""

    @abstractmethod
    def none_yet(self) -> Sequence[Part]:
        """What is said where there are none at all."""

    @abstractmethod
    async def look_up(self, entry: E) -> Sequence[T]:
        """Read what its details need. Raises `FleetError`."""

    @abstractmethod
    def detailed(self, entry: E, known: Sequence[T]) -> list[Line]:
        """Its details."""

    # ------------------------------------------------------------ reading

    def load_soon(self) -> None:
        """Read the list again, but not all the time."""
        if self._due is None:
            self._due = self.set_timer(max(self.LEAST_SECONDS, self._took * SHARE), self._load_now)

    async def _load_now(self) -> None:
        self._due = None
        await self.load()

    async def load(self) -> None:
        """Read the list again."""
        listed = self.listed
        if listed is None:
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await listed.load()
            self.error = None
        except FleetError as error:
            self.error = error
        self._took = loop.time() - began
        self._known.clear()
        self.renew()

    async def reload(self) -> None:
        """Read everything again."""
        await self.load()

    def renew(self) -> None:
        """Show the list as it is now."""
        listed, lines = self.listed, self.lines
        if listed is None or lines is None:
            return
        matching = ((f"no {self.ONE} matches ", "dim"), (inert(listed.filter), ""), (" — esc shows all", "dim"))
        lines.empty = matching if listed.filter else tuple(self.none_yet())
        lines.renew()
        at = listed.find(self.sought) if self.sought else None
        if at is not None:
            self.sought = ""
            lines.go(at)
        else:
            self.unsought(lines)
        self.bar.redraw()
        self.show_details()

    def unsought(self, lines: Lines) -> None:
        """Where the cursor goes when nobody looks for a line: it stays."""

    # ------------------------------------------------------------ filter

    async def filter(self, text: str) -> None:
        """List those that match."""
        if self.listed is not None:
            self.listed.filter = text
            self.listed.arrange()
            self.renew()

    async def seek(self, text: str) -> None:
        """Put the cursor on the one of that name; any other text is a filter."""
        if self.listed is not None and self.listed.filter:
            await self.apply_filter("")
        if " " in text or ":" in text or parse(text, self.FIELDS).problems:
            await self.apply_filter(text)
            return
        self.sought = text
        await self.load()

    # ------------------------------------------------------------ details

    def on_lines_moved(self) -> None:
        """Another line: its details follow when the cursor rests."""
        self.note_cursor()
        self.bar.redraw()
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(REST, self.show_details)

    def show_details(self) -> None:
        """Show what is known of what is at the cursor, and get what is not."""
        entry = self.entry()
        if entry is None:
            self._shown = ""
            self.pane.show(())
            self.pane.entitle("")
            return
        known = self._known.get(entry.key)
        if known is None:
            self.run_worker(partial(self._find_details, entry), group="details", exclusive=True)
        if known is not None or self._shown != entry.key:
            same = self._shown == entry.key
            self._shown = entry.key
            self.pane.entitle(inert(entry.name))
            self.pane.show(self.detailed(entry, known or ()), keep=same)
        self.refresh_bars()

    async def _find_details(self, entry: E) -> None:
        try:
            found = await self.look_up(entry)
        except FleetError:
            found = ()
        self._known[entry.key] = found
        self.show_details()

    def do_details_read(self) -> None:
        """Into the details, or back to the list."""
        if self.lines is not None:
            (self.lines if self.pane.has_focus else self.pane).focus()

    def do_details_down(self) -> None:
        self.pane.action_scroll_by(max(1, self.pane.size.height // 2))

    def do_details_up(self) -> None:
        self.pane.action_scroll_by(-max(1, self.pane.size.height // 2))

    def leave_details(self) -> bool:
        """Back from the details."""
        inside = self.pane.has_focus
        if inside and self.lines is not None:
            self.lines.focus()
        return inside
