"""What was spent, and on what."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.query_scan import quote
from fleetprompt.tui.screens.base import ConsoleScreen
from fleetprompt.tui.state.cost import BYS, PERIODS, CostView
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.widgets.bars import Pill, spread
from fleetprompt.tui.widgets.heading import Heading
from fleetprompt.tui.widgets.lines import Lines

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Change, Console

AGAIN = 2.0
"""Seconds between two additions while money is spent."""


class CostScreen(ConsoleScreen):
    """A table of what was spent."""

    PLACES: ClassVar = ("cost",)
    NAME: ClassVar = "cost"

    def __init__(self) -> None:
        super().__init__()
        self._waiting = False

    def body(self) -> ComposeResult:
        self.cost = CostView(self.app.times)
        yield Pill(self._about)
        heading = Heading()
        lines = Lines(self.cost.rows)
        lines.empty = (("adding up…", "dim"),)
        heading.watch_lines(lines)
        yield heading
        yield lines

    async def on_mount(self) -> None:
        self.query_one(Lines).focus()

    def _about(self, width: int) -> list[Part]:
        cost = self.cost
        right: list[Part] = list(cost.said()) if cost.loaded else []
        if self.error is not None:
            right = [(inert(self.error.message), "error")]
        left: list[Part] = [("by ", "dim")]
        for by in BYS:
            left += [(by, "accent" if by == cost.by else "dim"), ("  ", "")]
        left.append((" ", ""))
        for period in PERIODS:
            left += [(period.name, "accent" if period is cost.period else "dim"), ("  ", "")]
        if sum(len(text) for text, _ in (*left, *right)) > width:
            # What is chosen and what it comes to, rather than what could be chosen.
            left = [("by ", "dim"), (cost.by, "accent"), ("  ", ""), (cost.period.name, "accent"), ("  ", "")]
        return [*left, *right] if self.error is not None else spread(left, right, width)

    async def opened(self, console: Console) -> None:
        """Add up."""
        await self._load()

    async def _load(self) -> None:
        lines = self.query_one(Lines)
        try:
            await self.cost.load(self.client, self.app.now())
            self.error = None
        except FleetError as error:
            self.error = error
        lines.source = self.cost.rows
        lines.empty = (("nothing was spent in this period", "dim"),)
        lines.renew()
        self.query_one(Heading).refresh()
        self.query_one(Pill).refresh()

    async def changed(self, change: Change) -> None:
        """Add up again before long."""
        if not self._waiting and (change.runs or change.lost):
            self._waiting = True
            self.set_timer(AGAIN, self._add_up)

    async def _add_up(self) -> None:
        self._waiting = False
        await self._load()

    async def reload(self) -> None:
        """Add up again."""
        await self._load()

    async def do_cost_by(self) -> None:
        self.cost.next_by()
        await self._load()
        self.query_one(Lines).go(0, by_hand=False)

    async def do_cost_longer(self) -> None:
        self.cost.next_period()
        await self._load()

    async def do_cost_shorter(self) -> None:
        self.cost.next_period(-1)
        await self._load()

    async def on_lines_opened(self) -> None:
        """The runs behind a line."""
        row = self.cost.row(self.query_one(Lines).key)
        if row is None or not row.key:
            return
        match self.cost.by:
            case "workflow":
                await self.app.go_to(f"runs wf:{quote(row.key)}")
            case "step":
                await self.app.go_to(f"runs wf:{quote(row.workflow)}")
            case "model":
                await self.app.go_to(f"runs model:{quote(row.key)}")
            case "day":
                await self.app.go_to(f"runs started:{row.key}")
