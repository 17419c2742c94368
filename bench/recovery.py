"""Our side of the crash measurement: 200 runs in flight, killed half-way, resumed by another process."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time
from dataclasses import replace
from pathlib import Path

from bench import crash, effects
from bench.ours import Workflow, engine, write_project
from bench.task import Figures, Task
from fleetprompt.client.files import discover_steps

FUNCTIONS = (
    effects.CODE
    + """

async def work(seconds, context):
    mark("b", context.run, context.path, context.key)
    await together(context.run)
    await nap(seconds, context.run, context.path)
    mark("e", context.run, context.path, context.key)
    return {"ok": True}
"""
)


def workflow(steps: int, seconds: float) -> str:
    """Steps in a row, each an effect in the file."""
    lines = ["name: crash", "steps:"]
    lines += [
        f"  - {{id: s{i}, type: python, call: 'work:work', repeat: safe, with: {{seconds: {seconds}}}}}"
        for i in range(steps)
    ]
    return "\n".join(lines) + "\n"


def measure(task: Task) -> Figures:
    return crash.measure(task, "bench.recovery", _recorded)


def _recorded(folder: Path) -> tuple[set[str], set[tuple[str, str]]]:
    connection = sqlite3.connect(folder / ".fleet" / "fleet.db")
    known = {run for (run,) in connection.execute("SELECT id FROM runs")}
    rows = connection.execute("SELECT run, data FROM journal WHERE type = 'StepSucceeded'").fetchall()
    connection.close()
    return known, {(run, json.loads(data)["path"]) for run, data in rows}


async def _run(task: Task) -> None:
    steps, seconds = int(task.options["steps"]), float(task.options["step_seconds"])
    write_project(task.path, FUNCTIONS, crash=workflow(steps, seconds))
    async with engine(task) as opened:
        crashing = await Workflow.register(opened, task.path, "crash")
        await asyncio.gather(*(crashing.run() for _ in range(crash.RUNS)))


async def _resume(task: Task) -> None:
    import fleetprompt.engine.store.database  # noqa: F401  (imports are no part of opening a store)

    discover_steps()
    opening = time.monotonic_ns()
    async with engine(task) as opened:
        ready = time.monotonic_ns()
        await asyncio.gather(*(opened.wait(run) for run in opened.recovered.runs))
        done = time.monotonic_ns()
    print(json.dumps({"open": opening, "ready": ready, "done": done}))


def main() -> None:
    """`python -m bench.recovery run|resume TASK`."""
    task = Task.read(sys.argv[2])
    task = replace(task, folder=str(crash.folder_of(task)))
    asyncio.run(_run(task) if sys.argv[1] == "run" else _resume(task))


if __name__ == "__main__":
    main()
