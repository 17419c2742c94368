"""evolve: one fact in, the run moves on. Total: never raises for a fact that does not fit, never decides.

What is kept beside the plain state is the bookkeeping of the graph: which steps have become decidable (`agenda`),
which effects are owed (`pending`), which timers run, and what the facts mean outside the run (`outbox`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from fleetprompt.engine.core import signal as signals
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import (
    AnyFact,
    ApprovalDecided,
    ApprovalRequested,
    ApprovalVoted,
    BudgetRaised,
    RunCancelRequested,
    RunCreated,
    RunFinished,
    RunForked,
    RunPaused,
    RunResumed,
    RunStarted,
    StepCancelled,
    StepExpanded,
    StepFailed,
    StepInDoubt,
    StepNoted,
    StepResolved,
    StepSkipped,
    StepStarted,
    StepStatus,
    StepSucceeded,
    StepWaiting,
    WaitingOn,
)
from fleetprompt.engine.core.graph import (
    close_scope,
    lose_slots_when_idle,
    open_item,
    open_items,
    open_scope,
    release,
    settle,
)
from fleetprompt.engine.core.keys import signal_id
from fleetprompt.engine.core.names import value_of
from fleetprompt.engine.core.program import Program
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.core.state import FINAL, Gate, Inner, Meter, Outbox, Run, Step, Todo, Wake
from fleetprompt.engine.core.timers import set_timer

COMPENSATION = "@compensate"
"""Suffix of the path of a compensation step."""


def evolve(run: Run, fact: AnyFact) -> None:
    """Fold one fact into the run."""
    run.n += 1
    if fact.at > run.at:
        run.at = fact.at
    _EVOLVE[type(fact)](run, fact)
    if run.slotted and type(fact) in _CAN_IDLE:
        lose_slots_when_idle(run)


def fold(program: Program, facts: Iterable[AnyFact]) -> Run:
    """The run that these facts make."""
    run = Run(program)
    for fact in facts:
        evolve(run, fact)
    run.outbox = Outbox()
    return run


def pending(run: Run) -> dict[str, Step]:
    """The effects the world owes us, by path."""
    return run.pending


# ---------------------------------------------------------------- the run


def _created(run: Run, fact: RunCreated) -> None:
    if run.created is not None:
        run.ignored += 1
        return
    run.created = fact
    run.deadline = fact.deadline
    if fact.deadline is not None:
        set_timer(run, fact.deadline, Wake.DEADLINE, run)
    limit = run.program.plan.guardrails.timeout
    if limit is not None:
        run.meter = Meter(limit, None)
    meters = (run.meter,) if run.meter else ()
    run.root = open_scope(run, None, run.program.root, meters)


def _started(run: Run, fact: RunStarted) -> None:
    if run.started_at is None:
        run.started_at = fact.at
    if run.created is not None and run.created.slots and not run.slotted:
        run.slotted = True
        for slot in run.created.slots:
            if slot.scope not in run.held:
                run.held.add(slot.scope)
                run.outbox.takes.append(("@" if slot.scope.startswith("group:") else "", slot))


def _forked(run: Run, fact: RunForked) -> None:
    """What the copied facts meant outside has happened already; only a claim that is still needed is taken anew."""
    run.generation = fact.generation
    run.outbox = Outbox()
    taken: Counter[str] = Counter()
    for step in run.steps.values():
        slot = step.slot
        # Two that were in a critical section one after the other may both be open again: it is this run's all the same.
        if slot is not None and taken[slot.scope] + slot.amount <= slot.limit:
            taken[slot.scope] += slot.amount
            run.outbox.takes.append((step.path, slot))


def _paused(run: Run, fact: RunPaused) -> None:
    run.paused = True


def _resumed(run: Run, fact: RunResumed) -> None:
    run.paused = False


def _cancel_requested(run: Run, fact: RunCancelRequested) -> None:
    if run.ended or run.root is None or run.verdict is not None:
        run.ignored += 1
        return
    error = fact.error
    if error is None:
        code = "TIMEOUT" if fact.status == "timeout" else "CANCELLED"
        error = Failure(code, fact.reason or "cancelled", retryable=False)
    run.verdict = (fact.status, error, None)
    run.ending = fact.reason or fact.status
    close_scope(run, run.root, run.ending)


def _finished(run: Run, fact: RunFinished) -> None:
    if run.ended:
        run.ignored += 1
        return
    run.end_status = fact.status
    run.finished_at = fact.at
    run.output = fact.output
    run.output_blob = fact.blob
    run.error = fact.error
    run.finish = False
    run.agenda.clear()
    run.timers.clear()
    created = run.created
    if created is None:
        return
    if run.held:
        release(run, "*")
        run.held.clear()
    data: dict[str, Any] = {"run": created.run, "workflow": created.workflow, "status": fact.status}
    if fact.error is not None:
        data["error"] = {"code": fact.error.code, "message": fact.error.message, "path": fact.error.path}
    if created.parent:
        data |= {"parent": created.parent, "path": created.parent_path}
    _send(run, signals.FINISHED, created.run, data, created.run, fact.at, causation=str(run.n))


def _send(run: Run, type_: str, key: str, data: Any, subject: str, at: float, causation: str = "") -> None:
    created = run.created
    assert created is not None
    run.outbox.signals.append(
        Signal(
            id=signal_id(type_, key, causation),
            type=type_,
            source=f"run/{created.run}",
            at=at,
            data=data,
            subject=subject,
            tenant=created.tenant,
            correlation=created.correlation or created.root or created.run,
            causation=created.run,
        )
    )


# ---------------------------------------------------------------- steps


def _step(run: Run, path: str, *, attempt: int | None = None) -> Step | None:
    """The open step at a path; None (and counted) when there is none or the attempt is an old one."""
    step = run.steps.get(path) or open_item(run, path)
    if step is None or step.status in FINAL or (attempt is not None and attempt != step.attempt):
        run.ignored += 1
        return None
    return step


def _stop_waiting(run: Run, step: Step) -> None:
    if step.on is not None:
        run.waiting[step.on] -= 1
        if step.on in ("signal", "child") or step.path in run.wanted:
            _unwait(run, step.path)
        run.wanted.pop(step.path, None)
        step.on = None
    step.wake = None
    step.why = None


def _unwait(run: Run, path: str) -> None:
    """A step no longer waits. A store removes rows before it adds some: one that this append would add is left out."""
    out = run.outbox
    if out.waits:
        out.waits = [wait for wait in out.waits if wait[0] != path]
    out.unwaits.append(path)


def _start_waiting(run: Run, step: Step, on: WaitingOn, at: float) -> None:
    _stop_performing(run, step, at)
    run.agenda.pop(step, None)
    step.status = "waiting"
    step.on = on
    run.waiting[on] += 1
    if step.role == "step":
        step.scope.active[step] = None


def _start_performing(run: Run, step: Step, at: float) -> None:
    run.pending[step.path] = step
    for meter in step.scope.meters:
        meter.active += 1
        if meter.active == 1:
            meter.since = at
            set_timer(run, at + meter.limit - meter.used, Wake.METER, meter)


def _stop_performing(run: Run, step: Step, at: float) -> None:
    if run.pending.pop(step.path, None) is None:
        return
    for meter in step.scope.meters:
        meter.active -= 1
        if meter.active == 0:
            meter.used += max(0.0, at - meter.since)
            meter.wake = None


def _compensation(run: Run, path: str) -> Step | None:
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
    run.compensating = step
    return step


def _step_started(run: Run, fact: StepStarted) -> None:
    step = _compensation(run, fact.path)
    if step is None or step.status in FINAL:
        run.ignored += 1
        return
    polling = step.why is Wake.POLL
    _stop_waiting(run, step)
    run.agenda.pop(step, None)
    run.finish = False
    step.attempt = fact.attempt
    step.generation = fact.generation
    if not polling:
        step.tries += 1
    if step.started_at is None:
        step.started_at = fact.at
    if fact.input is not None or fact.blob is not None:
        step.input = fact.input
        step.input_blob = fact.blob
        step.secrets = fact.secrets or None
    if fact.slot is not None:
        step.slot = fact.slot
        run.outbox.takes.append((step.path, fact.slot))
    step.status = "running"
    run.last = step
    if step.role == "step":
        step.scope.active[step] = None
    node = step.program.node
    if node.kind == "effect":
        _start_performing(run, step, fact.at)
    elif node.kind in ("choose", "parallel", "loop"):
        step.inner = Inner()
        if node.timeout is not None:
            step.inner.meter = Meter(node.timeout, step)
        if node.loop is not None and node.loop.test is not None:
            run.agenda[step] = Todo.NEXT


def _step_noted(run: Run, fact: StepNoted) -> None:
    step = _step(run, fact.path)
    if step is None:
        return
    if fact.kind == "closing" and step.inner is not None and not step.inner.closing:
        failure = Failure("TIMEOUT", str(fact.value), path=step.path)
        step.inner.error = failure
        step.inner.closing = "timeout"
        run.agenda.pop(step, None)
        for scope in list(step.inner.open.values()):
            close_scope(run, scope, "timeout")
        if not step.inner.open:
            run.agenda[step] = Todo.CONCLUDE
        return
    if fact.kind == "reconcile" and step.status == "in_doubt":
        _stop_performing(run, step, fact.at)
    if step.notes is None:
        step.notes = []
    step.notes.append((fact.kind, fact.key, fact.blob or fact.value, fact.attempt))


def _step_waiting(run: Run, fact: StepWaiting) -> None:
    step = _step(run, fact.path)
    if step is None:
        return
    first = step.started_at is None
    why = step.why
    _stop_waiting(run, step)
    _start_waiting(run, step, fact.on, fact.at)
    if first:
        step.started_at = fact.at
    step.ref = fact.ref
    step.until = fact.until
    run.last = step
    if fact.on == "paused" or (fact.on == "slot" and not fact.ref):
        step.why = why
        run.agenda[step] = Todo.RESTART
        return
    if fact.until is not None:
        why = (Wake.DELAY if step.program.node.kind == "delay" else Wake.POLL) if fact.on == "timer" else Wake.WAIT
        set_timer(run, fact.until, why, step)
    if fact.on == "slot":
        step.slot = None
        step.ref = fact.slot.scope if fact.slot else fact.ref
        run.wanted[step.path] = step
    if fact.on in ("signal", "child", "slot"):
        run.outbox.waits.append((step.path, fact.on, step.ref, fact.key))
    if fact.on == "child":
        # Named by the file and not by the input, which may have been spilled.
        workflow = step.program.node.config.get("workflow", "")
        data = {"run": fact.ref, "workflow": workflow, "parent": run.id, "path": step.path}
        _send(run, signals.START, fact.ref, data, fact.ref, fact.at)


def _step_succeeded(run: Run, fact: StepSucceeded) -> None:
    step = _step(run, fact.path, attempt=fact.attempt)
    if step is None:
        return
    step.output = fact.output
    step.blob = fact.blob
    step.port = fact.port
    if fact.vars:
        run.vars.update(fact.vars)
    if fact.usage:
        _count(run, fact.usage)
    node = step.program.node
    if node.kind == "emit":
        _emit(run, step, fact.at)
    _end(run, step, "completed", fact.at)
    if node.kind == "stop" and run.root is not None and run.verdict is None:
        config = mapping(step.input)
        status = config.get("status", "completed")
        message = str(config.get("message") or "")
        code = "CANCELLED" if status == "cancelled" else "TOOL_ERROR"
        error = None if status == "completed" else Failure(code, message or f"stopped: {status}", path=step.path)
        run.verdict = (status, error, fact.output)
        run.ending = "stop"
        close_scope(run, run.root, "stop")


def _emit(run: Run, step: Step, at: float) -> None:
    # A spilled input has been in memory since the fact before this one. Folding an old journal sends nothing anyway.
    config = mapping(value_of(run, step.input_blob or step.input))
    created = run.created
    assert created is not None
    run.outbox.signals.append(
        Signal(
            id=signal_id(str(config.get("signal")), run.id, step.path, str(step.generation)),
            type=str(config.get("signal")),
            source=f"run/{run.id}/{step.path}",
            at=at,
            data=config.get("data"),
            subject=str(config.get("subject") or ""),
            tenant=created.tenant,
            key=str(config.get("key") or ""),
            correlation=created.correlation or created.root or created.run,
            causation=created.run,
        )
    )


def _count(run: Run, usage: dict[str, int]) -> None:
    run.cost_nano += usage.get("cost_nano", 0)
    run.tokens += usage.get("tokens", 0)


def _step_failed(run: Run, fact: StepFailed) -> None:
    step = _step(run, fact.path)
    if step is None:
        return
    if step.attempt and fact.attempt != step.attempt:
        run.ignored += 1
        return
    step.error = fact.error
    step.port = fact.port
    if fact.usage:
        _count(run, fact.usage)
    run.last = step
    if step.on == "child" and fact.error.code == "TIMEOUT" and fact.error.path == step.path:
        _send(run, signals.CANCEL, step.ref, {"run": step.ref, "reason": fact.error.message}, step.ref, fact.at)
    if fact.retry_at is not None and (step.role == "compensation" or not step.scope.closing):
        _stop_waiting(run, step)
        _start_waiting(run, step, "timer", fact.at)
        step.until = fact.retry_at
        step.inner = None
        set_timer(run, fact.retry_at, Wake.RETRY, step)
        return
    _end(run, step, "timeout" if fact.error.code == "TIMEOUT" else "failed", fact.at)


def _step_skipped(run: Run, fact: StepSkipped) -> None:
    step = _step(run, fact.path)
    if step is not None:
        step.reason = fact.reason
        _end(run, step, "skipped", fact.at)


def _step_cancelled(run: Run, fact: StepCancelled) -> None:
    step = _step(run, fact.path)
    if step is None:
        return
    if step.on == "child" and step.ref:
        _send(run, signals.CANCEL, step.ref, {"run": step.ref, "reason": fact.reason}, step.ref, fact.at)
    step.reason = fact.reason
    if fact.unknown:
        step.error = Failure("IN_DOUBT", "interrupted while in flight; it may have taken effect", path=step.path)
    _end(run, step, "cancelled", fact.at)


def _step_expanded(run: Run, fact: StepExpanded) -> None:
    step = _step(run, fact.path)
    inner = step.inner if step is not None else None
    if step is None or inner is None:
        return
    run.agenda.pop(step, None)
    if step.program.node.loop is not None:
        inner.items = fact.blob or fact.items if inner.items is None else inner.items
        inner.total = fact.count
        open_items(run, step)
        if fact.count == 0:
            run.agenda[step] = Todo.CONCLUDE
        return
    meters = step.scope.meters + ((inner.meter,) if inner.meter else ())
    inner.total = len(fact.branches)
    for name in fact.branches:
        inner.taken = name
        block = step.program.blocks.get(name)
        if block is not None:
            inner.opened += 1
            open_scope(run, step, block, meters, name=name)
    if not inner.opened:
        run.agenda[step] = Todo.CONCLUDE


def _step_in_doubt(run: Run, fact: StepInDoubt) -> None:
    step = _step(run, fact.path, attempt=fact.attempt)
    if step is None:
        return
    _stop_waiting(run, step)
    _start_waiting(run, step, "in_doubt", fact.at)
    step.status = "in_doubt"
    step.reason = fact.reason
    step.error = Failure("IN_DOUBT", fact.reason, path=step.path)
    run.last = step
    if step.program.node.reconcile is not None and not step.scope.closing:
        _start_performing(run, step, fact.at)


def _step_resolved(run: Run, fact: StepResolved) -> None:
    step = _step(run, fact.path)
    if step is None or step.status != "in_doubt":
        run.ignored += step is not None
        return
    _stop_performing(run, step, fact.at)
    _stop_waiting(run, step)
    step.error = None
    match fact.answer:
        case "happened":
            step.output = fact.output
            step.blob = fact.blob
            run.vars.update(fact.vars)
            _end(run, step, "completed", fact.at)
        case "skip":
            step.reason = "operator"
            _end(run, step, "skipped", fact.at)
        case "run":
            step.status = "pending"
            step.tries = 0
            closing = step.scope.closing and step.role == "step"
            run.agenda[step] = Todo.CANCEL if closing else Todo.RESTART
        case "abort":
            step.error = Failure("IN_DOUBT", "aborted by the operator", path=step.path, retryable=False)
            run.abort = run.compensate = True
            _end(run, step, "failed", fact.at)
            if step.role == "step" and run.root is not None and not run.root.closing:
                run.verdict = ("failed", step.error, None)
                run.ending = "abort"
                close_scope(run, run.root, run.ending)


# ---------------------------------------------------------------- approvals


def _approval_requested(run: Run, fact: ApprovalRequested) -> None:
    step = _step(run, fact.path)
    if step is None:
        return
    gate = step.gate
    if gate is None or gate.id != fact.id:
        gate = step.gate = Gate(fact.id)
        gate.input = fact.blob or fact.input
        gate.secrets = fact.secrets
    _stop_waiting(run, step)
    _start_waiting(run, step, "approval", fact.at)
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


def _approval_voted(run: Run, fact: ApprovalVoted) -> None:
    step = _step(run, fact.path)
    if step is None or step.gate is None or step.gate.id != fact.id or step.gate.decision:
        run.ignored += step is not None
        return
    step.gate.votes.setdefault(fact.by, (fact.decision, fact.comment, fact.values))


def _approval_decided(run: Run, fact: ApprovalDecided) -> None:
    step = _step(run, fact.path)
    if step is None or step.gate is None or step.gate.id != fact.id or step.gate.decision:
        run.ignored += step is not None
        return
    step.gate.decision = fact.decision
    step.gate.values = fact.values
    _stop_waiting(run, step)
    step.status = "pending" if step.program.node.kind != "approval" else "running"
    if fact.decision == "approved" and step.program.node.kind != "approval":
        run.agenda[step] = Todo.GATED


def _budget_raised(run: Run, fact: BudgetRaised) -> None:
    """Money is added where the claims are; the run's own state does not change."""


# ---------------------------------------------------------------- the end of a step


def _end(run: Run, step: Step, status: StepStatus, at: float) -> None:
    _stop_performing(run, step, at)
    _stop_waiting(run, step)
    run.agenda.pop(step, None)
    if step.slot is not None:
        release(run, step.path)
        step.slot = None
    step.status = status
    step.finished_at = at
    run.last = step
    if step.role == "compensation":
        run.compensating = None
        run.finish = True
        return
    run.steps_done += 1
    if status == "completed" and step.program.compensation is not None:
        run.undo.append(step)
    settle(run, step)


_EVOLVE: dict[type, Callable[[Run, Any], None]] = {
    RunCreated: _created,
    RunStarted: _started,
    RunForked: _forked,
    RunPaused: _paused,
    RunResumed: _resumed,
    RunCancelRequested: _cancel_requested,
    RunFinished: _finished,
    StepStarted: _step_started,
    StepNoted: _step_noted,
    StepWaiting: _step_waiting,
    StepSucceeded: _step_succeeded,
    StepFailed: _step_failed,
    StepSkipped: _step_skipped,
    StepCancelled: _step_cancelled,
    StepExpanded: _step_expanded,
    StepInDoubt: _step_in_doubt,
    StepResolved: _step_resolved,
    ApprovalRequested: _approval_requested,
    ApprovalVoted: _approval_voted,
    ApprovalDecided: _approval_decided,
    BudgetRaised: _budget_raised,
}

_CAN_IDLE = frozenset(
    {
        StepWaiting,
        ApprovalRequested,
        StepInDoubt,
        StepResolved,
        StepNoted,
        StepFailed,
        StepSucceeded,
        StepSkipped,
        StepCancelled,
        RunPaused,
    }
)
