"""The list of agents: those that are written somewhere and those that have worked, and how they did of late. PURE."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct

from fleetprompt.client.agents import row, told
from fleetprompt.client.protocol import Console
from fleetprompt.client.wording import ago, duration, glyph
from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.query_fields import AGENT_FIELDS
from fleetprompt.engine.ports import AgentStatistics
from fleetprompt.tui.state.entries import EntryList
from fleetprompt.tui.state.lines import Cell, Column, Part
from fleetprompt.tui.state.money import badge, cost_cell
from fleetprompt.tui.state.runs import tokens

if TYPE_CHECKING:
    from fleetprompt.client.agents import AgentDefinition

DAYS = 7
"""How far the figures reach back."""
DAY = 86_400.0
STEPS = "chat"
"""What steps of the type `chat` are called among agents."""

COLUMNS = (
    Column(title="", width=1),
    Column(title="AGENT", width=14, grow=5, most=28),
    Column(title="MODEL", width=12, grow=2, most=28, drop=6),
    Column(title="RUNS/7D", width=7, right=True, drop=3),
    Column(title="OK", width=5, right=True, drop=2),
    Column(title="AVG", width=6, right=True, drop=7),
    Column(title="P95", width=6, right=True, drop=8),
    Column(title="TOKENS", width=7, right=True, drop=5),
    Column(title="COST", width=8, right=True, drop=4),
    Column(title="LAST", width=8, right=True, drop=9),
    Column(title="", width=16, grow=8, drop=1),
)


class AgentEntry(Struct, frozen=True, kw_only=True):
    """An agent that is written somewhere, or that has done something."""

    key: str
    """Its name; for one that is written in a workflow with that of the workflow."""
    name: str
    workflow: str = ""
    """That whose own it is, where others have the same name."""
    definition: AgentDefinition | None = None
    figures: AgentStatistics | None = None

    @property
    def agent(self) -> Agent | None:
        """What it is, where that can be read."""
        return self.definition.agent if self.definition is not None else None

    @property
    def problem(self) -> str:
        """Why nobody can work with it; empty where one can."""
        definition = self.definition
        if definition is None:
            return "" if self.name == STEPS else "it is written nowhere any more"
        return f"{definition.faults} in its file" if definition.errors else ""

    @property
    def status(self) -> str:
        """How its last execution went."""
        if self.problem:
            return "failed"
        return self.figures.last.status if self.figures is not None else "draft"

    @property
    def row(self) -> Mapping[str, Any]:
        """What a filter compares."""
        last = self.figures.last.status if self.figures is not None else ""
        return row(self.name, self.definition, last, broken=bool(self.problem))

    @property
    def mode(self) -> str:
        """How its words of late came about."""
        figures = self.figures
        if figures is None or not figures.unreal:
            return ""
        return "simulated" if figures.unreal >= figures.executions else "mixed"


class AgentList(EntryList[AgentEntry]):
    """The agents that match a filter, by name."""

    FIELDS: ClassVar = AGENT_FIELDS
    columns: Sequence[Column] = COLUMNS

    def __init__(self, console: Console, now: Callable[[], float]) -> None:
        super().__init__(now)
        self.console = console

    async def read(self) -> list[AgentEntry]:
        """What is written and what was done. Raises `FleetError`."""
        found: dict[str, AgentEntry] = {}
        for name, workflow, definition, figures in await told(self.console, self.now() - DAYS * DAY):
            key = f"{name} {definition.workflow if definition is not None else workflow}".strip()
            if key in found and definition is not None:
                key = f"{name} {definition.file}"
            found[key] = AgentEntry(key=key, name=name, workflow=workflow, definition=definition, figures=figures)
        return sorted(found.values(), key=lambda entry: (entry.name, entry.key))

    def called(self, entry: AgentEntry) -> str:
        """Its name."""
        return entry.name

    def cells(self, index: int) -> Sequence[Cell] | None:
        """An agent as a line."""
        entry = self.entries[index]
        figures, agent = entry.figures, entry.agent
        last = figures.last if figures is not None else None
        ok = f"{int(figures.success * 100)}%" if figures is not None and figures.success is not None else "-"
        cost: Cell = ("-", "faint")
        if figures is not None:
            cost = cost_cell(figures.cost_nano, figures.uncertain_nano, entry.mode)
        return (
            (glyph(entry.status), entry.status),
            (inert(entry.name), "strong"),
            (inert(agent.model or "default") if agent is not None else "-", "dim"),
            (f"{figures.executions:,}" if figures is not None else "-", ""),
            (ok, "" if ok in ("-", "100%") else "warning"),
            (duration(figures.mean) if figures is not None else "-", ""),
            (duration(figures.p95) if figures is not None else "-", "dim"),
            (tokens(figures.tokens) if figures is not None else "-", "dim"),
            cost,
            (ago(self.now() - last.started_at) if last is not None else "-", "dim"),
            _about(entry),
        )


def _about(entry: AgentEntry) -> Cell:
    """What is wrong with it; else how its words came about, where it is written, and what it is for."""
    if entry.problem:
        return (entry.problem, "error")
    parts: list[Part] = []
    for mark in badge(entry.mode):
        parts += [mark, ("  ", "")]
    definition = entry.definition
    if definition is not None and definition.workflow:
        parts.append((f"in {inert(definition.workflow)}  ", "dim"))
    said = "steps of the type chat" if entry.name == STEPS and definition is None else ""
    agent = entry.agent
    parts.append((inert(" ".join(agent.description.split())) if agent is not None else said, ""))
    return tuple(parts)
