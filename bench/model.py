"""What a model call of ours costs beyond litellm's own: a streamed answer to a 2 KB prompt, the two in turn, and as the
step of a run, with its reservation and what is recorded before and after.

The server is the tests' own, in its own process, on loopback. Both read every chunk; ours also puts the answer
together, watches the time, checks how it ended and prices it.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import time
from typing import Any

import msgspec

from bench.ours import Workflow, place, write_project
from bench.task import Figures, Task
from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.opening import open_console
from fleetprompt.engine.core.facts import StepStarted, StepSucceeded
from fleetprompt.engine.llm.library import library
from fleetprompt.engine.llm.provider_litellm import LiteLLM
from fleetprompt.engine.llm.settings import ModelSettings, PriceSettings
from fleetprompt.engine.llm.wire import messages_out, tools_out
from fleetprompt.engine.ports.model import Delta, Message, ModelRequest, ModelTarget, Price, ToolSpec
from fleetprompt.engine.runtime.agency import AgencySettings
from tests.llm.stub_server import start_stub

ANSWER = "".join(f"word{i:03} " for i in range(60))
"""20 chunks of the server."""
LONG = "".join(f"word{i:04} " for i in range(1_200))
"""450 chunks, none like the one before."""
PROMPT = "Which service fails, and since when? " * 56
TOOL = ToolSpec("look", "Look at a log.", {"type": "object", "properties": {"path": {"type": "string"}}})
AT_ONCE = 200
FLOW = """
name: asks
inputs: {items: {type: array}, prompt: {type: string}}
guardrails: {cost_usd: 100}
steps:
  - id: each
    type: loop
    over: inputs.items
    steps: [{id: ask, type: chat, max_tokens: 500, prompt: "${{ inputs.prompt }}"}]
"""


def measure(task: Task) -> Figures:
    """Milliseconds per call, litellm's own and ours, and many streams at once."""
    with start_stub(task.path, [{"text": ANSWER}]) as stub, start_stub(task.path, [{"text": LONG}]) as long:
        return asyncio.run(_measure(task, stub.base, long.base, 20 if task.quick else 300))


async def _in_a_run(task: Task, base: str, times: int) -> list[float]:
    """Milliseconds of steps that are model calls: from the fact that begins one to the fact that ends it."""
    write_project(task.path, "", asks=FLOW)
    os.environ["BENCH_KEY"] = "none"
    price = PriceSettings(input_usd_per_mtok=0.15, output_usd_per_mtok=0.6)
    default = ModelSettings(model="openai/stub", api_base=base, api_key_env="BENCH_KEY", price=price)
    settings = msgspec.structs.replace(place(task.path), agency=AgencySettings(models={"default": default}))
    console = await open_console(settings, "engine", what="bench")
    assert isinstance(console, EmbeddedConsole)
    try:
        workflow = await Workflow.register(console.engine, task.path, "asks")
        head = await workflow.run(items=[0] * times, prompt=PROMPT)
        facts = [stored.fact for stored in await console.facts(head.id)]
    finally:
        await console.close()
    begun = {fact.path: fact.at for fact in facts if isinstance(fact, StepStarted) and fact.path.endswith(".ask")}
    ended = [fact for fact in facts if isinstance(fact, StepSucceeded) and fact.path in begun]
    return [(fact.at - begun[fact.path]) * 1e3 for fact in ended]


async def _own(litellm: Any, base: str, request: ModelRequest) -> int:
    """A call of litellm's own; how many chunks came."""
    stream: Any = await litellm.acompletion(
        model="openai/stub",
        api_base=base,
        api_key="none",
        messages=messages_out(request.messages),
        tools=tools_out(request.tools),
        tool_choice="auto",
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=500,
        max_retries=0,
        timeout=60,
    )
    return len([0 async for _ in stream])


async def _pieces(litellm: Any, base: str, request: ModelRequest, times: int) -> Figures:
    """Processor time of the event loop per piece of a long answer, litellm's own and ours in turn."""
    target = msgspec.structs.replace(request.target, api_base=base)
    request = msgspec.structs.replace(request, target=target)
    provider, deltas = LiteLLM(), list[Delta]()
    used: dict[str, list[float]] = {"piece_us": [], "litellm_piece_us": []}
    for _ in range(times):
        cpu = time.thread_time()
        chunks = await _own(litellm, base, request)
        used["litellm_piece_us"].append((time.thread_time() - cpu) / chunks * 1e6)
        deltas.clear()
        cpu = time.thread_time()
        await provider.answer(request, "none", deltas.append)
        used["piece_us"].append((time.thread_time() - cpu) / len(deltas) * 1e6)
    return {name: statistics.median(values) for name, values in used.items()}


async def _measure(task: Task, base: str, long: str, times: int) -> Figures:
    began = time.perf_counter()
    litellm = await library()
    loaded = time.perf_counter() - began
    target = ModelTarget(name="bench", model="openai/stub", api_base=base, price=Price(input=150, output=600))
    request = ModelRequest(target=target, messages=(Message("user", PROMPT),), tools=(TOOL,), max_tokens=500, key="k#1")
    provider = LiteLLM()

    async def ours() -> None:
        answer = await provider.answer(request, "none", lambda delta: None)
        assert answer.text == ANSWER

    async def own() -> None:
        await _own(litellm, base, request)

    took: dict[str, list[float]] = {"ours": [], "own": []}
    used: dict[str, list[float]] = {"ours": [], "own": []}
    for i in range(10 + times):
        for name, call in (("ours", ours), ("own", own)) if i % 2 else (("own", own), ("ours", ours)):
            at, cpu = time.perf_counter(), time.thread_time()
            await call()
            if i >= 10:
                took[name].append((time.perf_counter() - at) * 1e3)
                used[name].append((time.thread_time() - cpu) * 1e3)
    p50 = {name: statistics.median(values) for name, values in took.items()}
    cpu_p50 = {name: statistics.median(values) for name, values in used.items()}
    at = time.perf_counter()
    await asyncio.gather(*(ours() for _ in range(20 if times < 100 else AT_ONCE)))
    together = time.perf_counter() - at
    pieces = await _pieces(litellm, long, request, 3 if task.quick else 20)
    await provider.close()
    steps = await _in_a_run(task, base, times)
    return {
        "step_p50_ms": statistics.median(steps) - p50["own"],
        "overhead_p50_ms": p50["ours"] - p50["own"],
        "cpu_p50_ms": cpu_p50["ours"] - cpu_p50["own"],
        "ours_p50_ms": p50["ours"],
        "litellm_p50_ms": p50["own"],
        "together_s": together,
        "load_s": loaded,
        **pieces,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
