"""Commands: what an operator, another run or the outside world may ask of a run, and what it answers.

Each function returns the facts, or a `Refusal`. Nothing is changed: evolve the facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from fleetprompt.engine.core import raising
from fleetprompt.engine.core.advance import decided
from fleetprompt.engine.core.asking import escalation, who_is_barred
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import Code, Failure, FleetError
from fleetprompt.engine.core.evolve_work import CHILD_FINISHED
from fleetprompt.engine.core.expr import ExpressionError
from fleetprompt.engine.core.facts import (
    AnyFact,
    ApprovalVoted,
    Blob,
    BudgetRaised,
    RunCancelRequested,
    RunPaused,
    RunResumed,
    StepCancelled,
    StepFailed,
    StepNoted,
    StepResolved,
)
from fleetprompt.engine.core.gate import (
    GRANTS,
    Gate,
    entitled,
    form_defaults,
    form_problem,
    is_barred,
    looked_away,
    whom,
    with_comment,
)
from fleetprompt.engine.core.graph import open_steps
from fleetprompt.engine.core.outcome import UNREADABLE, failed, holds, succeeded, variables
from fleetprompt.engine.core.plan import Guardrails
from fleetprompt.engine.core.raising import look_again
from fleetprompt.engine.core.signal import Signal, type_matches
from fleetprompt.engine.core.starters import united
from fleetprompt.engine.core.state import Run, Step
from fleetprompt.engine.core.working import forfeited

MAX_COMMENT = 10_000
LOOK_AGAIN = "look at it again, and decide about what is asked now"


class Refusal(Struct, frozen=True):
    """Why a command is not carried out."""

    reason: str
    hint: str = ""
    why: Literal["", "forbidden", "invalid"] = ""
    """`forbidden`: it is not for this person. `invalid`: not with what was given. Empty: not as things stand."""


Reply = list[AnyFact] | Refusal


def cancel(run: Run, at: float, *, by: str, reason: str = "") -> Reply:
    """End the run early."""
    if run.ended:
        return Refusal(f"the run is already {run.status}")
    if run.verdict is not None or (run.root is not None and run.root.closing):
        return Refusal("the run is already ending")
    return [RunCancelRequested(at=max(at, run.at), by=by, reason=reason or f"cancelled by {by or 'the engine'}")]


def pause(run: Run, at: float, *, by: str, reason: str = "") -> Reply:
    """Start nothing new."""
    if run.ended:
        return Refusal(f"the run is already {run.status}")
    if run.paused:
        return Refusal("the run is already paused")
    return [RunPaused(at=max(at, run.at), by=by, reason=reason)]


def resume(run: Run, at: float, *, by: str) -> Reply:
    """Go on after a pause."""
    if run.ended:
        return Refusal(f"the run is already {run.status}")
    if not run.paused:
        return Refusal("the run is not paused")
    return [RunResumed(at=max(at, run.at), by=by)]


def raise_limits(run: Run, at: float, *, by: str, step: str, amounts: Mapping[str, Any], reason: str = "") -> Reply:
    """Allow a run, or a step of it, to spend more: amounts by limit, money in nano-USD."""
    if run.ended:
        return Refusal(f"the run is already {run.status}", hint="`fleet retry` begins with a budget of its own")
    scope, limits = f"run/{run.id}", run.program.plan.guardrails
    if step:
        known = run.steps.get(step)
        if known is None:
            return Refusal(f"the run has no step {step}", hint="its steps are in `fleet show RUN`")
        scope, limits = f"step/{run.id}/{step}", known.program.node.guardrails or Guardrails()
    facts: list[BudgetRaised] = []
    for limit, amount in amounts.items():
        if limit not in CAPS or type(amount) is not int or not 0 < amount < 2**53:
            return Refusal(f"{limit} cannot be raised by {amount!r}", hint=f"more than 0 of {', '.join(CAPS)}")
        if getattr(limits, limit) is None:
            return Refusal(f"{scope} has no limit on {limit}", hint="limits are in `guardrails` of its file")
        facts.append(BudgetRaised(at=max(at, run.at), scope=scope, limit=limit, amount=amount, by=by, reason=reason))
    if not facts:
        return Refusal("nothing is to be raised", hint=f"say by how much: {', '.join(CAPS)}")
    return [*facts, *look_again(run, max(at, run.at), facts)]


def raised_above(run: Run, at: float, told: Any) -> Reply:
    """Limits of a run above have been raised: what waits at one of them here, or below, looks again."""
    if run.ended:
        return Refusal(f"the run is already {run.status}")
    said = mapping(told)
    by, reason = str(said.get("by") or ""), str(said.get("reason") or "")
    return raising.told(run, max(at, run.at), raising.limits_of(said), by=by, reason=reason)


CAPS = ("requests", "tokens", "tool_calls", "cost_nano")
"""What can be limited besides time."""


# ---------------------------------------------------------------- approvals


def vote(
    run: Run,
    at: float,
    *,
    approval: str,
    by: str,
    groups: Iterable[str] = (),
    decision: str,
    comment: str = "",
    values: dict[str, Any] | None = None,
    via: str = "",
    digest: str = "",
    level: int | None = None,
    sent: float | None = None,
    grant: str = "",
    ends: bool = False,
    edited: str = "",
    previewed: str = "",
) -> Reply:
    """A person's decision about an approval. `digest` and `level` are those of what was shown to that person: a
    decision about anything else than what is asked now is refused. Without them it is about what is asked now. Who has
    voted before, and changes their mind before enough people agree, is taken by their last word; both are on record.

    `grant`: `run` or `workflow`, where calls like this one need not be asked about any more, in this run or in any run
    of its workflow; of several who approve, the narrowest of what they say.
    `ends`: a rejection after which the work does not go on. `edited` and `previewed` are the digests of the call as it
    is changed by the values (see `core/edited.py`), which have been looked at. `sent` is when it was recorded (None:
    now): before the approval expired it is in time, however late it arrives.
    """
    step = _asking(run, approval)
    gate = step.asked(approval) if step is not None else None
    if step is None or gate is None:
        return Refusal("this run has no such approval")
    if gate.decision or step.settled or not step.asks:
        return Refusal(f"the approval is already {gate.decision or 'closed'}")
    if _too_late(gate.until, at, sent):
        return Refusal("the approval expired before this was decided")
    away = looked_away(gate.id, gate.digest, gate.level, digest, level)
    if away:
        return Refusal(away, hint=LOOK_AGAIN)
    refusal = _may_decide(run, gate, by, groups)
    if refusal is not None:
        return refusal
    if decision not in ("approved", "rejected"):
        return Refusal(f"a decision is `approved` or `rejected`, not {decision!r}", why="invalid")
    refusal = _may_go_with(gate, decision, grant, ends=ends)
    if refusal is not None:
        return refusal
    comment, values = with_comment(gate.form, gate.about, comment, values or {})
    problem = form_problem(gate.form, values) if decision == "approved" else ""
    if problem:
        return Refusal(problem, hint="fill it with --set FIELD=VALUE", why="invalid")
    others = {person: said for person, said in gate.votes.items() if person != by}
    refusal = _another_call(gate, others, values, previewed) if decision == "approved" else None
    if refusal is not None:
        return refusal
    at = max(at, run.at)
    comment = comment[:MAX_COMMENT]
    said = gate.votes.get(by), gate.previews.get(by, "")
    if said == ((decision, comment, values, grant), previewed):
        return Refusal(f"{by} has already decided")
    side: Literal["approved", "rejected"] = "approved" if decision == "approved" else "rejected"
    voted = ApprovalVoted(
        at=at,
        path=step.path,
        id=gate.id,
        by=by,
        decision=side,
        comment=comment,
        values=values,
        via=via,
        grant=grant,  # pyright: ignore[reportArgumentType]
        ends=ends,
        edited=edited,
        previewed=previewed,
    )
    if side == "rejected":
        others = [each for each in step.open_gates if ends and each is not gate]
        return [
            voted,
            *decided(
                run, step, gate, at, "rejected", reason="vote", by=(by,), comment=comment, values=values, ends=ends
            ),
            # Whoever asked is ended: nothing that it asked besides is of any use.
            *(fact for each in others for fact in decided(run, step, each, at, "withdrawn", reason="ended")),
        ]
    if len(others) + 1 < gate.quorum:
        return [voted]
    merged = form_defaults(gate.form)
    for _, _, earlier, _ in others.values():
        merged |= earlier
    merged |= values
    people = (*others, by)
    # Nobody is made to grant more than they said: the narrowest of all counts.
    granted = min((grant, *(said for *_, said in others.values())), key=GRANTS.index)
    previews = [gate.previews[person] for person in others if person in gate.previews]
    return [
        voted,
        *decided(
            run,
            step,
            gate,
            at,
            "approved",
            reason="vote",
            by=people,
            comment=comment,
            values=merged,
            grant=granted,
            edited=edited,
            previewed=previewed or next(iter(previews), ""),
        ),
    ]


def _too_late(until: float | None, at: float, sent: float | None) -> bool:
    """Whether something was recorded when the time to wait for it was over, although its timer has not fired yet."""
    return until is not None and until <= (at if sent is None else min(at, sent))


def _asking(run: Run, approval: str) -> Step | None:
    """The step of an approval: mostly one that is open, and only to say why not one that has settled."""
    for steps in (open_steps(run), run.steps.values()):
        for step in steps:
            if step.asked(approval) is not None:
                return step
    return None


def _another_call(
    gate: Gate, others: Mapping[str, tuple[str, str, dict[str, Any], str]], values: dict[str, Any], previewed: str
) -> Refusal | None:
    """Whoever approves a call of a tool approves what will be done: all of them the same."""
    if gate.about != "tool":
        return None
    shown = form_defaults(gate.form)
    for person, (_, _, earlier, _) in others.items():
        approved, wanted = shown | earlier, shown | values
        differ = [name for name in gate.form if approved.get(name) != wanted.get(name)]
        if differ:
            told = ", ".join(f"{name}={approved.get(name)!r:.200}" for name in differ)
            return Refusal(
                f"{person} has approved another call, with {told}",
                hint="approve it with the same values, or reject it",
            )
        if previewed and gate.previews.get(person, previewed) != previewed:
            return Refusal(
                f"what the changed call would do is not what {person} has approved: that has changed since",
                hint="reject it; the agent can ask anew",
            )
    return None


def _may_go_with(gate: Gate, decision: str, grant: str, *, ends: bool) -> Refusal | None:
    """What more a decision can say, which only one about a call can."""
    if grant not in GRANTS:
        return Refusal(f"a grant is for the `run` or the `workflow`, not for {grant!r}")
    if grant and (gate.about != "tool" or decision != "approved"):
        return Refusal("only the approval of a tool's call can be given for later ones, too")
    if ends and (not gate.call or decision != "rejected"):
        return Refusal("only the rejection of what a step asks in the middle of its work can end the step")
    return None


def escalate(run: Run, at: float, *, approval: str, by: str, groups: Iterable[str] = (), comment: str = "") -> Reply:
    """Hand a question on to whom its approval names next."""
    step = _asking(run, approval)
    gate = step.asked(approval) if step is not None else None
    if step is None or gate is None:
        return Refusal("this run has no such approval")
    if gate.decision or step.settled or not step.asks:
        return Refusal(f"the approval is already {gate.decision or 'closed'}")
    refusal = _may_vote(run, gate, by, groups)
    if refusal is not None:
        return refusal
    at = max(at, run.at)
    try:
        request = escalation(run, step, gate, at)
    except (FleetError, ValueError) as error:
        return Refusal(f"it cannot be escalated: {error}")
    if request is None:
        return Refusal("the approval names nobody who could be asked next")
    note = {"approval": gate.id, "by": by, "comment": comment[:MAX_COMMENT], "to": list(request.approvers)}
    return [StepNoted(at=at, path=step.path, kind="escalated", key=gate.id, value=note, attempt=step.attempt), request]


def _may_vote(run: Run, gate: Gate, by: str, groups: Iterable[str]) -> Refusal | None:
    """Whether a person may speak about a question, and has not spoken yet."""
    if by in gate.votes:
        return Refusal(f"{by} has already decided")
    return _may_decide(run, gate, by, groups)


def _may_decide(run: Run, gate: Gate, by: str, groups: Iterable[str]) -> Refusal | None:
    if not by:
        return Refusal("a decision needs an identity", why="forbidden")
    # Also whoever retried the run since it was asked.
    barred = united(gate.barred, who_is_barred(run, gate.excludes))
    if is_barred(barred, by):
        return Refusal(
            f"{by} started the run, and may not decide this: its workflow keeps these duties apart",
            hint=f"it is for {whom(gate.approvers, barred)}",
            why="forbidden",
        )
    if not entitled(gate.approvers, by, groups):
        hint = f"approvers: {', '.join(gate.approvers)}"
        return Refusal(f"{by} may not decide this", hint=hint, why="forbidden")
    return None


# ---------------------------------------------------------------- in doubt


def resolve(
    run: Run,
    at: float,
    *,
    path: str,
    answer: str,
    attempt: int | None = None,
    output: Any = None,
    by: str,
    comment: str = "",
) -> Reply:
    """An operator's answer about an effect that may or may not have happened. It is about one attempt (None: whichever
    is in doubt now): an answer that comes late must not run or skip what was tried again since."""
    step = run.steps.get(path)
    if step is None:
        return Refusal(f"the run has no step {path}")
    if attempt is not None and attempt != step.attempt:
        return Refusal(
            f"the answer is about attempt {attempt} of {path}, which is now {step.status} in attempt {step.attempt}",
            hint="look at it again, and answer for this attempt",
        )
    if step.status != "in_doubt":
        return Refusal(f"{path} is {step.status}, not in doubt")
    at, comment = max(at, run.at), comment[:MAX_COMMENT]
    match answer:
        case "happened" if step.work is not None and step.work.doubt:
            return [StepResolved(at=at, path=path, answer=answer, output=output, by=by, comment=comment)]
        case "happened":
            try:
                values = variables(run, step, output)
            except ExpressionError as error:
                return Refusal(f"`set` of {path} cannot be computed from this output: {error}", hint=error.hint)
            return [StepResolved(at=at, path=path, answer=answer, output=output, by=by, comment=comment, vars=values)]
        case "run" | "skip" | "abort":
            return [StepResolved(at=at, path=path, answer=answer, output=output, by=by, comment=comment)]
        case _:
            return Refusal(f"an answer is `happened`, `run`, `skip` or `abort`, not {answer!r}")


# ---------------------------------------------------------------- other runs and the world


def hear(run: Run, at: float, signal: Signal) -> list[AnyFact]:
    """What a signal means to the steps of this run that wait for one; empty when it is not what they wait for."""
    facts: list[AnyFact] = []
    for step in open_steps(run) if run.waiting["signal"] else ():
        if step.on == "signal" and type_matches(step.ref, signal.type) and not _too_late(step.until, at, signal.at):
            facts += _hear(run, step, max(at, run.at), signal)
    return facts


def _hear(run: Run, step: Step, at: float, signal: Signal) -> list[AnyFact]:
    wanted = mapping(step.input).get("key")
    if wanted not in (None, "") and str(wanted) != signal.subject:
        return []
    about = {
        "id": signal.id,
        "type": signal.type,
        "source": signal.source,
        "subject": signal.subject,
        "at": signal.at,
        "data": signal.data,
    }
    test = step.program.node.test
    if test is not None:
        try:
            if not holds(run, step, step.program.condition(test), {"signal": about, "data": signal.data}):
                return []
        except ExpressionError as error:
            # What others send is not for this run to choose, so it must not fail of it; that it happened is said once.
            if any(kind == UNREADABLE for kind, *_ in step.notes or ()):
                return []
            return [StepNoted(at=at, path=step.path, kind=UNREADABLE, value=str(error), attempt=step.attempt)]
    return succeeded(run, step, at, about, port="received")


def child_finished(
    run: Run, at: float, *, path: str, child: str, status: str, output: Any = None, error: Failure | None = None
) -> list[AnyFact]:
    """What the end of a child run means to the step that waits for it."""
    step = run.steps.get(path)
    if step is None or step.on != "child" or step.ref != child:
        return []
    at = max(at, run.at)
    if step.work is not None and not (step.called_off and step.scope.closing):
        told = {"run": child, "status": status, "error": msgspec.to_builtins(error)}
        told |= {"blob": [output.digest, output.size]} if isinstance(output, Blob) else {"output": output}
        return [StepNoted(at=at, path=path, kind=CHILD_FINISHED, key=step.work.call, value=told, attempt=step.attempt)]
    if status == "completed" and step.work is None:
        return succeeded(run, step, at, output)
    if step.called_off:
        return _called_off(run, step, at)
    code: Code = error.code if error is not None else "INTERNAL"
    message = error.message if error is not None else status
    where = f"{path}/{error.path}" if error is not None and error.path else path
    failure = Failure(
        code,
        f"child run {child} {status}: {message}",
        hint=error.hint if error is not None else "",
        path=where,
        # A new child has its whole time again; what somebody cancelled or rejected is not asked for once more.
        retryable=error is None or error.retryable or status == "timeout",
        data={"run": child, "status": status},
    )
    return failed(run, step, at, failure)


def child_refused(run: Run, at: float, *, path: str, child: str, reason: str) -> list[AnyFact]:
    """The child run could not be started at all."""
    step = run.steps.get(path)
    if step is None or step.on != "child" or step.ref != child:
        return []
    if step.work is not None and not (step.called_off and step.scope.closing):
        error = {"code": "VALIDATION_ERROR", "message": reason}
        told = {"run": child, "status": "failed", "output": None, "error": error}
        return [
            StepNoted(
                at=max(at, run.at), path=path, kind=CHILD_FINISHED, key=step.work.call, value=told, attempt=step.attempt
            )
        ]
    if step.called_off:
        return _called_off(run, step, max(at, run.at))
    failure = Failure("VALIDATION_ERROR", reason, path=path, retryable=False)
    return [StepFailed(at=max(at, run.at), path=path, attempt=step.attempt, error=failure)]


def _called_off(run: Run, step: Step, at: float) -> list[AnyFact]:
    """The child run that was told to end has ended, or never began."""
    if step.scope.closing:
        cancelled = StepCancelled(at=at, path=step.path, reason=step.scope.closing)
        return [*forfeited(step, at, "the step was cancelled"), cancelled]
    late = Failure("TIMEOUT", f"child run {step.ref} did not finish in time and was cancelled", path=step.path)
    return failed(run, step, at, late, port="timeout")
