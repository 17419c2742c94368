"""Many models that answer at once in one engine, and two consoles attached from other processes: one in a terminal, in
which the cursor moves, and one that follows what models are just saying. Every piece says when it was sent.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from bench.console import Keys, console, listed, row_of
from bench.console_busy import headless
from bench.ours import place, write_project
from bench.task import Figures, Task, spread
from bench.terminal import Late
from fleetprompt.client.files import load_file
from fleetprompt.client.opening import open_console
from fleetprompt.client.protocol import Console, StartRun
from tests.llm.stub_server import start_stub

FLOW = """
name: talk
steps:
  - {id: say, type: chat, prompt: Tell me}
"""
STAMP = re.compile(r"@(\d+\.\d+) ")
FOLLOWED = 3
"""Runs whose words are followed."""
BEGUN = 8.0
"""Seconds in which all of them have begun."""
SEEN = 2.0
"""Seconds in which a moved cursor has to be seen."""


def slow(task: Task) -> Figures:
    """200 at 8 pieces a second each."""
    return _measure(task, 20 if task.quick else 200, 8, 6.0 if task.quick else 25.0)


def fast(task: Task) -> Figures:
    """40 at 30 pieces a second each."""
    return _measure(task, 10 if task.quick else 40, 30, 6.0 if task.quick else 25.0)


def _measure(task: Task, streams: int, per_second: int, seconds: float) -> Figures:
    pieces = int((seconds + BEGUN) * per_second)
    with start_stub(task.path, [{"text": "done", "stamps": pieces, "pause": 1 / per_second}]) as stub:
        _project(task, stub.base, streams)
        os.environ["BENCH_KEY"] = "none"
        with headless(task.path):
            took: list[float] = []
            began = time.time()
            ids = asyncio.run(_start(task, streams))
            follower = threading.Thread(target=lambda: took.extend(asyncio.run(_follow(task, ids))))
            follower.start()
            with console(task.path) as terminal:
                terminal.read(max(0.0, began + BEGUN - time.time()))
                rows = min(streams, 25)
                times = max(5, int(seconds / 0.3))
                pressed = Keys(terminal, listed(task.path))
                pressed.top()
                keys, missed = _moves(pressed, times, rows)
            follower.join()
            completed, whole = asyncio.run(_ended(task, ids))
    return {
        **spread(took, "token"),
        **spread(keys, "key"),
        "pieces": len(took),
        "keys_missed": missed,
        "completed": completed,
        "worst_token_ms": max(took, default=0.0) * 1e3,
        "seconds": whole,
    }


def _moves(pressed: Keys, times: int, rows: int) -> tuple[list[float], int]:
    """Seconds of keys that move the cursor to and fro, and how many were not told from what else was painted."""
    took: list[float] = []
    missed = 0
    for n in range(times):
        key, step = ("down", 1) if n // (rows - 1) % 2 == 0 else ("up", -1)
        pressed.terminal.forget()
        pressed.at += step
        pressed.terminal.press(key)
        try:
            took.append(pressed.terminal.until(row_of(pressed.ids[pressed.at]), SEEN))
        except Late:
            # A row that is painted with others around it cannot be told.
            missed += 1
        pressed.pause()
    return took, missed


def _project(task: Task, base: str, streams: int) -> None:
    write_project(task.path, "", talk=FLOW)
    (task.path / "fleet.toml").write_text(
        f'[models.default]\nmodel = "openai/stub"\napi_base = "{base}"\napi_key_env = "BENCH_KEY"\n'
        f"[pools]\nmodel = {streams}\n"
    )


@asynccontextmanager
async def _attached(task: Task) -> AsyncIterator[Console]:
    opened = await open_console(place(task.path), "attach")
    try:
        yield opened
    finally:
        await opened.close()


async def _start(task: Task, streams: int) -> list[str]:
    file = load_file(task.path / "workflows" / "talk.yaml")
    async with _attached(task) as asked:
        wanted = StartRun(files=(file,), by="bench")
        return list(await asyncio.gather(*(asked.start(wanted) for _ in range(streams))))


async def _follow(task: Task, ids: list[str]) -> list[float]:
    """Seconds from a server's sending a piece to its being here, of some of the runs."""
    took: list[float] = []
    async with _attached(task) as asked:

        async def one(run: str) -> None:
            async with aclosing(asked.pieces(run)) as batches:
                late = True
                async for batch in batches:
                    now = time.time()
                    text = "".join(piece.text for piece in batch if piece.kind == "text")
                    # Who comes late is told all so far first, which is no latency.
                    took.extend(now - float(at) for at in STAMP.findall(text) if not late)
                    late = False
                    if any(piece.kind == "end" for piece in batch):
                        return

        await asyncio.gather(*(one(run) for run in ids[-FOLLOWED:]))
    return took


async def _ended(task: Task, ids: list[str]) -> tuple[int, float]:
    """How many of them have completed, and how long the longest took."""
    deadline = time.time() + 60
    async with _attached(task) as asked:
        while True:
            heads = [await asked.run(run) for run in ids]
            if all(head.finished_at is not None for head in heads) or time.time() > deadline:
                done = [head for head in heads if head.status == "completed"]
                return len(done), max(((head.finished_at or 0.0) - head.created_at for head in done), default=0.0)
            await asyncio.sleep(0.5)
