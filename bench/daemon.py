"""The daemon: from its start to its first answer, and what those who listen to it cost its engine.

It is a process of its own, as `fleet serve` starts it; the listeners are connections of this one, which reads and
checks every event. The runs are started beforehand and sleep until a moment, then they all go on.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from bench.console_busy import EVERY, FUNCTIONS, TICKING, TICKS, Journal, chain
from bench.ours import write_project
from bench.startup import fleet
from bench.task import ROOT, Figures, Task

FILES = 200
LISTENERS = 500
STARTS = 20
"""Starts a second that are counted on, one after the other over HTTP."""
SETTLE = 3.0
"""Seconds between the last start and the moment at which the runs go on."""
PATIENCE = 300.0
_EVENT = re.compile(rb"id: ([\d.]+)\nevent: (\w+)\n")


def flow(number: int) -> str:
    """An everyday workflow: inputs, an approval, a retried request, a loop."""
    return f"""name: flow-{number}
description: Number {number}.
inputs: {{name: {{type: string, default: world}}}}
triggers:
  - {{type: manual}}
steps:
  - {{id: greet, type: transform, output: "Hello, ${{{{ inputs.name }}}}!"}}
  - {{id: ask, type: approval, message: "Go on with ${{{{ inputs.name }}}}?"}}
  - {{id: look, type: http, url: "http://127.0.0.1:9/x", needs: [ask.approved], retry: {{max_attempts: 3}}}}
  - id: each
    type: loop
    over: "[1, 2, 3]"
    steps: [{{id: one, type: transform, output: "${{{{ item + 1 }}}}"}}]
  - {{id: bye, type: transform, output: "Goodbye, ${{{{ inputs.name }}}}."}}
"""


@contextmanager
def daemon(folder: Path) -> Iterator[tuple[str, float]]:
    """A daemon of a project: its URL, and how long it took from exec until it said that it listens, in seconds."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [*fleet(), "-C", str(folder), "serve", "--port", "0", "--json"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        url = json.loads(process.stdout.readline())["url"]
        with urlopen(f"{url}/healthz") as answer:
            if answer.status != 200:
                raise RuntimeError(f"the daemon is not well: {answer.read()!r}")
        yield url, time.perf_counter() - began
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def ready(task: Task) -> Figures:
    """From exec to the first answer, with no store and with the one of the time before."""
    write_project(task.path, "", **{f"flow-{i}": flow(i) for i in range(FILES)})
    times = 3 if task.quick else 10
    first: list[float] = []
    again: list[float] = []
    for i in range(1 + times):
        shutil.rmtree(task.path / ".fleet", ignore_errors=True)
        for took in (first, again):
            with daemon(task.path) as (_, seconds):
                if i:
                    took.append(seconds)
    return {"first_s": statistics.median(first), "again_s": statistics.median(again)}


@dataclass
class Listener(asyncio.Protocol):
    """A connection that is told of everything."""

    path: str
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    awaited: int = 0
    """Executions that are to be complete."""
    events: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    last: float = 0.0
    in_order: bool = True
    _buffer: bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        whole, mark, self._buffer = (self._buffer + data).rpartition(b"\n\n")
        if not mark:
            self._buffer = whole + self._buffer
            return
        if b"event: connected" in whole:
            self.connected.set()
        for id_, event in _EVENT.findall(whole + mark):
            self.digest.update(id_ + b",")
            self.events += 1
            # Within a fact the parts count up, and the last one has none.
            number = float(id_) if b"." in id_ else int(id_) + 0.99
            self.in_order = self.in_order and number > self.last
            self.last = number
            if event == b"complete":
                self.awaited -= 1
                if not self.awaited:
                    self.over.set()

    def close(self) -> None:
        self._transport.close()


@dataclass
class Heard:
    """What listeners were told."""

    rate: float
    """Steps, or facts, a second."""
    events: int = 0
    different: int = 0
    """Listeners who were told something else than the first one, or out of order."""


def _start(url: str, name: str, runs: int, inputs: dict[str, Any]) -> float:
    at = time.time() + SETTLE + runs / STARTS
    given = inputs | {"at": datetime.fromtimestamp(at, UTC).isoformat()}
    body = json.dumps({"input": given}).encode()
    for _ in range(runs):
        asked = Request(f"{url}/api/workflows/{name}/execute", body, {"Content-Type": "application/json"})
        with urlopen(asked) as answer:
            answer.read()
    if time.time() > at - 1:
        raise RuntimeError("the starts took too long")
    return at


async def _listen(url: str, many: int, events: str, runs: int, journal: Journal, name: str) -> list[Listener]:
    port = int(url.rpartition(":")[2])
    path = "/api/stream" + (f"?events={events}" if events else "")
    listeners = [Listener(path, awaited=runs) for _ in range(many)]
    loop = asyncio.get_running_loop()
    for each in listeners:
        await loop.create_connection(lambda each=each: each, "127.0.0.1", port)
    for each in listeners:
        await each.connected.wait()
    async with asyncio.timeout(PATIENCE):
        while journal.finished(name) < runs:  # noqa: ASYNC110
            await asyncio.sleep(0.25)
        for each in listeners:
            await each.over.wait()
    for each in listeners:
        each.close()
    return listeners


def _round(task: Task, name: str, many: int, events: str = "") -> Heard:
    folder = task.path / f"{name}-{many}"
    write_project(folder, FUNCTIONS, ticks=TICKS, chain=chain())
    ticks = 60 if task.quick else 150
    runs, inputs = (100 if task.quick else 300, {"text": "x" * 180})
    if name == "ticks":
        runs, inputs = TICKING, {"seconds": EVERY, "items": [0] * ticks}
    with daemon(folder) as (url, _):
        at = _start(url, name, runs, inputs)
        journal = Journal(folder)
        listeners = asyncio.run(_listen(url, many, events, runs, journal, name))
        rate = journal.rate(at, at + ticks * EVERY * 0.8) if name == "ticks" else journal.steps_per_second(name, at)
    told = listeners[0] if listeners else Listener("")
    different = sum(each.digest.digest() != told.digest.digest() or not each.in_order for each in listeners)
    return Heard(rate, told.events, different)


def listened(task: Task) -> Figures:
    """What the engine does with nobody listening, and with many."""
    found: Figures = {}
    for name, kept, events in (("ticks", "paced", ""), ("chain", "saturated", "complete")):
        alone = _round(task, name, 0)
        heard = _round(task, name, LISTENERS, events)
        found |= {f"{kept}_per_s": heard.rate, f"{kept}_kept_percent": heard.rate / alone.rate * 100}
        found[f"{kept}_different"] = heard.different
        if name == "ticks":
            found["paced_events"] = heard.events
    return found
