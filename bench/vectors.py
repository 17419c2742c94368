"""How long the nearest of many vectors of 1,536 numbers take: ours, through the store, and the same comparison in pure
Python, which needs no library.
"""

from __future__ import annotations

import asyncio
import math
import random
import statistics
import subprocess
import sys
import time
from array import array
from collections.abc import Callable
from operator import mul

from bench.ours import place
from bench.task import Figures, Task
from fleetprompt.client.opening import open_store
from fleetprompt.engine.ports.memory import Memory, Vector, Which
from fleetprompt.engine.store.vectors import nearest, packed

NUMBERS = 1_536
FEW, MANY = 2_000, 20_000
TIMES = 7
SCOPE = "agent/bench"


def _rows(count: int) -> list[tuple[int, bytes]]:
    """Vectors around one direction, so that all of them are near enough to count."""
    rng = random.Random(count)
    return [(key, packed(rng.randbytes(NUMBERS))) for key in range(1, count + 1)]


def _median_ms(search: Callable[[], object]) -> float:
    search()
    each: list[float] = []
    for _ in range(TIMES):
        began = time.perf_counter()
        search()
        each.append(time.perf_counter() - began)
    return statistics.median(each) * 1e3


def _compared(task: Task, compare: Callable[[tuple[float, ...], list[tuple[int, bytes]]], object]) -> Figures:
    found: Figures = {}
    for name, count in (("few", FEW), ("many", MANY)):
        rows = _rows(count // 10 if task.quick else count)
        asked = tuple(array("f", rows[-1][1]))
        found[f"{name}_ms"] = _median_ms(lambda asked=asked, rows=rows: compare(asked, rows))
    return found


async def _through_the_store(task: Task) -> float:
    store = open_store(place(task.path))
    await store.open()
    try:
        rows = _rows(FEW // 10 if task.quick else FEW)
        asked = Vector("bench", tuple(array("f", rows[-1][1])))

        async def add(key: int, data: bytes) -> None:
            memory = Memory(id=str(key), scope=SCOPE, type="fact", text=str(key), created_at=1, accessed_at=1)
            await store.memories.add(memory, Vector("bench", tuple(array("f", data))))

        await asyncio.gather(*[add(key, data) for key, data in rows])
        each: list[float] = []
        for _ in range(TIMES + 1):
            began = time.perf_counter()
            await store.memories.near(asked, Which(at=2.0, scope=SCOPE))
            each.append(time.perf_counter() - began)
        return statistics.median(each[1:]) * 1e3
    finally:
        await store.close()


def measure(task: Task) -> Figures:
    """Ours."""
    code = "import time; began = time.perf_counter(); import numpy; print(time.perf_counter() - began)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = _compared(task, lambda asked, rows: nearest(asked, rows, 10))
    return found | {"store_ms": asyncio.run(_through_the_store(task)), "load_ms": float(loaded.stdout) * 1e3}


def python(task: Task) -> Figures:
    """One by one, without a library."""

    def compare(asked: tuple[float, ...], rows: list[tuple[int, bytes]]) -> list[int]:
        length = math.sqrt(math.fsum(number * number for number in asked))
        unit = [number / length for number in asked]
        found = [(-sum(map(mul, unit, array("f", data).tolist())), -key) for key, data in rows]
        return [-key for _, key in sorted(found)[:10]]

    return _compared(task, compare)
