"""What the facts about one step do to it: started, noted, waiting, and each way to end."""

from __future__ import annotations

from typing import Any

from fleetprompt.engine.core import evolve_work
from fleetprompt.engine.core import signal as signals
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import (
    Blob,
    StepCancelled,
    StepExpanded,
    StepFailed,
    StepInDoubt,
    StepNoted,
    StepResolved,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepWaiting,
    output_of,
)
from fleetprompt.engine.core.graph import close_scope, open_items, open_scope
from fleetprompt.engine.core.outbox import emit, send
from fleetprompt.engine.core.raising import RAISED, pass_on
from fleetprompt.engine.core.spending import CALLS, spending
from fleetprompt.engine.core.state import FINAL, Inner, Meter, Run, Step, Todo, Wake, Work
from fleetprompt.engine.core.timers import set_timer
from fleetprompt.engine.core.transition import (
    compensation_at,
    end,
    open_step,
    start_performing,
    start_waiting,
    stop_performing,
    stop_waiting,
    take_up,
)


def started(run: Run, fact: StepStarted) -> None:
    step = compensation_at(run, fact.path)
    if step is None or step.status in FINAL:
        run.ignored += 1
        return
    polling = step.why is Wake.POLL
    stop_waiting(run, step)
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
        step.work = Work(fact.at) if node.resumes else None
        start_performing(run, step, fact.at)
    elif node.kind in ("choose", "parallel", "loop"):
        step.inner = Inner()
        if node.timeout is not None:
            step.inner.meter = Meter(node.timeout, step)
        if node.loop is not None and node.loop.test is not None:
            run.agenda[step] = Todo.NEXT


def noted(run: Run, fact: StepNoted) -> None:
    if fact.kind in CALLS:
        # It was spent, whatever has become of the step meanwhile.
        _count(run, fact)
    step = open_step(run, fact.path)
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
        stop_performing(run, step, fact.at)
    elif fact.kind == "closing" and step.on == "child":
        step.wake = None
        run.agenda.pop(step, None)
        send(run, signals.CANCEL, step.ref, {"run": step.ref, "reason": str(fact.value)}, step.ref, fact.at)
    elif fact.kind == RAISED and step.on == "child":
        pass_on(run, step, fact.value, fact.at)
    if step.notes is None:
        step.notes = []
    step.notes.append((fact.kind, fact.key, fact.blob or fact.value, fact.attempt))
    if step.work is not None and fact.attempt == step.attempt:
        evolve_work.noted(run, step, step.work, fact)


def waiting(run: Run, fact: StepWaiting) -> None:
    step = open_step(run, fact.path)
    if step is None:
        return
    first = step.started_at is None
    why = step.why
    work = step.work if step.status == "running" or (step.work is not None and step.work.aside) else None
    stop_waiting(run, step)
    start_waiting(run, step, fact.on, fact.at)
    if work is not None:
        work.aside, work.call = True, fact.call
    if first:
        step.started_at = fact.at
    step.ref = fact.ref
    step.until = fact.until
    run.last = step
    if fact.on == "paused" or (fact.on == "slot" and not fact.ref):
        step.why = why
        run.agenda[step] = Todo.RESTART if work is None else Todo.RESUME
        return
    if fact.until is not None:
        why = Wake.WAIT
        if fact.on == "timer":
            kind = step.program.node.kind
            why = Wake.RESUME if work is not None else Wake.DELAY if kind == "delay" else Wake.POLL
        set_timer(run, fact.until, why, step)
    if fact.on == "slot":
        step.slot = None
        step.ref = fact.slot.scope if fact.slot else fact.ref
        run.wanted[step.path] = step
    if fact.on in ("signal", "child", "slot"):
        run.outbox.waits.append((step.path, fact.on, step.ref, fact.key))
    if fact.on == "child":
        # Named by the file and not by the input, which may have been spilled.
        workflow = fact.workflow or step.program.node.config.get("workflow", "")
        data = {"run": fact.ref, "workflow": workflow, "parent": run.id, "path": step.path}
        if fact.call:
            data["call"] = fact.call
        send(run, signals.START, fact.ref, data, fact.ref, fact.at)


def succeeded(run: Run, fact: StepSucceeded) -> None:
    step = open_step(run, fact.path, attempt=fact.attempt)
    if step is None:
        return
    _give(step, output_of(fact))
    step.port = fact.port
    if fact.vars:
        run.vars.update(fact.vars)
    if fact.usage:
        _count(run, fact)
    node = step.program.node
    if node.kind == "emit":
        emit(run, step, fact.at)
    end(run, step, "completed", fact.at)
    if node.kind == "stop" and run.root is not None and run.verdict is None:
        config = mapping(step.input)
        status = config.get("status", "completed")
        message = str(config.get("message") or "")
        code = "CANCELLED" if status == "cancelled" else "TOOL_ERROR"
        error = None if status == "completed" else Failure(code, message or f"stopped: {status}", path=step.path)
        run.verdict = (status, error, output_of(fact))
        run.ending = "stop"
        close_scope(run, run.root, "stop")


def _give(step: Step, output: Any) -> None:
    """The output of a step, or where it is kept."""
    step.blob = output if isinstance(output, Blob) else None
    step.output = output if step.blob is None else None


def _count(run: Run, fact: StepSucceeded | StepFailed | StepNoted) -> None:
    spent = spending(fact)
    if spent is not None:
        run.cost_nano += spent.cost_nano
        run.tokens += spent.tokens
        run.uncertain_nano += spent.uncertain_nano


def failed(run: Run, fact: StepFailed) -> None:
    step = open_step(run, fact.path)
    if step is None:
        return
    if step.attempt and fact.attempt != step.attempt:
        run.ignored += 1
        return
    step.error = fact.error
    step.port = fact.port
    if fact.usage:
        _count(run, fact)
    run.last = step
    if fact.retry_at is not None and (step.role == "compensation" or not step.scope.closing):
        stop_waiting(run, step)
        start_waiting(run, step, "timer", fact.at)
        step.until = fact.retry_at
        step.inner = None
        set_timer(run, fact.retry_at, Wake.RETRY, step)
        return
    end(run, step, "timeout" if fact.error.code == "TIMEOUT" else "failed", fact.at)


def skipped(run: Run, fact: StepSkipped) -> None:
    step = open_step(run, fact.path)
    if step is not None:
        step.reason = fact.reason
        end(run, step, "skipped", fact.at)


def cancelled(run: Run, fact: StepCancelled) -> None:
    step = open_step(run, fact.path)
    if step is None:
        return
    step.reason = fact.reason
    if fact.unknown:
        _tell_owners(step)
        step.error = Failure("IN_DOUBT", "interrupted while in flight; it may have taken effect", path=step.path)
    end(run, step, "cancelled", fact.at)


def _tell_owners(step: Step) -> None:
    owner = step.scope.owner
    while owner is not None:
        if owner.inner is not None:
            owner.inner.unknown = step.path
        owner = owner.scope.owner


def expanded(run: Run, fact: StepExpanded) -> None:
    step = open_step(run, fact.path)
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


def in_doubt(run: Run, fact: StepInDoubt) -> None:
    step = open_step(run, fact.path, attempt=fact.attempt)
    if step is None:
        return
    stop_waiting(run, step)
    start_waiting(run, step, "in_doubt", fact.at)
    step.status = "in_doubt"
    step.reason = fact.reason
    step.error = Failure("IN_DOUBT", fact.reason, path=step.path)
    run.last = step
    if fact.call and step.work is not None:
        step.work.aside, step.work.doubt = True, fact.call
    whole = not fact.call or fact.call.startswith(evolve_work.OWN_CALL)
    if whole and step.program.node.reconcile is not None:
        start_performing(run, step, fact.at)


def resolved(run: Run, fact: StepResolved) -> None:
    step = open_step(run, fact.path)
    if step is None or step.status != "in_doubt":
        run.ignored += step is not None
        return
    stop_performing(run, step, fact.at)
    stop_waiting(run, step)
    step.error = None
    if step.work is not None and step.work.doubt and fact.answer != "abort":
        _resolved_call(run, step, step.work, fact)
        return
    match fact.answer:
        case "happened":
            _give(step, output_of(fact))
            run.vars.update(fact.vars)
            end(run, step, "completed", fact.at)
        case "skip":
            step.reason = "operator"
            end(run, step, "skipped", fact.at)
        case "run":
            step.status = "pending"
            step.tries = 0
            closing = step.scope.closing and step.role == "step"
            run.agenda[step] = Todo.CANCEL if closing else Todo.RESTART
        case "abort":
            step.error = Failure("IN_DOUBT", "aborted by the operator", path=step.path, retryable=False)
            run.abort = run.compensate = True
            end(run, step, "failed", fact.at)
            going_well = run.verdict is None or run.verdict[0] == "completed"
            if step.role == "step" and going_well and run.root is not None and run.root.failure is None:
                run.verdict = ("failed", step.error, None)
                run.ending = "abort"
                close_scope(run, run.root, run.ending)


def _resolved_call(run: Run, step: Step, work: Work, fact: StepResolved) -> None:
    """Somebody has answered for a call: the work goes on, and knows it."""
    answer = {"answer": fact.answer, "output": fact.blob or fact.output, "by": fact.by, "comment": fact.comment}
    step.notes = step.notes or []
    step.notes.append((evolve_work.RESOLVED, work.doubt, answer, step.attempt))
    work.risky.discard(work.doubt)
    work.doubt = ""
    take_up(run, step)
