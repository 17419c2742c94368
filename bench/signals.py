"""From a published signal to the first effect of the run it starts: in the engine's process, and from another one.

CLOCK_MONOTONIC is one clock for all processes of a machine. The other process is a console that is attached to the
store: it inserts the signal and nudges the engine's socket, as `fleet signal` does.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from bench import effects
from bench.ours import Workflow, engine, place, signal, write_project
from bench.task import Figures, Task, spawn, spread
from fleetprompt.client.opening import open_console
from fleetprompt.engine.runtime.engine import Engine

WORKFLOW = """
name: listener
triggers:
  - {type: signal, match: "bench.ping"}
inputs: {number: {type: integer}}
steps:
  - {id: note, type: python, call: 'work:note', repeat: safe, with: {number: '${{ inputs.number }}'}}
"""
WARM = 5
PATIENCE = 10.0


def _times(quick: bool) -> int:
    return 30 if quick else 200


async def _seen(file: Path, number: int) -> int:
    """When the effect of a signal began; waits for it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for line in reversed(effects.read(file)):
            if line.step == str(number):
                return line.at
        await asyncio.sleep(0.005)
    raise RuntimeError(f"signal {number} had no effect in {PATIENCE:.0f} s")


async def _inside(task: Task, opened: Engine, file: Path) -> list[float]:
    took: list[float] = []
    for number in range(WARM + _times(task.quick)):
        at = time.monotonic_ns()
        await opened.bus.publish(signal("bench.ping", {"number": number}))
        took.append((await _seen(file, number) - at) / 1e9)
    return took[WARM:]


async def _outside(task: Task, file: Path) -> tuple[list[float], list[float]]:
    """Seconds until the effect began, and until `publish` returned."""
    console = await open_console(place(task.path), "attach")
    took: list[float] = []
    returned: list[float] = []
    try:
        for number in range(1000, 1000 + WARM + _times(task.quick) // 2):
            # Not in step with anything that polls.
            await asyncio.sleep(random.uniform(0.0, 0.03))
            at = time.monotonic_ns()
            await console.publish(signal("bench.ping", {"number": number}))
            returned.append((time.monotonic_ns() - at) / 1e9)
            took.append((await _seen(file, number) - at) / 1e9)
    finally:
        await console.close()
    return took[WARM:], returned[WARM:]


def _project(task: Task) -> None:
    write_project(task.path, effects.NOTE, listener=WORKFLOW)
    # Runs that a trigger starts look for code in the project's folder.
    (task.path / "work.py").write_text(effects.NOTE)


async def _serve(task: Task) -> None:
    """The engine's process: until its input ends."""
    _project(task)
    async with engine(task) as opened:
        await Workflow.register(opened, task.path, "listener")
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def _own(task: Task, file: Path) -> list[float]:
    _project(task)
    async with engine(task) as opened:
        await Workflow.register(opened, task.path, "listener")
        return await _inside(task, opened, file)


def measure(task: Task) -> Figures:
    file = task.path / "effects"
    file.touch()
    os.environ["BENCH_EFFECTS"] = str(file)
    found: Figures = spread(asyncio.run(_own(task, file)), "inside")
    if task.store == "memory":
        return found
    server = spawn("bench.signals", task.text(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        if server.stdout.readline() != "ready\n":
            raise RuntimeError("the engine's process did not start")
        took, returned = asyncio.run(_outside(task, file))
    finally:
        server.stdin.close()
        server.wait(30)
    return found | spread(took, "outside") | spread(returned, "returned")


if __name__ == "__main__":
    asyncio.run(_serve(Task.read(sys.argv[1])))
