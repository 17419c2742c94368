"""What the facts about an approval do to the step that asks for it."""

from __future__ import annotations

from fleetprompt.engine.core.facts import ApprovalDecided, ApprovalRequested, ApprovalVoted
from fleetprompt.engine.core.gate import Gate
from fleetprompt.engine.core.state import Run, Todo, Wake
from fleetprompt.engine.core.timers import set_timer
from fleetprompt.engine.core.transition import open_step, start_waiting, stop_waiting


def requested(run: Run, fact: ApprovalRequested) -> None:
    step = open_step(run, fact.path)
    if step is None:
        return
    gate = step.gate
    if gate is None or gate.id != fact.id:
        gate = step.gate = Gate(fact.id)
        gate.input = fact.blob or fact.input
        gate.secrets = fact.secrets
    stop_waiting(run, step)
    start_waiting(run, step, "approval", fact.at)
    if step.started_at is None:
        step.started_at = fact.at
    run.last = step
    gate.digest, gate.message = fact.digest, fact.message
    gate.approvers, gate.quorum, gate.form = fact.approvers, fact.quorum, fact.form
    gate.until, gate.on_timeout, gate.level = fact.until, fact.on_timeout, fact.level
    gate.votes = {}
    step.until = fact.until
    if fact.until is not None:
        set_timer(run, fact.until, Wake.APPROVAL, step)


def voted(run: Run, fact: ApprovalVoted) -> None:
    step = open_step(run, fact.path)
    if step is None or step.gate is None or step.gate.id != fact.id or step.gate.decision:
        run.ignored += step is not None
        return
    step.gate.votes.setdefault(fact.by, (fact.decision, fact.comment, fact.values))


def decided(run: Run, fact: ApprovalDecided) -> None:
    step = open_step(run, fact.path)
    if step is None or step.gate is None or step.gate.id != fact.id or step.gate.decision:
        run.ignored += step is not None
        return
    step.gate.decision = fact.decision
    step.gate.values = fact.values
    stop_waiting(run, step)
    step.status = "pending" if step.program.node.kind != "approval" else "running"
    if fact.decision == "approved" and step.program.node.kind != "approval":
        run.agenda[step] = Todo.GATED
