"""What becomes of a run on its way, as signals for those who subscribe to them. PURE.

Its end, and that of agents' work, leave the run by themselves (`outbox`): they start other runs. What is told here
starts nothing, and is made only where somebody wants it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from fleetprompt.engine.core.facts import (
    AnyFact,
    ApprovalDecided,
    ApprovalRequested,
    RunForked,
    RunPaused,
    RunResumed,
    RunStarted,
    StepInDoubt,
)
from fleetprompt.engine.core.outbox import sent
from fleetprompt.engine.core.signal import (
    APPROVAL_DECIDED,
    APPROVAL_REQUESTED,
    IN_DOUBT,
    PAUSED,
    RESUMED,
    STARTED,
    Signal,
)
from fleetprompt.engine.core.state import Run


def underway(run: Run, facts: Sequence[AnyFact], wanted: Collection[str]) -> list[Signal]:
    """The signals of the last facts of a run, of the types that are wanted. What a fork has copied is told of the run
    that it is from."""
    created = run.created
    if created is None:
        return []
    of: dict[str, Any] = {"run": created.run, "workflow": created.workflow}
    if created.parent:
        of |= {"parent": created.parent}
    found: list[Signal] = []
    for n, fact in enumerate(facts, start=run.n - len(facts) + 1):
        if isinstance(fact, RunForked):
            found.clear()
        told = _told(fact)
        if told is not None and told[0] in wanted:
            type_, data = told
            found.append(sent(run, type_, created.run, of | data, created.run, fact.at, causation=str(n)))
    return found


def _told(fact: AnyFact) -> tuple[str, dict[str, Any]] | None:
    match fact:
        case RunStarted():
            return STARTED, {}
        case RunPaused():
            return PAUSED, {"by": fact.by, "reason": fact.reason}
        case RunResumed():
            return RESUMED, {"by": fact.by}
        case ApprovalRequested():
            asked = {"approval": fact.id, "path": fact.path, "message": fact.message, "about": fact.about or "approval"}
            return APPROVAL_REQUESTED, asked | {"approvers": list(fact.approvers), "quorum": fact.quorum}
        case ApprovalDecided():
            decided = {"approval": fact.id, "path": fact.path, "decision": fact.decision}
            return APPROVAL_DECIDED, decided | {"by": list(fact.by), "comment": fact.comment}
        case StepInDoubt():
            return IN_DOUBT, {"path": fact.path, "reason": fact.reason}
        case _:
            return None
