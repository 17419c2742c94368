"""Retry of a finished run: a new run that starts from the facts worth keeping.

What is done again is left out of the copy, together with everything that came after it; the rest stands. So the new
journal is an ordinary one, in which those steps have simply not started yet. Work that can be taken up again, such as
an agent's, is tried once more with all that is on its record, so that nothing is paid for twice. Only what must not be
repeated and may have happened is in doubt there, under the key it had: a retry does not say whether it did.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from fleetprompt.engine.core import starters
from fleetprompt.engine.core.command import Refusal
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.evolve_work import BEGUN
from fleetprompt.engine.core.facts import (
    AnyFact,
    ApprovalDecided,
    ApprovalRequested,
    RunCancelRequested,
    RunCreated,
    RunFinished,
    RunForked,
    RunPaused,
    RunResumed,
    RunStarted,
    StepCancelled,
    StepFailed,
    StepInDoubt,
    StepNoted,
    StepResolved,
    StepSucceeded,
)
from fleetprompt.engine.core.gate import is_barred
from fleetprompt.engine.core.graph import handled, met
from fleetprompt.engine.core.rendered import RUN_STARTER
from fleetprompt.engine.core.state import Run, Scope, Step
from fleetprompt.engine.core.tracing import of_run

_MARKS = re.compile(r"[.\[#@]")
"""What follows the path of a step in the paths of what is inside it."""
_LIFECYCLE = (RunCreated, RunStarted, RunPaused, RunResumed, RunCancelRequested, RunFinished, RunForked)


def fork(
    run: Run, facts: Sequence[AnyFact], *, new: str, at: float, by: str = "", start: str = ""
) -> list[AnyFact] | Refusal:
    """The first facts of a run that does a finished run again from a step, or from everything that went wrong."""
    named = start_of(run, start)
    if isinstance(named, Refusal):
        return named
    created = run.created
    assert created is not None
    again = _Again(run, named, _wrong(run), at)
    generation = run.generation + 1
    copied = [
        fact
        for each in facts
        if not isinstance(each, _LIFECYCLE) and (fact := again.copy(each, getattr(each, "path", ""))) is not None
    ]
    if _has_approved(copied, by):
        return Refusal(
            f"{by} has approved what this run did, and its workflow keeps starting a run and approving it apart",
            hint="somebody else has to retry it, or it is retried from before that: --from STEP",
        )
    deadline = run.program.plan.deadline
    first = replace(
        created,
        run=new,
        at=at,
        root="",
        parent="",
        within=(),
        parent_path="",
        depth=0,
        retry_of=created.run,
        key_root=created.key_root or created.root or created.run,
        owner=by or created.owner,
        starters=starters.united(starters.of_run(created), (by,)),
        traceparent="",
        links=(of_run(created).traceparent,),
        deadline=at + deadline if deadline is not None else None,
        trigger={"kind": "retry", "run": created.run, "from": start or None},
    )
    forked = RunForked(
        at=at,
        run=created.run,
        upto=len(facts),
        generation=generation,
        steps=tuple(sorted(again.paths)),
        by=by,
        line=(*run.line, new),
    )
    return [first, *copied, forked]


def _has_approved(facts: Sequence[AnyFact], by: str) -> bool:
    """Whether who retries has approved something that stands, and about which those who start the run have no say."""
    apart = {fact.id for fact in facts if isinstance(fact, ApprovalRequested) and RUN_STARTER in fact.excludes}
    decided = (fact for fact in facts if isinstance(fact, ApprovalDecided) and fact.id in apart)
    return any(fact.decision == "approved" and is_barred(fact.by, by) for fact in decided)


def start_of(run: Run, start: str = "") -> Step | Refusal | None:
    """The step from which a finished run is done again, None for everything that went wrong; or why it cannot be."""
    if run.created is None or not run.ended:
        return Refusal("only a finished run can be retried", hint="cancel it first, or resolve what it waits for")
    if any(step.role == "compensation" for step in run.steps.values()):
        return Refusal("the run was compensated: its effects are undone", hint="start a new run instead")
    if not start:
        if run.status == "completed":
            return Refusal("everything in the run completed", hint="say where to start again: --from STEP")
        return None
    step = run.steps.get(start)
    if step is None:
        return Refusal(f"the run has no step {start}", hint="`fleet show RUN` lists its steps")
    if not all(_is_current(owner, scope) for scope, owner in _around(step)):
        return Refusal(f"{start} belongs to an attempt that is over", hint="name the step of the last attempt")
    return step


def repeated(run: Run, start: str = "") -> tuple[str, ...] | Refusal:
    """The steps that a retry would do again, in the order in which they were done; or why it cannot be."""
    named = start_of(run, start)
    if isinstance(named, Refusal):
        return named
    again = _Again(run, named, _wrong(run))
    return tuple(path for path in run.steps if path in again.paths or path in again.doubts or path in again.taken_up)


def _wrong(run: Run) -> list[Step]:
    """What went wrong: steps, and composites for which nothing inside them is to blame."""
    found: list[Step] = []
    blamed: set[str] = set()
    leaves = [step for step in run.steps.values() if step.inner is None]
    composites = [step for step in reversed(run.steps.values()) if step.inner is not None]  # inner before outer
    for step in leaves + composites:
        if step.path not in blamed and _went_wrong(step):
            found.append(step)
            blamed.update(owner.path for _, owner in _around(step))
    return found


def _went_wrong(step: Step) -> bool:
    if step.role == "compensation" or step.status in ("pending", "completed", "skipped"):
        return False
    if any(_stands(owner) or not _is_current(owner, scope) for scope, owner in _around(step)):
        return False
    return not _stands(step)


def _stands(step: Step) -> bool:
    """Its result is one that the run could go on with."""
    if step.status in ("failed", "timeout"):
        return handled(step)
    return step.status in ("completed", "skipped")


def _is_doubtful(step: Step) -> bool:
    """It was called off, or given up, and nobody has said whether it happened."""
    node = step.program.node
    return step.unrepeatable and node.kind == "effect" and step.error is not None and step.error.code == "IN_DOUBT"


def _around(step: Step) -> list[tuple[Scope, Step]]:
    """The scopes a step is in, each with its composite, from the inside out."""
    found: list[tuple[Scope, Step]] = []
    scope = step.scope
    while scope.owner is not None:
        found.append((scope, scope.owner))
        scope = scope.owner.scope
    return found


def _is_current(owner: Step, scope: Scope) -> bool:
    """Whether a scope belongs to the last attempt at its composite."""
    attempt = f"#{owner.attempt}" if owner.attempt > 1 else ""
    return scope.prefix.startswith((f"{owner.path}{attempt}.", f"{owner.path}{attempt}["))


class _Again:
    """What is done again, and which composites are open again because something in them is.

    What was cancelled in a composite that is open again is done again too: nothing says any more why it should not be.
    """

    def __init__(self, run: Run, named: Step | None, wrong: Sequence[Step], at: float = 0.0) -> None:
        self._run = run.id
        self.paths: set[str] = set()
        self.reopened: dict[str, int] = {}
        """Path to the attempt that goes on."""
        self.doubts: dict[str, Step] = {}
        self.taken_up: dict[str, Step] = {}
        """Work that goes on in another attempt."""
        self._at = at
        self._said: set[str] = set()
        """Doubts that the copy tells of already."""
        self._queue: list[Step] = []
        cancelled = [step for step in run.steps.values() if step.status == "cancelled" and step.role == "step"]
        if named is not None:
            self._queue.append(named)
        for step in wrong:
            self._take_up(step)
        self._empty()
        while found := [step for step in cancelled if self._is_open(step)]:
            for step in found:
                self._take_up(step)
            self._empty()
        self.reopened = {path: attempt for path, attempt in self.reopened.items() if path not in self.paths}
        self.doubts = {path: step for path, step in self.doubts.items() if not self._is_left_out(path)}
        self.taken_up = {path: step for path, step in self.taken_up.items() if not self._is_left_out(path)}

    def copy(self, fact: AnyFact, path: str) -> AnyFact | None:
        """What stands for a fact in the copy; None where it is left out."""
        if self._is_left_out(path):
            return None
        doubtful = self.doubts.get(path)
        if doubtful is not None:
            return self._doubt(fact, doubtful)
        if path in self.taken_up:
            return self._once_more(fact, self.taken_up[path])
        return None if self._ends_what_is_open(fact, path) else fact

    def _once_more(self, fact: AnyFact, step: Step) -> AnyFact:
        """What ended the last attempt has only put off the next one."""
        if isinstance(fact, StepFailed) and fact.attempt == step.attempt:
            return replace(fact, retry_at=self._at, port="")
        if isinstance(fact, StepCancelled):
            error = step.error or Failure("CANCELLED", fact.reason or "it was cancelled", path=step.path)
            return StepFailed(at=fact.at, path=step.path, attempt=step.attempt, error=error, retry_at=self._at)
        return fact

    def _doubt(self, fact: AnyFact, step: Step) -> AnyFact | None:
        if isinstance(fact, StepInDoubt) and fact.attempt == step.attempt:
            self._said.add(step.path)
        if isinstance(fact, StepResolved) and fact.answer == "abort":
            return None
        if not isinstance(fact, StepCancelled):
            return fact
        if step.path in self._said:
            return None
        reason = f"run {self._run} ended while it was in flight"
        call = next(iter(step.work.risky), "") if step.work is not None else ""
        return StepInDoubt(at=fact.at, path=step.path, attempt=step.attempt, reason=reason, call=call)

    def _ends_what_is_open(self, fact: AnyFact, path: str) -> bool:
        attempt = self.reopened.get(path)
        if attempt is None:
            return False
        if isinstance(fact, (StepFailed, StepNoted)):
            return fact.attempt == attempt and (isinstance(fact, StepFailed) or fact.kind == "closing")
        return isinstance(fact, (StepSucceeded, StepCancelled))

    def _is_left_out(self, path: str) -> bool:
        return path in self.paths or any(path[: mark.start()] in self.paths for mark in _MARKS.finditer(path))

    def _take_up(self, step: Step) -> None:
        # A composite that was interrupted goes on; what failed by itself begins anew.
        if step.inner is not None and step.status == "cancelled":
            self._reopen(step)
        elif _is_doubtful(step):
            self._keep(self.doubts, step)
        elif step.work is not None and step.attempt and any(note[0] == BEGUN for note in step.notes or ()):
            self._keep(self.taken_up, step)
        else:
            self._queue.append(step)

    def _keep(self, kept: dict[str, Step], step: Step) -> None:
        """What is on its record stays; what comes after it is done again."""
        kept[step.path] = step
        self._queue += _after(step.scope, step)
        for _, owner in _around(step):
            self._reopen(owner)

    def _empty(self) -> None:
        while self._queue:
            step = self._queue.pop()
            if step.path not in self.paths:
                self.paths.add(step.path)
                self._queue += _after(step.scope, step)
                for _, owner in _around(step):
                    self._reopen(owner)

    def _reopen(self, step: Step) -> None:
        for owner in (step, *(owner for _, owner in _around(step))):
            if owner.path not in self.reopened:
                self.reopened[owner.path] = owner.attempt
                self._queue += _after(owner.scope, owner)

    def _is_open(self, step: Step) -> bool:
        if any(step.path in known for known in (self.paths, self.reopened, self.doubts, self.taken_up)):
            return False
        if step.scope.owner is None:
            return False
        return all(
            owner.path in self.reopened and owner.path not in self.paths and _is_current(owner, scope)
            for scope, owner in _around(step)
        )


def _after(scope: Scope, step: Step) -> list[Step]:
    """Steps that were decided in the light of this one."""
    index = step.program.index
    found = [scope.steps[i] for i, _ in step.program.dependents]
    found += [other for other in scope.steps[index + 1 :] if other.program.barrier]
    return found


def kept_ports(step: Step) -> Any:
    """Ports of a settled step that hold, for display."""
    return [port for port in ("completed", "failed", "timeout", "skipped", *step.port.split()) if met(step, port)]
