"""Signals: published as CloudEvents or plainly, listed, looked at."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Path, Query, Request, Response

from fleetprompt.client.store_console import new_id
from fleetprompt.client.wording import rfc3339
from fleetprompt.daemon.answers import page, read
from fleetprompt.daemon.models import Outcome, PlainSignal, PublishedSignal, SignalRecord
from fleetprompt.daemon.problems import HttpProblem
from fleetprompt.daemon.routes.executions import Asking, Cursor, Limit
from fleetprompt.daemon.service import Caller
from fleetprompt.engine.core import cloudevents, cloudevents_http, tracing
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports import Page

router = APIRouter(tags=["signals"])
intake = APIRouter(tags=["signals"])
"""What is asked most often by far: looked at before all other routes, one after another as they are."""
MOST_SIGNAL = 2 * 1024 * 1024
"""Bytes of a signal as it is sent; its data may have half of that."""
SignalId = Annotated[str, Path(min_length=1, max_length=200, description="Id of a signal.")]
_EVENT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": PlainSignal.model_json_schema()},
            cloudevents_http.STRUCTURED: {"schema": {"type": "object", "description": "A CloudEvent 1.0, structured."}},
        },
    }
}


@intake.post("/api/signals", status_code=202, openapi_extra=_EVENT)
async def publish(
    request: Request,
    asking: Asking,
    idempotency_key: Annotated[str, Header(alias="Idempotency-Key", max_length=200)] = "",
) -> PublishedSignal:
    """Publish a signal: a CloudEvent (structured, or binary in `ce-` headers), or its fields as JSON. It is durable
    when this is answered."""
    body = await request.body()
    if len(body) > MOST_SIGNAL:
        raise HttpProblem(413, f"a signal may have {MOST_SIGNAL:,} bytes")
    signal = _read(request, asking, body)
    trace = request.headers.get("traceparent", "")
    if not signal.traceparent and tracing.parse(trace) is not None:
        signal = msgspec.structs.replace(signal, traceparent=trace.strip())
    if idempotency_key:
        signal = _keyed(signal, idempotency_key)
    stored, duplicate = await asking.console.publish(signal)
    return PublishedSignal(id=stored.id, type=stored.type, duplicate=duplicate, sequence=stored.sequence)


def _read(request: Request, asking: Caller, body: bytes) -> Signal:
    pairs = request.headers.items()
    tenant, now = asking.identity.tenant, time.time()
    if cloudevents_http.mode(pairs) is not None:
        return cloudevents.admitted(cloudevents_http.read(pairs, body, now), tenant=tenant, by=asking.name, now=now)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HttpProblem(415, f"send application/json, or a CloudEvent: {cloudevents_http.STRUCTURED} or ce- headers")
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise HttpProblem(400, "the body is not JSON") from None
    plain = PlainSignal.model_validate(given)
    return Signal(
        id=new_id(),
        type=plain.type,
        source=plain.source or f"http/{asking.name}",
        at=now,
        data=plain.data,
        subject=plain.subject,
        tenant=tenant,
        key=plain.key,
        correlation=plain.correlation,
        by=asking.name,
    )


def _keyed(signal: Signal, key: str) -> Signal:
    if signal.key and signal.key != key:
        raise InvalidInput("the signal has another key than the header Idempotency-Key")
    return msgspec.structs.replace(signal, key=key)


@router.get("/api/signals", response_model=list[SignalRecord])
async def signals(
    request: Request,
    asking: Asking,
    filter: Annotated[str, Query(max_length=2_000, description="In the filter language: `type:deploy.*`.")] = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Response:
    """Signals, the newest first."""
    found, following = await asking.console.signals(filter, Page(limit=limit, cursor=cursor))
    return page(request, [_record(signal) for signal in found], following)


@router.get("/api/signals/{signal_id}", response_model=SignalRecord)
async def signal(request: Request, asking: Asking, signal_id: SignalId) -> Response:
    """One signal, and what came of it."""
    found, routed, results = await asking.console.signal(signal_id)
    record = _record(found)
    record.routed = routed
    record.outcomes = [_outcome(found, each) for each in results]
    return read(request, record)


def _outcome(signal: Signal, result: Result) -> Outcome:
    # What starts nothing has no run of its own: then it is the workflow that the result names.
    of_run = result.status == "accepted" or signal.type in types.OF_RUNS
    named = {"execution_id": result.run} if of_run else {"workflow_id": result.run}
    return Outcome(status=result.status, reason=result.reason, **named)


@router.post("/api/signals/{signal_id}/replay", status_code=202)
async def replay(asking: Asking, signal_id: SignalId) -> PublishedSignal:
    """Publish a copy of a signal: it starts what it would start today."""
    again = await asking.console.replay(signal_id, by=asking.name)
    stored = again.signal
    return PublishedSignal(id=stored.id, type=stored.type, duplicate=again.duplicate, sequence=stored.sequence)


def _record(signal: Signal) -> SignalRecord:
    return SignalRecord(
        id=signal.id,
        type=signal.type,
        source=signal.source,
        time=rfc3339(signal.at),
        subject=signal.subject,
        data=signal.data,
        key=signal.key,
        correlation=signal.correlation,
        causation=signal.causation,
        by=signal.by,
        sequence=signal.sequence,
    )
