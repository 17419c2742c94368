"""DBOS on SQLite, the same work: a workflow of ten async steps. It records a step's outcome, not its intent.

Its SQLite file is put into WAL mode first, which DBOS leaves at the slower default; synchronous is FULL as it comes.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from bench.task import Figures, Task, drive
from bench.work import PAYLOAD, STEPS, WARM, few, figures, many

os.environ.setdefault("DBOS__CLOUD", "")


def config(folder: Path) -> dict[str, Any]:
    """DBOS with its database in a folder, and nothing that measures would not need."""
    path = folder / "dbos.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    return {
        "name": "bench",
        "system_database_url": f"sqlite:///{path}",
        "application_version": "bench",
        "executor_id": "bench",
        "log_level": "ERROR",
        "enable_otlp": False,
        "run_admin_server": False,
    }


async def _measure(task: Task, runs: int, live: int) -> Figures:
    from dbos import DBOS

    DBOS(config=config(task.path))

    @DBOS.step()
    async def echo(text: str) -> dict[str, str]:
        return {"text": text}

    @DBOS.workflow()
    async def chain(text: str) -> dict[str, str]:
        output = {"text": text}
        for _ in range(STEPS):
            output = await echo(output["text"])
        return output

    DBOS.launch()
    try:
        for _ in range(WARM):
            await chain(PAYLOAD)
        cpu = time.process_time()
        driven = await drive(lambda _: chain(PAYLOAD), runs, live, task.options.get("seconds", 60.0))
        cpu = time.process_time() - cpu
    finally:
        DBOS.destroy()
    return figures(driven, runs, live, cpu)


def throughput(task: Task) -> Figures:
    return asyncio.run(_measure(task, *many(task.quick)))


def latency(task: Task) -> Figures:
    return asyncio.run(_measure(task, few(task.quick), 1))
