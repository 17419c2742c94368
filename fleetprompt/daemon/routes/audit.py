"""The audit log over HTTP: for administrators, that of their tenant."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from fleetprompt.client.wording import rfc3339
from fleetprompt.daemon.answers import page, read
from fleetprompt.daemon.routes.executions import Asking, Limit
from fleetprompt.engine.core.audit import AuditEntry, note_fields
from fleetprompt.engine.ports.audit import AuditQuery

router = APIRouter(tags=["service"])
Text = Annotated[str, Query(max_length=300)]


class AuditRecord(BaseModel):
    """What somebody did, or was refused."""

    seq: int
    at: str | None
    by: str
    role: str
    via: str
    credential: str
    action: str
    kind: str
    object: str
    outcome: Literal["done", "refused"]
    code: str
    detail: str
    count: int
    prev: str
    hash: str


class AuditVerdict(BaseModel):
    """What a walk through the chain has found."""

    ok: bool
    entries: int
    head: str
    broken: int
    problem: str


@router.get("/api/audit", response_model=list[AuditRecord])
async def audit(
    request: Request,
    asking: Asking,
    since: Annotated[float, Query(ge=0, le=1e11, description="Epoch seconds.")] = 0.0,
    by: Text = "",
    action: Text = "",
    object: Text = "",
    outcome: Literal["", "done", "refused"] = "",
    before: Annotated[int, Query(ge=0, le=2**53, description="Only entries before this `seq`: the next page.")] = 0,
    limit: Limit = 100,
) -> Response:
    """Entries of the audit log, the newest first."""
    query = AuditQuery(since=since, by=by, action=action, object=object, outcome=outcome, before=before, limit=limit)
    found = [_record(entry) for entry in await asking.console.audit(query)]
    return page(request, found, str(found[-1].seq) if len(found) == limit else "", "before")


@router.get("/api/audit/verify", response_model=AuditVerdict)
async def verify(
    request: Request, asking: Asking, head: Annotated[str, Query(pattern="^([0-9a-f]{64})?$")] = ""
) -> Response:
    """Walk through the whole chain. `head`: one that was kept elsewhere, which has to be in it."""
    found = await asking.console.verify_audit(head)
    said = AuditVerdict(ok=found.ok, entries=found.entries, head=found.head, broken=found.broken, problem=found.problem)
    return read(request, said)


def _record(entry: AuditEntry) -> AuditRecord:
    told = {"seq": entry.seq, **note_fields(entry), "prev": entry.prev, "hash": entry.hash, "at": rfc3339(entry.at)}
    return AuditRecord(**{name: told[name] for name in AuditRecord.model_fields})
