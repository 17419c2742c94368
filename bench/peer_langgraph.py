"""LangGraph with its AsyncSqliteSaver, the same work: a graph of ten async nodes.

`durability="sync"`: a checkpoint is written before the next node starts. The saver sets WAL; synchronous is FULL.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, TypedDict

from bench.task import Figures, Task, drive
from bench.work import PAYLOAD, STEPS, WARM, few, figures, many


class State(TypedDict):
    text: str


async def echo(state: State) -> State:
    return {"text": state["text"]}


async def _measure(task: Task, runs: int, live: int) -> Figures:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
    from langgraph.graph import END, START, StateGraph

    async with AsyncSqliteSaver.from_conn_string(str(task.path / "langgraph.db")) as saver:
        await saver.setup()
        await saver.conn.execute("PRAGMA synchronous = FULL")
        graph: Any = StateGraph(State)
        names = [f"s{i}" for i in range(STEPS)]
        for name in names:
            graph.add_node(name, echo)
        for before, after in zip([START, *names], [*names, END], strict=True):
            graph.add_edge(before, after)
        chain: Any = graph.compile(checkpointer=saver)

        async def run(i: int) -> None:
            await chain.ainvoke(
                {"text": PAYLOAD}, {"configurable": {"thread_id": f"run-{i}"}, "callbacks": []}, durability="sync"
            )

        for i in range(WARM):
            await run(-1 - i)
        cpu = time.process_time()
        driven = await drive(run, runs, live, task.options.get("seconds", 60.0))
        cpu = time.process_time() - cpu
    return figures(driven, runs, live, cpu)


def throughput(task: Task) -> Figures:
    return asyncio.run(_measure(task, *many(task.quick)))


def latency(task: Task) -> Figures:
    return asyncio.run(_measure(task, few(task.quick), 1))
