"""The list of schedules: when they come, what became of their times, and which do not come now. PURE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from fleetprompt.client.protocol import Console
from fleetprompt.client.wording import ago, glyph
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import SCHEDULE_FIELDS
from fleetprompt.engine.core.query_match import matcher
from fleetprompt.engine.ports import Page
from fleetprompt.tui.state.lines import Cell, Column, Key, Part

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
    Column(title="SCHEDULE", width=16, grow=3, most=40),
    Column(title="STATUS", width=7, drop=5),
    Column(title="WHEN", width=14, grow=1, most=24),
    Column(title="ZONE", width=13, drop=3, most=20),
    Column(title="NEXT", width=8, right=True),
    Column(title="LAST", width=8, right=True, drop=2),
    Column(title="TIMES", width=STRIP, right=True, drop=4),
    Column(title="", width=16, grow=6, drop=1),
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


class ScheduleList:
    """The schedules that match a filter, by name. `now` gives the time in epoch seconds."""

    columns: Sequence[Column] = COLUMNS

    def __init__(self, console: Console, now: Callable[[], float]) -> None:
        self.console = console
        self._now = now
        self.filter = ""
        self.loaded = False
        self.fires = True
        """Whether there is an engine that lets schedules start runs."""
        self.entries: list[ScheduleEntry] = []
        """Those that match, in their order."""
        self._all: list[ScheduleEntry] = []

    async def load(self) -> None:
        """Read them anew. Raises `FleetError`."""
        states = await self.console.schedules()
        recent: dict[tuple[str, str], list[Firing]] = {}
        if states:
            found, _ = await self.console.firings("kind:schedule", Page(limit=RECENT))
            for firing in found:
                recent.setdefault((firing.workflow, firing.trigger), []).append(firing)
        health = await self.console.health()
        self.fires = health.state != "none" and health.fires
        self._all = [
            ScheduleEntry(
                state=state, recent=tuple(recent.get((state.schedule.workflow, state.schedule.trigger), ())[:STRIP])
            )
            for state in states
        ]
        self.loaded = True
        self.arrange()

    def arrange(self) -> None:
        """Filter anew. A filter that cannot be understood raises `InvalidInput`."""
        fits = matcher(parse(self.filter, SCHEDULE_FIELDS).require(), self._now())
        self.entries = [entry for entry in self._all if fits(entry.row)]

    def values(self, name: str) -> list[tuple[str, int]]:
        """What there is in a field, the most frequent first."""
        field = SCHEDULE_FIELDS.find(name)
        if field is None:
            return []
        found = Counter(str(entry.row[field.column]) for entry in self._all if entry.row[field.column])
        return found.most_common()

    @property
    def is_due(self) -> bool:
        """Whether the time of one of them has come since they were read."""
        now = self._now()
        return any(entry.state.next is not None and entry.state.next <= now for entry in self.entries)

    @property
    def count(self) -> int:
        """How many are listed."""
        return len(self.entries)

    def key(self, index: int) -> Key | None:
        """The key of a schedule."""
        return self.entries[index].key if 0 <= index < len(self.entries) else None

    def find(self, key: Key) -> int | None:
        """Where a schedule stands: by its name, else by that of its workflow."""
        at = next((at for at, each in enumerate(self.entries) if each.key == key), None)
        if at is None:
            at = next((at for at, each in enumerate(self.entries) if each.state.schedule.workflow == key), None)
        return at

    def entry(self, key: Key | None) -> ScheduleEntry | None:
        """A schedule that is listed."""
        return next((each for each in self.entries if each.key == key), None)

    def show(self, first: int, last: int) -> None:
        """All of them are there already."""

    def cells(self, index: int) -> Sequence[Cell] | None:
        """A schedule as a line."""
        entry = self.entries[index]
        state, now = entry.state, self._now()
        last = state.last
        return (
            (glyph(state.status), STATUSES[state.status]),
            (inert(state.name), "strong" if state.status == "active" else ""),
            (state.status, STATUSES[state.status]),
            (inert(state.rhythm), ""),
            ("" if state.schedule.every else inert(state.schedule.timezone), "dim"),
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
