"""Executions: begun, listed, looked at, followed, controlled."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from fleetprompt.client.identity import checked_name
from fleetprompt.client.protocol import Console, StartRun
from fleetprompt.client.wording import rfc3339
from fleetprompt.daemon.access import USER, project
from fleetprompt.daemon.answers import page, read
from fleetprompt.daemon.events import KINDS, Position
from fleetprompt.daemon.models import (
    Answer,
    Execute,
    Execution,
    ExecutionHead,
    Reason,
    Resolution,
    RetryBody,
    Started,
    Status,
)
from fleetprompt.daemon.problems import HttpProblem
from fleetprompt.daemon.records import execution_head, execution_step, head_fields, plain
from fleetprompt.daemon.service import Caller, caller, service_of
from fleetprompt.daemon.streams import EventStream
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import InvalidInput, NotFound, Refused
from fleetprompt.engine.core.plan import Plan
from fleetprompt.engine.core.signal import Result
from fleetprompt.engine.ports import Page

router = APIRouter(tags=["executions"])

Asking = Annotated[Caller, Depends(caller)]
WorkflowId = Annotated[str, Path(min_length=1, max_length=200, description="Name of a workflow.")]
ExecutionId = Annotated[str, Path(min_length=1, max_length=200, description="Id of an execution.")]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str, Query(max_length=500)]
IdempotencyKey = Annotated[
    str, Header(alias="Idempotency-Key", max_length=200, description="A second request with it has the first's effect.")
]


@router.post("/api/workflows/{workflow_id}/execute", status_code=202)
@router.post("/agents/workflows/{workflow_id}/execute", status_code=202, include_in_schema=False)
async def execute(
    request: Request, asking: Asking, workflow_id: WorkflowId, body: Execute, idempotency_key: IdempotencyKey = ""
) -> Started:
    """Execute a workflow: it is durable when this is answered."""
    asking = on_behalf(request, asking, body.user_id)
    console = asking.console
    workflow = next((each for each in await console.workflows() if each.name == workflow_id), None)
    if workflow is None:
        raise NotFound(f"there is no workflow `{workflow_id}`", hint="GET /api/workflows lists them")
    trigger = body.trigger.model_dump(exclude_none=True)
    run = await console.start(
        StartRun(
            workflow=workflow_id,
            inputs=inputs_of(await console.plan(workflow.plan), body, trigger),
            project=project(request),
            session=body.session_id,
            key=f"http/{asking.name}/{workflow_id}/{idempotency_key}" if idempotency_key else "",
            by=asking.name,
            trigger=trigger,
        )
    )
    try:
        head = await console.run(run)
    except NotFound:
        # It is recorded, and no engine has taken it up yet.
        return Started(execution_id=run, workflow_id=workflow_id, status="pending", started_at=None)
    began = rfc3339(head.started_at or head.created_at)
    return Started(execution_id=run, workflow_id=workflow_id, status=head.status, started_at=began)


def on_behalf(request: Request, asking: Caller, user: str) -> Caller:
    """Who asks where the body says whom they ask for: it counts on this machine only, where no token says it. Raises
    `InvalidInput`."""
    if not user or asking.identity.credential or USER in request.headers:
        return asking
    identity = msgspec.structs.replace(asking.identity, name=checked_name(user, "user_id"))
    return Caller(identity, service_of(request).console_for(identity))


def inputs_of(plan: Plan, body: Execute, trigger: dict[str, Any]) -> dict[str, Any]:
    """The inputs of a run: of the trigger's fields and the context what the workflow declares, and all of `input`."""
    around = {name: value for name, value in {**trigger, **body.context}.items() if name in plan.inputs}
    return around | body.input


@router.get("/api/executions", response_model=list[ExecutionHead])
async def executions(
    request: Request,
    asking: Asking,
    workflow_id: Annotated[str, Query(max_length=200)] = "",
    status: Annotated[Status | Literal[""], Query()] = "",
    session_id: Annotated[str, Query(max_length=200)] = "",
    filter: Annotated[str, Query(max_length=2_000, description="In the filter language: `cost:>1 since:2h`.")] = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Response:
    """Executions, the newest first."""
    terms = [filter] if filter else []
    for field, value in (("workflow", workflow_id), ("status", status), ("session", session_id)):
        if value:
            terms.append(term(field, value))
    heads, following = await asking.console.runs(" ".join(terms), Page(limit=limit, cursor=cursor))
    return page(request, [execution_head(head) for head in heads], following)


def term(field: str, value: str) -> str:
    """A term of a filter that means exactly this value. Raises `InvalidInput` where there can be no such value."""
    if '"' in value or not value.isprintable():
        raise InvalidInput(f"`{value[:80]}` cannot be a {field}")
    return f'{field}:"{value}"'


@router.get("/agents/workflows/{workflow_id}/executions", include_in_schema=False)
async def executions_of(
    request: Request, asking: Asking, workflow_id: WorkflowId, limit: Limit = 50, cursor: Cursor = ""
) -> Response:
    """Executions of one workflow, the newest first."""
    return await executions(request, asking, workflow_id=workflow_id, limit=limit, cursor=cursor)


@router.get("/api/executions/{execution_id}", response_model=Execution)
@router.get("/agents/workflows/executions/{execution_id}", include_in_schema=False)
async def execution(request: Request, asking: Asking, execution_id: ExecutionId) -> Response:
    """One execution with its steps."""
    console = asking.console
    head = await console.run(execution_id)
    run = await console.state(execution_id)
    steps = [execution_step(step) for step in run.steps.values()]
    result = plain(run.output_blob if run.output_blob is not None else run.output)
    return read(request, Execution(**head_fields(head), steps=steps, result=result))


@router.get(
    "/api/executions/{execution_id}/stream",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {}}}, 204: {"description": "All was told already."}},
)
async def stream(
    request: Request,
    asking: Asking,
    execution_id: ExecutionId,
    events: Annotated[str, Query(max_length=200, description="Only these, separated by commas.")] = "",
    last_event_id: Annotated[str, Header(alias="Last-Event-ID", max_length=40)] = "",
) -> Response:
    """What happens in an execution, from its beginning or from after `Last-Event-ID`, and then live."""
    console = asking.console
    head = await console.run(execution_id)
    position = Position.read(last_event_id) if last_event_id else Position()
    if head.finished_at is not None and await _is_told(console, head.id, head.n, position):
        return Response(status_code=204)
    service = service_of(request)
    wanted = wanted_events(events)
    return EventStream(console, service.translated, service.closing, run=head.id, position=position, wanted=wanted)


async def _is_told(console: Console, run: str, n: int, position: Position) -> bool:
    last = await console.facts(run, after=n - 1)
    return bool(last) and position.after >= last[-1].seq


def wanted_events(text: str) -> frozenset[str]:
    """Names of events. Raises `HttpProblem` for an unknown one."""
    wanted = frozenset(filter(None, (name.strip() for name in text.split(","))))
    unknown = sorted(wanted - KINDS)
    if unknown:
        raise HttpProblem(422, f"there is no event `{unknown[0][:80]}`", hint=f"there are: {', '.join(sorted(KINDS))}")
    return wanted


@router.get(
    "/api/stream",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {}}}},
    tags=["executions"],
)
async def fleet_stream(
    request: Request,
    asking: Asking,
    filter: Annotated[str, Query(max_length=2_000, description="Only executions that match.")] = "",
    events: Annotated[str, Query(max_length=200, description="Only these, separated by commas.")] = "",
    last_event_id: Annotated[str, Header(alias="Last-Event-ID", max_length=40)] = "",
) -> Response:
    """What happens in all executions, from now or from after `Last-Event-ID`. It has no deltas."""
    console = asking.console
    if filter:
        await console.matching([], filter)
    position = Position.read(last_event_id) if last_event_id else Position(seq=await console.position() + 1)
    wanted = wanted_events(events)
    service = service_of(request)
    return EventStream(console, service.translated, service.closing, position=position, wanted=wanted, matching=filter)


# ---------------------------------------------------------------- control


def answered(result: Result) -> Answer:
    """The answer to a command. Raises `Refused`."""
    if result.status == "refused":
        raise Refused(result.reason)
    return Answer(status=result.status, execution_id=result.run, reason=result.reason, signal=result.signal)


@router.post("/api/executions/{execution_id}/cancel", status_code=202)
async def cancel(asking: Asking, execution_id: ExecutionId, body: Reason | None = None) -> Answer:
    """End an execution early."""
    return await _command(asking, types.CANCEL, execution_id, {"reason": body.reason if body else ""})


@router.post("/api/executions/{execution_id}/pause", status_code=202)
async def pause(asking: Asking, execution_id: ExecutionId, body: Reason | None = None) -> Answer:
    """Start nothing new in an execution until it is resumed."""
    return await _command(asking, types.PAUSE, execution_id, {"reason": body.reason if body else ""})


@router.post("/api/executions/{execution_id}/resume", status_code=202)
async def resume(asking: Asking, execution_id: ExecutionId) -> Answer:
    """Let a paused execution go on."""
    return await _command(asking, types.RESUME, execution_id, {})


@router.post("/api/executions/{execution_id}/retry", status_code=202)
async def retry(asking: Asking, execution_id: ExecutionId, body: RetryBody | None = None) -> Answer:
    """Do a finished execution again, from what went wrong or from a step: a new execution."""
    return await _command(
        asking, types.RETRY, execution_id, {"from": body.from_step} if body and body.from_step else {}
    )


@router.post("/api/executions/{execution_id}/resolve", status_code=202)
async def resolve(asking: Asking, execution_id: ExecutionId, body: Resolution) -> Answer:
    """Say what is known of a step of which nobody knows whether it happened."""
    data = {"path": body.step_id, "answer": body.answer, "output": body.output, "comment": body.comment}
    return await _command(asking, types.RESOLVE, execution_id, data)


async def _command(asking: Caller, type_: str, run: str, data: dict[str, Any]) -> Answer:
    head = await asking.console.run(run)
    return answered(await asking.console.command(type_, head.id, by=asking.name, data=data))
