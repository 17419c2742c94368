"""What is said about one schedule: how it comes, when next, and what became of each of its times. PURE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fleetprompt.client.wording import Times, ago, glyph, short
from fleetprompt.engine.core.duration import format_duration
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.state.lines import Line
from fleetprompt.tui.state.schedules import OUTCOMES, STATUSES, ScheduleEntry

if TYPE_CHECKING:
    from fleetprompt.client.scheduling import ScheduleState
    from fleetprompt.engine.core.firing import Firing

SHOWN = 50
"""Firings that are told of."""
_OVERLAP = {
    "skip": "no run while the one before goes on",
    "queue": "runs wait for those before them",
    "allow": "runs go on side by side",
    "cancel_running": "a new run takes the place of the one before",
}
_CATCHUP = {
    "none": "missed times are not made up for",
    "latest": "the latest missed time is made up for",
    "all": "every missed time is made up for",
}


def details(entry: ScheduleEntry, firings: Sequence[Firing], now: float, times: Times) -> list[Line]:
    """Everything about a schedule."""
    parts = ((*_about(entry.state, now), *_coming(entry.state, now, times)), _firings(firings, times))
    lines: list[Line] = []
    for part in map(list, parts):
        if part and lines:
            lines.append(())
        lines += part
    return lines


def _about(state: ScheduleState, now: float) -> Iterator[Line]:
    schedule, watch = state.schedule, state.watch
    if state.problem:
        yield ((inert(state.problem), "error"),)
    status = state.status if state.status != "off" else f"off: its workflow is {state.workflow_status}"
    yield (("status   ", "dim"), (f"{glyph(state.status)} {status}", STATUSES[state.status]))
    if state.changed_at:
        verb = "paused " if state.paused else "resumed"
        reason = f": {state.reason}" if state.reason else ""
        yield ((f"{verb}  ", "dim"), (inert(f"by {state.by or 'somebody'} {ago(now - state.changed_at)}{reason}"), ""))
    zone = f"  {state.zone}" if state.zone else ""
    jitter = (
        f"  delayed by up to {format_duration(schedule.jitter)}" if schedule is not None and schedule.jitter else ""
    )
    yield (("when     ", "dim"), (inert(state.rhythm), "strong"), (inert(zone + jitter), "dim"))
    if watch is not None:
        events = f"{', '.join(watch.events)}, and left alone for {format_duration(watch.settle)}"
        yield (("events   ", "dim"), (inert(events), ""))
    catchup = str(state.row["catchup"])
    yield (("overlap  ", "dim"), (state.overlap, ""), (f"  {_OVERLAP[state.overlap]}", "dim"))
    yield (("catchup  ", "dim"), (catchup, ""), (f"  {_CATCHUP[catchup]}", "dim"))


def _coming(state: ScheduleState, now: float, times: Times) -> Iterator[Line]:
    if not state.coming and state.kind == "schedule":
        said = "never" if state.status == "active" else f"not as long as it is {state.status}"
        yield (("next     ", "dim"), (said, "dim"))
    if not state.coming:
        return
    first, *others = state.coming
    yield (
        ("next     ", "dim"),
        (f"{times.at(first):%a} {times.moment(first)}", "strong"),
        (f"  {ago(now - first)}", "dim"),
    )
    if others:
        yield (("then     ", "dim"), (", ".join(f"{times.at(due):%a %H:%M:%S}" for due in others), ""))


def _firings(firings: Sequence[Firing], times: Times) -> Iterator[Line]:
    if not firings:
        return
    yield (("Firings", "title"),)
    for firing in firings[:SHOWN]:
        style = OUTCOMES[firing.outcome]
        by_hand = firing.scheduled.startswith("now:")
        when = f"by hand {times.moment(firing.at)[:16]}" if by_hand else firing.scheduled.replace("T", " ")
        line = [
            (f"  {glyph(firing.outcome)} ", style),
            (f"{inert(when):<16}  ", ""),
            (f"{firing.outcome:<9}  ", style),
        ]
        if firing.run:
            line += [(short(firing.run), "id"), ("  ", "")]
        yield (*line, (inert(firing.reason), "dim"))
