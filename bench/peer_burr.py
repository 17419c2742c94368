"""Burr with its asynchronous SQLite persister, the same work: an application of ten async actions.

Its database is put into WAL mode, which Burr leaves at the slower default; synchronous is FULL. Building the
application for each run is part of the run, as it is in use: the identity of a run is the application's.
"""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any

from bench.task import Figures, Task, drive
from bench.work import PAYLOAD, STEPS, WARM, few, figures, many


async def _measure(task: Task, runs: int, live: int) -> Figures:
    from burr.core import ApplicationBuilder, State, action
    from burr.integrations.persisters.b_aiosqlite import AsyncSQLitePersister

    @action(reads=["text"], writes=["text"])
    async def echo(state: State) -> State:
        return state.update(text=state["text"])

    names = [f"s{i}" for i in range(STEPS)]
    async with AsyncSQLitePersister.from_values(db_path=str(task.path / "burr.db")) as persister:
        await persister.initialize()
        await persister.connection.execute("PRAGMA journal_mode = WAL")
        await persister.connection.execute("PRAGMA synchronous = FULL")

        async def run(i: int) -> None:
            builder: Any = ApplicationBuilder().with_actions(**dict.fromkeys(names, echo))
            application = await (
                builder.with_transitions(*pairwise(names))
                .with_state(text=PAYLOAD)
                .with_entrypoint(names[0])
                .with_identifiers(app_id=f"run-{i}", partition_key="bench")
                .with_state_persister(persister)
                .abuild()
            )
            await application.arun(halt_after=[names[-1]])

        for i in range(WARM):
            await run(-1 - i)
        cpu = time.process_time()
        driven = await drive(run, runs, live, task.options.get("seconds", 60.0))
        cpu = time.process_time() - cpu
    return figures(driven, runs, live, cpu)


def throughput(task: Task) -> Figures:
    return asyncio.run(_measure(task, *many(task.quick)))


def latency(task: Task) -> Figures:
    return asyncio.run(_measure(task, few(task.quick), 1))
