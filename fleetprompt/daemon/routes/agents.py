"""Agents: listed, read, and written as files of the project."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Path, Query, Request, Response

from fleetprompt.client.agents import AgentDefinition, told
from fleetprompt.client.definitions import as_json
from fleetprompt.daemon.answers import is_named, read, tag_of, unchanged
from fleetprompt.daemon.bodies import sent_text
from fleetprompt.daemon.models import AgentRecord, WrittenAgent
from fleetprompt.daemon.problems import HttpProblem
from fleetprompt.daemon.records import agent_figures
from fleetprompt.daemon.routes.executions import Asking
from fleetprompt.daemon.step_ids import OWN
from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.errors import Refused

router = APIRouter(tags=["agents"])
MOST_TEXT = 1024 * 1024
"""Bytes of a definition."""
Since = Annotated[float, Query(ge=0, le=1e11, description="Epoch seconds.")]
Name = Annotated[str, Path(min_length=1, max_length=200)]
_DEFINITION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/yaml": {"schema": {"type": "string", "description": "An agent file."}},
            "application/json": {
                "schema": {
                    "type": "object",
                    "description": "The same as JSON; docs/agents.md tells of each key.",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,63}$"},
                        "description": {"type": "string"},
                        "model": {"type": "string"},
                        "system": {"type": "string"},
                        "tools": {"type": "array", "items": {"type": "string"}},
                    },
                }
            },
        },
    }
}


@router.get("/api/agents", response_model=list[AgentRecord])
async def agents(request: Request, asking: Asking, since: Since = 0) -> Response:
    """All agents as they are written now, with what they have done since then."""
    found = await told(asking.console, since)
    runs = dict.fromkeys(each.figures.last.run for each in found if each.figures is not None)
    ids = {head.id: await asking.ids(head.plan) for head, _ in await asking.console.matching([*runs], "")}
    rows: list[AgentRecord] = []
    for each in found:
        record = _agent(each.name, each.workflow, each.definition)
        if (figures := each.figures) is not None:
            record.figures = agent_figures(figures, ids.get(figures.last.run, OWN))
        rows.append(record)
    return read(request, rows)


@router.get("/api/agents/{name}", response_model=AgentRecord)
async def agent(request: Request, asking: Asking, name: Name) -> Response:
    """One agent."""
    found = await asking.console.agent(name)
    return read(request, _agent(found.name, found.workflow, found))


@router.post("/api/agents", status_code=201, openapi_extra=_DEFINITION)
async def create(request: Request, asking: Asking) -> WrittenAgent:
    """Create an agent: `agents/<name>.yaml` of the project."""
    return _written(await asking.console.keep_agent(await sent_text(request, MOST_TEXT)))


@router.put("/api/agents/{name}", openapi_extra=_DEFINITION)
async def update(
    request: Request,
    asking: Asking,
    name: Name,
    if_match: Annotated[str, Header(alias="If-Match", max_length=200)] = "",
) -> WrittenAgent:
    """Give an agent a new definition. With `If-Match` only if it is still what was read (412 where it is not)."""
    known = await asking.console.agent(name)
    if known.workflow:
        hint = f"PUT /api/workflows/{known.workflow} changes it there"
        raise Refused(f"agent `{name}` is written in the workflow `{known.workflow}`", where=known.file, hint=hint)
    if if_match and not is_named(tag_of(_agent(known.name, known.workflow, known)), if_match):
        raise HttpProblem(412, "the agent has changed since it was read", hint="read it again")
    text = await sent_text(request, MOST_TEXT)
    with unchanged(if_match):
        return _written(await asking.console.keep_agent(text, known))


def _written(agent: AgentDefinition) -> WrittenAgent:
    notes = [as_json(problem) for problem in agent.problems]
    return WrittenAgent(**_agent(agent.name, "", agent).model_dump(), notes=notes)


def _agent(name: str, workflow: str, definition: AgentDefinition | None) -> AgentRecord:
    written: Agent | None = definition.agent if definition is not None else None
    return AgentRecord(
        id=f"{workflow}/{name}" if workflow else name,
        name=name,
        workflow_id=workflow,
        description=written.description if written is not None else "",
        model=(written.model or "default") if written is not None else "",
        tools=list(written.tools) if written is not None else [],
        definition=msgspec.to_builtins(written) if written is not None else None,
        errors=definition.errors if definition is not None else 0,
    )
