"""What the facts about an approval do to the step that asks for it."""

from __future__ import annotations

from fleetprompt.engine.core.facts import ApprovalDecided, ApprovalRequested, ApprovalVoted
from fleetprompt.engine.core.gate import Gate
from fleetprompt.engine.core.state import Run, Step, Todo, Wake, Work
from fleetprompt.engine.core.timers import set_timer
from fleetprompt.engine.core.transition import open_step, put_aside, start_waiting, stop_waiting, take_up


def requested(run: Run, fact: ApprovalRequested) -> None:
    step = open_step(run, fact.path)
    if step is None:
        return
    work = step.work if fact.call else None
    gate = work.asks.get(fact.id) if work is not None else step.gate
    if gate is None or gate.id != fact.id:
        gate = Gate(fact.id)
        gate.input = fact.blob or fact.input
        gate.secrets = fact.secrets
    _fill(gate, fact)
    run.last = step
    if work is not None:
        work.asks[fact.id] = gate
        put_aside(run, step, "budget" if fact.about == "budget" else "approval", fact.at)
        _wait_for_next(run, step, work)
        return
    step.gate = gate
    stop_waiting(run, step)
    start_waiting(run, step, "approval", fact.at)
    if step.started_at is None:
        step.started_at = fact.at
    step.until = fact.until
    if fact.until is not None:
        set_timer(run, fact.until, Wake.APPROVAL, step)


def _fill(gate: Gate, fact: ApprovalRequested) -> None:
    gate.digest, gate.message = fact.digest, fact.message
    gate.approvers, gate.quorum, gate.form = fact.approvers, fact.quorum, fact.form
    gate.excludes, gate.barred = fact.excludes, fact.barred
    gate.until, gate.on_timeout, gate.level = fact.until, fact.on_timeout, fact.level
    gate.call, gate.about, gate.escalate = fact.call, fact.about, fact.escalate
    gate.show = fact.show if fact.call else None
    gate.votes, gate.previews = {}, {}


def _wait_for_next(run: Run, step: Step, work: Work) -> None:
    """The first open question is the one that is shown; the first that expires sets the timer."""
    step.gate = work.asking
    ends = [gate.until for gate in work.asks.values() if not gate.decision and gate.until is not None]
    step.until = min(ends) if ends else None
    if step.until is not None:
        set_timer(run, step.until, Wake.APPROVAL, step)


def voted(run: Run, fact: ApprovalVoted) -> None:
    step = open_step(run, fact.path)
    gate = step.asked(fact.id) if step is not None else None
    if gate is None or gate.decision:
        run.ignored += step is not None
        return
    # A later vote of the same person takes the place of the one before it.
    gate.votes.pop(fact.by, None)
    gate.previews.pop(fact.by, None)
    gate.votes[fact.by] = (fact.decision, fact.comment, fact.values, fact.grant)
    if fact.previewed:
        gate.previews[fact.by] = fact.previewed


def decided(run: Run, fact: ApprovalDecided) -> None:
    step = open_step(run, fact.path)
    gate = step.asked(fact.id) if step is not None else None
    if step is None or gate is None or gate.decision:
        run.ignored += step is not None
        return
    gate.decision, gate.decided_at = fact.decision, fact.at
    gate.values = fact.values
    gate.by, gate.reason, gate.comment = fact.by, fact.reason, fact.comment
    gate.grant, gate.ends = fact.grant, fact.ends
    gate.edited, gate.previewed = fact.edited, fact.previewed
    if gate.call and step.work is not None:
        if step.work.asking is None:
            step.gate = gate
            take_up(run, step)
        else:
            on = step.on
            stop_waiting(run, step)
            start_waiting(run, step, on or "approval", fact.at)
            _wait_for_next(run, step, step.work)
        return
    stop_waiting(run, step)
    step.status = "pending" if step.program.node.kind != "approval" else "running"
    if fact.decision == "approved" and step.program.node.kind != "approval":
        run.agenda[step] = Todo.GATED
