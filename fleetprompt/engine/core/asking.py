"""Asking people: what a request holds, what an approval is bound to, and whom to ask when nobody answers."""

from __future__ import annotations

from typing import Any

import msgspec

from fleetprompt.engine.core import starters
from fleetprompt.engine.core.codec import digest, mapping
from fleetprompt.engine.core.errors import FleetError, InvalidInput
from fleetprompt.engine.core.facts import AnyFact, ApprovalRequested, Blob
from fleetprompt.engine.core.gate import Gate
from fleetprompt.engine.core.keys import approval_id
from fleetprompt.engine.core.rendered import (
    RUN_STARTER,
    Secrets,
    excluded,
    loaded,
    people,
    quorum,
    quorum_problem,
    render_config,
    timeout,
)
from fleetprompt.engine.core.state import Run, Step


def ask_first(run: Run, step: Step, at: float) -> list[AnyFact]:
    """Ask before the step: what is approved is exactly its rendered input.

    Raises `ExpressionError`, `InvalidInput` and `NeedsValue`.
    """
    node = step.program.node
    assert node.approval is not None
    config, secrets = render_config(run, step, step.program.config)
    try:
        settings, _ = render_config(run, step, step.program.value(node.approval))
        request = _request(run, step, at, {**settings, "show": _shown(step, settings, config)}, 1)
    except FleetError as error:
        error.where = f"/approval{error.where}"
        raise
    bound = _bound(step, request, config, secrets)
    return [msgspec.structs.replace(request, digest=bound, input=config, secrets=secrets)]


def _shown(step: Step, settings: dict[str, Any], config: Any) -> Any:
    node = step.program.node
    if "show" in settings or node.kind == "approval":
        return settings.get("show")
    return {"type": node.type, **mapping(config)}


def _bound(step: Step, request: ApprovalRequested, config: Any, secrets: Secrets) -> str:
    """Digest of exactly what is shown and will be executed."""
    node = step.program.node
    if node.kind == "approval":
        return digest([step.path, request.message, request.show, request.form, list(request.approvers)])
    return digest([step.path, node.type, config, secrets, request.message, request.show])


def ask(run: Run, step: Step, at: float, config: dict[str, Any], attempt: int) -> ApprovalRequested:
    """The request of an `approval` step. Raises `InvalidInput` for what was computed and cannot be used."""
    request = _request(run, step, at, config, attempt)
    return msgspec.structs.replace(request, digest=_bound(step, request, config, {}))


def _request(run: Run, step: Step, at: float, config: dict[str, Any], attempt: int) -> ApprovalRequested:
    seconds = timeout(config)
    approvers, wanted = people(config, "approvers"), quorum(config)
    excludes = excluded(config, "approvers")
    barred = who_is_barred(run, excludes)
    _check_quorum(wanted, approvers, barred, "/quorum")
    return ApprovalRequested(
        at=at,
        path=step.path,
        id=approval_id(run, step.path, attempt),
        digest="",
        message=str(config.get("message") or f"Approve {step.path}?"),
        show=config.get("show"),
        approvers=approvers,
        excludes=excludes,
        barred=barred,
        quorum=wanted,
        form=config.get("form") or {},
        until=at + seconds if seconds is not None else None,
        on_timeout=str(config.get("on_timeout") or "reject"),
    )


def who_is_barred(run: Run, excludes: tuple[str, ...]) -> tuple[str, ...]:
    """The identities that may not decide, where a question `excludes` somebody."""
    created = run.created
    return starters.of_run(created) if created is not None and RUN_STARTER in excludes else ()


def _check_quorum(wanted: int, approvers: tuple[str, ...], barred: tuple[str, ...], where: str) -> None:
    problem = quorum_problem(wanted, approvers, barred)
    if problem:
        raise InvalidInput(problem, where=where, hint="name more people, or a group")


def escalation(run: Run, step: Step, gate: Gate, at: float) -> ApprovalRequested | None:
    """The request to the next level of an approval; None when there is no next level. Raises as `ask_first` does."""
    if gate.call:
        # Whom to ask next came with the question: a step that asks in the middle of its work has it not in its plan.
        return _next_level(run, step, gate, at, gate.escalate)
    node = step.program.node
    compiled = step.program.config if node.kind == "approval" else step.program.value(node.approval)
    config, _ = render_config(run, step, compiled)
    request = _next_level(run, step, gate, at, mapping(config.get("escalate")))
    if request is None:
        return None
    # What is shown may differ from what was shown before, where it depends on variables.
    executed = loaded(run, gate.input) if isinstance(gate.input, Blob) else gate.input
    shown = msgspec.structs.replace(request, show=_shown(step, config, executed), secrets=gate.secrets)
    return msgspec.structs.replace(shown, digest=_bound(step, shown, executed, gate.secrets))


def _next_level(run: Run, step: Step, gate: Gate, at: float, to: dict[str, Any]) -> ApprovalRequested | None:
    """The same question, to others."""
    if gate.level >= 1 or not to:
        return None
    seconds = timeout(to, "/escalate")
    approvers, (excludes, barred) = people(to, "to", "/escalate"), _still_barred(run, gate, to)
    _check_quorum(gate.quorum, approvers, barred, "/escalate/to")
    return ApprovalRequested(
        at=at,
        path=step.path,
        id=gate.id,
        digest=gate.digest,
        message=gate.message,
        show=gate.show,
        approvers=approvers,
        excludes=excludes,
        barred=barred,
        quorum=gate.quorum,
        form=gate.form,
        until=at + seconds if seconds is not None else None,
        on_timeout=str(to.get("on_timeout") or "reject"),
        level=gate.level + 1,
        input=None if isinstance(gate.input, Blob) else gate.input,
        blob=gate.input if isinstance(gate.input, Blob) else None,
        call=gate.call,
        about=gate.about,
    )


def _still_barred(run: Run, gate: Gate, to: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Whom the next level excludes: who was before, for a question is not given to somebody by nobody answering it."""
    excludes = starters.united(gate.excludes, excluded(to, "to"))
    return excludes, who_is_barred(run, excludes)
