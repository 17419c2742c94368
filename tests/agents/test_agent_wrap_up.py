"""Agents that finish with what they have at a limit: enough for one more request is kept from the first one on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agent_kit import StubModels, command, engine_at, notes, over, start, vote, waits
from stub_server import start_stub

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.runtime.engine import Engine

FLOW = """
name: look
agents:
  a: {{max_tokens: 300, tools: ["fs.*"]{agent}}}
steps:
{steps}
guardrails: {{{limits}on_limit: wrap_up}}
"""
ONE = "  - {id: say, type: agent, agent: a, prompt: hello}"
LOOK = {"calls": [{"name": "fs_list", "arguments": {"path": "."}}]}
DONE = {"text": "what I have"}


def looks(folder: Path, count: int = 60) -> list[dict[str, Any]]:
    """A model that looks at ever another file as long as it has tools: it does not go in circles."""
    for n in range(count):
        (folder / f"{n}.txt").write_text(f"this is file {n}")
    named = [{"name": "fs_read", "arguments": {"path": f"{n}.txt"}} for n in range(count)]
    return [{"calls": [call], "without_tools": DONE} for call in named]


def flow(limits: str = "", steps: str = ONE, agent: str = "") -> str:
    return FLOW.format(limits=f"{limits}, " if limits else "", steps=steps, agent=agent)


async def budgets(engine: Engine) -> dict[str, tuple[int, int]]:
    """Requests that were made, and tokens that are still held, at each scope."""
    return {b.scope: (b.spent.requests, b.reserved.tokens) for b in await engine.store.budgets.of_run("r1")}


@pytest.mark.parametrize(
    ("limits", "agent", "least"),
    [
        ("requests: 3", "", 2),
        ("tool_calls: 1", "", 1),
        ("", ", guardrails: {requests: 2, on_limit: wrap_up}", 1),
        ("tokens: 9000", "", 2),
        ("cost_usd: 0.009", "", 2),
    ],
)
async def test_at_a_limit_it_is_asked_for_its_result_without_tools(
    tmp_path: Path, limits: str, agent: str, least: int
) -> None:
    with start_stub(tmp_path, looks(tmp_path)) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, flow(limits, agent=agent).replace("prompt: hello", "prompt: hello, max_iterations: 50"))
            assert await over(engine) == ("completed", "what I have")
            assert len(await notes(engine, "tool.completed")) >= least
            assert {held for _, held in (await budgets(engine)).values()} <= {0}
    last = stub.requests()[-1]["body"]
    assert not last.get("tools")
    assert "a limit is reached" in str(last["messages"][-1]["content"])


async def test_what_is_too_long_for_the_last_request_is_shortened(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("word " * 20_000)
    read = {"calls": [{"name": "fs_read", "arguments": {"path": "long.txt"}}]}
    with start_stub(tmp_path, [read | {"without_tools": DONE}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, flow("tokens: 9000"))
            assert await over(engine) == ("completed", "what I have")
            [budget] = await engine.store.budgets.of_run("r1")
            assert budget.spent.tokens <= 9000
    assert "characters are left out" in str(stub.requests()[-1]["body"]["messages"])


async def test_tools_that_were_not_given_are_not_called(tmp_path: Path) -> None:
    with start_stub(tmp_path, [LOOK]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, flow("requests: 6, tool_calls: 1"))
            status, error = await over(engine)
            assert (status, error.code) == ("failed", "AGENT_ERROR")
            assert len(await notes(engine, "tool.started")) == 1


async def test_branches_that_share_a_budget_all_come_to_a_result_within_it(tmp_path: Path) -> None:
    branches = "\n".join(f"      b{n}: [{{id: s{n}, type: agent, agent: a, prompt: part {n}}}]" for n in range(8))
    steps = f"  - id: all\n    type: parallel\n    branches:\n{branches}"
    with start_stub(tmp_path, looks(tmp_path)) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, flow("cost_usd: 0.05", steps))
            status, output = await over(engine)
            assert (status, output) == ("completed", {f"b{n}": "what I have" for n in range(8)})
            [budget] = await engine.store.budgets.of_run("r1")
            assert budget.spent.cost_nano + budget.uncertain.cost_nano <= 50_000_000
            assert budget.reserved.cost_nano == 0


async def test_what_is_kept_is_given_back_when_the_work_is_broken_off(tmp_path: Path) -> None:
    script = [{"calls": [{"name": "fs_write", "arguments": {"path": "b", "content": "x"}}]}]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, flow("requests: 3"))
            await waits(engine, "approval")
            [budget] = await engine.store.budgets.of_run("r1")
            assert (budget.spent.requests, budget.reserved.requests) == (1, 1)
            await command(engine, types.CANCEL)
            assert (await over(engine))[0] == "cancelled"
            [budget] = await engine.store.budgets.of_run("r1")
            assert (budget.spent.requests, budget.reserved.requests, budget.uncertain.requests) == (1, 0, 0)


async def test_after_a_crash_it_still_has_what_it_kept(tmp_path: Path) -> None:
    script = [LOOK, {"calls": [{"name": "fs_write", "arguments": {"path": "b", "content": "x"}}]}, DONE]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, flow("requests: 3"))
            await waits(engine, "approval")
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await vote(engine)
            assert await over(engine) == ("completed", "what I have")
            assert {held for _, held in (await budgets(engine)).values()} == {0}
    assert len(stub.requests()) == 3
