"""Executions: begun, listed, looked at, followed, controlled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from fleetprompt.client.identity import Forbidden, checked_name
from fleetprompt.client.matching import RunFilter
from fleetprompt.client.protocol import Console, StartRun
from fleetprompt.client.saying import Message, takes_messages
from fleetprompt.client.wording import rfc3339
from fleetprompt.daemon.access import USER, peer, project
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
    TriggerBody,
)
from fleetprompt.daemon.problems import HttpProblem
from fleetprompt.daemon.records import execution_head, execution_step, head_fields
from fleetprompt.daemon.service import Caller, caller, service_of
from fleetprompt.daemon.streams import ExecutionStream, FleetStream
from fleetprompt.daemon.values import Room
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import FleetError, InvalidInput, NotFound, Refused
from fleetprompt.engine.core.plan import Plan
from fleetprompt.engine.core.signal import Result
from fleetprompt.engine.ports import Page

if TYPE_CHECKING:
    from fleetprompt.client.importing import Origin

MOST_TRACE = 512
"""Characters of a `traceparent`: what is longer is none."""
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
@router.post("/agents/workflows/{workflow_id}/execute", status_code=202)
async def execute(
    request: Request,
    asking: Asking,
    workflow_id: WorkflowId,
    body: Execute | None = None,
    idempotency_key: IdempotencyKey = "",
) -> Started:
    """Execute a workflow: it is durable when this is answered."""
    body = body or Execute()
    asking = await on_behalf(request, asking, body.user_id or "")
    console = asking.console
    workflow = await console.workflow(workflow_id)
    cause, context, given = body.trigger or TriggerBody.model_validate({}), body.context or {}, body.input or {}
    trigger = cause.model_dump(exclude_none=True)
    session, trace = body.session_id or "", request.headers.get("traceparent", "")[:MOST_TRACE]
    origin = await asking.origin(workflow.plan)
    plan = await console.plan(workflow.plan)
    key = f"http/{asking.name}/{workflow_id}/{idempotency_key}" if idempotency_key else ""
    if cause.kind == "chat" and cause.current_message and origin is None and takes_messages(plan):
        message = Message(
            text=cause.current_message,
            session=session,
            history=trigger.get("history"),
            fields={**trigger, **context, **given},
            project=project(request),
            key=key,
            traceparent=trace,
        )
        run = await console.say(workflow_id, message, by=asking.name)
    else:
        wish = StartRun(
            workflow=workflow_id,
            inputs=inputs_of(plan, {**trigger, **context}, given, origin),
            project=project(request),
            session=session,
            key=key,
            by=asking.name,
            trigger=trigger,
            traceparent=trace,
        )
        run = await console.start(wish)
    try:
        head = await console.run(run)
    except NotFound:
        # It is recorded, and no engine has taken it up yet.
        return Started(execution_id=run, workflow_id=workflow_id, status="pending", started_at=None)
    began = rfc3339(head.started_at or head.created_at)
    return Started(execution_id=run, workflow_id=workflow_id, status=head.status, started_at=began)


async def on_behalf(request: Request, asking: Caller, user: str) -> Caller:
    """Who asks where the body says whom they ask for: it counts on this machine only, and where nobody shows who they
    are. Raises `InvalidInput`, `HttpProblem`."""
    if not user or asking.identity.credential or USER in request.headers or peer(request) is not None:
        return asking
    service = service_of(request)
    await service.access.require_claims()
    return service.caller(msgspec.structs.replace(asking.identity, name=checked_name(user, "user_id")))


def inputs_of(plan: Plan, around: dict[str, Any], own: dict[str, Any], origin: Origin | None) -> dict[str, Any]:
    """The inputs of a run: of the trigger's fields and the context (`around`) what the workflow declares, and all of
    its own.

    For a workflow of another system (`origin`), where nothing is declared, `input` is all of it taken together.
    """
    if origin is None:
        return {name: value for name, value in around.items() if name in plan.inputs} | own
    from fleetprompt.client.importing import EVERYTHING  # Most daemons have no workflow of another system.

    whole = around | own
    given = {origin.inputs.get(name, name): value for name, value in whole.items() if name != EVERYTHING}
    if EVERYTHING in origin.inputs:
        given[origin.inputs[EVERYTHING]] = whole
    # What no expression reads is none of its inputs.
    return {name: value for name, value in given.items() if name in plan.inputs}


@router.get("/api/executions", response_model=list[ExecutionHead])
async def executions(
    request: Request,
    asking: Asking,
    workflow_id: Annotated[str, Query(max_length=200)] = "",
    status: Annotated[Literal[Status, ""], Query()] = "",
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
    # The last fact of one that is over says what came of it.
    last = await asking.console.last_facts([head.id for head in heads if head.finished_at is not None])
    rows = [execution_head(head, last.get(head.id), await asking.ids(head.plan)) for head in heads]
    return page(request, rows, following)


def term(field: str, value: str) -> str:
    """A term of a filter that means exactly this value. Raises `InvalidInput` where there can be no such value."""
    if '"' in value or not value.isprintable():
        raise InvalidInput(f"`{value[:80]}` cannot be a {field}")
    return f'{field}:"{value}"'


@router.get("/agents/workflows/{workflow_id}/executions", response_model=list[ExecutionHead])
async def executions_of(
    request: Request, asking: Asking, workflow_id: WorkflowId, limit: Limit = 50, cursor: Cursor = ""
) -> Response:
    """Executions of one workflow, the newest first."""
    await asking.console.workflow(workflow_id)
    return await executions(request, asking, workflow_id=workflow_id, limit=limit, cursor=cursor)


@router.get("/api/executions/{execution_id}", response_model=Execution)
@router.get("/agents/workflows/executions/{execution_id}", response_model=Execution)
async def execution(request: Request, asking: Asking, execution_id: ExecutionId) -> Response:
    """One execution with its steps. Large results are in it as far as there is room, else as `{ref, size, url}`."""
    console = asking.console
    head = await console.run(execution_id)
    run = await console.state(head.id)
    ids = await asking.ids(head.plan)
    room = Room(console)
    result = await room.whole(run.output_blob if run.output_blob is not None else run.output)
    steps = [execution_step(step, ids) for step in run.steps.values()]
    for shown, step in zip(steps, run.steps.values(), strict=True):
        shown.result = await room.whole(step.blob if step.blob is not None else step.output)
    return read(request, Execution(**head_fields(head, ids), steps=steps, result=result))


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
    service = service_of(request)
    position, reset = await _position(asking, last_event_id, Position())
    if head.finished_at is not None and await _is_told(console, head.id, head.n, position):
        return Response(status_code=204)
    wanted, ids = wanted_events(events), await asking.ids(head.plan)
    return ExecutionStream(service, asking, head.id, ids, position=position, wanted=wanted, reset=reset)


async def _position(asking: Caller, last: str, otherwise: Position) -> tuple[Position, bool]:
    """Where a stream goes on, and whether the listener was where nothing is: in a store that was put back since. Raises
    `InvalidInput`."""
    if not last:
        return otherwise, False
    position = Position.read(last)
    reset = position.after > await asking.console.position()
    return (otherwise if reset else position), reset


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
    """What happens in all executions, from now or from after `Last-Event-ID`. What models are saying is told to who
    names `delta` or `progress` in `events`."""
    chosen = RunFilter(filter) if filter else None
    wanted = wanted_events(events)
    service = service_of(request)
    position, reset = await _position(asking, last_event_id, Position(seq=await asking.console.position() + 1))
    return FleetStream(service, asking, chosen, position=position, wanted=wanted, reset=reset)


# ---------------------------------------------------------------- control


_REFUSALS: dict[Any, type[FleetError]] = {"forbidden": Forbidden, "invalid": InvalidInput}


def answered(result: Result) -> Answer:
    """The answer to a command. Raises `Forbidden` where it is not for who gives it, `InvalidInput` for what cannot be
    used with it, else `Refused`."""
    if result.status == "refused":
        raise _REFUSALS.get(mapping(result.data).get("why"), Refused)(result.reason)
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
    from_ = await step_path(asking, execution_id, body.from_step) if body and body.from_step else ""
    return await _command(asking, types.RETRY, execution_id, {"from": from_} if from_ else {})


@router.post("/api/executions/{execution_id}/resolve", status_code=202)
async def resolve(asking: Asking, execution_id: ExecutionId, body: Resolution) -> Answer:
    """Say what is known of a step of which nobody knows whether it happened."""
    path = await step_path(asking, execution_id, body.step_id)
    data = {"path": path, "answer": body.answer, "output": body.output, "comment": body.comment}
    return await _command(asking, types.RESOLVE, execution_id, data)


async def step_path(asking: Caller, execution: str, step_id: str) -> str:
    """The path of the step that somebody means. Raises `NotFound`."""
    head = await asking.console.run(execution)
    ids = await asking.ids(head.plan)
    return ids.meant(step_id, (await asking.console.state(head.id)).steps)


async def _command(asking: Caller, type_: str, run: str, data: dict[str, Any]) -> Answer:
    head = await asking.console.run(run)
    return answered(await asking.console.command(type_, head.id, by=asking.name, data=data))
