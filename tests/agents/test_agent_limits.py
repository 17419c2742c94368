"""Limits that are reached in the middle of several calls, by delegates, and by whoever a task is handed to: nobody
waits for ever, and nothing stays reserved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agent_kit import StubModels, command, engine_at, notes, over, start
from stub_server import start_stub

from fleetprompt.engine.core import signal as types

FLOW = """
name: f
agents:
  a: {{system: "I am a.", tools: ["fs.*"], delegates: [b], handoffs: [b]{own}}}
  b: {{system: "I am b.", tools: ["fs.*"]}}
steps: [{{id: say, type: agent, agent: a, prompt: hello}}]
guardrails: {{{limits}}}
"""


def calls(*made: tuple[str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"calls": [{"name": name, "arguments": arguments} for name, arguments in made], **more}


LIST = ("fs_list", {"path": "."})
DELEGATE = ("delegate_b", {"task": "do it"})


@pytest.mark.parametrize(("on_limit", "ends"), [("fail", "failed"), ("wrap_up", "completed")])
async def test_of_calls_beside_each_other_those_are_made_that_a_limit_allows(
    tmp_path: Path, on_limit: str, ends: str
) -> None:
    with start_stub(tmp_path, [calls(LIST, LIST, LIST, without_tools={"text": "what I have"})]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, FLOW.format(own="", limits=f"tool_calls: 2, on_limit: {on_limit}"))
            status, output = await over(engine)
            assert (status, getattr(output, "code", output)) == (
                ends,
                "BUDGET_EXCEEDED" if ends == "failed" else "what I have",
            )
            assert len(await notes(engine, "tool.completed")) == 2
            [budget] = await engine.store.budgets.of_run("r1")
            assert (budget.spent.tool_calls, budget.reserved.tool_calls) == (2, 0)


@pytest.mark.parametrize(
    ("own", "limits"),
    [("", "tool_calls: 1"), (", guardrails: {requests: 5, on_limit: wrap_up}", "requests: 2")],
)
async def test_a_delegate_does_not_wait_for_what_whoever_waits_for_it_holds(
    tmp_path: Path, own: str, limits: str
) -> None:
    script = [
        {"when": "do it", **calls(LIST)},
        calls(DELEGATE, without_tools={"text": "what I have"}),
        {"text": "what I have"},
    ]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, FLOW.format(own=own, limits=limits))
            assert (await over(engine))[0] in ("completed", "failed")
            failed = await notes(engine, "tool.failed")
            assert [note.value["error"]["code"] for note in failed] == ["BUDGET_EXCEEDED"]
            [budget] = [each for each in await engine.store.budgets.of_run("r1") if each.scope == "run/r1"]
            assert (budget.reserved.requests, budget.reserved.tool_calls) == (0, 0)


@pytest.mark.parametrize(
    ("own", "made", "ends", "refused"),
    [
        ("requests: 2", 2, "failed", 1),
        ("tool_calls: 1", 3, "completed", 1),
        # It is told to give what it has, and so is whoever asked it, which keeps a request for that.
        ("requests: 3, on_limit: wrap_up", 3, "completed", 0),
    ],
)
async def test_a_delegate_spends_what_whoever_asked_it_has_left(
    tmp_path: Path, own: str, made: int, ends: str, refused: int
) -> None:
    script = [
        {"when": '"content": "do it"', **calls(LIST, without_tools={"text": "b has this"})},
        calls(DELEGATE, without_tools={"text": "what I have"}),
        {"text": "what I have"},
    ]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, FLOW.format(own=f", guardrails: {{{own}}}", limits="requests: 50"))
            assert (await over(engine))[0] == ends
            told = [note.value["error"]["code"] for note in await notes(engine, "tool.failed")]
            assert [code for code in told if code == "BUDGET_EXCEEDED"] == ["BUDGET_EXCEEDED"] * refused
            budgets = {each.scope: each for each in await engine.store.budgets.of_run("r1")}
            assert budgets["step/r1/say/a"].spent.requests == made
            assert budgets["step/r1/say/a"].reserved.requests == 0
    assert len(stub.requests()) == made


async def test_who_hands_a_task_over_keeps_nothing_back(tmp_path: Path) -> None:
    script = [{"when": "I am b.", "text": "done"}, calls(("handoff_b", {"reason": "yours"}))]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            # One request each, and one that the second keeps for its end.
            await start(engine, FLOW.format(own="", limits="requests: 3, on_limit: wrap_up"))
            assert await over(engine) == ("completed", "done")
            assert await notes(engine, "remark") == []
            [budget] = await engine.store.budgets.of_run("r1")
            assert (budget.spent.requests, budget.reserved.requests) == (2, 0)


async def test_what_a_delegate_failed_at_does_not_begin_the_work_anew(tmp_path: Path) -> None:
    script = [
        {"when": '"content": "do it"', "text": ""},
        calls(DELEGATE),
        calls(("handoff_b", {"reason": "yours"})),
        {"mode": "400"},
        {"text": "done"},
    ]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, FLOW.format(own="", limits="requests: 50"))
            assert (await over(engine))[0] == "failed"
            await command(engine, types.RETRY, new="r2", run="r1")
            assert await over(engine, "r2") == ("completed", "done")
            fresh = [note for note in await notes(engine, "session", "r2") if note.value.get("fresh")]
            assert len(fresh) == 1
