"""A webhook from another system: from its first byte to the first effect of the run that it starts.

`fleet serve` as people have it, requests signed after Standard Webhooks from this process, over connections that are
kept. Requests are sent when their time has come, whether or not those before have been answered.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench import effects
from bench.accepting import port_of
from bench.ours import write_project
from bench.startup import fleet
from bench.task import ROOT, Figures, Task, percentile

RATE = 100
"""Requests a second."""
WARM = 100
KEY = hashlib.sha256(b"bench").digest()
PATIENCE = 30.0
WORKFLOW = """
name: hooked
triggers:
  - {type: webhook, path: bench, secret: '${{ secrets.BENCH }}', if: "body.action == 'opened'"}
steps:
  - {id: note, type: python, call: 'work:note', repeat: safe, with: {number: '${{ trigger.data.body.number }}'}}
  - {id: after, type: transform, needs: [note], output: '${{ trigger.data.body.title }}'}
"""


def request(number: int) -> bytes:
    """A signed request of some 500 bytes."""
    body = json.dumps({"action": "opened", "number": number, "title": f"Number {number}", "text": "x" * 200}).encode()
    id_, stamp = f"msg_{number}", str(int(time.time()))
    signature = base64.b64encode(hmac.digest(KEY, f"{id_}.{stamp}.".encode() + body, "sha256")).decode()
    head = (
        "POST /api/webhooks/bench HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"webhook-id: {id_}\r\nwebhook-timestamp: {stamp}\r\nwebhook-signature: v1,{signature}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Sender:
    """Sends requests over the connections that are free, and over new ones where none is."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.sent: dict[int, int] = {}
        """When each was sent, in nanoseconds of CLOCK_MONOTONIC."""
        self.answered: dict[int, int] = {}
        self.refused = 0

    async def send(self, number: int) -> None:
        """Send one, and read its answer."""
        data = request(number)
        self.sent[number] = time.monotonic_ns()
        pair = self._free.pop() if self._free else await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = pair
        writer.write(data)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        await reader.readexactly(length)
        self.answered[number] = time.monotonic_ns()
        self.refused += head[9:12] != b"202"
        self._free.append(pair)

    async def at_rate(self, first: int, count: int) -> None:
        """Send so many, each when its time has come; at moments that are in step with nothing."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for i in range(count):
                due = began + (i + random.random()) / RATE
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                group.create_task(self.send(first + i))

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()


@contextmanager
def daemon(task: Task, *profiler: str) -> Iterator[tuple[psutil.Process, int]]:
    """The daemon, and its port."""
    write_project(task.path, effects.NOTE, hooked=WORKFLOW)
    (task.path / "work.py").write_text(effects.NOTE)
    command = [*profiler, *fleet(), "-C", str(task.path), "serve", "--port", "0", "--json"]
    secret = "whsec_" + base64.b64encode(KEY).decode()
    own = {"FLEET_SECRET_BENCH": secret, "BENCH_EFFECTS": str(task.path / "effects"), "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | own)
    try:
        yield psutil.Process(server.pid), port_of(server)
    finally:
        server.terminate()
        server.wait(60)


def began(file: Path, count: int) -> dict[int, int]:
    """When each effect began; waits for all of them."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = {int(line.step): line.at for line in effects.read(file)}
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise RuntimeError(f"not all requests had an effect in {PATIENCE:.0f} s")


def measure(task: Task) -> Figures:
    count = 500 if task.quick else 3_000
    (task.path / "effects").touch()

    async def sent() -> tuple[Sender, float]:
        sender = Sender(port)
        await sender.at_rate(0, WARM)
        before = sum(process.cpu_times()[:2])
        await sender.at_rate(WARM, count)
        began(task.path / "effects", WARM + count)
        took = sum(process.cpu_times()[:2]) - before
        sender.close()
        return sender, took

    with daemon(task) as (process, port):
        sender, took = asyncio.run(sent())
    seen = began(task.path / "effects", WARM + count)
    effect = [(seen[i] - sender.sent[i]) / 1e6 for i in range(WARM, WARM + count)]
    answer = [(sender.answered[i] - sender.sent[i]) / 1e6 for i in range(WARM, WARM + count)]
    return {
        "effect_p50_ms": percentile(effect, 0.5),
        "effect_p99_ms": percentile(effect, 0.99),
        "answer_p50_ms": percentile(answer, 0.5),
        "answer_p99_ms": percentile(answer, 0.99),
        "cpu_ms": took / count * 1e3,
        "notes": [f"{sender.refused} refused"] if sender.refused else [],
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    print(measure(Task(str(folder), str(folder), quick="--quick" in sys.argv)))
