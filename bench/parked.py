"""What it costs to open an engine on 100,000 runs that wait for a timer of 30 days.

They are made by the real core and written to the journal in batches: 100,000 starts through the engine would measure
starts. An engine of its own process then opens the store; memory is what that process holds.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import uuid_utils

from bench.ours import engine, place, write_project
from bench.task import Figures, Task, spawn
from fleetprompt.client.files import load_file
from fleetprompt.client.opening import open_store
from fleetprompt.engine.core.batch import Batch
from fleetprompt.engine.core.facts import RunCreated
from fleetprompt.engine.core.program import Program
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import Append, Wait, Workflow
from fleetprompt.engine.runtime.head import head_of

WORKFLOW = """
name: parked
steps:
  - {id: wait, type: delay, for: 30d}
"""
LOT = 2_000


def _entry(program: Program, digest: str, now: float) -> Append:
    """The first append of a run: created, started, waiting for its timer."""
    run, batch = Run(program), Batch()
    created = RunCreated(
        at=now, run=str(uuid_utils.uuid7()), plan=digest, workflow="parked", trigger={"kind": "manual"}, owner="bench"
    )
    batch.add(run, [created])
    batch.settle(run, now)
    if run.status != "waiting" or run.wake_at is None:
        raise RuntimeError(f"the run is {run.status}, not parked")
    return Append(
        run=created.run,
        tenant=created.tenant,
        after=0,
        facts=tuple(batch.facts),
        encoded=tuple(batch.encoded),
        head=head_of(run, "bench", now),
        waits=tuple(Wait(*wait) for wait in run.outbox.waits),
    )


async def _fill(folder: Path, runs: int) -> None:
    write_project(folder, "", parked=WORKFLOW)
    file = load_file(folder / "workflows" / "parked.yaml")
    program = Program(file.plan, file.digest)
    store = open_store(place(folder))
    await store.open()
    try:
        now = time.time()
        await store.catalog.put(file.plan, source=file.text)
        await store.catalog.set_workflow(
            Workflow(name="parked", tenant="default", status="active", plan=file.digest, file=file.file, updated_at=now)
        )
        for at in range(0, runs, LOT):
            entries = (_entry(program, file.digest, now) for _ in range(min(LOT, runs - at)))
            await asyncio.gather(*[store.journal.append(entry) for entry in entries])
    finally:
        await store.close()


async def _open(task: Task) -> Figures:
    """In a process of its own: open, look, close."""
    import psutil

    import fleetprompt.engine.store.database  # noqa: F401  (imports are no part of opening a store)
    from fleetprompt.client.files import discover_steps

    discover_steps()
    process = psutil.Process()
    before = process.memory_info().rss
    began = time.perf_counter()
    async with engine(task) as opened:
        seconds = time.perf_counter() - began
        after = process.memory_info().rss
        timers, live = opened.timers.waiting, len(opened.live)
    return {"open_s": seconds, "rss": after / 2**20, "rss_before": before / 2**20, "timers": timers, "live": live}


def measure(task: Task) -> Figures:
    """Fill once for all repeats; then open it, and an empty store beside it."""
    runs = 10_000 if task.quick else 100_000
    shared = Path(task.shared)
    found: Figures = {"runs": runs}
    if not (shared / "filled").exists():
        began = time.perf_counter()
        asyncio.run(_fill(shared, runs))
        found["fill_s"] = time.perf_counter() - began
        (shared / "filled").touch()
    full = _opened(replace(task, folder=task.shared))
    write_project(task.path, "")
    empty = _opened(task)
    return found | {
        "open_s": full["open_s"],
        "rss_open_mb": full["rss"],
        "rss_empty_mb": empty["rss"],
        "open_empty_s": empty["open_s"],
        "live": full["live"],
        "timers": full["timers"],
        "database_mb": (place(shared).state / "fleet.db").stat().st_size / 2**20,
    }


def _opened(task: Task) -> Figures:
    process = spawn("bench.parked", task.text(), stdout=subprocess.PIPE)
    output, _ = process.communicate(timeout=300)
    figures: Figures = json.loads(output.splitlines()[-1])
    return figures


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_open(Task.read(sys.argv[1])))))
