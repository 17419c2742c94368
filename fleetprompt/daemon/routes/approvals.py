"""Approvals: what waits for people, and their decisions."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from fleetprompt.daemon.answers import page, read
from fleetprompt.daemon.models import Answer, ApprovalRecord, Decision
from fleetprompt.daemon.records import approval_record
from fleetprompt.daemon.routes.executions import Asking, Cursor, ExecutionId, Limit, answered, term
from fleetprompt.daemon.service import Caller
from fleetprompt.daemon.step_ids import OWN
from fleetprompt.daemon.values import Room
from fleetprompt.engine.core.errors import NotFound, Refused
from fleetprompt.engine.ports import Page

router = APIRouter(tags=["approvals"])
ApprovalId = Annotated[str, Path(min_length=1, max_length=200, description="Id of an approval.")]


@router.get("/api/approvals", response_model=list[ApprovalRecord])
async def approvals(
    request: Request,
    asking: Asking,
    status: Annotated[Literal["pending", "approved", "rejected", "failed", "withdrawn", ""], Query()] = "",
    execution_id: Annotated[str, Query(max_length=200)] = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Response:
    """Approvals, the oldest first."""
    terms = [term(field, value) for field, value in (("status", status), ("run", execution_id)) if value]
    found, following = await asking.console.approvals(
        " ".join(terms), Page(limit=limit, cursor=cursor, oldest_first=True)
    )
    whole = await asking.console.approvals_of([each.id for each in found])
    votes = {approval.id: votes for approval, votes in whole}
    heads = await asking.console.matching([*dict.fromkeys(each.run for each in found)], "")
    ids = {head.id: await asking.ids(head.plan) for head, _ in heads}
    rows = [approval_record(each, votes.get(each.id, ()), ids.get(each.run, OWN)) for each in found]
    return page(request, rows, following)


@router.get("/api/approvals/{approval_id}", response_model=ApprovalRecord)
async def approval(request: Request, asking: Asking, approval_id: ApprovalId) -> Response:
    """One approval: exactly what is shown and will be executed."""
    found, votes = await asking.console.approval(approval_id)
    head = await asking.console.run(found.run)
    record = approval_record(found, votes, await asking.ids(head.plan))
    if found.show is None and found.blob is not None:
        record.show = await Room(asking.console).whole(found.blob)
    return read(request, record)


@router.post("/api/approvals/{approval_id}")
async def decide(asking: Asking, approval_id: ApprovalId, body: Decision) -> Answer:
    """Decide about it: 403 for who may not, 409 for a second decision."""
    found, _ = await asking.console.approval(approval_id)
    if found.id != approval_id:
        raise NotFound(f"there is no approval {approval_id}")
    return await _decide(asking, found.id, body)


@router.post("/agents/workflows/executions/{execution_id}/approve")
async def approve(asking: Asking, execution_id: ExecutionId, body: Decision | None = None) -> Answer:
    """Decide about what an execution asks at the moment."""
    head = await asking.console.run(execution_id)
    terms = f"{term('run', head.id)} status:pending"
    found, _ = await asking.console.approvals(terms, Page(limit=2, oldest_first=True))
    if not found:
        raise Refused(f"execution {head.id} asks nothing", hint="GET /api/approvals lists what is asked")
    if len(found) > 1:
        raise Refused(f"execution {head.id} asks several things", hint="decide each: POST /api/approvals/{id}")
    return await _decide(asking, found[0].id, body or Decision(decision="approved"))


async def _decide(asking: Caller, approval: str, body: Decision) -> Answer:
    return answered(
        await asking.console.vote(
            approval,
            body.decision,
            by=asking.name,
            comment=body.comment or "",
            values=body.values or {},
            digest=body.digest or "",
            via="http",
        )
    )
