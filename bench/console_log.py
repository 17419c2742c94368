"""What the console's view of a log costs without a terminal: opening, paging, filtering, searching 1,000,000 lines, and
following 1,000 new ones a second that another process writes.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.task import Figures, Task, spawn, spread
from fleetprompt.client.log_reading import LogReading
from fleetprompt.engine.ports import Level, LogLine
from fleetprompt.engine.store.database import SqlStore
from fleetprompt.tui.state.log import LogView

RUN = "bench"
LINES = 1_000_000
STEPS = 40
RATE = 1_000
"""Lines a second while they are followed."""
LOOKS = 4
"""How often a second the console looks for more."""
SECONDS = 10
SCREEN = (160, 46)
_LEVELS: tuple[Level, ...] = (
    "stdout",
    "stdout",
    "stdout",
    "stdout",
    "info",
    "stdout",
    "stderr",
    "info",
    "warning",
    "error",
)


class Source(LogReading):
    """The logs of a store."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.tenant = "default"


def _line(n: int, at: float) -> LogLine:
    text = f"request {n} GET /api/v1/items/{n * 7919 % 100_000} served in {n * 31 % 977} ms, from 10.0.{n % 251}.7"
    return LogLine(at=at, level=_LEVELS[n * 7 % 10], text=text, path=f"crawl[{n // 1000 % STEPS}].fetch")


async def fill(store: SqlStore, lines: int, run: str = RUN) -> None:
    """Write a log as 40 steps would have left it."""
    for first in range(0, lines, 1000):
        store.logs.write(run, [_line(n, 1.8e9 + n / 1000) for n in range(first, first + 1000)])
        if first % 20_000 == 0:
            await store.logs.flush()
    await store.logs.flush()


async def _write(folder: Path, seconds: float) -> None:
    """The other process: so many lines a second, in ten lots."""
    store = SqlStore(folder / "logs.db", log_cap=1 << 40)
    await store.open()
    began = time.perf_counter()
    lots = int(seconds * 10)
    for lot in range(lots):
        await asyncio.sleep(max(0.0, began + lot / 10 - time.perf_counter()))
        first = LINES + lot * RATE // 10
        store.logs.write(RUN, [_line(n, 1.9e9 + n / 1000) for n in range(first, first + RATE // 10)])
    await store.logs.flush()
    await store.close()


async def _until_settled(view: LogView) -> None:
    while await view.load() or await view.work():
        pass
    view.rows()


async def _ms(done: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await done()
    return (time.perf_counter() - began) * 1e3


async def _pages(view: LogView, times: int) -> list[float]:
    """Seconds until the lines of a place chosen by chance are there."""
    chance = random.Random(1)
    took: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        view.go_to(chance.randrange(view.count))
        while any(not row.margin for _, row in view.rows()) and await view.load():
            pass
        took.append(time.perf_counter() - began)
    return took


async def _filtered(view: LogView) -> None:
    view.show_levels({"error", "warning"})
    await _until_settled(view)


async def _searched(view: LogView) -> None:
    view.search("items/77 ")
    await _until_settled(view)


async def _follow(view: LogView, seconds: float) -> tuple[float, int]:
    """The share of a core that following takes, and how many lines came."""
    view.end()
    await _until_settled(view)
    before, began, cpu = view.lines, time.perf_counter(), time.process_time()
    for look in range(int(seconds * LOOKS)):
        await asyncio.sleep(max(0.0, began + look / LOOKS - time.perf_counter()))
        await view.refresh()
        await _until_settled(view)
    return (time.process_time() - cpu) / (time.perf_counter() - began), view.lines - before


async def _measured(task: Task) -> Figures:
    folder = Path(task.shared)
    new = not (folder / "logs.db").exists()
    store = SqlStore(folder / "logs.db", log_cap=1 << 40)
    await store.open()
    if new:
        await fill(store, LINES // 10 if task.quick else LINES)
    view = LogView(Source(store), RUN)
    view.resize(*SCREEN)
    figures: Figures = {"open_ms": await _ms(view.open)}
    view.rows()
    figures |= spread(await _pages(view, 20 if task.quick else 200), "page")
    figures["filter_ms"] = await _ms(lambda: _filtered(view))
    view.show_levels(())
    figures["search_ms"] = await _ms(lambda: _searched(view))
    view.search("")
    seconds = 3 if task.quick else SECONDS
    with spawn("bench.console_log", str(folder), str(seconds)) as writer:
        share, came = await _follow(view, seconds + 2)
        writer.wait()
    figures["follow_percent"] = share * (seconds + 2) / seconds * 100
    figures["held_mb"] = view.held_bytes / 1e6
    await store.close()
    if came < RATE * seconds // 2:
        figures["notes"] = [f"only {came} lines came in {seconds} s"]
    return figures


def measure(task: Task) -> Figures:
    return asyncio.run(_measured(task))


if __name__ == "__main__":
    asyncio.run(_write(Path(sys.argv[1]), float(sys.argv[2])))
