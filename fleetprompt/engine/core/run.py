"""evolve: one fact in, the run moves on. Total: never raises for a fact that does not fit, never decides.

What is kept beside the plain state is the bookkeeping of the graph: which steps have become decidable (`agenda`),
which effects are owed (`pending`), which timers run, and what the facts mean outside the run (`outbox`).

Here is the door, and the table of which function folds which fact; the functions are in the `evolve_*.py` files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fleetprompt.engine.core import evolve_approval, evolve_run, evolve_step
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
    StepSucceeded,
    StepWaiting,
)
from fleetprompt.engine.core.program import Program
from fleetprompt.engine.core.state import Outbox, Run, Step


def evolve(run: Run, fact: AnyFact) -> None:
    """Fold one fact into the run."""
    run.n += 1
    if fact.at > run.at:
        run.at = fact.at
    _EVOLVE[type(fact)](run, fact)
    if run.slotted and type(fact) in _CAN_IDLE:
        evolve_run.lose_slots_when_idle(run)


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


_EVOLVE: dict[type, Callable[[Run, Any], None]] = {
    RunCreated: evolve_run.created,
    RunStarted: evolve_run.started,
    RunForked: evolve_run.forked,
    RunPaused: evolve_run.paused,
    RunResumed: evolve_run.resumed,
    RunCancelRequested: evolve_run.cancel_requested,
    RunFinished: evolve_run.finished,
    StepStarted: evolve_step.started,
    StepNoted: evolve_step.noted,
    StepWaiting: evolve_step.waiting,
    StepSucceeded: evolve_step.succeeded,
    StepFailed: evolve_step.failed,
    StepSkipped: evolve_step.skipped,
    StepCancelled: evolve_step.cancelled,
    StepExpanded: evolve_step.expanded,
    StepInDoubt: evolve_step.in_doubt,
    StepResolved: evolve_step.resolved,
    ApprovalRequested: evolve_approval.requested,
    ApprovalVoted: evolve_approval.voted,
    ApprovalDecided: evolve_approval.decided,
    BudgetRaised: evolve_run.budget_raised,
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
