"""Workflows: created, read, checked, changed, paused and put away."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, Header, Query, Request, Response

from fleetprompt.client.definitions import InvalidFile, as_json
from fleetprompt.client.files import WorkflowFile
from fleetprompt.client.keeping import Changed, as_yaml
from fleetprompt.daemon.answers import is_named, page, read, tag_of, told, unchanged
from fleetprompt.daemon.bodies import content_type, sent_text
from fleetprompt.daemon.models import Answer, CheckedWorkflow, CreatedWorkflow, GraphWorkflow, WorkflowRecord, inline
from fleetprompt.daemon.problems import HttpProblem
from fleetprompt.daemon.records import workflow_fields
from fleetprompt.daemon.routes.executions import Asking, Cursor, Limit, WorkflowId, answered
from fleetprompt.daemon.service import Caller
from fleetprompt.engine.core.errors import NotFound, Refused
from fleetprompt.engine.ports import Workflow

router = APIRouter(tags=["workflows"])
MOST_TEXT = 1024 * 1024
"""Bytes of a definition."""
_DEFINITION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/yaml": {"schema": {"type": "string", "description": "A workflow file."}},
            "application/json": {
                "schema": {
                    "description": "The graph form of other systems, their list form, or what a file has.",
                    "anyOf": [inline(GraphWorkflow), {"type": "object", "required": ["name", "steps"]}],
                }
            },
        },
    }
}


@router.post(
    "/api/workflows",
    status_code=201,
    openapi_extra=_DEFINITION,
    responses={200: {"model": CreatedWorkflow, "description": "There is this very workflow already."}},
)
async def create(request: Request, response: Response, asking: Asking) -> CreatedWorkflow:
    """Create a workflow: from YAML, or JSON in our own form or that of another system."""
    sent = await _definition(request, asking)
    known = await _find(asking, sent.file.plan.name)
    if known is None:
        try:
            await asking.console.keep_workflow(sent.file)
        except Changed:
            # Somebody else has created one of that name meanwhile.
            known = await _find(asking, sent.file.plan.name)
    if known is not None and known.plan == sent.file.digest:
        response.status_code = 200
    elif known is not None:
        hint = f"PUT /api/workflows/{known.name} gives it a new definition"
        raise Refused(f"there is a workflow `{known.name}` already", where=known.file, hint=hint)
    return CreatedWorkflow(**await _fields(asking, sent.file.plan.name), notes=sent.notes, step_ids=sent.ids)


@router.post("/api/workflows/validate", openapi_extra=_DEFINITION)
async def validate(request: Request, asking: Asking) -> CheckedWorkflow:
    """Everything that is wrong with a definition, at its place; nothing is kept."""
    try:
        sent = await _definition(request, asking)
    except InvalidFile as error:
        return CheckedWorkflow(valid=False, problems=[as_json(each) for each in error.problems])
    file = sent.file
    return CheckedWorkflow(valid=True, name=file.plan.name, digest=file.digest, yaml=file.text, notes=sent.notes)


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
    seen = await asking.console.first_seen([each.name for each in shown])
    rows = [WorkflowRecord(**await _described(asking, each, seen)) for each in shown]
    return page(request, rows, shown[-1].name if len(left) > limit else "")


@router.get(
    "/api/workflows/{workflow_id}",
    response_model=WorkflowRecord,
    responses={200: {"content": {"application/yaml": {}}}},
)
async def workflow(
    request: Request,
    asking: Asking,
    workflow_id: WorkflowId,
    form: Annotated[Literal["record", "yaml"], Query(description="`yaml`: the definition itself.")] = "record",
) -> Response:
    """One workflow, or its definition."""
    found = await asking.console.workflow(workflow_id)
    if form == "yaml":
        text = await asking.console.source(found.plan)
        return told(request, text.encode(), "application/yaml")
    return read(request, await _record(asking, found))


@router.put("/api/workflows/{workflow_id}", openapi_extra=_DEFINITION)
async def update(
    request: Request,
    asking: Asking,
    workflow_id: WorkflowId,
    if_match: Annotated[str, Header(alias="If-Match", max_length=200)] = "",
) -> CreatedWorkflow:
    """Give a workflow a new definition. With `If-Match` only if it is still what was read (412 where it is not)."""
    known = await asking.console.workflow(workflow_id)
    if if_match:
        text = await asking.console.source(known.plan)
        tags = tag_of(await _record(asking, known)), tag_of(text.encode())
        if not any(is_named(tag, if_match) for tag in tags):
            raise HttpProblem(412, "the workflow has changed since it was read", hint="read it again")
    sent = await _definition(request, asking)
    if sent.file.plan.name != workflow_id:
        raise HttpProblem(422, f"the definition is named `{sent.file.plan.name}`, not `{workflow_id}`")
    if sent.file.digest != known.plan:
        with unchanged(if_match):
            await asking.console.keep_workflow(sent.file, known)
    return CreatedWorkflow(**await _fields(asking, workflow_id), notes=sent.notes, step_ids=sent.ids)


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
    await asking.console.workflow(name)
    return answered(await asking.console.set_workflow(name, status, by=asking.name))


async def _find(asking: Caller, name: str) -> Workflow | None:
    try:
        return await asking.console.workflow(name)
    except NotFound:
        return None


def _first(seen: dict[str, float], workflow: Workflow) -> float:
    return seen.get(workflow.name, workflow.updated_at)


async def _fields(asking: Caller, name: str) -> dict[str, Any]:
    found = await asking.console.workflow(name)
    return await _described(asking, found, await asking.console.first_seen([name]))


async def _described(asking: Caller, found: Workflow, seen: dict[str, float]) -> dict[str, Any]:
    origin = await asking.origin(found.plan)
    name = origin.name if origin is not None else ""
    return workflow_fields(found, await asking.console.plan(found.plan), _first(seen, found), name)


async def _record(asking: Caller, workflow: Workflow) -> WorkflowRecord:
    return WorkflowRecord(**await _fields(asking, workflow.name))


class Sent(NamedTuple):
    """A definition as it was sent."""

    file: WorkflowFile
    notes: list[dict[str, Any]]
    """What of a foreign form has no counterpart."""
    ids: dict[str, str]
    """Ids of steps that are called otherwise here, by those that were sent."""


async def _definition(request: Request, asking: Caller) -> Sent:
    """What was sent. Raises `HttpProblem`, `InvalidInput`, `NotImportable` and `InvalidWorkflow` with all problems."""
    text = await sent_text(request, MOST_TEXT)
    imported = await asking.console.translated(text.encode())
    if imported is not None:
        file = await asking.console.read_workflow(imported.text, f"{imported.name}.yaml")
        return Sent(file, [as_json(each) for each in imported.losses], imported.ids)
    file = await asking.console.read_workflow(text)
    if content_type(request) == "application/json":
        # What is wrong was told at its place in what was sent; what is kept is for people.
        file = await asking.console.read_workflow(as_yaml(json.loads(text)))
    return Sent(file, [], {})
