"""DBOS in the crash measurement: the same runs, resumed by `DBOS.launch()` of a process with the same executor id."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import crash, effects
from bench.peer_dbos import config
from bench.task import Figures, Task


def measure(task: Task) -> Figures:
    return crash.measure(task, "bench.peer_dbos_recovery", _recorded)


def _recorded(folder: Path) -> tuple[set[str], set[tuple[str, str]]]:
    connection = sqlite3.connect(folder / "dbos.sqlite")
    known = {run for (run,) in connection.execute("SELECT workflow_uuid FROM workflow_status")}
    rows = connection.execute("SELECT workflow_uuid, function_id FROM operation_outputs").fetchall()
    connection.close()
    return known, {(run, f"s{step}") for run, step in rows}


async def _work(task: Task, *, resume: bool) -> None:
    from dbos import DBOS

    steps, seconds = int(task.options["steps"]), float(task.options["step_seconds"])
    world: dict[str, Any] = {}
    exec(effects.CODE, world)
    mark: Any = world["mark"]
    together: Any = world["together"]
    nap: Any = world["nap"]
    settings = config(task.path)
    opened = time.monotonic_ns()
    DBOS(config=settings)

    @DBOS.step()
    async def work(seconds: float) -> dict[str, bool]:
        run, step = DBOS.workflow_id, f"s{DBOS.step_id}"
        mark("b", run, step, f"{run}/{step}")
        await together(run)
        await nap(seconds, run, step)
        mark("e", run, step, f"{run}/{step}")
        return {"ok": True}

    @DBOS.workflow()
    async def crashing() -> None:
        for _ in range(steps):
            await work(seconds)

    DBOS.launch()
    if not resume:
        handles = [await DBOS.start_workflow_async(crashing) for _ in range(crash.RUNS)]
        await asyncio.gather(*(handle.get_result() for handle in handles))
        return
    # What is recovered goes back to a queue first. There is nothing to await for runs that another process began.
    unfinished = ["PENDING", "ENQUEUED"]
    while await DBOS.list_workflows_async(status=unfinished, load_input=False, load_output=False, limit=1):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    print(json.dumps({"open": opened, "done": time.monotonic_ns()}), flush=True)
    os._exit(0)


def main() -> None:
    """`python -m bench.peer_dbos_recovery run|resume TASK`."""
    task = Task.read(sys.argv[2])
    task = replace(task, folder=str(crash.folder_of(task)))
    asyncio.run(_work(task, resume=sys.argv[1] == "resume"))


if __name__ == "__main__":
    main()
