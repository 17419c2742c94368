"""Twenty consoles attached to a daemon whose runs make 500 facts a second: how much of its speed it keeps.

Real consoles in real terminals, all on the list in which these runs are the newest, and all on the machine of the
daemon, with which they share its processors. Against the daemon alone on a copy of the same store in the same round.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from bench.catalog import FLOOR
from bench.console import console
from bench.console_busy import EVERY, SETTLE, TICKING, Journal, Work, start
from bench.startup import fleet
from bench.task import ROOT, Figures, Task
from bench.terminal import Terminal

CONSOLES, FEW_CONSOLES = 20, 5
READY = 60.0
"""Seconds within which all consoles are open and at rest: they start at the same time."""
SECONDS, FEW_SECONDS = 15.0, 5.0


@contextmanager
def daemon(folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    """`fleet serve` in a process that ends with us; its URL."""
    process = subprocess.Popen(
        [*fleet(), "-C", str(folder), "serve", "--port", "0", "--json"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            told = json.loads(line)
            if told["event"] == "listening":
                break
        else:
            raise RuntimeError("the daemon did not start")
        yield psutil.Process(process.pid), told["url"]
    finally:
        process.terminate()
        process.wait(60)


def _used(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _rate(task: Task, name: str, options: Callable[[str], list[str]] | None) -> Figures:
    """Facts a second, and what daemon and consoles take for it; `options` of the consoles are told by the URL."""
    seconds = FEW_SECONDS if task.quick else SECONDS
    ready = READY if options is not None else 8.0
    at = start(task, Work("ticks", TICKING, ticks=int((SETTLE + seconds) / EVERY) + 40), ready)
    journal, many = Journal(task.path), FEW_CONSOLES if task.quick else CONSOLES
    with ExitStack() as stack:
        served, url = stack.enter_context(daemon(task.path))
        opened: list[Terminal] = []
        if options is not None:
            opened = [stack.enter_context(console(task.path, *options(url))) for _ in range(many)]
        threads = stack.enter_context(ThreadPoolExecutor(max(1, many)))

        def let(until: float) -> None:
            # A terminal that is not read makes whoever paints wait.
            left = max(0.0, until - time.time())
            waiting = [threads.submit(terminal.read, left) for terminal in opened]
            time.sleep(left)
            for each in waiting:
                each.result()

        let(at + SETTLE)
        began = time.time()
        engine, consoles = _used([served]), _used([terminal.usage for terminal in opened])
        painted = [terminal.bytes for terminal in opened]
        let(began + seconds)
        took = time.time() - began
        found: Figures = {
            "facts_per_s": journal.rate(began, began + seconds),
            "engine_percent": (_used([served]) - engine) / took * 100,
        }
        if opened:
            found["consoles_percent"] = (_used([terminal.usage for terminal in opened]) - consoles) / took * 100
            least = min(terminal.bytes - before for terminal, before in zip(opened, painted, strict=True))
            found["least_kb_per_s"] = least / took / 1e3
    return {f"{name}_{figure}": value for figure, value in found.items()}


def alone(task: Task) -> Figures:
    """The daemon, and nobody looks."""
    return _rate(task, "http", None)


def measure(task: Task) -> Figures:
    """The daemon with consoles attached to it, over HTTP and then as on its own machine."""
    found = _rate(task, "http", lambda url: ["--connect", url])
    found |= _rate(task, "here", lambda url: [])
    for name in ("http", "here"):
        found[f"{name}_kept_percent"] = found[f"{name}_facts_per_s"] / task.given[FLOOR]["http_facts_per_s"] * 100
    return found
