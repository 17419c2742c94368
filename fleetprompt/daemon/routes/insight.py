"""What is known of the fleet: facts and logs of executions, memories, cost."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from fleetprompt.client.wording import NANO, rfc3339
from fleetprompt.daemon.answers import page, position, read
from fleetprompt.daemon.models import (
    CostRecord,
    FactRecord,
    LogRecord,
    MemoryBody,
    MemoryRecord,
    Remembered,
)
from fleetprompt.daemon.records import paid
from fleetprompt.daemon.routes.executions import Asking, Cursor, ExecutionId, Limit, answered, step_path
from fleetprompt.daemon.values import fetched
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.ports.figures import CostBy
from fleetprompt.engine.ports.memory import Memory

router = APIRouter()
After = Annotated[int, Query(ge=0, le=2**53, description="Position after which to go on.")]
Since = Annotated[float, Query(ge=0, le=1e11, description="Epoch seconds.")]
DAY = 86_400.0
MOST_COSTS = 100_000
"""Rows of a list of costs."""


@router.get("/api/executions/{execution_id}/facts", response_model=list[FactRecord], tags=["executions"])
async def facts(
    request: Request, asking: Asking, execution_id: ExecutionId, after: After = 0, limit: Limit = 200
) -> Response:
    """The journal of an execution, in its order; `cursor` of the next page is `after`."""
    head = await asking.console.run(execution_id)
    found = await asking.console.facts(head.id, after=after, upto=after + limit)
    rows = [
        FactRecord(n=each.n, seq=each.seq, at=rfc3339(each.fact.at), fact=msgspec.to_builtins(each.fact))
        for each in found
    ]
    headers = {}
    if found and found[-1].n < head.n:
        headers["Link"] = f'<{request.url.path}?after={found[-1].n}&limit={limit}>; rel="next"'
    return read(request, rows, **headers)


@router.get("/api/executions/{execution_id}/logs", response_model=list[LogRecord], tags=["executions"])
async def logs(
    request: Request,
    asking: Asking,
    execution_id: ExecutionId,
    step_id: Annotated[str, Query(max_length=500)] = "",
    after: After = 0,
    limit: Limit = 200,
) -> Response:
    """What the steps of an execution have logged."""
    head = await asking.console.run(execution_id)
    path = await step_path(asking, head.id, step_id) if step_id else None
    lines, position = await asking.console.logs(head.id, path=path, after=after, limit=limit)
    ids = await asking.ids(head.plan)
    rows = [
        LogRecord(at=rfc3339(line.at), level=line.level, text=line.text, data=line.data, step_id=ids.shown(line.path))
        for line in lines
    ]
    headers = {}
    if len(rows) >= limit:
        step = f"&{urlencode({'step_id': step_id})}" if step_id else ""
        headers["Link"] = f'<{request.url.path}?after={position}&limit={limit}{step}>; rel="next"'
    return read(request, rows, **headers)


@router.get(
    "/api/values/{ref}",
    response_class=Response,
    responses={200: {"content": {"application/json": {}}}},
    tags=["executions"],
)
async def value(
    request: Request,
    asking: Asking,
    ref: Annotated[str, Path(min_length=1, max_length=200, description="The `ref` of a large value.")],
) -> Response:
    """A value that is too large to stand where it belongs."""
    return read(request, await fetched(asking.console, ref))


@router.get("/api/memory", response_model=list[MemoryRecord], tags=["memory"])
async def memories(
    request: Request,
    asking: Asking,
    q: Annotated[str, Query(max_length=1_000, description="What fits these words best.")] = "",
    scope: Annotated[str, Query(max_length=200)] = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Response:
    """What agents remember, the newest first; or what fits a text best, which is one page."""
    found = await asking.console.memories(q, scope=scope, limit=limit, before=position(cursor))
    more = not q and len(found) == limit
    return page(request, [_memory(each) for each in found], str(found[-1].seq) if more else "")


@router.post("/api/memory", status_code=201, tags=["memory"])
async def remember(asking: Asking, body: MemoryBody) -> Remembered:
    """Have agents of a scope remember something."""
    result = await asking.console.remember(body.text, scope=body.scope, by=asking.name, type=body.type, tags=body.tags)
    answered(result)
    data: dict[str, Any] = result.data if isinstance(result.data, dict) else {}
    return Remembered(id=str(data.get("memory", "")), new=bool(data.get("new", True)))


@router.delete("/api/memory/{memory_id}", status_code=204, tags=["memory"])
async def forget(asking: Asking, memory_id: Annotated[str, Path(min_length=1, max_length=200)]) -> None:
    """Have something forgotten."""
    found = await asking.console.memory(memory_id)
    answered(await asking.console.forget([found.id], by=asking.name))


def _memory(memory: Memory) -> MemoryRecord:
    return MemoryRecord(
        id=memory.id,
        scope=memory.scope,
        type=memory.type,
        text=memory.text,
        tags=list(memory.tags),
        created_at=rfc3339(memory.created_at),
        last_accessed_at=rfc3339(memory.accessed_at),
        execution_id=memory.run,
        agent=memory.agent,
        by=memory.by,
        untrusted=memory.untrusted,
    )


@router.get("/api/cost", response_model=list[CostRecord], tags=["cost"])
async def cost(
    request: Request,
    asking: Asking,
    by: CostBy = "workflow",
    filter: Annotated[str, Query(max_length=2_000)] = "",
    since: Annotated[float | None, Query(ge=0, le=1e11, description="Epoch seconds.")] = None,
    until: Annotated[float | None, Query(ge=0, le=1e11, description="Epoch seconds.")] = None,
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Response:
    """What was spent, the most expensive first, days newest first."""
    after = position(cursor)
    if after > MOST_COSTS:
        raise InvalidInput(f"a list of costs has at most {MOST_COSTS:,} rows")
    rows = (await asking.console.costs(by, filter, since=since, until=until, limit=after + limit + 1))[after:]
    following = str(after + limit) if len(rows) > limit else ""
    found = [
        CostRecord(
            key=row.key,
            workflow_id=row.workflow,
            cost_usd=paid(row.cost_nano, row.calls <= row.unreal),
            uncertain_usd=row.uncertain_nano / NANO,
            tokens=row.tokens,
            executions=row.runs,
            calls=row.calls,
            simulated_calls=row.unreal,
        )
        for row in rows[:limit]
    ]
    return page(request, found, following)
