"""What a face asks about schedules and file watches, which are paused like schedules: which there are, when they come,
what became of them; and what it does."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.errors import FleetError, InvalidInput, NotFound
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import FIRING_FIELDS
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports import Clock, Page, Store, Workflow

if TYPE_CHECKING:
    from fleetprompt.engine.core.firing import After, Firing, Occurrence, Schedule, Standing
    from fleetprompt.engine.core.plan import Plan
    from fleetprompt.engine.core.watching import Watch

ScheduleStatus = Literal["active", "paused", "off"]
"""`off`: its workflow is not active."""
COMING = 3
"""How many of the next times are told."""
FAR = 400 * 366 * 86_400.0
"""Seconds in which whatever comes at all has come."""


class ScheduleState(Struct, frozen=True, kw_only=True):
    """A schedule, or a file watch, as people see it."""

    schedule: Schedule | None = None
    watch: Watch | None = None
    """One of the two."""
    status: ScheduleStatus
    workflow_status: str
    paused: bool = False
    """Somebody has paused it; also of one that is off."""
    coming: tuple[float, ...] = ()
    """When it fires next, at most three times; none as long as it does not."""
    last: Firing | None = None
    """The last that was to start a run."""
    since: float | None = None
    """When it was first seen by an engine that fires; None: not yet."""
    changed_at: float = 0.0
    """When it was paused or resumed last."""
    by: str = ""
    reason: str = ""
    problem: str = ""
    """Why its times cannot be found."""

    @property
    def name(self) -> str:
        """`<workflow>/<trigger>`."""
        return self._of.name

    @property
    def workflow(self) -> str:
        """Whose trigger it is."""
        return self._of.workflow

    @property
    def trigger(self) -> str:
        """Its id in the workflow."""
        return self._of.trigger

    @property
    def kind(self) -> Literal["schedule", "watch"]:
        """What makes it start runs: times, or files."""
        return "watch" if self.schedule is None else "schedule"

    @property
    def zone(self) -> str:
        """The zone of its times; empty where the clock on the wall does not matter."""
        return self.schedule.timezone if self.schedule is not None and not self.schedule.every else ""

    @property
    def overlap(self) -> str:
        """What happens beside a run that goes on."""
        return self.schedule.overlap if self.schedule is not None else "allow"

    @property
    def _of(self) -> Schedule | Watch:
        found = self.schedule or self.watch
        assert found is not None
        return found

    @property
    def next(self) -> float | None:
        """When it fires next; None: not as long as it is so, or never."""
        return self.coming[0] if self.coming else None

    @property
    def rhythm(self) -> str:
        """How it is written: a cron expression, an interval, or the files."""
        from fleetprompt.engine.core.duration import format_duration

        if self.schedule is None:
            return f"files {', '.join(self.watch.paths)}" if self.watch is not None else ""
        return self.schedule.cron or f"every {format_duration(self.schedule.every)}"

    @property
    def row(self) -> dict[str, Any]:
        """What the filter language sees of it (`SCHEDULE_FIELDS`)."""
        return {
            "name": self.name,
            "workflow": self.workflow,
            "trigger": self.trigger,
            "kind": self.kind,
            "status": self.status,
            "rhythm": self.rhythm,
            "timezone": self.schedule.timezone if self.schedule is not None else "",
            "overlap": self.overlap,
            "catchup": self._of.catchup,
            "next_at": self.next,
            "last_at": self.last.at if self.last is not None else None,
            "outcome": self.last.outcome if self.last is not None else "",
        }


class Scheduling(ABC):
    """The part of a console that looks after schedules."""

    store: Store
    clock: Clock
    tenant: str

    @abstractmethod
    def _signal(self, type_: str, subject: str, data: dict[str, Any], by: str, key: str = "") -> Signal: ...
    @abstractmethod
    async def _send(self, signal: Signal) -> Result: ...
    @abstractmethod
    async def workflows(self) -> list[Workflow]: ...
    @abstractmethod
    async def plan(self, digest: str) -> Plan: ...

    async def schedules(self) -> list[ScheduleState]:
        """Every schedule and every file watch of the workflows that are not archived, by name."""
        from fleetprompt.engine.core.firing import schedules_of
        from fleetprompt.engine.core.watching import watches_of

        found: list[tuple[Workflow, Schedule | Watch]] = []
        for workflow in await self.workflows():
            if workflow.status != "archived":
                try:
                    plan = await self.plan(workflow.plan)
                except NotFound:
                    continue
                found += [(workflow, each) for each in schedules_of(plan, self.tenant)]
                found += [(workflow, each) for each in watches_of(plan, self.tenant)]
        if not found:
            return []
        standings = {(each.workflow, each.trigger): each for each in await self.store.firings.standings(self.tenant)}
        lasts = {(each.workflow, each.trigger): each for each in await self.store.firings.latest(self.tenant)}
        now = self.clock.now()

        def states() -> list[ScheduleState]:
            return [
                _state(workflow, each, standings.get(key), lasts.get(key), now)
                for workflow, each in found
                for key in [(each.workflow, each.trigger)]
            ]

        # The first calendar takes a tenth of a second to import.
        return sorted(await asyncio.to_thread(states), key=lambda state: state.name)

    async def firings(self, filter_: str, page: Page) -> tuple[list[Firing], str]:
        """Matching firings, those recorded last first, and the next cursor."""
        query = parse(filter_, FIRING_FIELDS)
        return await self.store.firings.list(query.require(), page, now=self.clock.now(), tenant=self.tenant)

    async def fire(self, schedule: str, *, by: str) -> Result:
        """Start a run of a schedule now."""
        found = meant(await self.schedules(), schedule)
        return await self._send(self._signal(types.FIRE, found.name, _named(found), by))

    async def set_schedule(
        self, schedule: str, status: Literal["active", "paused"], *, by: str, reason: str = ""
    ) -> Result:
        """Pause a schedule or a file watch, or let it go on."""
        found = meant(await self.schedules(), schedule)
        data = {**_named(found), "state": status, "reason": reason}
        return await self._send(self._signal(types.SET_SCHEDULE, found.name, data, by))


def _named(state: ScheduleState) -> dict[str, Any]:
    return {"workflow": state.workflow, "trigger": state.trigger}


def _state(
    workflow: Workflow, of: Schedule | Watch, standing: Standing | None, last: Firing | None, now: float
) -> ScheduleState:
    from fleetprompt.engine.core.firing import Schedule
    from fleetprompt.engine.triggers.schedule import times_of

    schedule, watch = (of, None) if isinstance(of, Schedule) else (None, of)

    paused = standing is not None and standing.paused
    status: ScheduleStatus = "off" if workflow.status != "active" else "paused" if paused else "active"
    coming: tuple[float, ...] = ()
    problem = ""
    try:
        after = times_of(schedule) if schedule is not None else None
        if schedule is not None and after is not None and status == "active":
            coming = _coming(schedule, after, now)
    except FleetError as error:
        problem = str(error)
    return ScheduleState(
        schedule=schedule,
        watch=watch,
        status=status,
        workflow_status=workflow.status,
        paused=paused,
        coming=coming,
        last=last,
        since=standing.since if standing is not None else None,
        changed_at=standing.changed_at if standing is not None else 0.0,
        by=standing.by if standing is not None else "",
        reason=standing.reason if standing is not None else "",
        problem=problem,
    )


def _coming(schedule: Schedule, after: After, now: float) -> tuple[float, ...]:
    """When it fires next, a time included whose jitter is not over."""
    from fleetprompt.engine.core.firing import times

    dues = (schedule.due(each) for each in times(after, now - schedule.jitter, now + FAR) if not each.again)
    return tuple(islice((due for due in dues if due > now), COMING))


def meant(states: Sequence[ScheduleState], text: str) -> ScheduleState:
    """The one schedule that a text means: its name, its workflow where that has one, or its trigger where one is called
    so. Raises `NotFound`, `InvalidInput`."""
    found = (
        [state for state in states if state.name == text]
        or [state for state in states if state.workflow == text]
        or [state for state in states if state.trigger == text]
    )
    if len(found) > 1:
        names = ", ".join(state.name for state in found[:5])
        raise InvalidInput(f"{inert(text[:80])} means several schedules: {names}", hint="give one of these names")
    if found:
        return found[0]
    hint = did_you_mean(text, [name for state in states for name in (state.name, state.workflow)])
    raise NotFound(f"there is no schedule {inert(text[:80])}", hint=hint or "`fleet schedules` lists them")


def upcoming(cron: str, timezone: str, count: int, now: float) -> list[Occurrence]:
    """The next times of a cron expression. Raises `InvalidInput` for one that cannot be read."""
    from fleetprompt.engine.core.firing import times
    from fleetprompt.engine.triggers.schedule import calendar

    coming = (each for each in times(calendar(cron, timezone), now, now + FAR) if not each.again)
    return list(islice(coming, count))
