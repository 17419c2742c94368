"""The list of schedules: when they come, what became of their times, and which do not come now. PURE."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct

from fleetprompt.client.protocol import Console
from fleetprompt.client.wording import ago, count, glyph
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.query_fields import SCHEDULE_FIELDS
from fleetprompt.engine.ports import Page
from fleetprompt.tui.state.entries import EntryList
from fleetprompt.tui.state.lines import Cell, Column, Part

if TYPE_CHECKING:
    from fleetprompt.client.scheduling import ScheduleState
    from fleetprompt.engine.core.firing import Firing

OUTCOMES = {"fired": "completed", "missed": "cancelled", "skipped": "warning", "duplicate": "dim", "failed": "failed"}
"""What the outcomes of firings look like."""
STATUSES = {"active": "active", "paused": "paused", "off": "dim"}
STRIP = 10
"""Last times whose outcome is shown."""
RECENT = 500
"""Firings that are read for all strips together: the latest."""

COLUMNS = (
    Column(title="", width=1),
    Column(title="SCHEDULE", width=18, grow=8, most=48),
    Column(title="STATUS", width=7, drop=5),
    Column(title="WHEN", width=14, grow=1, most=24),
    Column(title="ZONE", width=13, drop=3, most=20),
    Column(title="NEXT", width=8, right=True),
    Column(title="LAST", width=8, right=True, drop=2),
    Column(title="TIMES", width=STRIP, right=True, drop=4),
    Column(title="", width=10, grow=3, drop=1),
)


class ScheduleEntry(Struct, frozen=True, kw_only=True):
    """A schedule, and what became of its last times."""

    state: ScheduleState
    recent: tuple[Firing, ...] = ()
    """The latest first."""

    @property
    def key(self) -> str:
        """Its full name."""
        return self.state.name

    @property
    def name(self) -> str:
        """Its full name."""
        return self.state.name

    @property
    def row(self) -> Mapping[str, Any]:
        """What a filter compares."""
        return self.state.row

    @property
    def last_run(self) -> str:
        """The run that it started last; empty where it has started none."""
        return self.state.last.run if self.state.last is not None else ""


class ScheduleList(EntryList[ScheduleEntry]):
    """The schedules that match a filter, in the order of the store."""

    FIELDS: ClassVar = SCHEDULE_FIELDS
    columns: Sequence[Column] = COLUMNS

    def __init__(self, console: Console, now: Callable[[], float]) -> None:
        super().__init__(now)
        self.console = console
        self.fires = True
        """An engine lets them fire."""

    async def read(self) -> list[ScheduleEntry]:
        """What they are and what became of their times. Raises `FleetError`."""
        states = await self.console.schedules()
        recent: dict[tuple[str, str], list[Firing]] = {}
        if states:
            found, _ = await self.console.firings("kind:schedule,watch", Page(limit=RECENT))
            for firing in found:
                recent.setdefault((firing.workflow, firing.trigger), []).append(firing)
        health = await self.console.health()
        self.fires = health.state != "none" and health.fires
        return [
            ScheduleEntry(state=state, recent=tuple(recent.get((state.workflow, state.trigger), ())[:STRIP]))
            for state in states
        ]

    def counted(self) -> str:
        """How many of each kind there are."""
        watches = sum(entry.state.kind == "watch" for entry in self.entries)
        schedules = len(self.entries) - watches
        said = [count(schedules, "schedule")] if schedules or not watches else []
        return ", ".join([*said, *([count(watches, "file watch", "file watches")] if watches else [])])

    def called(self, entry: ScheduleEntry) -> str:
        """Its workflow."""
        return entry.state.workflow

    @property
    def is_due(self) -> bool:
        """Whether the time of one of them has come since they were read."""
        now = self.now()
        return any(entry.state.next is not None and entry.state.next <= now for entry in self.entries)

    def cells(self, index: int) -> Sequence[Cell] | None:
        """A schedule as a line."""
        entry = self.entries[index]
        state, now = entry.state, self.now()
        last = state.last
        return (
            (glyph(state.status), STATUSES[state.status]),
            (inert(state.name), "strong" if state.status == "active" else ""),
            (state.status, STATUSES[state.status]),
            (inert(state.rhythm), ""),
            (inert(state.zone), "dim"),
            (ago(now - state.next), "strong") if state.next is not None else ("-", "faint"),
            (ago(now - last.at), "dim") if last is not None else ("never", "faint"),
            strip(entry.recent),
            _about(entry),
        )


def strip(firings: Sequence[Firing]) -> Cell:
    """What became of the last times, the newest at the right."""
    if not firings:
        return ("-", "faint")
    parts: list[Part] = []
    for firing in reversed(firings):
        mark, style = glyph(firing.outcome), OUTCOMES[firing.outcome]
        if parts and parts[-1][1] == style:
            parts[-1] = (parts[-1][0] + mark, style)
        else:
            parts.append((mark, style))
    return tuple(parts)


def _about(entry: ScheduleEntry) -> Cell:
    """Why it does not come; else why its latest time has started no run."""
    state = entry.state
    if state.problem:
        return (inert(state.problem), "error")
    if state.status == "off":
        return (f"its workflow is {state.workflow_status}", "dim")
    if state.status == "paused":
        return (inert(f"paused by {state.by or 'somebody'}" + (f": {state.reason}" if state.reason else "")), "warning")
    latest = entry.recent[0] if entry.recent else None
    if latest is not None and latest.outcome != "fired":
        return ((f"{latest.outcome}: ", OUTCOMES[latest.outcome]), (inert(latest.reason), "dim"))
    return ("", "")
