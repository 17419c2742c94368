"""A log of 1,000,000 lines in the console: how soon it is shown, and what following 1,000 more a second costs.

The lines that are followed are written by a step of the console's own engine. What a headless engine takes to write
the same lines is not the console's.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from bench.catalog import FLOOR
from bench.console import console, listed, painted_text, row_of
from bench.console_busy import headless
from bench.console_log import fill
from bench.ours import Workflow, engine, write_project
from bench.task import Figures, Task
from fleetprompt.engine.store.database import SqlStore

LINES, FEW_LINES = 1_000_000, 100_000
RATE = 1_000
"""Lines a second."""
SETTLE = 2.0
FOLLOWED = re.compile(r"followed (\d+) ")
GO = "go"
"""The file that the step waits for before it writes."""
FUNCTIONS = """
import asyncio
from pathlib import Path

async def say(go, lots, seconds, lines, context):
    while not Path(go).exists():
        await asyncio.sleep(0.05)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for lot in range(lots):
        await asyncio.sleep(max(0.0, began + lot * seconds - loop.time()))
        for n in range(lot * lines, (lot + 1) * lines):
            context.log(f"followed {n} GET /api/v1/items/{n * 7919 % 100000} served in {n * 31 % 977} ms")
"""
WORKFLOW = """
name: talk
inputs: {go: {type: string}, lots: {type: integer}}
steps:
  - id: say
    type: python
    call: 'work:say'
    repeat: safe
    with: {go: '${{ inputs.go }}', lots: '${{ inputs.lots }}', seconds: 0.05, lines: 50}
"""
"""Twenty lots a second."""


def _lots(task: Task) -> int:
    return int((_seconds(task) + 2 * SETTLE) * 20)


def _seconds(task: Task) -> float:
    """How long it is watched."""
    return 3.0 if task.quick else 12.0


async def _make(task: Task, folder: Path, lines: int) -> None:
    """A run with a long log, whose step waits for the word to write more."""
    write_project(folder, FUNCTIONS, talk=WORKFLOW)
    async with engine(replace(task, folder=str(folder))) as opened:
        talk = await Workflow.register(opened, folder, "talk")
        run = await talk.start(go=str(folder / GO), lots=_lots(task))
    # The cap is for what one attempt at a step may say, and this is what many have said.
    store = SqlStore(folder / ".fleet" / "fleet.db", log_cap=1 << 40)
    await store.open()
    await fill(store, lines, run)
    await store.close()


def _project(task: Task) -> tuple[Path, Path, int]:
    """A copy of the project, the file that lets its step begin, and the number of lines; made once for all repeats."""
    made, lines = Path(task.shared) / "made", FEW_LINES if task.quick else LINES
    if not made.exists():
        asyncio.run(_make(task, made, lines))
    go = made / GO
    go.unlink(missing_ok=True)
    shutil.copytree(made, task.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock", "*.lock"))
    os.sync()
    return task.path, go, lines


def _share(usage: psutil.Process, task: Task, let: Callable[[float], None]) -> float:
    """The share of a core that a process uses, in percent, once it has settled."""
    let(SETTLE)
    began, cpu = time.perf_counter(), sum(usage.cpu_times()[:2])
    let(_seconds(task))
    return (sum(usage.cpu_times()[:2]) - cpu) / (time.perf_counter() - began) * 100


def alone(task: Task) -> Figures:
    """The engine writes, and nobody looks."""
    folder, go, _ = _project(task)
    with headless(folder) as process:
        go.touch()
        return {"process_percent": _share(psutil.Process(process.pid), task, time.sleep)}


def measure(task: Task) -> Figures:
    """The console shows the end of the log, and stays there."""
    folder, go, lines = _project(task)
    (run,) = listed(folder)
    with console(folder) as terminal:
        terminal.until(row_of(run))
        terminal.read(2.0)
        terminal.press("enter")
        terminal.read(2.0)
        terminal.forget()
        # The step at the cursor has said nothing yet: this shows what the whole run has said.
        terminal.press("L")
        opened = terminal.until_text(f"request {lines - 1} ")
        terminal.read(1.0)
        terminal.forget()
        go.touch()
        share = _share(terminal.usage, task, terminal.read)
        shown = [int(number) for number in FOLLOWED.findall(painted_text(terminal.painted))]
    found: Figures = {"open_s": opened, "process_percent": share}
    found["follow_percent"] = share - task.given[FLOOR]["process_percent"]
    behind = int((SETTLE + _seconds(task)) * RATE) - max(shown, default=0)
    if behind > RATE:
        found["notes"] = [f"at the end {behind:,} lines had not been shown"]
    return found
