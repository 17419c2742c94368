"""Workflows: created, read, checked, changed, paused and put away."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response

from fleetprompt.client.definitions import InvalidFile, as_json
from fleetprompt.daemon.answers import page, read, tag_of
from fleetprompt.daemon.models import Answer, CheckedWorkflow, CreatedWorkflow, WorkflowRecord
from fleetprompt.daemon.problems import HttpProblem
from fleetprompt.daemon.records import workflow_fields, workflow_record
from fleetprompt.daemon.routes.executions import Asking, Cursor, Limit, WorkflowId, answered
from fleetprompt.daemon.service import Caller
from fleetprompt.engine.core.errors import NotFound, Refused
from fleetprompt.engine.ports import Workflow

router = APIRouter(tags=["workflows"])
YAML = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")
MOST_TEXT = 1024 * 1024
"""Bytes of a definition."""
_DEFINITION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/yaml": {"schema": {"type": "string", "description": "A workflow file."}},
            "application/json": {
                "schema": {"type": "object", "description": "A workflow as a graph, or as a file has it."}
            },
        },
    }
}


@router.post("/api/workflows", status_code=201, openapi_extra=_DEFINITION)
async def create(request: Request, asking: Asking) -> CreatedWorkflow:
    """Create a workflow, or give one a new definition: YAML, or JSON."""
    text, notes = await _definition(request)
    file = await asking.console.read_workflow(text)
    known = await _find(asking, file.plan.name)
    if known is not None and known.file:
        raise _kept_in(known)
    await asking.console.register(file)
    return CreatedWorkflow(**await _fields(asking, file.plan.name), notes=notes)


@router.post("/api/workflows/validate", openapi_extra=_DEFINITION)
async def validate(request: Request, asking: Asking) -> CheckedWorkflow:
    """Everything that is wrong with a definition, at its place; nothing is kept."""
    text, notes = await _definition(request)
    try:
        file = await asking.console.read_workflow(text)
    except InvalidFile as error:
        return CheckedWorkflow(valid=False, problems=[as_json(each) for each in error.problems], notes=notes)
    return CheckedWorkflow(valid=True, name=file.plan.name, digest=file.digest, yaml=file.text, notes=notes)


@router.get("/api/workflows", response_model=list[WorkflowRecord])
async def workflows(
    request: Request,
    asking: Asking,
    status: Annotated[Literal["draft", "active", "paused", "archived", ""], Query()] = "",
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Response:
    """Workflows, by name."""
    found = sorted(await asking.console.workflows(), key=lambda workflow: workflow.name)
    left = [each for each in found if each.name > cursor and (not status or each.status == status)]
    shown = left[:limit]
    rows = [workflow_record(each, await asking.console.plan(each.plan)) for each in shown]
    return page(request, rows, shown[-1].name if len(left) > limit else "")


@router.get("/api/workflows/{workflow_id}", response_model=WorkflowRecord)
async def workflow(
    request: Request,
    asking: Asking,
    workflow_id: WorkflowId,
    form: Annotated[Literal["record", "yaml"], Query(description="`yaml`: the definition itself.")] = "record",
) -> Response:
    """One workflow, or its definition."""
    found = await _known(asking, workflow_id)
    if form == "yaml":
        text = await asking.console.source(found.plan)
        return Response(text, media_type="application/yaml", headers={"ETag": tag_of(text.encode())})
    return read(request, workflow_record(found, await asking.console.plan(found.plan)))


@router.put("/api/workflows/{workflow_id}", openapi_extra=_DEFINITION)
async def update(
    request: Request,
    asking: Asking,
    workflow_id: WorkflowId,
    if_match: Annotated[str, Header(alias="If-Match", max_length=200)] = "",
) -> CreatedWorkflow:
    """Give a workflow a new definition. With `If-Match` only if it is still what was read (412 where it is not)."""
    known = await _known(asking, workflow_id)
    if known.file:
        raise _kept_in(known)
    if if_match and if_match != "*":
        record = workflow_record(known, await asking.console.plan(known.plan))
        text = await asking.console.source(known.plan)
        if if_match not in (tag_of(record), tag_of(text.encode())):
            raise HttpProblem(412, "the workflow has changed since it was read", hint="read it again")
    text, notes = await _definition(request)
    file = await asking.console.read_workflow(text)
    if file.plan.name != workflow_id:
        raise HttpProblem(422, f"the definition is named `{file.plan.name}`, not `{workflow_id}`")
    await asking.console.register(file)
    return CreatedWorkflow(**await _fields(asking, workflow_id), notes=notes)


@router.post("/api/workflows/{workflow_id}/activate", status_code=202)
async def activate(asking: Asking, workflow_id: WorkflowId) -> Answer:
    """Let a workflow be started, and its triggers start it."""
    return await _set(asking, workflow_id, "active")


@router.post("/api/workflows/{workflow_id}/pause", status_code=202)
async def pause(asking: Asking, workflow_id: WorkflowId) -> Answer:
    """Start no runs of a workflow until it is activated; those that are under way go on."""
    return await _set(asking, workflow_id, "paused")


@router.post("/api/workflows/{workflow_id}/archive", status_code=202)
async def archive(asking: Asking, workflow_id: WorkflowId) -> Answer:
    """Put a workflow away."""
    return await _set(asking, workflow_id, "archived")


async def _set(asking: Caller, name: str, status: str) -> Answer:
    await _known(asking, name)
    return answered(await asking.console.set_workflow(name, status, by=asking.name))


async def _find(asking: Caller, name: str) -> Workflow | None:
    return next((each for each in await asking.console.workflows() if each.name == name), None)


async def _known(asking: Caller, name: str) -> Workflow:
    found = await _find(asking, name)
    if found is None:
        raise NotFound(f"there is no workflow `{name}`", hint="GET /api/workflows lists them")
    return found


async def _fields(asking: Caller, name: str) -> dict[str, Any]:
    found = await _known(asking, name)
    return workflow_fields(found, await asking.console.plan(found.plan))


def _kept_in(workflow: Workflow) -> Refused:
    return Refused(
        f"workflow `{workflow.name}` is kept in a file", where=workflow.file, hint="change the file: it is read again"
    )


async def _definition(request: Request) -> tuple[str, list[dict[str, Any]]]:
    """The YAML of what was sent, and what of it has no counterpart. Raises `HttpProblem`, `InvalidInput`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    if len(body) > MOST_TEXT:
        raise HttpProblem(413, f"a definition may have {MOST_TEXT:,} bytes")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise HttpProblem(400, "the definition is not UTF-8") from None
    if kind in YAML:
        return text, []
    if kind != "application/json":
        raise HttpProblem(415, "send application/yaml or application/json")
    return text, []
