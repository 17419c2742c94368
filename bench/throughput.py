"""Steps per second with many runs at once, and the time of a run when there is one at a time."""

from __future__ import annotations

import asyncio
import time

from bench.ours import Workflow, engine, place, write_project
from bench.task import Figures, Task, drive
from bench.work import PAYLOAD, STEPS, WARM, few, figures, many

FUNCTIONS = """
async def echo(text):
    return {"text": text}
"""


def workflow() -> str:
    """Ten trivial steps, each handing its text on to the next."""
    lines = ["name: chain", "inputs: {text: {type: string}}", "steps:"]
    for i in range(STEPS):
        text = f"steps.s{i - 1}.output.text" if i else "inputs.text"
        lines.append(
            f"  - {{id: s{i}, type: python, call: 'work:echo', repeat: safe, with: {{text: '${{{{ {text} }}}}'}}}}"
        )
    return "\n".join(lines) + "\n"


async def _measure(task: Task, runs: int, live: int) -> Figures:
    write_project(task.path, FUNCTIONS, chain=workflow())
    async with engine(task) as opened:
        chain = await Workflow.register(opened, task.path, "chain")
        for _ in range(WARM):
            await chain.run(text=PAYLOAD)
        journal = opened.store.journal
        commits, facts, cpu = journal.commits, await journal.position(), time.process_time()
        driven = await drive(lambda i: chain.run(text=PAYLOAD), runs, live)
        cpu = time.process_time() - cpu
        commits, facts = journal.commits - commits, await journal.position() - facts
        return figures(driven, runs, live, cpu) | {
            "commits": commits,
            "facts": facts,
            "facts_per_commit": facts / max(commits, 1),
            "troubles": len(opened.troubles),
            "database": str(place(task.path).database),
        }


def throughput(task: Task) -> Figures:
    runs, live = many(task.quick)
    return asyncio.run(_measure(task, runs, live))


def latency(task: Task) -> Figures:
    return asyncio.run(_measure(task, few(task.quick), 1))
