"""Screens that are a list under a filter: what is said of it, how one gets out of it, and that nothing is done to what
has just come under the cursor."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import ClassVar, Generic, TypeVar

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.screens.base import QUIET, ConsoleScreen
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.state.steady import Steady
from fleetprompt.tui.widgets.bars import spread
from fleetprompt.tui.widgets.filter_bar import FilterBar
from fleetprompt.tui.widgets.lines import Lines

L = TypeVar("L", bound=Lines)


class FilteredScreen(ConsoleScreen, Generic[L]):
    """One list and its filter."""

    EVERYTHING: ClassVar[str]
    """What is listed without a filter, such as `every run`."""
    ONE: ClassVar[str]
    """What one line is, such as `run`."""

    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        """The filter with which the screen was opened: esc takes away what was typed beyond it."""
        self.lines: L | None = None
        """The list, once the store is open."""
        self.steady = Steady()
        """Of what is at the cursor."""
        self._outside = 0
        """How many marks are on what does not match the filter."""
        self._by_hand = 0
        self._had_cursor = False

    async def on_mount(self) -> None:
        self.bar.found = self.found

    @property
    def bar(self) -> FilterBar:
        """The filter."""
        return self.query_one(FilterBar)

    # ------------------------------------------------------------ what is said of the list

    def about(self, width: int) -> list[Part]:
        """The line of the filter: what is listed, and how much of it."""
        text = self.bar.text
        left: list[Part] = [("/ ", "accent"), (inert(text), "") if text else (self.EVERYTHING, "dim")]
        if self.error is not None:
            return [*left, (f"  {inert(self.error.message)}", "error")]
        said = self.said()
        if said is None:
            return spread(left, [("loading…", "dim")], width)
        marks = len(self.lines.selection.marks) if self.lines is not None else 0
        outside = f", {self._outside:,} of them not in this list" if self._outside else ""
        marked: list[Part] = [(f"{marks:,} marked{outside}  ", "accent")] if marks else []
        return spread(left, [*marked, *said], width)

    def said(self) -> Sequence[Part] | None:
        """What there is to say of the list; None before it was read."""
        return None

    def found(self) -> str:
        """The same in a few words, for who types a filter: what is offered lies over the top of the list."""
        said = self.said()
        if said is None or self.lines is None:
            return ""
        if not self.lines.source.count:
            return f"no {self.ONE} matches"
        return "".join(text for text, _ in said)

    def failed(self, error: FleetError) -> None:
        """Say why there is nothing."""
        super().failed(error)
        self.bar.redraw()

    # ------------------------------------------------------------ marks

    def on_lines_marked(self) -> None:
        if self._outside:
            self.run_worker(self._count_marks, group="marks", exclusive=True)
        self.bar.redraw()

    async def _count_marks(self) -> None:
        """Marks stay where they were set, and it is said how many are out of sight: verbs mean them all the same."""
        lines = self.lines
        try:
            marked = lines is not None and lines.selection.marks
            self._outside = len(marked.keys() - {*await lines.listed()}) if lines is not None and marked else 0
        except FleetError:
            return  # It stays at what was known, and why the list cannot be read is said by the list.
        self.bar.redraw()

    def note_done(self, ids: Collection[str]) -> None:
        """Take away the marks that were set for it."""
        if self.lines is not None:
            self.lines.unmark([key for key in self.lines.selection.marks if self.named(key) in ids])

    def named(self, key: object) -> str:
        """The id of what a mark stands on."""
        return str(key)

    # ------------------------------------------------------------ filter

    def on_filter_bar_changed(self, event: FilterBar.Changed) -> None:
        """Another filter. What was read for the one before is given up."""
        self.run_worker(partial(self.apply_filter, event.text), group="filter", exclusive=True)

    async def apply_filter(self, text: str) -> None:
        """Show what matches."""
        if self.bar.text != text:
            # If it can be understood, the bar tells that it has changed.
            self.bar.set(text)
        else:
            await self.filter(text)
            await self._count_marks()

    async def filter(self, text: str) -> None:
        """List what matches."""

    def on_filter_bar_closed(self) -> None:
        if self.lines is not None:
            self.lines.focus()

    def do_filter_edit(self) -> None:
        self.bar.edit()

    def do_filter_clear(self) -> None:
        self.bar.set("")

    def leave_details(self) -> bool:
        """Go back to the list from what stands beside it; False where one is not there."""
        return False

    def step_back(self) -> bool:
        """Esc goes back to the list, takes away marks, then the filter that was typed."""
        if self.leave_details():
            return True
        lines = self.lines
        if lines is not None and (lines.selection.marks or lines.selection.ranging):
            lines.do_list_unmark_all()
            return True
        if self.bar.text and self.bar.text != self.base:
            self.bar.set(self.base)
            return True
        return False

    # ------------------------------------------------------------ what is at the cursor

    def note_cursor(self) -> None:
        """Tell what the operator has chosen from what has come under the cursor by itself."""
        lines = self.lines
        if lines is None:
            return
        # The first one there is has not come in the place of another.
        by_hand = lines.moved_by_hand != self._by_hand or not self._had_cursor
        self.steady.show(str(lines.key).encode("utf-8", "replace"), self.app.now(), by_hand=by_hand)
        self._by_hand = lines.moved_by_hand
        self._had_cursor = lines.key is not None

    def settled(self, what: str) -> bool:
        """Whether what is at the cursor has been there long enough to be meant; else the operator is told."""
        if self.steady.settled(self.app.now(), QUIET):
            return True
        self.app.say("warning", f"{what}: another {self.ONE} has just come under the cursor; look again")
        return False
