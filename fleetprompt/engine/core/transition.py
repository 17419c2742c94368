"""How a step moves between performing, waiting and its end, and what must be kept ready on the way."""

from __future__ import annotations

from fleetprompt.engine.core.facts import StepStatus, WaitingOn
from fleetprompt.engine.core.graph import open_item, settle
from fleetprompt.engine.core.outbox import agent_ended, release, unwait
from fleetprompt.engine.core.state import FINAL, Run, Step, Todo, Wake, Work
from fleetprompt.engine.core.timers import set_timer

ENDINGS = ("completed", "failed", "timeout")
"""Statuses of steps that agents in them end with, too; all others have called them off."""
COMPENSATION = "@compensate"
"""Suffix of the path of a compensation step."""


def open_step(run: Run, path: str, *, attempt: int | None = None) -> Step | None:
    """The open step at a path; None (and counted) when there is none or the attempt is an old one."""
    step = run.steps.get(path) or open_item(run, path)
    if step is None or step.status in FINAL or (attempt is not None and attempt != step.attempt):
        run.ignored += 1
        return None
    return step


def stop_waiting(run: Run, step: Step) -> None:
    """It waits for nothing any more, and no timer of it holds."""
    if step.on is not None:
        run.waiting[step.on] -= 1
        if step.on in ("signal", "child") or step.path in run.wanted:
            unwait(run, step.path)
        run.wanted.pop(step.path, None)
        step.on = None
    step.wake = None
    step.why = None


def start_waiting(run: Run, step: Step, on: WaitingOn, at: float) -> None:
    """It holds nothing and waits for the world."""
    stop_performing(run, step, at)
    run.agenda.pop(step, None)
    step.status = "waiting"
    step.on = on
    run.waiting[on] += 1
    if step.role == "step":
        step.scope.active[step] = None


def put_aside(run: Run, step: Step, on: WaitingOn, at: float) -> None:
    """It waits in the middle of its work; the attempt goes on later."""
    assert step.work is not None
    stop_waiting(run, step)
    start_waiting(run, step, on, at)
    step.work.aside = True


def take_up(run: Run, step: Step) -> None:
    """What it was put aside for has come."""
    stop_waiting(run, step)
    step.status = "waiting"
    run.agenda[step] = Todo.CANCEL if step.scope.closing and step.role == "step" else Todo.RESUME


def start_performing(run: Run, step: Step, at: float) -> None:
    """Its effect is owed, and the time counts against what limits it."""
    run.pending[step.path] = step
    if step.work is not None:
        step.work.since = at
    for meter in step.scope.meters:
        meter.active += 1
        if meter.active == 1:
            meter.since = at
            set_timer(run, at + meter.limit - meter.used, Wake.METER, meter)


def stop_performing(run: Run, step: Step, at: float) -> None:
    """Its effect is not owed any more."""
    if run.pending.pop(step.path, None) is None:
        return
    if step.work is not None:
        count_active(step.work, at)
    for meter in step.scope.meters:
        meter.active -= 1
        if meter.active == 0:
            meter.used += max(0.0, at - meter.since)
            meter.wake = None


def count_active(work: Work, at: float) -> None:
    """Add the time since it was counted last."""
    work.used += max(0.0, at - work.since)
    work.since = max(at, work.since)


def compensation_at(run: Run, path: str) -> Step | None:
    """The compensation step at a path: made at its first start."""
    step = run.steps.get(path) or open_item(run, path)
    if step is not None or not path.endswith(COMPENSATION):
        return step
    subject = run.steps.get(path.removesuffix(COMPENSATION))
    if subject is None or subject.program.compensation is None:
        return None
    step = Step(path, subject.program.compensation, subject.scope)
    step.role = "compensation"
    run.steps[path] = step
    if run.undo and run.undo[-1] is subject:
        run.undo.pop()
    elif subject in run.undo:
        run.undo.remove(subject)
    return step


def end(run: Run, step: Step, status: StepStatus, at: float) -> None:
    """It has come to its final status."""
    stop_performing(run, step, at)
    stop_waiting(run, step)
    run.agenda.pop(step, None)
    if step.slot is not None:
        release(run, step.path)
        step.slot = None
    step.status = status
    step.finished_at = at
    for key in [*step.agents] if step.agents else ():
        agent_ended(run, step, key, status if status in ENDINGS else "cancelled", at)
    run.last = step
    if step.role == "compensation":
        run.finish = True
        return
    run.steps_done += 1
    if status == "completed" and step.program.compensation is not None:
        run.undo.append(step)
    settle(run, step)
