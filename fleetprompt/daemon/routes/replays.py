"""Replays of many signals, dead letters and deliveries: what came to nothing, done again or let be."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from fleetprompt.client.protocol import ReplayRange
from fleetprompt.client.wording import rfc3339
from fleetprompt.daemon.answers import page, read
from fleetprompt.daemon.routes.executions import Asking, Cursor, Limit
from fleetprompt.engine.core.dead_letter import DeadLetter
from fleetprompt.engine.core.delivery import Delivery
from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.ports import Page

router = APIRouter(tags=["signals"])
LetterId = Annotated[str, Path(min_length=1, max_length=200, description="Id of a dead letter.")]


class DeadLetterRecord(BaseModel):
    """A signal that did not get to one place."""

    id: str
    status: str
    kind: str
    target: str
    trigger: str
    signal_id: str
    type: str
    source: str
    code: str
    reason: str
    attempts: int
    time: str | None
    settled_at: str | None
    by: str


class LetterOutcome(BaseModel):
    """What came of trying it again."""

    id: str
    status: str
    execution_id: str
    reason: str


class ReplayRequest(BaseModel):
    """Which signals are said again, and to whom."""

    model_config = ConfigDict(extra="forbid")

    filter: str = Field(min_length=1, max_length=2_000)
    """In the filter language: `type:deploy.* since:2h`."""
    workflow_id: str = Field("", max_length=200)
    limit: int = Field(1000, ge=1, le=10_000)
    deliver: bool = False
    """Subscriptions hear again of what the executions do that are started."""
    dry_run: bool = False


class Prevented(BaseModel):
    """Why a workflow would not be started."""

    workflow_id: str
    reason: str
    signals: int


class ReplayReport(BaseModel):
    """What came of a replay, or would come of it."""

    dry_run: bool
    signals: int
    """That match and can be said again."""
    replayed: int
    before: int
    """That this replay had said again before."""
    refused: int
    """Of those replayed, how many could not start something: see the dead letters."""
    starts: dict[str, int]
    """Executions that were foreseen, by workflow."""
    problems: list[Prevented]
    silent: int
    left_out: int


@router.post("/api/signals/replay", status_code=202)
async def replay_range(
    asking: Asking,
    wanted: ReplayRequest,
    idempotency_key: Annotated[str, Header(alias="Idempotency-Key", max_length=200)] = "",
) -> ReplayReport:
    """Publish copies of many signals, the oldest first. Sent again with the same key, or without one word for word, it
    says nothing twice, and goes on where it was interrupted."""
    asked = ReplayRange(
        filter=wanted.filter,
        limit=wanted.limit,
        only=wanted.workflow_id,
        deliver=wanted.deliver,
        key=idempotency_key,
    )
    foreseen = await asking.console.foresee_replay(asked)
    replayed = refused = 0
    if not wanted.dry_run:
        async for published in asking.console.replay_range(asked, by=asking.name):
            if not published.duplicate:
                replayed += 1
                refused += any(result.status == "refused" for result in published.results)
    return ReplayReport(
        dry_run=wanted.dry_run,
        signals=foreseen.signals,
        replayed=replayed,
        before=foreseen.before,
        refused=refused,
        starts=foreseen.starts,
        problems=[Prevented(workflow_id=name, reason=why, signals=n) for name, why, n in foreseen.problems],
        silent=foreseen.silent,
        left_out=foreseen.own + foreseen.copies,
    )


@router.get("/api/signals/dead-letters", response_model=list[DeadLetterRecord])
async def dead_letters(
    request: Request,
    asking: Asking,
    filter: Annotated[str, Query(max_length=2_000, description="In the filter language: `wf:deploy`.")] = "status:dead",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Response:
    """Signals that could not start a workflow, or be delivered to a subscription; the newest first."""
    found, following = await asking.console.dead_letters(filter, Page(limit=limit, cursor=cursor))
    return page(request, [_record(letter) for letter in found], following)


@router.get("/api/signals/dead-letters/{letter_id}", response_model=DeadLetterRecord)
async def dead_letter(request: Request, asking: Asking, letter_id: LetterId) -> Response:
    """One of them."""
    return read(request, _record(await asking.console.dead_letter(letter_id)))


class DeliveryRecord(BaseModel):
    """A signal on its way to a subscription."""

    id: str
    """Also the `webhook-id` of every attempt."""
    status: str
    subscription: str
    signal_id: str
    type: str
    source: str
    attempts: int
    http_status: int | None
    code: str
    reason: str
    created_at: str | None
    tried_at: str | None
    due_at: str | None


@router.get("/api/signals/deliveries", response_model=list[DeliveryRecord])
async def deliveries(
    request: Request,
    asking: Asking,
    filter: Annotated[str, Query(max_length=2_000, description="In the filter language: `status:pending`.")] = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Response:
    """What is on its way to subscriptions, and what was delivered; the newest first."""
    found, following = await asking.console.deliveries(filter, Page(limit=limit, cursor=cursor))
    return page(request, [_delivery(each) for each in found], following)


def _delivery(delivery: Delivery) -> DeliveryRecord:
    pending = delivery.status == "pending"
    return DeliveryRecord(
        id=delivery.id,
        status=delivery.status,
        subscription=delivery.subscription,
        signal_id=delivery.signal,
        type=delivery.type,
        source=delivery.source,
        attempts=delivery.attempts,
        http_status=delivery.http or None,
        code=delivery.code,
        reason=delivery.reason,
        created_at=rfc3339(delivery.created_at),
        tried_at=rfc3339(delivery.at) if delivery.at else None,
        due_at=rfc3339(delivery.due) if pending else None,
    )


@router.post("/api/signals/dead-letters/{letter_id}/replay", status_code=202)
async def replay_letter(asking: Asking, letter_id: LetterId) -> LetterOutcome:
    """Try again what it is about, for the place alone that missed it."""
    result = await asking.console.replay_letter(letter_id, by=asking.name)
    # What starts nothing has no execution: then it is the workflow that the result names.
    run = result.run if result.status == "accepted" else ""
    return LetterOutcome(id=letter_id, status=result.status, execution_id=run, reason=result.reason)


@router.post("/api/signals/dead-letters/{letter_id}/dismiss")
async def dismiss_letter(asking: Asking, letter_id: LetterId) -> LetterOutcome:
    """Let it be."""
    letter = await asking.console.dead_letter(letter_id)
    result = await asking.console.dismiss_letters([letter.id], by=asking.name)
    if result.status == "refused":
        raise Refused(result.reason)
    return LetterOutcome(id=letter_id, status=result.status, execution_id="", reason=result.reason)


def _record(letter: DeadLetter) -> DeadLetterRecord:
    return DeadLetterRecord(
        id=letter.id,
        status=letter.status,
        kind=letter.kind,
        target=letter.target,
        trigger=letter.trigger,
        signal_id=letter.signal,
        type=letter.type,
        source=letter.source,
        code=letter.code,
        reason=letter.reason,
        attempts=letter.attempts,
        time=rfc3339(letter.at),
        settled_at=rfc3339(letter.settled_at) if letter.settled_at is not None else None,
        by=letter.by,
    )
