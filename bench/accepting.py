"""Signals over HTTP: how many `fleet serve` accepts a second, each durable before its 202, from a client on the same
machine. Nobody listens for them, or a workflow does whose condition does not hold.

The client writes requests as bytes and reads answers as far as their status: it is to take little of the processor.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from bench.task import Figures, Task, percentile

CONNECTIONS = 64
WORKFLOW = """
name: listener
triggers: [{type: signal, match: "bench.heard", if: data.number < 0}]
steps: [{id: one, type: transform, output: 1}]
"""
WARM = 500
HEAD = b"POST /api/signals HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class _Client(asyncio.Protocol):
    """A connection that sends one request after another."""

    def __init__(self, numbers: _Numbers) -> None:
        self._numbers = numbers
        self._sent = 0.0
        self._read = b""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        request = self._numbers.next()
        if request is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        if len(body) < length:
            return
        self._read = body[length:]
        self._numbers.answered(head[9:12], time.perf_counter() - self._sent)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)


class _Numbers:
    """What is left to be sent, and what was answered."""

    def __init__(self, type_: str, first: int, count: int) -> None:
        self._left = iter(range(first, first + count))
        self._type = type_
        self.took: list[float] = []
        self.refused = 0

    def next(self) -> bytes | None:
        number = next(self._left, None)
        if number is None:
            return None
        body = json.dumps({"type": self._type, "data": {"number": number}, "key": f"k{number}"}).encode()
        return HEAD % len(body) + body

    def answered(self, status: bytes, seconds: float) -> None:
        if status == b"202":
            self.took.append(seconds)
        else:
            self.refused += 1


async def _send(port: int, type_: str, first: int, count: int) -> tuple[_Numbers, float]:
    numbers = _Numbers(type_, first, count)
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    made = [await loop.create_connection(lambda: _Client(numbers), "127.0.0.1", port) for _ in range(CONNECTIONS)]
    await asyncio.gather(*(client.over for _, client in made))
    return numbers, time.perf_counter() - began


def measure(task: Task) -> Figures:
    count = 2_000 if task.quick else 20_000
    (task.path / "workflows").mkdir()
    (task.path / "workflows" / "listener.yaml").write_text(WORKFLOW)
    (task.path / "fleet.toml").touch()
    command = [sys.executable, "-m", "fleetprompt.cli", "-C", str(task.path), "serve", "--port", "0", "--json"]
    # A daemon as people have it: the bench's own settings for determinism are not for it.
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        port = port_of(server)
        asyncio.run(_send(port, "bench.unheard", 0, WARM))
        unheard, seconds = asyncio.run(_send(port, "bench.unheard", WARM, count))
        heard, longer = asyncio.run(_send(port, "bench.heard", WARM + count, count))
    finally:
        server.terminate()
        server.wait(30)
    return {
        "accepted_s": len(unheard.took) / seconds,
        "accepted_p50_ms": percentile(unheard.took, 0.5) * 1e3,
        "accepted_p99_ms": percentile(unheard.took, 0.99) * 1e3,
        "routed_s": len(heard.took) / longer,
        "notes": [f"{unheard.refused + heard.refused} refused"] if unheard.refused + heard.refused else [],
    }


def port_of(server: subprocess.Popen[str]) -> int:
    """The port of a daemon that has just been started, once it listens."""
    assert server.stdout is not None
    for line in server.stdout:
        told = json.loads(line)
        if "url" in told:
            return int(told["url"].rpartition(":")[2].strip("/"))
    raise RuntimeError("the daemon did not start")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    print(measure(Task(str(folder), str(folder), quick="--quick" in sys.argv)))
