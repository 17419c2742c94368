"""`workflow.start`: an agent starts a workflow, after people have seen which, with what, and what that may cost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from agent_kit import StubModels, command, engine_at, notes, over, start, until, vote, waits
from stub_server import start_stub

from fleetprompt.engine.agents import calls
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.facts import StepNoted
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.engine.definition.load import load_text
from fleetprompt.engine.ports import Append, Page, RunHead
from fleetprompt.engine.runtime.agency import Agency
from fleetprompt.engine.runtime.engine import Engine
from fleetprompt.engine.runtime.secrets import Secrets
from fleetprompt.engine.store.memory import Crash, MemoryStore

CHILD = """
name: refund
description: Pays money back.
inputs: {amount: integer, to: {type: string, default: ACME}}
guardrails: {cost_usd: 0.4, requests: 3}
steps:
  - {id: pay, type: transform, output: {paid: "${{ inputs.amount }}", to: "${{ inputs.to }}"}}
"""
FLOW = """
name: desk
agents:
  clerk: {tools: [workflow.start], guardrails: {requests: 9}}
guardrails: {cost_usd: 1}
steps:
  - {id: handle, type: agent, agent: clerk, prompt: "refund 7"}
"""
ALLOWED = {"allow": ["workflow.start"]}


def starting(workflow: str = "refund", **arguments: Any) -> dict[str, Any]:
    return {"calls": [{"name": "workflow_start", "arguments": {"workflow": workflow, **arguments}}]}


async def known(engine: Engine, text: str = CHILD) -> None:
    await engine.workflows.register(load_text(text, "child.yaml").plan, source=text)


async def children(engine: Engine, run: str = "r1") -> list[RunHead]:
    heads, _ = await engine.store.runs.list(parse("", RUN_FIELDS), Page(limit=100), now=engine.now())
    return [head for head in heads if head.parent == run]


async def test_people_see_what_would_be_started_and_that_is_what_is_started(tmp_path: Path) -> None:
    with start_stub(tmp_path, [starting(inputs={"amount": 7}), {"text": "refunded"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await known(engine)
            await start(engine, FLOW)
            await waits(engine, "approval")
            state = await engine.load("r1")
            assert state is not None
            (gate,) = state.steps["handle"].open_gates
            assert gate.message.startswith('clerk: start refund {"amount":7,"to":"ACME"}')
            does = gate.show["does"]
            assert does["inputs"] == {"amount": 7, "to": "ACME"}
            assert does["description"] == "Pays money back."
            assert does["may_cost"] == (
                "at most $0.40, 3 requests; within $1.00 (run/r1); within 9 requests (step/r1/handle/clerk)"
            )
            await known(engine, CHILD.replace("${{ inputs.amount }}", "${{ inputs.amount * 100 }}"))
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await vote(engine)
            assert await over(engine) == ("completed", "refunded")
            [done] = await notes(engine, "tool.completed")
            [child] = await children(engine)
            assert done.value["output"] == {"run": child.id, "output": {"paid": 7, "to": "ACME"}}
            state = await engine.load(child.id)
            assert state is not None
            assert state.created is not None
            assert {each.scope for each in state.created.within} == {"run/r1", "step/r1/handle/clerk"}
    assert '"paid":7' in stub.requests()[1]["body"]["messages"][-1]["content"]


async def test_inputs_that_people_change_are_checked_and_started(tmp_path: Path) -> None:
    script = [starting(inputs={"amount": 7}), starting(inputs={"amount": 8}), {"text": "ok"}]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await known(engine)
            await start(engine, FLOW)
            await waits(engine, "approval")
            await vote(engine, values={"inputs": {"amount": 70}})
            await until(lambda: len(stub.requests()) == 2)
            await waits(engine, "approval")
            with pytest.raises(AssertionError, match="input `amount` must be of type integer"):
                await vote(engine, values={"inputs": {"amount": "seven"}})
            await vote(engine, "rejected")
            assert await over(engine) == ("completed", "ok")
            [done] = await notes(engine, "tool.completed")
            assert done.value["output"]["output"]["paid"] == 70
            assert len(await children(engine)) == 1


async def test_a_run_that_is_not_waited_for_goes_its_own_way(tmp_path: Path) -> None:
    gated = CHILD.replace("type: transform, output", "type: approval, message: ok, show")
    with start_stub(tmp_path, [starting(inputs={"amount": 7}, wait=False), {"text": "started"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub), policy=ALLOWED) as engine:
            await known(engine, gated)
            await start(engine, FLOW)
            assert await over(engine) == ("completed", "started")
            [done] = await notes(engine, "tool.completed")
            [child] = await children(engine)
            assert done.value["output"] == {"run": child.id}
            await waits(engine, "approval", child.id)
            await vote(engine, run=child.id)
            assert (await over(engine, child.id))[0] == "completed"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"workflow": "refnd", "inputs": {"amount": 7}}, "did you mean `refund`?"),
        ({"workflow": "refund\x1b[2J", "inputs": {}}, "there is no workflow `refund\\\\x1b[2J`"),
        ({"inputs": {"amount": "seven"}}, "input `amount`"),
        ({"inputs": {"amount": 7, "too": 1}}, "unknown input `too`"),
        ({"inputs": [7]}, "`inputs`"),
        ({"inputs": {"amount": 7}, "waits": True}, "there is no argument `waits`"),
    ],
)
async def test_what_cannot_be_started_is_told_to_the_model(tmp_path: Path, arguments: Any, said: str) -> None:
    call = starting(**arguments)
    with start_stub(tmp_path, [call, {"text": "ok"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await known(engine)
            await start(engine, FLOW)
            assert await over(engine) == ("completed", "ok")
            assert await children(engine) == []
    assert said in stub.requests()[1]["body"]["messages"][-1]["content"]


async def test_what_was_paused_meanwhile_or_fails_is_a_failure_of_the_call(tmp_path: Path) -> None:
    script = [starting(inputs={"amount": 1}), starting("broken"), {"text": "ok"}]
    broken = "name: broken\nsteps: [{id: x, type: stop, status: failed, message: no luck}]"
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await known(engine)
            await known(engine, broken)
            await start(engine, FLOW)
            await waits(engine, "approval")
            await engine.workflows.set_status("refund", "paused", "default")
            await vote(engine)
            await until(lambda: len(stub.requests()) == 2)
            await waits(engine, "approval")
            await vote(engine)
            assert await over(engine) == ("completed", "ok")
            first, second = await notes(engine, "tool.failed")
    assert "workflow `refund` is paused" in first.value["error"]["message"]
    assert "no luck" in second.value["error"]["message"]


async def test_runs_are_neither_endlessly_deep_nor_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MOST_STARTS", 2)
    many = starting(inputs={"amount": 1})
    with start_stub(tmp_path, [many, many, many, {"text": "enough"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub), policy=ALLOWED) as engine:
            await known(engine)
            await start(engine, FLOW.replace("clerk: {", "clerk: {stuck: {repeats: 9, stale: 9, cycles: 9}, "))
            assert await over(engine) == ("completed", "enough")
            assert len(await children(engine)) == 2
            [failed] = await notes(engine, "tool.failed")
            assert "start 2 runs at most" in failed.value["error"]["message"]


async def test_an_agents_choice_is_three_runs_deep_at_most(tmp_path: Path) -> None:
    script = [{"when": "deep", "text": "that is deep"}, starting("desk")]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub), policy=ALLOWED) as engine:
            await known(engine, FLOW)
            await start(engine, FLOW)
            status, _ = await over(engine)
            assert status == "completed"
            runs = ["r1"]
            while below := await children(engine, runs[-1]):
                runs.append(below[0].id)
            assert len(runs) == 4
    assert "3 runs deep at most" in stub.requests()[4]["body"]["messages"][-1]["content"]


async def test_what_is_cancelled_ends_what_is_waited_for(tmp_path: Path) -> None:
    gated = CHILD.replace("type: transform, output", "type: approval, message: ok, show")
    with start_stub(tmp_path, [starting(inputs={"amount": 7})]) as stub:
        async with engine_at(tmp_path, StubModels(stub), policy=ALLOWED) as engine:
            await known(engine, gated)
            await start(engine, FLOW)
            await waits(engine, "child")
            (child,) = await until(lambda: children(engine))
            await waits(engine, "approval", child.id)
            await command(engine, types.CANCEL)
            assert (await over(engine))[0] == "cancelled"
            assert (await over(engine, child.id))[0] == "cancelled"


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("lost", ["tool.started", "tool.completed"])
async def test_a_crash_starts_nothing_twice(tmp_path: Path, wait: bool, lost: str) -> None:
    dead = asyncio.Event()

    def die(entry: Append, durable: bool) -> None:
        """The engine is gone: `tool.started` has become durable and nothing after it, `tool.completed` has not."""
        hit = any(isinstance(fact, StepNoted) and fact.kind == lost for fact in entry.facts)
        if dead.is_set() or (hit and durable == (lost == "tool.started")):
            dead.set()
            raise Crash

    store = MemoryStore(on_append=die)
    script = [starting(inputs={"amount": 7}, wait=wait), {"text": "ok"}]
    with start_stub(tmp_path, script) as stub:

        def engine_on(store: MemoryStore) -> Engine:
            (tmp_path / "policy.toml").write_text('allow = ["workflow.start"]')
            return Engine(store, directory=tmp_path, agency=Agency(Secrets(), root=tmp_path, models=StubModels(stub)))

        first = engine_on(store)
        await first.__aenter__()
        await known(first)
        await start(first, FLOW)
        await dead.wait()
        left = MemoryStore()
        left.restore(store.dump())
        async with engine_on(left) as again:
            assert await over(again) == ("completed", "ok")
            [child] = await children(again)
            assert (await over(again, child.id))[0] == "completed"
            [done] = await notes(again, "tool.completed")
            assert done.value["output"]["run"] == child.id
