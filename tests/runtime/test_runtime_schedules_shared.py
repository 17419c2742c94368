"""Several engines on one Postgres database: each time of a schedule starts one run, whoever is faster."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import FIRING_FIELDS, RUN_FIELDS
from fleetprompt.engine.definition.load import load_text
from fleetprompt.engine.ports import Page
from fleetprompt.engine.registry import STEPS
from fleetprompt.engine.runtime.engine import Engine
from fleetprompt.engine.store.database import SqlStore

POSTGRES = os.environ.get("FLEET_TEST_POSTGRES_URL", "")
pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(not POSTGRES, reason="POSTGRES WAS NOT TESTED: set FLEET_TEST_POSTGRES_URL"),
]
TICK = """
name: tick
triggers: [{id: second, type: schedule, every: 1s, overlap: allow, catchup: all}]
steps: [{id: a, type: transform, output: 1}]
"""
ENGINES = 3
TIMES = 4


@pytest.fixture
async def database() -> AsyncIterator[str]:
    import asyncpg

    schema = f"schedules_{uuid4().hex}"
    yield f"{POSTGRES}?schema={schema}"
    connection: Any = await asyncpg.connect(POSTGRES)
    await connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
    await connection.close()


async def test_each_time_starts_one_run_whoever_is_faster(tmp_path: Path, database: str) -> None:
    STEPS.discover("fleetprompt.engine.steps", "fleetprompt.steps")
    plan = load_text(TICK, "tick.yaml").plan
    engines = [Engine(SqlStore(database), directory=tmp_path, fires=True) for _ in range(ENGINES)]
    for engine in engines:
        await engine.open()
    try:
        for engine in engines:
            await engine.workflows.register(plan, source=TICK)
        store = engines[0].store

        async def fired() -> list[Any]:
            query = parse("outcome:fired", FIRING_FIELDS)
            found, _ = await store.firings.list(query, Page(limit=500), now=engines[0].now())
            return found[::-1]

        async with asyncio.timeout(120):
            while len(await fired()) < TIMES:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            for engine in engines[1:]:
                await engine.close()
            firings = await fired()
            heads: list[Any] = []
            while len(heads) < len(firings) or any(head.finished_at is None for head in heads):
                await asyncio.sleep(0.1)
                firings = await fired()
                heads, _ = await store.runs.list(parse("", RUN_FIELDS), Page(limit=500), now=engines[0].now())
        dues = [round(firing.due) for firing in firings]
        assert dues == list(range(dues[0], dues[-1] + 1))
        assert {firing.run for firing in firings} >= {head.id for head in heads}
        assert max(Counter(firing.scheduled for firing in firings).values()) == 1
        assert {head.status for head in heads} == {"completed"}
    finally:
        for engine in engines:
            await engine.close()
