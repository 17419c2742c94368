"""Kill a process in the middle of its work, start another, and see what that one does: for us and for peers alike.

The process under test is `python -m MODULE run|resume TASK`. `run` starts everything and is killed when about half of
the effects are in the file. `resume` opens what is left and returns when all runs are over; it prints a JSON object
with `open` and `done`, in nanoseconds of CLOCK_MONOTONIC.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from bench.effects import of, read
from bench.task import Figures, Task, spawn

RUNS = 200
PATIENCE = 120.0

Recorded = Callable[[Path], tuple[set[str], set[tuple[str, str]]]]
"""What a database says: the runs it knows, and the steps that are done (run and step, as in the effects file)."""


def folder_of(task: Task) -> Path:
    """Where the process under test keeps its database."""
    return task.path / "state"


def measure(task: Task, module: str, recorded: Recorded) -> Figures:
    """Kill and resume; times, and what was repeated or lost."""
    steps = int(task.options["steps"])
    each = float(task.options["step_seconds"])
    effects = task.path / "effects"
    effects.touch()
    environment = os.environ | {"BENCH_EFFECTS": str(effects)}
    together = environment | {"BENCH_TOGETHER": str(RUNS)}
    folder_of(task).mkdir()

    first = spawn(module, "run", task.text(), env=together)
    _wait_for_half(first, effects, RUNS * steps)
    first.kill()
    first.wait()
    copy = task.path / "copy"
    shutil.copytree(folder_of(task), copy, ignore=shutil.ignore_patterns("*.sock"))
    known, kept = recorded(copy)

    exec_at = time.monotonic_ns()
    second = spawn(module, "resume", task.text(), env=environment, stdout=subprocess.PIPE)
    try:
        output, _ = second.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        second.kill()
        second.communicate()
        return {"notes": [f"not resumed after {PATIENCE:.0f} s"]}
    told = json.loads(output.splitlines()[-1])

    lines = read(effects)
    happened = {line.work for line in of(lines, "e", first.pid)}
    begun = {line.work for line in of(lines, "b", first.pid)}
    again = of(lines, "b", second.pid)
    repeated = {line.work for line in again}
    ever = {line.work for line in lines if line.what == "e"}
    _, in_the_end = recorded(folder_of(task))
    done_of: dict[str, int] = {}
    for run, _ in kept:
        done_of[run] = done_of.get(run, 0) + 1
    left = {run: steps - done_of.get(run, 0) for run in known}
    resumed: dict[str, int] = {}
    for line in again:
        resumed.setdefault(line.run, line.at)
    in_flight = sum(1 for count in left.values() if count)
    ideal = max(left.values(), default=0) * each
    return {
        "first_effect_s": (min(resumed.values()) - told["open"]) / 1e9,
        "resumed_s": (max(resumed.values()) - told["open"]) / 1e9,
        "open_s": (told.get("ready", told["open"]) - told["open"]) / 1e9,
        "before_open_s": (told["open"] - exec_at) / 1e9,
        "first_effect_from_exec_s": (min(resumed.values()) - exec_at) / 1e9,
        "beyond_s": (told["done"] - told["open"]) / 1e9 - ideal,
        "beyond_from_exec_s": (told["done"] - exec_at) / 1e9 - ideal,
        "ideal_s": ideal,
        "recorded": len(kept),
        "happened": len(happened),
        "runs_resumed": len(resumed),
        "runs_in_flight": in_flight,
        "recorded_repeated": len(kept & repeated),
        "lost": len(known) * steps - len(ever & in_the_end) + len(kept - in_the_end),
        "unrecorded_repeated": len((happened - kept) & repeated),
        "begun_repeated": len((begun - happened) & repeated),
        "notes": [f"{in_flight} runs were in flight"] if in_flight < RUNS else [],
    }


def _wait_for_half(process: subprocess.Popen[str], effects: Path, steps: int) -> None:
    """Until about half of the effects have happened."""
    line = 0
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        size = effects.stat().st_size
        if not line and size > 4096:
            text = effects.read_bytes()
            line = len(text) / text.count(b"\n")
        # Two lines for each: one when it begins, one when it has happened.
        if line and size / line / 2 >= steps / 2:
            return
        if process.poll() is not None:
            raise RuntimeError(f"the process ended by itself, with {process.returncode}")
        time.sleep(0.001)
    raise RuntimeError("it did not get half of its work done")
