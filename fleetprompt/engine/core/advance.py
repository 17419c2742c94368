"""advance: what comes next in a run. Every decision of the product is taken here or in the files this one calls.

Deterministic in the run and the time it is given. One decision at a time: evolve its facts, then ask again;
nothing is left to decide when the answer is empty. Raises `NeedsValue` when a decision needs a spilled value that
the runtime has not loaded: load it into `run.blobs` and ask again, nothing has changed.
"""

from __future__ import annotations

from math import inf
from typing import Any

import msgspec

from fleetprompt.engine.core.asking import escalation
from fleetprompt.engine.core.errors import Failure, FleetError
from fleetprompt.engine.core.expr import ExpressionError
from fleetprompt.engine.core.facts import (
    AnyFact,
    ApprovalDecided,
    RunCancelRequested,
    RunFinished,
    RunStarted,
    RunStatus,
    Slot,
    StepCancelled,
    StepNoted,
    StepSkipped,
    StepWaiting,
    told,
)
from fleetprompt.engine.core.gate import Gate, form_defaults
from fleetprompt.engine.core.graph import last_output
from fleetprompt.engine.core.names import names
from fleetprompt.engine.core.outcome import NOT_IN_TIME, UNREADABLE, failed, invalid, succeeded
from fleetprompt.engine.core.raising import look_again, raised_by
from fleetprompt.engine.core.rendered import loaded
from fleetprompt.engine.core.start import (
    after_gate,
    begin,
    compensation,
    next_iteration,
    restart,
    start,
)
from fleetprompt.engine.core.state import Meter, Run, Step, Todo, Wake
from fleetprompt.engine.core.timers import Timer, due_timers
from fleetprompt.engine.core.transition import COMPENSATION
from fleetprompt.engine.core.working import forfeited, resumed

_WHILE_BLOCKED = frozenset({Todo.CANCEL, Todo.CONCLUDE, Todo.DEAD})
"""What is decided although nothing new may start."""


def advance(run: Run, now: float, heard: float = inf) -> list[AnyFact]:
    """The facts of the next decision; empty when the run waits for the world, or is over.

    `heard`: what was recorded up to then has been told to the run. A timer that was due later does not fire yet: a
    decision taken in time may be on its way.
    """
    root = run.root
    if run.ended or root is None:
        return []
    at = max(now, run.at)
    due = min(at, heard)
    if run.timers and run.timers[0][0] <= due:
        for timer in due_timers(run, due):
            facts = _timer(run, timer, at)
            if facts:
                return facts
    if run.started_at is None and not root.closing:
        return [RunStarted(at=at)] if run.has_slots and not run.halted else []
    if run.agenda:
        blocked = run.stopped
        full: set[str] = set()
        for step, todo in run.agenda.items():
            if blocked and todo not in _WHILE_BLOCKED:
                continue
            pool = step.program.pool
            if full and todo is Todo.START and step.program.is_plain and pool in full:
                continue
            facts = _decide(run, step, todo, at)
            if facts:
                return facts
            # There was no room for it. Of a thousand that want to start in the same pool, one is looked at.
            full.add(pool)
    if run.finish:
        return _finish(run, at)
    return []


def grant(run: Run, path: str, slot: Slot, now: float) -> list[AnyFact]:
    """What a free slot leads to; the claim on it goes with these facts."""
    at = max(now, run.at)
    if not path:
        return [RunStarted(at=at)] if run.wants_slot and not run.halted else []
    step = run.wanted.get(path)
    if step is None or run.paused or run.halted:
        return []
    # A run holds no slot while it waits for a group, whose holder may need that slot to go on: it takes both at once.
    own: list[AnyFact] = [] if run.has_slots else [RunStarted(at=at)]
    return own + begin(run, step, at, slot)


def refuse(run: Run, path: str, on_conflict: str, now: float) -> list[AnyFact]:
    """What a taken slot leads to, when the step does not want to queue for it."""
    at = max(now, run.at)
    if on_conflict != "skip":
        return []
    if not path:
        if run.started_at is not None or run.ended:
            return []
        failure = Failure("CANCELLED", "skipped: its concurrency group is taken", retryable=False)
        return [RunCancelRequested(at=at, reason="conflict", error=failure)]
    return [StepSkipped(at=at, path=path, reason="conflict")] if path in run.wanted else []


def _decide(run: Run, step: Step, todo: Todo, at: float) -> list[AnyFact]:
    match todo:
        case Todo.START:
            return start(run, step, at)
        case Todo.CONCLUDE:
            return _conclude(run, step, at)
        case Todo.DEAD:
            return [StepSkipped(at=at, path=step.path, reason="dead")]
        case Todo.NEXT:
            facts = next_iteration(run, step, at)
            return _conclude(run, step, at) if facts is None else facts
        case Todo.CANCEL:
            return _cancel(step, at)
        case Todo.RESTART:
            return restart(run, step, at)
        case Todo.GATED:
            return after_gate(run, step, at)
        case Todo.RESUME:
            return resumed(run, step, at)


def _cancel(step: Step, at: float) -> list[AnyFact]:
    if step.on == "child":
        return [_call_off(step, at, step.scope.closing)]
    doubtful = step.status == "in_doubt"
    cancelled = StepCancelled(at=at, path=step.path, reason=step.scope.closing, unknown=doubtful)
    withdrawn = [
        ApprovalDecided(at=at, path=step.path, id=gate.id, decision="withdrawn", reason="cancelled")
        for gate in step.open_gates
    ]
    return [*withdrawn, *forfeited(step, at, "the step was cancelled"), cancelled]


def _call_off(step: Step, at: float, reason: str) -> StepNoted:
    """Tell a child run to end. The step goes on waiting: its child may have work in flight, and work to undo."""
    return StepNoted(at=at, path=step.path, kind="closing", value=reason, attempt=step.attempt)


# ---------------------------------------------------------------- composites


def _conclude(run: Run, step: Step, at: float) -> list[AnyFact]:
    inner = step.inner
    assert inner is not None
    if inner.error is not None:
        return failed(run, step, at, inner.error)
    node = step.program.node
    results = inner.results
    match node.kind:
        case "parallel":
            output: Any = {name: loaded(run, results.get(name)) for name in step.program.blocks}
        case "loop":
            output = [loaded(run, results.get(i)) for i in range(inner.opened)]
        case _:
            output = results.get(inner.taken)
            default = "default" if node.value is not None or node.type == "switch" else "else"
            return succeeded(run, step, at, output, port=inner.taken or default)
    return succeeded(run, step, at, output)


# ---------------------------------------------------------------- time


def _timer(run: Run, timer: Timer, at: float) -> list[AnyFact]:
    _, _, why, subject = timer
    match why:
        case Wake.DEADLINE:
            return [RunCancelRequested(at=at, reason="the deadline has passed", status="timeout")]
        case Wake.METER:
            return _meter(run, subject, at)
        case Wake.RETRY | Wake.POLL:
            return _held_up(run, subject, at) if run.stopped else restart(run, subject, at)
        case Wake.RESUME:
            return _held_up(run, subject, at) if run.stopped else resumed(run, subject, at)
        case Wake.DELAY:
            return succeeded(run, subject, at, None)
        case Wake.WAIT:
            return _wait_is_over(run, subject, at)
        case Wake.APPROVAL:
            return _approval_is_over(run, subject, at)
        case Wake.GRACE:
            cancelled = StepCancelled(at=at, path=subject.path, reason=subject.scope.closing, unknown=True)
            return [*forfeited(subject, at, "the step was cancelled"), cancelled]


def _held_up(run: Run, step: Step, at: float) -> list[AnyFact]:
    """Its time has come, and the run may start nothing: from now on it waits for that, so that the run wants slots."""
    return [StepWaiting(at=at, path=step.path, on="paused" if run.paused or run.halted else "slot")]


def _meter(run: Run, meter: Meter, at: float) -> list[AnyFact]:
    if meter.step is None:
        reason = f"the run was active for {meter.limit:g} s, its limit"
        return [RunCancelRequested(at=at, reason=reason, status="timeout")]
    reason = f"active for {meter.limit:g} s, its limit"
    return [StepNoted(at=at, path=meter.step.path, kind="closing", value=reason, attempt=meter.step.attempt)]


def _wait_is_over(run: Run, step: Step, at: float) -> list[AnyFact]:
    if step.on == "child":
        return [_call_off(step, at, NOT_IN_TIME)]
    unread = next((value for kind, _, value, _ in step.notes or () if kind == UNREADABLE), None)
    hint = f"one came for which `match` could not be evaluated: {unread}" if unread else ""
    error = Failure("TIMEOUT", "no signal came in time", path=step.path, retryable=False, hint=hint)
    return failed(run, step, at, error, port="timeout")


def _approval_is_over(run: Run, step: Step, at: float) -> list[AnyFact]:
    gate = next(gate for gate in step.open_gates if gate.until is not None and gate.until <= at)
    policy, comment = gate.on_timeout, ""
    if policy == "escalate":
        try:
            request = escalation(run, step, gate, at)
            if request is not None:
                return [request]
        except (FleetError, ValueError) as error:
            comment = f"it could not be escalated: {invalid(step, '', error).message}"
        policy = "reject"
    decision = {"approve": "approved", "fail": "failed"}.get(policy, "rejected")
    values = form_defaults(gate.form) if decision == "approved" else None
    return decided(run, step, gate, at, decision, reason="timeout", comment=comment, values=values)


def decided(
    run: Run,
    step: Step,
    gate: Gate,
    at: float,
    decision: str,
    *,
    reason: str,
    by: tuple[str, ...] = (),
    comment: str = "",
    values: dict[str, Any] | None = None,
    grant: str = "",
    ends: bool = False,
    edited: str = "",
    previewed: str = "",
) -> list[AnyFact]:
    """The facts of a decided approval: of the `approval` step itself, of the step that it gates, or of what a step
    asks in the middle of its work."""
    values = values or {}
    fact = ApprovalDecided(
        at=at,
        path=step.path,
        id=gate.id,
        decision=decision,  # pyright: ignore[reportArgumentType]
        by=by,
        reason=reason,
        comment=comment,
        values=values,
        grant=grant,  # pyright: ignore[reportArgumentType]
        ends=ends,
        edited=edited,
        previewed=previewed,
    )
    if gate.call:
        raised = raised_by(gate, at, by, comment, values) if decision == "approved" else []
        return [fact, *raised, *look_again(run, at, raised, gate)]
    late = " timeout" if reason == "timeout" else ""
    if decision == "approved":
        if step.program.node.kind != "approval":
            return [fact]
        output = {"decision": "approved", "by": list(by), "comment": comment, "values": values, "approval": gate.id}
        return [fact, *succeeded(run, step, at, output, port="approved" + late)]
    if decision == "failed":
        error = Failure("TIMEOUT", "nobody decided in time", path=step.path, retryable=False)
        return [fact, *failed(run, step, at, error, port="timeout")]
    who = f" by {', '.join(by)}" if by else ""
    message = ("rejected: nobody decided in time" if late else f"rejected{who}") + (f": {comment}" if comment else "")
    data = {"by": list(by), "comment": comment, "values": values, "approval": gate.id}
    error = Failure("APPROVAL_REJECTED", message, path=step.path, retryable=False, data=data)
    return [fact, *failed(run, step, at, error, port="rejected" + late)]


# ---------------------------------------------------------------- the end


def _finish(run: Run, at: float) -> list[AnyFact]:
    root = run.root
    assert root is not None
    status: RunStatus = "completed"
    error: Failure | None = None
    if run.verdict is not None:
        status, error, _ = run.verdict
    elif root.failure is not None:
        status, error = "failed", root.failure
    if run.must_undo:
        if run.stopped:
            return []
        subject = run.undo[-1]
        return compensation(run, subject, at, subject.path + COMPENSATION)
    if status == "completed":
        return _completed(run, at)
    undone = [path for path, step in run.steps.items() if step.role == "compensation" and step.status != "completed"]
    if undone and error is not None:
        error = msgspec.structs.replace(
            error, data={"not_compensated": undone, "cause": error.data}, hint="some compensations did not complete"
        )
    output = run.verdict[2] if run.verdict is not None else None
    return [RunFinished(at=at, status=status, error=error, **told(output))]


def _completed(run: Run, at: float) -> list[AnyFact]:
    root = run.root
    assert root is not None
    output: Any = run.verdict[2] if run.verdict is not None else None
    if output is None:
        compiled = run.program.output
        try:
            if compiled is not None and compiled.value is not None:
                output = compiled.value.render(names(run, root, compiled)).value
            else:
                output = last_output(root)
        except ExpressionError as error:
            hint = error.hint if run.verdict is None else "give the `stop` an `output` of its own"
            failure = Failure("VALIDATION_ERROR", f"output: {error}", hint=hint, retryable=False)
            return [RunFinished(at=at, status="failed", error=failure)]
    return [RunFinished(at=at, status="completed", **told(output))]
