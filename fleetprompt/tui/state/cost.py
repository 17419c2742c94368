"""What was spent in a period, by workflow, step, model or day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct

from fleetprompt.client.protocol import Console
from fleetprompt.client.wording import Times, count, money
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import CostRow
from fleetprompt.tui.state.lines import Cell, Column, Key, Part, Rows
from fleetprompt.tui.state.money import NONE as NO_PRICE
from fleetprompt.tui.state.money import amount, badge, cost_cell
from fleetprompt.tui.state.runs import tokens

By = Literal["workflow", "step", "model", "day"]
BYS: tuple[By, ...] = ("workflow", "step", "model", "day")
BAR = 24
"""Cells of the bar that compares amounts."""
NONE = {"model": "no model", "workflow": "?", "step": "?", "day": "?"}
"""What a row is called that has no name."""


class Period(Struct, frozen=True):
    """How far one looks back."""

    name: str
    seconds: float | None
    """None: since the day began; 0: for ever."""


PERIODS = (
    Period("today", None),
    Period("24 hours", 86_400.0),
    Period("7 days", 7 * 86_400.0),
    Period("30 days", 30 * 86_400.0),
    Period("all time", 0.0),
)


def midnight(now: float, times: Times) -> float:
    """When the reader's day began."""
    return times.at(now).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


_AMOUNTS = (
    Column(title="COST", width=10, right=True),
    Column(title="SHARE", width=5, right=True, drop=3),
    Column(title="", width=BAR, drop=4),
    Column(title="TOKENS", width=8, right=True, drop=2),
    Column(title="RUNS", width=8, right=True, drop=1),
    Column(title="PER RUN", width=9, right=True, drop=6),
)


_BESIDE = Column(title="", width=18, drop=7)


def columns(by: By, *, beside: bool = False) -> tuple[Column, ...]:
    """The columns of a table by one thing. `beside`: there is something uncertain in it, or simulated."""
    name = Column(title=by.upper(), width=16, grow=1, most=40)
    workflow = (Column(title="WORKFLOW", width=14, grow=1, most=28, drop=5),) if by == "step" else ()
    return (name, *workflow, *_AMOUNTS, *((_BESIDE,) if beside else ()))


class CostView:
    """A table of what was spent."""

    def __init__(self, times: Times) -> None:
        self._times = times
        self.by: By = "workflow"
        self.period = PERIODS[2]
        self.filter = ""
        self.rows = Rows(columns(self.by))
        self.total = 0
        """Nano-USD in the period."""
        self.uncertain = 0
        """What may have been spent besides."""
        self.unreal = 0
        """Calls that no model was asked for."""
        self.tokens = 0
        self.loaded = False
        self._found: list[CostRow] = []

    def since(self, now: float) -> float | None:
        """Where the period begins; None: there is no beginning."""
        if self.period.seconds is None:
            return midnight(now, self._times)
        return now - self.period.seconds if self.period.seconds else None

    def next_by(self) -> None:
        """Add up by the next thing."""
        self.by = BYS[(BYS.index(self.by) + 1) % len(BYS)]

    def next_period(self, step: int = 1) -> None:
        """Look further back, or less far."""
        self.period = PERIODS[(PERIODS.index(self.period) + step) % len(PERIODS)]

    async def load(self, console: Console, now: float) -> None:
        """Read the table. Raises `FleetError`."""
        by = self.by
        found = await console.costs(by, self.filter, since=self.since(now))
        self._found = found
        self.total = sum(row.cost_nano for row in found)
        self.tokens = sum(row.tokens for row in found)
        self.uncertain = sum(row.uncertain_nano for row in found)
        self.unreal = sum(row.unreal for row in found)
        self.rows = Rows(columns(by, beside=bool(self.uncertain or self.unreal)))
        self.rows.set(self._lines(by, found))
        self.loaded = True

    def row(self, key: Key | None) -> CostRow | None:
        """What a line stands for."""
        return self._found[key] if isinstance(key, int) and key < len(self._found) else None

    def said(self) -> tuple[Part, ...]:
        """All of it in a few words."""
        calls = sum(row.calls for row in self._found)
        nothing = not self.total and 0 < calls <= self.unreal
        parts: tuple[Part, ...] = ((NO_PRICE if nothing else money(self.total), "strong"),)
        if self.uncertain:
            parts += ((f" + up to {money(self.uncertain)} uncertain", "warning"),)
        parts += ((f" · {tokens(self.tokens) if self.tokens else 'no'} tokens", "strong"),)
        if self.unreal:
            parts += ((f" · {count(self.unreal, 'call')} simulated", "badge"),)
        return parts

    def _lines(self, by: By, found: Sequence[CostRow]) -> Iterator[tuple[Key, Sequence[Cell]]]:
        most = max((row.cost_nano for row in found), default=0)
        for at, row in enumerate(found):
            filled = round(BAR * row.cost_nano / most) if most else 0
            name = (inert(row.key), "strong") if row.key else (NONE[by], "dim")
            yield (
                at,
                (
                    name,
                    *(((inert(row.workflow), "dim"),) if by == "step" else ()),
                    cost_cell(row.cost_nano, row.uncertain_nano, _mode(row)),
                    (_share(row.cost_nano, self.total), "dim"),
                    ("━" * max(1 if row.cost_nano else 0, filled), "running"),
                    (tokens(row.tokens), "dim"),
                    (f"{row.runs:,}", ""),
                    (_per_run(row), "dim"),
                    *((_uncertain(row),) if self.uncertain or self.unreal else ()),
                ),
            )


def _share(cost: int, total: int) -> str:
    """How much of all that was spent; nothing of nothing is no share."""
    if not total:
        return "-"
    return f"{cost / total:.0%}" if cost / total >= 0.01 or not cost else "<1%"


def _mode(row: CostRow) -> str:
    """How the words came about that a row stands for, as far as it tells."""
    return "" if not row.unreal else "simulated" if row.unreal >= row.calls else "mixed"


def _per_run(row: CostRow) -> str:
    if _mode(row) == "simulated" and not row.cost_nano:
        return NO_PRICE
    return amount(row.cost_nano // row.runs) if row.runs else "-"


def _uncertain(row: CostRow) -> Cell:
    """What may have been spent besides; else that nothing of it was real."""
    if row.uncertain_nano:
        return (f"+ up to {money(row.uncertain_nano)}", "warning")
    marks = badge(_mode(row))
    return marks[0] if marks else ("", "")
