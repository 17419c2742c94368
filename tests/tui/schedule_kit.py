"""Schedules in a project: one that fires, one that is paused, one that was missed, one whose workflow is paused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from fleetprompt.engine.core.firing import Firing, Outcome, Standing, schedules_of
from fleetprompt.engine.core.plan import Plan
from fleetprompt.engine.definition.load import load_text
from fleetprompt.engine.ports import Workflow
from fleetprompt.engine.registry import STEPS
from fleetprompt.engine.store.database import SqlStore
from fleetprompt.engine.triggers.schedule import local_minute
from tests.tui.recorded import NOW, RecordedProject

FLOW = "name: {name}\ntriggers:\n{triggers}\nsteps: [{{id: a, type: transform, output: 1}}]\n"
HOUR, DAY = 3600.0, 86_400.0
LATE = "no engine was there in time: it is 7h late (catchup: none)"
BUSY = "run 019c2f60-7c1e-7000-8000-00000000beef has not ended (overlap: skip)"


def plan_of(name: str, *triggers: str) -> tuple[Plan, str]:
    text = FLOW.format(name=name, triggers="\n".join(f"  - {{{each}}}" for each in triggers))
    return load_text(text, f"{name}.yaml").plan, text


async def put(project: RecordedProject, run: str = "") -> None:
    """Write them; the hourly one has started that run last."""
    STEPS.discover("fleetprompt.engine.steps", "fleetprompt.steps")
    store = SqlStore(Path(project.place.database), zone=project.place.zone)
    await store.open()
    try:
        await _known(store, "crawl-shop", "id: hourly, type: schedule, cron: '0 * * * *', overlap: skip, jitter: 2m")
        nightly = "id: nightly, type: schedule, cron: '30 2 * * *', timezone: Europe/Berlin, catchup: latest"
        await _known(store, "nightly-audit", nightly, "id: weekly, type: schedule, cron: '@weekly', overlap: queue")
        await _known(store, "watch-prices", "id: often, type: schedule, every: 15m", status="paused")
        fired: tuple[Outcome, str] = ("fired", "")
        outcomes: list[tuple[Outcome, str]] = [*[fired] * 7, ("missed", LATE), fired, ("skipped", BUSY)]
        hour = NOW - NOW % HOUR
        await _fired(store, "crawl-shop", "hourly", [hour - HOUR * (9 - n) for n in range(10)], outcomes, run)
        nights = [fired] * 3
        await _fired(
            store, "nightly-audit", "nightly", [NOW - DAY * (3 - n) for n in range(3)], nights, zone="Europe/Berlin"
        )
        paused = {"paused": True, "by": "ben", "reason": "the warehouse is closed", "changed_at": NOW - 2 * DAY}
        await _standing(store, "nightly-audit", "weekly", **paused)
    finally:
        await store.close()


async def put_watch(project: RecordedProject) -> None:
    """Write a workflow that watches for files."""
    STEPS.discover("fleetprompt.engine.steps", "fleetprompt.steps")
    store = SqlStore(Path(project.place.database), zone=project.place.zone)
    await store.open()
    try:
        await _known(store, "intake", "id: files, type: watch, paths: [in/*.csv]")
    finally:
        await store.close()


async def _known(store: SqlStore, name: str, *triggers: str, status: Any = "active") -> None:
    plan, text = plan_of(name, *triggers)
    digest = await store.catalog.put(plan, source=text)
    at = NOW - 30 * DAY
    known = Workflow(name=name, tenant="default", status=status, plan=digest, updated_at=at, active_since=at)
    await store.catalog.set_workflow(known)
    for schedule in schedules_of(plan):
        await store.firings.record(
            Standing(workflow=name, trigger=schedule.trigger, n=1, rhythm=schedule.rhythm, since=NOW - DAY, upto=NOW)
        )


async def _standing(store: SqlStore, workflow: str, trigger: str, **fields: Any) -> None:
    known = await store.firings.standing(workflow, trigger)
    assert known is not None
    await store.firings.record(replace(known, n=known.n + 1, **fields))


async def _fired(
    store: SqlStore,
    workflow: str,
    trigger: str,
    times: list[float],
    outcomes: Sequence[tuple[Outcome, str]],
    run: str = "",
    zone: str = "UTC",
) -> None:
    for n, (due, (outcome, reason)) in enumerate(zip(times, outcomes, strict=True)):
        started = run or f"019c2f60-7c1e-7000-8000-0000{hash_of(workflow, n):08x}"
        await store.firings.add(
            Firing(
                workflow=workflow,
                trigger=trigger,
                scheduled=local_minute(due, zone),
                due=due,
                at=due + 1,
                outcome=outcome,
                reason=reason,
                run=started if outcome == "fired" else "",
            )
        )


def hash_of(workflow: str, n: int) -> int:
    """Something that looks like a part of an id."""
    return (sum(map(ord, workflow)) * 7919 + n * 104_729) & 0xFFFFFFFF
