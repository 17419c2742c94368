"""Work that can be put aside: what goes on with it, what it asks people, and what became of what was under way.

What such a step does is recorded in its notes; the runtime performs it, and tells of it by the functions here.
"""

from __future__ import annotations

from typing import Any

from fleetprompt.engine.core.asking import who_is_barred
from fleetprompt.engine.core.codec import digest, mapping
from fleetprompt.engine.core.evolve_work import BROKEN_OFF, FAILED, RESUMED, SPARED
from fleetprompt.engine.core.facts import AnyFact, ApprovalRequested, StepInDoubt, StepNoted
from fleetprompt.engine.core.keys import call_approval_id
from fleetprompt.engine.core.starters import united
from fleetprompt.engine.core.state import Run, Step


def resumed(run: Run, step: Step, at: float) -> list[AnyFact]:
    """Go on with work that was put aside; nothing as long as its pool has no room."""
    if run.room is not None and not run.room(step):
        return []
    return [StepNoted(at=at, path=step.path, kind=RESUMED, attempt=step.attempt)]


def interrupted(run: Run, at: float) -> list[AnyFact]:
    """The facts after a crash: such work goes on, and the time until now does not count as its own."""
    return [
        StepNoted(at=max(at, run.at), path=step.path, kind=RESUMED, value={"after": "crash"}, attempt=step.attempt)
        for step in run.pending.values()
        if step.work is not None and step.status == "running"
    ]


def killed_told(who: Any) -> str:
    """What is said, after the rest, of a program that was left running and was killed; nothing where there was none."""
    if not who:
        return ""
    program = mapping(who)
    return f"; its program `{program.get('argv0', '')}` (pid {program.get('pid')}) still ran, and was killed"


def forfeited(step: Step, at: float, reason: str) -> list[AnyFact]:
    """What may have been spent on what is broken off: all that was reserved for it is uncertain. What was only kept in
    reserve is given back."""
    if step.work is None:
        return []
    spares: list[AnyFact] = [
        StepNoted(
            at=at,
            path=step.path,
            kind=SPARED,
            key=key,
            value={"settle": {"id": mapping(kept.get("reserve")).get("id")}},
            attempt=step.attempt,
        )
        for key, kept in step.work.spares.items()
    ]
    return [*(forfeit(step, key, at, reason) for key in step.work.held), *spares]


def forfeit(step: Step, key: str, at: float, reason: str) -> StepNoted:
    """The same for one of them."""
    assert step.work is not None
    started = step.work.held[key]
    reserve = mapping(started.get("reserve"))
    amounts = mapping(reserve.get("amounts"))
    value: dict[str, Any] = {"reason": reason, "settle": {"id": reserve.get("id"), "uncertain": amounts}}
    if "action" in started:
        value["action"] = mapping(started["action"]) | {"status": "cancelled"}
    kind = BROKEN_OFF
    if "model" in started:
        kind = f"{started['what']}.failed" if "what" in started else FAILED
        value["model"] = started["model"]
        value["uncertain_nano"] = int(amounts.get("cost_nano", 0))
        value["uncertain_tokens"] = int(amounts.get("tokens", 0))
    return StepNoted(at=at, path=step.path, kind=kind, key=key, value=value, attempt=step.attempt)


def ask_about_call(
    run: Run,
    step: Step,
    at: float,
    *,
    call: str,
    about: str,
    message: str,
    show: Any,
    input: Any = None,
    form: dict[str, Any] | None = None,
    approvers: tuple[str, ...] = (),
    excludes: tuple[str, ...] = (),
    quorum: int = 1,
    seconds: float | None = None,
    on_timeout: str = "reject",
    escalate: dict[str, Any] | None = None,
) -> ApprovalRequested:
    """A question in the middle of the work of a step. `seconds`: how long it waits for an answer; None: for ever.

    What is approved is bound to the digest of what is shown and of what would be done. Whom the step's own approval has
    kept out grants it no more budget either.
    """
    if about == "budget" and step.gate is not None:
        excludes = united(excludes, step.gate.excludes)
    return ApprovalRequested(
        at=at,
        path=step.path,
        id=call_approval_id(run, step.path, step.attempt, call),
        digest=digest([step.path, call, about, message, show, input]),
        message=message,
        show=show,
        approvers=approvers,
        excludes=excludes,
        barred=who_is_barred(run, excludes),
        quorum=quorum,
        form=form or {},
        until=at + seconds if seconds is not None else None,
        on_timeout="escalate" if escalate else on_timeout,
        input=input,
        call=call,
        about=about,
        escalate=escalate or {},
    )


def call_in_doubt(step: Step, call: str, at: float, reason: str) -> StepInDoubt:
    """Nobody knows whether a call happened, and it must not be repeated: an operator has to say."""
    return StepInDoubt(at=at, path=step.path, attempt=step.attempt, reason=reason, call=call)
