"""What a step costs in a loop of 10,000 items, against a loop of 100: no fact may cost more because of those before.

Ten iterations at a time, so that the disk is shared between them and what grows can be seen.
"""

from __future__ import annotations

import asyncio
import statistics
import time

from bench.ours import Workflow, engine, write_project
from bench.task import Figures, Task

FUNCTIONS = """
async def one(item):
    return item
"""
WORKFLOW = """
name: loop
inputs: {items: {type: array}}
steps:
  - id: each
    type: loop
    over: inputs.items
    concurrency: 10
    steps:
      - {id: one, type: python, call: 'work:one', repeat: safe, with: {item: '${{ item }}'}}
"""
SMALL, LARGE = 100, 10_000


async def _measure(task: Task) -> Figures:
    write_project(task.path, FUNCTIONS, loop=WORKFLOW)
    large = LARGE // 10 if task.quick else LARGE
    async with engine(task) as opened:
        loop = await Workflow.register(opened, task.path, "loop")

        async def cost(size: int) -> float:
            """Seconds per step."""
            began = time.perf_counter()
            await loop.run(items=list(range(size)))
            return (time.perf_counter() - began) / size

        for _ in range(3):
            await cost(SMALL)
        before = [await cost(SMALL) for _ in range(10)]
        per_large = await cost(large)
        # On both sides of the large one, so that a machine that becomes busy does not look like growth.
        per_small = statistics.median(before + [await cost(SMALL) for _ in range(10)])
    return {"ratio": per_large / per_small, "small_us": per_small * 1e6, "large_us": per_large * 1e6, "items": large}


def measure(task: Task) -> Figures:
    return asyncio.run(_measure(task))
