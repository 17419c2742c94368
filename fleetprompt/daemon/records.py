"""Runs, steps and approvals in the words of the API, whose users call a run an execution. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fleetprompt.client.wording import NANO, rfc3339
from fleetprompt.daemon.models import AgentFigures, AgentWork, ApprovalRecord, ExecutionHead, ExecutionStep
from fleetprompt.daemon.step_ids import OWN, Ids
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import Blob, RunFinished, StepSucceeded
from fleetprompt.engine.core.mode import is_unreal
from fleetprompt.engine.core.plan import Plan
from fleetprompt.engine.core.state import Step
from fleetprompt.engine.ports import AgentStatistics, Approval, RunHead, Stored, Vote, Workflow


def head_fields(head: RunHead, ids: Ids = OWN) -> dict[str, Any]:
    """The fields of an execution that need nothing but its row."""
    failed = {"code": head.error_code, "message": head.error_message, "step_id": ids.shown(head.error_step)}
    return {
        "id": head.id,
        "workflow_id": head.workflow,
        "status": head.status,
        "started_at": rfc3339(head.started_at),
        "completed_at": rfc3339(head.finished_at),
        "created_at": rfc3339(head.created_at),
        "waiting_on": head.waiting_on,
        "step": ids.shown(head.step),
        "error": failed if head.error_code else None,
        "owner": head.owner,
        "project": head.project,
        "session_id": head.session,
        "trigger": head.trigger,
        "labels": head.labels,
        "cost_usd": paid(head.cost_nano, is_unreal(head.mode)),
        "tokens": head.tokens,
        "mode": head.mode,
    }


def execution_head(head: RunHead, last: Stored | None, ids: Ids = OWN) -> ExecutionHead:
    """An execution as lists have it. `last` is the last fact of one that is over."""
    result = outcome(last.fact) if last is not None and isinstance(last.fact, RunFinished) else None
    return ExecutionHead(**head_fields(head, ids), result=result)


def outcome(fact: RunFinished | StepSucceeded) -> Any:
    """What came out of a run or a step, or what stands for it where it is too large."""
    return reference(fact.blob) if fact.blob is not None else plain(fact.output)


def failure(error: Failure | None, ids: Ids = OWN) -> dict[str, Any] | None:
    """An error for machines; None for none."""
    if error is None:
        return None
    found: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.hint:
        found["hint"] = error.hint
    if error.path:
        found["step_id"] = ids.shown(error.path)
    if error.data is not None:
        found["data"] = error.data
    return found


def reference(blob: Blob) -> dict[str, Any]:
    """What stands for a value that is too large to be sent along, and where it is."""
    return {"ref": blob.digest, "size": blob.size, "url": f"/api/values/{blob.digest}"}


def execution_step(step: Step, ids: Ids = OWN) -> ExecutionStep:
    """A step of an execution."""
    return ExecutionStep(
        step_id=ids.shown(step.path),
        status=step.status,
        started_at=rfc3339(step.started_at),
        completed_at=rfc3339(step.finished_at),
        result=reference(step.blob) if step.blob is not None else plain(step.output),
        error=failure(step.error, ids),
    )


def plain(value: Any) -> Any:
    """A value with what was spilled shown as a reference."""
    return reference(value) if isinstance(value, Blob) else value


def shown(approval: Approval) -> Any:
    """What an approval shows: what its author chose, else all that will be executed."""
    if approval.show is not None:
        return plain(approval.show)
    return reference(approval.blob) if approval.blob is not None else approval.input


def approval_record(approval: Approval, votes: Sequence[Vote] = (), ids: Ids = OWN) -> ApprovalRecord:
    """A question to people, with the answers that it has so far."""
    return ApprovalRecord(
        id=approval.id,
        execution_id=approval.run,
        step_id=ids.shown(approval.path),
        message=approval.message,
        approvers=list(approval.approvers),
        barred=list(approval.barred),
        requested_at=rfc3339(approval.requested_at),
        expires_at=rfc3339(approval.until),
        status=approval.status,
        quorum=approval.quorum,
        digest=approval.digest,
        show=shown(approval),
        form=approval.form,
        votes=[
            {"by": vote.by, "decision": vote.decision, "at": rfc3339(vote.at), "comment": vote.comment, "via": vote.via}
            for vote in votes
        ],
    )


def agent_figures(figures: AgentStatistics, ids: Ids = OWN) -> AgentFigures:
    """What an agent has done. `ids` are those of the steps of the run in which it was at work last."""
    last = figures.last
    work = AgentWork(
        execution_id=last.run,
        workflow_id=last.workflow,
        step_id=ids.shown(last.path),
        status=last.status,
        goal=last.goal,
        started_at=rfc3339(last.started_at),
        completed_at=rfc3339(last.ended_at),
        seconds=last.active,
        requests=last.requests,
        tool_calls=last.tool_calls,
        tokens=last.tokens,
        cost_usd=paid(last.cost_nano, last.unreal),
        mode=last.mode,
        error_code=last.error_code,
    )
    return AgentFigures(
        statuses={**figures.statuses},
        success_rate=figures.success,
        requests=figures.requests,
        tool_calls=figures.tool_calls,
        tokens=figures.tokens,
        cost_usd=paid(figures.cost_nano, figures.unreal == figures.executions),
        uncertain_usd=figures.uncertain_nano / NANO,
        mean_seconds=figures.mean,
        p95_seconds=figures.p95,
        retries=figures.retries,
        simulated=figures.unreal,
        last=work,
    )


def paid(nano: int, unreal: bool) -> float | None:
    """Dollars; None where nothing real was paid for."""
    return None if unreal and not nano else nano / NANO


def workflow_fields(workflow: Workflow, plan: Plan, first_seen: float, name: str = "") -> dict[str, Any]:
    """The fields of a workflow. `name` is what its author calls it, where that is not its id."""
    return {
        "id": workflow.name,
        "name": name or workflow.name,
        "status": workflow.status,
        "created_at": rfc3339(first_seen),
        "updated_at": rfc3339(workflow.updated_at),
        "description": plan.description,
        "digest": workflow.plan,
        "file": workflow.file,
        "inputs": {name: _declared(declared) for name, declared in plan.inputs.items()},
    }


def _declared(declared: Any) -> Mapping[str, Any]:
    import msgspec

    return msgspec.to_builtins(declared)
