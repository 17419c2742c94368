"""What becomes of the times of a schedule: which of them start a run, and why the others do not. PURE.

A time is known by its local minute, and is decided about once: what was decided is recorded with it, and the times
until `Standing.upto` are over. So whoever decides again, after a crash or in another engine, finds nothing to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from fleetprompt.engine.core.duration import format_duration
from fleetprompt.engine.core.keys import signal_id
from fleetprompt.engine.core.plan import Plan, Trigger, trigger_ids
from fleetprompt.engine.core.signal import CANCEL, TRIGGER_SCHEDULE, Signal

GRACE = 60.0
"""Seconds by which a time may be late and still is on time: an engine that is started again at once misses nothing."""
MOST_MADE_UP_FOR = 100
"""Times that are looked at one by one after downtime: the latest. What came before them is recorded as missed."""
MOST_QUEUED = 100
"""Runs of a schedule with `overlap: queue` that wait or go on at a time."""
MOST_GOING = 200
"""Firings of a trigger among which runs that have not ended are looked for: the latest."""
SET_BACK = 3600.0
"""Seconds. If the last time that was decided is so far ahead, the clock was wrong when that was done."""
_SPAN = 64.0

Outcome = Literal["fired", "skipped", "missed", "duplicate", "failed"]
"""`fired`: a run was started. `skipped`: it was not wanted. `missed`: nobody was there in time. `duplicate`: it had
fired before. `failed`: a run was to be started, and could not be."""


class Occurrence(Struct, frozen=True):
    """A time at which a schedule comes."""

    scheduled: str
    """The local minute, such as `2026-03-29T02:30`; of an interval the moment in UTC. What makes it this one."""
    at: float
    """When that is, in epoch seconds."""
    note: str = ""
    """What is special about it, for people."""
    again: bool = False
    """The local minute comes for the second time: clocks were set back."""


After = Callable[[float], Occurrence | None]
"""The first time of a schedule that is later than a moment."""


class Schedule(Struct, frozen=True, kw_only=True):
    """A trigger of type `schedule` of an active workflow."""

    workflow: str
    trigger: str
    """Its id in the workflow, see `Trigger.id`."""
    tenant: str = "default"
    cron: str = ""
    every: float = 0.0
    """Seconds; 0: by `cron`."""
    timezone: str = "UTC"
    overlap: Literal["skip", "queue", "allow", "cancel_running"] = "skip"
    catchup: Literal["none", "latest", "all"] = "none"
    jitter: float = 0.0

    @property
    def name(self) -> str:
        """How people and signals call it."""
        return f"{self.workflow}/{self.trigger}"

    @property
    def rhythm(self) -> str:
        """What makes its times: when this changes, they are others."""
        return f"every {self.every:g}s" if self.every else f"{self.cron} {self.timezone}"

    def due(self, occurrence: Occurrence) -> float:
        """When it is to fire: delayed by its jitter, which every engine finds to be the same."""
        if not self.jitter:
            return occurrence.at
        text = "\0".join((self.tenant, self.workflow, self.trigger, occurrence.scheduled))
        return occurrence.at + self.jitter * int(sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def schedules_of(plan: Plan, tenant: str = "default") -> list[Schedule]:
    """The schedules of a workflow, in the order of its file."""
    found: dict[str, Schedule] = {}
    for id_, trigger in zip(trigger_ids(plan.triggers), plan.triggers, strict=True):
        if trigger.type == "schedule":
            found.setdefault(id_, _schedule(plan.name, id_, trigger, tenant))
    return list(found.values())


def _schedule(workflow: str, id_: str, trigger: Trigger, tenant: str) -> Schedule:
    config = trigger.config
    names = ("cron", "every", "timezone", "overlap", "catchup", "jitter")
    given = {name: config[name] for name in names if config.get(name) is not None}
    return Schedule(workflow=workflow, trigger=id_, tenant=tenant, **given)


def alone(workflow: str, trigger: str, config: Trigger) -> str:
    """The claim that runs of a schedule hold one after the other; empty where they need none."""
    if config.type != "schedule" or config.config.get("overlap") not in ("queue", "cancel_running"):
        return ""
    return f"schedule:{workflow}/{trigger}"


class Standing(Struct, frozen=True, kw_only=True):
    """How far a schedule has come. What is recorded about it rises by `n`, so that nobody decides on old knowledge."""

    workflow: str
    trigger: str
    tenant: str = "default"
    n: int = 0
    rhythm: str = ""
    since: float = 0.0
    """When it was first seen, or got another rhythm: earlier times are none of its."""
    upto: float = 0.0
    """All times until then are decided about."""
    paused: bool = False
    changed_at: float = 0.0
    """When it was paused, or made active again."""
    by: str = ""
    """Who did that."""
    reason: str = ""


class Firing(Struct, frozen=True, kw_only=True):
    """What became of a time of a schedule, or of another trigger's reason to start a run."""

    workflow: str
    trigger: str
    tenant: str = "default"
    kind: str = "schedule"
    scheduled: str
    """What makes it the one it is: see `Occurrence.scheduled`. Of several that were missed, the first and the last."""
    due: float
    """When it was to fire."""
    at: float
    """When that was decided."""
    outcome: Outcome
    reason: str = ""
    signal: str = ""
    """Id of the signal that it sent."""
    run: str = ""
    """Id of the run that it was to start."""
    by: str = ""
    """Who asked for it; empty where the time has come."""
    seq: int = 0
    """Position in the store; 0 until stored."""


class Decision(Struct, frozen=True):
    """What is to be recorded, all at once."""

    upto: float
    firings: tuple[Firing, ...] = ()
    cancels: tuple[str, ...] = ()
    """Runs that make room for a newer one."""
    wake: float | None = None
    """When there is something to decide next; None: never."""


# ---------------------------------------------------------------- deciding


def decide(
    schedule: Schedule, standing: Standing, now: float, after: After, *, going: Sequence[str] = (), active: float = 0.0
) -> Decision:
    """What becomes of the times that have come. `going` are the runs of this schedule that have not ended, the oldest
    first; `active` is when its workflow was made active. A paused schedule decides nothing."""
    begin = _begin(standing, now, active)
    if standing.paused:
        return Decision(standing.upto)
    come = _come(schedule, begin, now, after)
    firings: list[Firing] = []
    if come.before is not None:
        firings.append(_missed_before(schedule, *come.before, now))
    wanted = _wanted(schedule, come.ready, now)
    started, cancels = list(going), list[str]()
    for each in come.ready:
        late = max(0.0, now - schedule.due(each))
        if each.again:
            text = f"{each.scheduled[-5:]} came for the second time, because clocks were set back"
            firings.append(_firing(schedule, each, now, "duplicate", text))
        elif each.scheduled not in wanted:
            firings.append(_firing(schedule, each, now, "missed", _why_missed(schedule, late)))
        elif why := overlaps(schedule, started):
            firings.append(_firing(schedule, each, now, "skipped", why))
        else:
            if schedule.overlap == "cancel_running":
                cancels += started
                started.clear()
            firings.append(_firing(schedule, each, now, "fired", _why_fired(each, late)))
            started.append(firings[-1].run)
    upto = come.ready[-1].at if come.ready else begin
    return Decision(upto, tuple(firings), tuple(cancels), schedule.due(come.next) if come.next is not None else None)


def _begin(standing: Standing, now: float, active: float) -> float:
    """After which moment times count. Where the clock was wrong and is right again, they do from now."""
    begin = max(standing.upto, active)
    return now if begin > now + SET_BACK else begin


class _Come(Struct, frozen=True):
    """The times that have come, and the next one."""

    ready: list[Occurrence]
    next: Occurrence | None
    before: tuple[Occurrence, Occurrence] | None = None
    """The first and the last of those that came before, where they were too many to be looked at."""


def _come(schedule: Schedule, begin: float, now: float, after: After) -> _Come:
    ready, before = _latest(after, begin, now - schedule.jitter)
    at = ready[-1].at if ready else begin
    # In order: one whose jitter is longer keeps those behind it waiting, by no more than the jitter allows.
    while (found := after(at)) is not None and schedule.due(found) <= now:
        ready.append(found)
        at = found.at
    return _Come(ready, found, before)


def times(after: After, begin: float, until: float) -> Iterator[Occurrence]:
    """The times later than a moment and not later than another, in order."""
    at = begin
    while (found := after(at)) is not None and found.at <= until:
        yield found
        at = found.at


def _latest(after: After, begin: float, until: float) -> tuple[list[Occurrence], tuple[Occurrence, Occurrence] | None]:
    """The latest times, at most `MOST_MADE_UP_FOR`, in order; and the first and last of those that are left out."""
    span = _SPAN
    while True:
        start = max(begin, until - span)
        found = list(times(after, start, until))
        if start <= begin or len(found) > MOST_MADE_UP_FOR:
            break
        span *= 2
    if len(found) <= MOST_MADE_UP_FOR:
        return found, None
    first = after(begin) if start > begin else found[0]
    return found[-MOST_MADE_UP_FOR:], (first or found[0], found[-MOST_MADE_UP_FOR - 1])


def _wanted(schedule: Schedule, ready: Sequence[Occurrence], now: float) -> set[str]:
    """Which of the times that have come are to fire, as far as only the time matters."""
    real = [each for each in ready if not each.again]
    if schedule.catchup == "all" and schedule.overlap != "cancel_running":
        return {each.scheduled for each in real}
    in_time = [each for each in real[-1:] if schedule.catchup != "none" or now - schedule.due(each) <= GRACE]
    return {each.scheduled for each in in_time}


def overlaps(schedule: Schedule, going: Sequence[str]) -> str:
    """Why one more run would be too many beside those that go on; empty when it would not."""
    if schedule.overlap == "skip" and going:
        return f"run {going[-1]} has not ended (overlap: skip)"
    if schedule.overlap == "queue" and len(going) >= MOST_QUEUED:
        return f"{len(going)} runs of it wait or go on already (overlap: queue)"
    return ""


def _why_missed(schedule: Schedule, late: float) -> str:
    if schedule.catchup == "none" and late <= GRACE:
        return "a later time of it has come as well, and fires in its place (catchup: none)"
    if schedule.catchup == "none":
        return f"no engine was there in time: it is {format_duration(round(late))} late (catchup: none)"
    if schedule.catchup == "latest":
        return "of the times that were missed the latest is made up for (catchup: latest)"
    return "the latest takes its place (overlap: cancel_running)"


def _why_fired(occurrence: Occurrence, late: float) -> str:
    made_up = f"made up for, {format_duration(round(late))} late" if late > GRACE else ""
    return "; ".join(text for text in (occurrence.note, made_up) if text)


def _missed_before(schedule: Schedule, first: Occurrence, last: Occurrence, now: float) -> Firing:
    span = first.scheduled if first == last else f"{first.scheduled}…{last.scheduled}"
    reason = f"no engine was there in time; of a longer absence only the latest {MOST_MADE_UP_FOR} times are looked at"
    return _record(schedule, now, "missed", reason, scheduled=span, due=schedule.due(first))


def _firing(schedule: Schedule, occurrence: Occurrence, now: float, outcome: Outcome, reason: str) -> Firing:
    scheduled = f"{occurrence.scheduled}#2" if occurrence.again else occurrence.scheduled
    return _record(schedule, now, outcome, reason, scheduled=scheduled, due=schedule.due(occurrence))


def _record(
    schedule: Schedule, now: float, outcome: Outcome, reason: str, *, scheduled: str, due: float, by: str = ""
) -> Firing:
    id_ = signal_id(TRIGGER_SCHEDULE, schedule.tenant, schedule.name, scheduled) if outcome == "fired" else ""
    return Firing(
        workflow=schedule.workflow,
        trigger=schedule.trigger,
        tenant=schedule.tenant,
        scheduled=scheduled,
        due=due,
        at=now,
        outcome=outcome,
        reason=reason,
        signal=id_,
        run=run_of(id_, schedule.workflow, schedule.trigger) if id_ else "",
        by=by,
    )


def run_of(signal: str, workflow: str, trigger: str) -> str:
    """Id of the run that a signal starts by a trigger."""
    return signal_id("run", signal, workflow, trigger)


# ---------------------------------------------------------------- by hand


def by_hand(command: str) -> str:
    """What makes a firing that the signal of this id asks for the one it is: no time, so each asks for its own."""
    return f"now:{command}"


def fire_now(schedule: Schedule, now: float, *, by: str, command: str, going: Sequence[str] = ()) -> Firing:
    """A firing that somebody asks for, whatever the time; `command` is the id of the signal that asks. Where a run goes
    on that it must not overlap, it is skipped."""
    why = overlaps(schedule, going)
    reason = why or f"asked for by {by or 'somebody'}"
    outcome: Outcome = "skipped" if why else "fired"
    return _record(schedule, now, outcome, reason, scheduled=by_hand(command), due=now, by=by)


def resumed(schedule: Schedule, standing: Standing, now: float, after: After) -> Firing | None:
    """What is recorded of the times that a paused schedule let go by; None where there were none."""
    first = after(standing.upto)
    if not standing.paused or first is None or schedule.due(first) > now:
        return None
    reason = f"paused by {standing.by or 'somebody'}" + (f": {standing.reason}" if standing.reason else "")
    return _record(schedule, now, "skipped", reason, scheduled=f"{first.scheduled}…", due=schedule.due(first))


# ---------------------------------------------------------------- telling


def signal_of(schedule: Schedule, firing: Firing, *, local: str = "", command: str = "") -> Signal:
    """The signal that a firing sends, stored with it. `local`: the local minute of one that is asked for."""
    data: dict[str, Any] = {
        "scheduled": local or firing.scheduled,
        "timezone": schedule.timezone,
        "due": datetime.fromtimestamp(firing.due, UTC).isoformat().replace("+00:00", "Z"),
    }
    return Signal(
        id=firing.signal,
        type=TRIGGER_SCHEDULE,
        source=f"trigger/{schedule.name}",
        at=firing.at,
        data=data,
        subject=schedule.name,
        tenant=schedule.tenant,
        key=f"schedule/{schedule.name}/{firing.scheduled}",
        correlation=firing.signal,
        causation=command,
        by=firing.by,
    )


def unsent(firing: Firing) -> Firing:
    """A firing whose signal is in the store already, although it is not."""
    reason = "its signal was published before"
    return replace(firing, outcome="duplicate", reason=reason, signal="", run="")


def cancel_of(schedule: Schedule, run: str, now: float) -> Signal:
    """The command that ends a run for a newer one."""
    reason = f"a newer run of schedule {schedule.name} takes its place (overlap: cancel_running)"
    return Signal(
        id=signal_id(CANCEL, schedule.name, run),
        type=CANCEL,
        source=f"trigger/{schedule.name}",
        at=now,
        data={"run": run, "reason": reason},
        subject=run,
        tenant=schedule.tenant,
    )
