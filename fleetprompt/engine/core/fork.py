"""Retry of a finished run: a new run that starts from the facts worth keeping.

What is done again is left out of the copy, together with everything that came after it; the rest stands. So the new
journal is an ordinary one, in which those steps have simply not started yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from fleetprompt.engine.core.command import Refusal
from fleetprompt.engine.core.facts import (
    AnyFact,
    RunCancelRequested,
    RunCreated,
    RunFinished,
    RunForked,
    RunPaused,
    RunResumed,
    RunStarted,
    StepCancelled,
    StepFailed,
    StepNoted,
    StepSucceeded,
)
from fleetprompt.engine.core.graph import handled, met
from fleetprompt.engine.core.state import Run, Scope, Step

_LIFECYCLE = (RunCreated, RunStarted, RunPaused, RunResumed, RunCancelRequested, RunFinished, RunForked)


def fork(
    run: Run, facts: Sequence[AnyFact], *, new: str, at: float, by: str = "", start: str = ""
) -> list[AnyFact] | Refusal:
    """The first facts of a run that does a finished run again from a step, or from everything that went wrong."""
    created = run.created
    if created is None or not run.ended:
        return Refusal("only a finished run can be retried", hint="cancel it first, or resolve what it waits for")
    if any(step.role == "compensation" for step in run.steps.values()):
        return Refusal("the run was compensated: its effects are undone", hint="start a new run instead")
    targets = _targets(run, start)
    if isinstance(targets, Refusal):
        return targets
    again, reopened = _again(targets)
    generation = run.generation + 1
    copied = [
        fact
        for fact in facts
        if not isinstance(fact, _LIFECYCLE) and not _dropped(fact, getattr(fact, "path", ""), again, reopened)
    ]
    deadline = run.program.plan.deadline
    first = replace(
        created,
        run=new,
        at=at,
        root="",
        parent="",
        parent_path="",
        depth=0,
        retry_of=created.run,
        key_root=created.key_root or created.root or created.run,
        owner=by or created.owner,
        deadline=at + deadline if deadline is not None else None,
        trigger={"kind": "retry", "run": created.run, "from": start or None},
    )
    forked = RunForked(
        at=at, run=created.run, upto=len(facts), generation=generation, steps=tuple(sorted(again)), by=by
    )
    return [first, *copied, forked]


def _targets(run: Run, start: str) -> list[Step] | Refusal:
    if start:
        step = run.steps.get(start)
        if step is None:
            return Refusal(f"the run has no step {start}", hint="`fleet show RUN` lists its steps")
        return [step]
    wrong = [step for step in run.steps.values() if _went_wrong(step)]
    if not wrong and run.status == "completed":
        return Refusal("everything in the run completed", hint="say where to start again: --from STEP")
    return wrong


def _went_wrong(step: Step) -> bool:
    if step.role == "compensation" or (step.inner is not None and step.status not in ("completed", "skipped")):
        # A composite is judged by what is inside it, unless it failed by itself.
        return step.inner is not None and step.inner.opened == 0 and step.status in ("failed", "timeout")
    if step.status in ("failed", "timeout"):
        return not handled(step)
    return step.status in ("cancelled", "in_doubt", "running", "waiting")


def _again(targets: Sequence[Step]) -> tuple[set[str], set[str]]:
    """Paths that are done again, and composites that are open again because something in them is."""
    again: set[str] = set()
    reopened: set[str] = set()
    queue = list(targets)
    while queue:
        step = queue.pop()
        if step.path in again:
            continue
        again.add(step.path)
        queue += _after(step.scope, step)
        owner = step.scope.owner
        while owner is not None and owner.path not in reopened:
            reopened.add(owner.path)
            queue += _after(owner.scope, owner)
            owner = owner.scope.owner
    return again, reopened - again


def _after(scope: Scope, step: Step) -> list[Step]:
    """Steps that were decided in the light of this one."""
    index = step.program.index
    found = [scope.steps[i] for i, _ in step.program.dependents]
    found += [other for other in scope.steps[index + 1 :] if other.program.barrier]
    return found


def _dropped(fact: AnyFact, path: str, again: set[str], reopened: set[str]) -> bool:
    if not path:
        return False
    if any(path == root or path.startswith((root + ".", root + "[", root + "#", root + "@")) for root in again):
        return True
    if path in reopened:
        ends = isinstance(fact, (StepSucceeded, StepCancelled)) or (
            isinstance(fact, StepFailed) and fact.retry_at is None
        )
        return ends or (isinstance(fact, StepNoted) and fact.kind == "closing")
    return False


def kept_ports(step: Step) -> Any:
    """Ports of a settled step that hold, for display."""
    return [port for port in ("completed", "failed", "timeout", "skipped", *step.port.split()) if met(step, port)]
