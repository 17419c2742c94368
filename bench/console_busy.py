"""The console while its own engine works: how soon keys are answered, and how much of its speed the engine keeps.

The runs are started beforehand and sleep until a moment; then they all go on, with the console open at the top of its
list, where they are the newest. A headless engine on a copy of the same store does the same, in the same round.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.catalog import FLOOR
from bench.console import Keys, console, copied, listed
from bench.ours import Workflow, engine, write_project
from bench.startup import fleet
from bench.task import ROOT, Figures, Task, spread

TICKING = 25
"""Runs that tick: as many as the list shows beside its preview."""
EVERY = 0.095
"""Seconds that the step of a tick takes on average, with what the engine adds a tenth. It makes two facts: 25 runs make
about 500 a second."""
CHAIN = 30
"""Steps of a run that does nothing else, so that 1,000 runs last some seconds."""
READY = 6.0
"""Seconds within which the console is open and at rest."""
STARTS = 300
"""Starts a second that are counted on."""
SETTLE = 2.0
FUNCTIONS = """
import asyncio, random

async def tick(seconds):
    await asyncio.sleep(seconds * random.uniform(0.5, 1.5))

async def echo(text):
    return {"text": text}
"""
TICKS = """
name: ticks
inputs: {at: {type: string}, seconds: {type: number}, items: {type: array}}
steps:
  - {id: hold, type: delay, until: '${{ inputs.at }}'}
  - id: each
    type: loop
    over: inputs.items
    steps:
      - {id: tick, type: python, call: 'work:tick', repeat: safe, with: {seconds: '${{ inputs.seconds }}'}}
"""


def chain() -> str:
    """A workflow of many steps that do nothing, one after the other."""
    lines = ["name: chain", "inputs: {at: {type: string}, text: {type: string}}", "steps:"]
    lines.append("  - {id: hold, type: delay, until: '${{ inputs.at }}'}")
    for i in range(CHAIN):
        text = f"steps.s{i - 1}.output.text" if i else "inputs.text"
        lines.append(
            f"  - {{id: s{i}, type: python, call: 'work:echo', repeat: safe, with: {{text: '${{{{ {text} }}}}'}}}}"
        )
    return "\n".join(lines) + "\n"


@dataclass
class Work:
    """Runs of one workflow that go on at a moment."""

    name: str
    runs: int
    ticks: int = 0


def start(task: Task, work: Work, ready: float = READY) -> float:
    """Start the runs on a copy of the fleet with a past; when they go on, in epoch seconds: not before `ready` have
    passed."""
    folder = copied(task)
    write_project(folder, FUNCTIONS, ticks=TICKS, chain=chain())

    async def started() -> float:
        async with engine(task) as opened:
            workflow = await Workflow.register(opened, folder, work.name)
            at = time.time() + ready + work.runs / STARTS
            given = {"at": datetime.fromtimestamp(at, UTC).isoformat()}
            given |= {"text": "x" * 180} if work.name == "chain" else {"seconds": EVERY, "items": [0] * work.ticks}
            await asyncio.gather(*(workflow.start(**given) for _ in range(work.runs)))
            return at

    return asyncio.run(started())


class Journal:
    """What the engine has recorded, read from outside."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".fleet" / "fleet.db"

    def _one(self, sql: str, *values: float | str) -> tuple[float, ...]:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as connection:
            return tuple(connection.execute(sql, values).fetchone())

    def rate(self, first: float, last: float) -> float:
        """Facts a second between two moments, by the times of the facts."""
        (facts,) = self._one("SELECT count(*) FROM journal WHERE at >= ? AND at < ?", first, last)
        return facts / (last - first)

    def finished(self, name: str) -> int:
        """Runs of a workflow that are over."""
        sql = "SELECT count(*) FROM runs WHERE workflow = ? AND finished_at IS NOT NULL"
        return int(self._one(sql, name)[0])

    def steps_per_second(self, name: str, after: float) -> float:
        """Steps of a workflow that ended since a moment, by the first and the last of their times."""
        sql = (
            "SELECT count(*), min(at), max(at) FROM journal JOIN runs ON runs.id = journal.run"
            " WHERE workflow = ? AND type = 'StepSucceeded' AND at > ?"
        )
        steps, first, last = self._one(sql, name, after)
        return steps / (last - first)


Pass = Callable[[float], None]
"""Lets so many seconds pass."""
Opened = Callable[[Path], AbstractContextManager[Pass]]


@contextmanager
def headless(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The engine alone, in a process that ends with us."""
    process = subprocess.Popen(
        [*fleet(), "-C", str(folder), "engine", "--until-eof"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if b'"ready"' not in process.stdout.readline():
            raise RuntimeError("the engine did not start")
        yield process
    finally:
        process.stdin.close()
        process.wait(60)


@contextmanager
def _alone(folder: Path) -> Iterator[Pass]:
    with headless(folder):
        yield lambda seconds: time.sleep(max(0.0, seconds))


@contextmanager
def _shown(folder: Path) -> Iterator[Pass]:
    with console(folder) as terminal:
        # A terminal that is not read makes whoever paints wait.
        yield terminal.read


def _rates(task: Task, opened: Opened) -> Figures:
    """Steps a second when there is always something to do, and facts a second when there are pauses."""
    chain = Work("chain", 200 if task.quick else 1_000)
    at = start(task, chain)
    journal = Journal(task.path)
    with opened(task.path) as let:
        let(at - time.time())
        while journal.finished(chain.name) < chain.runs:
            let(0.5)
        found: Figures = {"saturated_steps_per_s": journal.steps_per_second(chain.name, at)}
    seconds = 4.0 if task.quick else 12.0
    at = start(task, Work("ticks", TICKING, ticks=int((SETTLE + seconds) / EVERY) + 20))
    with opened(task.path) as let:
        let(at + SETTLE + seconds + 0.5 - time.time())
        found["paced_facts_per_s"] = journal.rate(at + SETTLE, at + SETTLE + seconds)
    return found


def alone(task: Task) -> Figures:
    """The engine without a console."""
    return _rates(task, _alone)


def throughput(task: Task) -> Figures:
    """The engine with the console open, against the one without in the same round."""
    found = _rates(task, _shown)
    for name, rate in [*found.items()]:
        kept = name.partition("_")[0] + "_kept_percent"
        found[kept] = rate / task.given[FLOOR][name] * 100
    return found


def keys(task: Task) -> Figures:
    """The cursor on rows that tick, up and down, and pages from there."""
    times = 20 if task.quick else 100
    seconds = times * 0.25 + (4.0 if task.quick else 20.0)
    at = start(task, Work("ticks", TICKING, ticks=int((SETTLE + seconds) / EVERY)))
    ids = listed(task.path)
    with console(task.path) as terminal:
        terminal.read(at + SETTLE - time.time())
        pressed = Keys(terminal, ids)
        began, cpu, painted = time.time(), terminal.cpu, terminal.bytes
        found = spread(pressed.up_and_down(times, TICKING), "down")
        ended = time.time()
        found |= {
            "facts_per_s": Journal(task.path).rate(began, ended),
            "cpu_percent": (terminal.cpu - cpu) / (ended - began) * 100,
            "painted_kb_per_s": (terminal.bytes - painted) / (ended - began) / 1e3,
        }
        pressed.top()
        found |= spread(pressed.pages(5 if task.quick else 30), "page")
    return found
