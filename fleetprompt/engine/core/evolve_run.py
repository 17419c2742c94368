"""What the facts about a run as a whole do to it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fleetprompt.engine.core import signal as signals
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import (
    BudgetRaised,
    RunCancelRequested,
    RunCreated,
    RunFinished,
    RunForked,
    RunPaused,
    RunResumed,
    RunStarted,
)
from fleetprompt.engine.core.graph import close_scope, open_scope
from fleetprompt.engine.core.outbox import release, send
from fleetprompt.engine.core.state import Meter, Outbox, Run, Wake
from fleetprompt.engine.core.timers import set_timer


def created(run: Run, fact: RunCreated) -> None:
    if run.created is not None:
        run.ignored += 1
        return
    run.created = fact
    if fact.deadline is not None:
        set_timer(run, fact.deadline, Wake.DEADLINE, run)
    limit = run.program.plan.guardrails.timeout
    if limit is not None:
        run.meter = Meter(limit, None)
    meters = (run.meter,) if run.meter else ()
    run.root = open_scope(run, None, run.program.root, meters)


def started(run: Run, fact: RunStarted) -> None:
    if run.started_at is None:
        run.started_at = fact.at
    if run.created is not None and run.created.slots and not run.slotted:
        run.slotted = True
        for slot in run.created.slots:
            if slot.scope not in run.held:
                run.held.add(slot.scope)
                run.outbox.takes.append((slot.place, slot))
        if not run.wanted:
            lose_slots_when_idle(run)


def forked(run: Run, fact: RunForked) -> None:
    """What the copied facts meant outside has happened already; only a claim that is still needed is taken anew.

    The new run has its whole time, however long the first was active.
    """
    run.generation = fact.generation
    run.line = fact.line
    run.outbox = Outbox()
    taken: Counter[str] = Counter()
    for step in run.steps.values():
        slot = step.slot
        # Two that were in a critical section one after the other may both be open again: it is this run's all the same.
        if slot is not None and taken[slot.scope] + slot.amount <= slot.limit:
            taken[slot.scope] += slot.amount
            run.outbox.takes.append((step.path, slot))
    inside = (step.inner.meter for step in run.steps.values() if step.inner is not None)
    for meter in (run.meter, *inside):
        if meter is not None:
            meter.used = 0.0
            if meter.active:
                meter.since = fact.at
                set_timer(run, fact.at + meter.limit, Wake.METER, meter)


def paused(run: Run, fact: RunPaused) -> None:
    run.paused = True


def resumed(run: Run, fact: RunResumed) -> None:
    run.paused = False


def cancel_requested(run: Run, fact: RunCancelRequested) -> None:
    if run.ended or run.root is None or run.verdict is not None:
        run.ignored += 1
        return
    error = fact.error
    if error is None:
        code = "TIMEOUT" if fact.status == "timeout" else "CANCELLED"
        error = Failure(code, fact.reason or "cancelled", retryable=False)
    # What was held up by a pause is called off; what undoes it is not.
    run.paused = False
    run.verdict = (fact.status, error, None)
    run.ending = fact.reason or fact.status
    close_scope(run, run.root, run.ending)


def finished(run: Run, fact: RunFinished) -> None:
    if run.ended:
        run.ignored += 1
        return
    run.end_status = fact.status
    run.finished_at = fact.at
    run.output = fact.output if fact.blob is None else None
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
    send(run, signals.FINISHED, created.run, data, created.run, fact.at, causation=str(run.n))


def budget_raised(run: Run, fact: BudgetRaised) -> None:
    """Money is added where the claims are; the run's own state does not change."""
    run.outbox.raises.append({"scope": fact.scope, "limit": fact.limit, "amount": fact.amount})


def lose_slots_when_idle(run: Run) -> None:
    """Waiting holds no slot: a run in which nothing is active gives back what others can use meanwhile."""
    if run.pending or run.started_at is None or run.ended or ((run.agenda or run.finish) and not run.paused):
        return
    run.slotted = False
    if run.created is not None:
        run.held -= {slot.scope for slot in run.created.slots if not slot.place}
    release(run, "")
