"""A run's timers: a heap in which an entry whose subject has moved on is simply stale."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any

from fleetprompt.engine.core.state import Run, Step, Wake

Timer = tuple[float, int, Wake, Any]


def set_timer(run: Run, at: float, why: Wake, subject: Any) -> None:
    """Set a timer; an earlier one of the same subject becomes stale."""
    run.timer_count += 1
    if subject is not run:
        subject.wake = at
        if isinstance(subject, Step):
            subject.why = why
    heappush(run.timers, (at, run.timer_count, why, subject))


def timer_holds(run: Run, timer: Timer) -> bool:
    """Whether a timer still means something."""
    at, _, why, subject = timer
    if subject is run:
        return not _is_ending(run)
    if subject.wake != at:
        return False
    if isinstance(subject, Step):
        return subject.why is why
    # A meter has nothing left to limit where what it measures is being closed already.
    step: Step | None = subject.step
    if step is None:
        return not _is_ending(run)
    return not step.settled and step.inner is not None and step.inner.meter is subject and not step.inner.closing


def _is_ending(run: Run) -> bool:
    return run.root is None or bool(run.root.closing) or run.root.done


def drop_stale_timers(run: Run) -> None:
    """Forget timers whose subject has moved on, so that `wake_at` is exact."""
    while run.timers and not timer_holds(run, run.timers[0]):
        heappop(run.timers)


def due_timers(run: Run, now: float) -> list[Timer]:
    """The timers that are due and hold, earliest first. They stay set: the facts they lead to make them stale."""
    drop_stale_timers(run)
    if not run.timers or run.timers[0][0] > now:
        return []
    due: list[Timer] = []
    while run.timers and run.timers[0][0] <= now:
        timer = heappop(run.timers)
        if timer_holds(run, timer):
            due.append(timer)
    for timer in due:
        heappush(run.timers, timer)
    return due
