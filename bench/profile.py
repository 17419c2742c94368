"""Where the time of the throughput measurement goes: by thread, then by function in each of them.

The first pass runs without a profiler and asks the kernel what every thread did: on a processor, waiting for one, or
neither. The second runs under cProfile, which makes calls dearer than they are: compare its functions, not its total.
"""

from __future__ import annotations

import asyncio
import cProfile
import io
import pstats
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.ours import Workflow, engine, write_project
from bench.task import ROOT, Figures, Task, drive
from bench.throughput import FUNCTIONS, workflow
from bench.work import PAYLOAD, STEPS, WARM, many

TOP = 30
WORTH = 3.0
"""Microseconds per step that a thread must use to be shown."""
WAITS = {
    "<method 'get' of '_queue.SimpleQueue' objects>",
    "<method 'poll' of 'select.epoll' objects>",
    "<method 'acquire' of '_thread.lock' objects>",
}


@dataclass
class Thread:
    """What a thread has used so far, in seconds."""

    name: str
    cpu: float
    queued: float
    """Ready to run, without a processor: the machine is busy."""

    def since(self, before: Thread | None) -> Thread:
        if before is None:
            return self
        return Thread(self.name, self.cpu - before.cpu, self.queued - before.queued)


def _threads() -> dict[int, Thread]:
    found: dict[int, Thread] = {}
    for thread in threading.enumerate():
        if thread.native_id is None or thread.ident is None:
            continue
        try:
            queued = int(Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            queued = 0.0
        cpu = time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        found[thread.native_id] = Thread(thread.name, cpu, queued)
    return found


class Selecting:
    """Times the event loop's calls of `select`: the loop gives the interpreter's lock away there and nowhere else by
    its own will, so a call with a timeout of 0 that takes long has waited for the lock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.idle = self.lock = 0.0
        self.calls = 0
        selector: Any = getattr(loop, "_selector", None)
        if selector is not None:
            self._select = selector.select
            selector.select = self._timed

    def _timed(self, timeout: float | None = None) -> Any:
        began = time.perf_counter()
        try:
            return self._select(timeout)
        finally:
            took = time.perf_counter() - began
            self.calls += 1
            if timeout is not None and timeout <= 0:
                self.lock += took
            else:
                self.idle += took


async def _pass(task: Task, loop_profile: cProfile.Profile | None) -> str:
    """The work of `throughput`; a report by thread."""
    write_project(task.path, FUNCTIONS, chain=workflow())
    runs, live = many(task.quick)
    async with engine(task) as opened:
        chain = await Workflow.register(opened, task.path, "chain")
        for _ in range(WARM):
            await chain.run(text=PAYLOAD)
        selecting = Selecting(asyncio.get_running_loop())
        journal = opened.store.journal
        before, commits, facts = _threads(), journal.commits, await journal.position()
        if loop_profile is not None:
            loop_profile.enable()
        driven = await drive(lambda _: chain.run(text=PAYLOAD), runs, live)
        if loop_profile is not None:
            loop_profile.disable()
        after = _threads()
        commits, facts = journal.commits - commits, await journal.position() - facts
    steps = driven.done * STEPS
    scale = 1e6 / steps
    lines = [
        f"{steps / driven.seconds:,.0f} steps/s, {facts / max(commits, 1):.0f} facts per commit, {commits} commits,"
        f" {driven.seconds * scale:.1f} µs per step",
        f"{'µs per step':28} {'on a processor':>15} {'waiting for one':>16} {'neither':>9}",
    ]
    for id_, thread in after.items():
        used = thread.since(before.get(id_))
        rest = driven.seconds - used.cpu - used.queued
        lines.append(f"{used.name:28} {used.cpu * scale:15.1f} {used.queued * scale:16.1f} {rest * scale:9.1f}")
    lines.append(
        f"event loop: {selecting.calls} turns, {steps / max(selecting.calls, 1):.2f} steps per turn; per step"
        f" {selecting.idle * scale:.1f} µs idle, {selecting.lock * scale:.1f} µs to get the lock back in select"
    )
    return "\n".join(lines)


def _top(profile: cProfile.Profile, name: str, steps: int) -> str:
    """The functions with the most own time, per step; empty for a thread that did nothing worth a line."""
    stats: Any = pstats.Stats(profile, stream=io.StringIO())
    waits = sum(entry[2] for (_, _, function), entry in stats.stats.items() if function in WAITS)
    total = sum(entry[2] for entry in stats.stats.values()) - waits
    if total / steps * 1e6 < WORTH:
        return ""
    lines = [
        f"{name}: {total / steps * 1e6:.1f} µs per step under the profiler, {waits / steps * 1e6:.1f} µs waiting",
        "  own µs   all µs   calls  function",
    ]
    entries = sorted(stats.stats.items(), key=lambda entry: -entry[1][2])
    for (file, line, function), (_, calls, own, whole, _) in entries[:TOP]:
        where = file.removeprefix(f"{ROOT}/") if file.startswith(str(ROOT)) else Path(file).name
        at = f"{where}:{line} {function}" if line else function
        lines.append(f"{own / steps * 1e6:8.2f} {whole / steps * 1e6:8.2f} {calls / steps:7.2f}  {at}")
    return "\n".join(lines)


def measure(task: Task) -> Figures:
    """A report to read; the figures are those of `throughput`."""
    first = task.path / "plain"
    second = task.path / "profiled"
    plain = asyncio.run(_pass(_in(task, first), None))
    threads: list[tuple[str, cProfile.Profile]] = []

    def begin(*_: object) -> None:
        threading.setprofile(None)  # pyright: ignore[reportArgumentType] None ends it
        profile = cProfile.Profile()
        threads.append((threading.current_thread().name, profile))
        profile.enable()
        threading.setprofile(begin)

    loop_profile = cProfile.Profile()
    threading.setprofile(begin)
    profiled = asyncio.run(_pass(_in(task, second), loop_profile))
    threading.setprofile(None)  # pyright: ignore[reportArgumentType] None ends it
    runs, _ = many(task.quick)
    steps = runs * STEPS
    tops = [_top(profile, name, steps) for name, profile in [("event loop", loop_profile), *threads]]
    return {"report": "\n\n".join(filter(None, [plain, f"under the profiler: {profiled}", *tops]))}


def _in(task: Task, folder: Path) -> Task:
    folder.mkdir()
    return Task(str(folder), task.shared, task.quick, task.store)
