"""What starts when an agent has done its work: once for each time, by how it ended."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from agent_kit import StubModels, command, engine_at, over, start, until, waits
from stub_server import start_stub

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.engine.definition.load import load_text
from fleetprompt.engine.ports import Page
from fleetprompt.engine.runtime.engine import Engine

TEAM = """
name: team
agents:
  triage: {system: "I am triage.", delegates: [policy], handoffs: [billing]}
  policy: {system: "I am policy."}
  billing: {system: "I am billing.", tools: ["fs.*"]}
steps:
  - {id: handle, type: agent, agent: triage, prompt: "the invoice is wrong"}
"""
LISTENING = """
name: after-NAME
triggers: [{type: completion, agent: NAME, status: [completed, failed, cancelled]}]
inputs: {agent: string, status: string}
steps: [{id: a, type: transform, output: "${{ trigger.data.key }} ${{ inputs.status }}"}]
"""
FAILS = {"mode": "400"}


def call(name: str, /, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


async def listen(engine: Engine, *agents: str) -> None:
    for agent in agents:
        text = LISTENING.replace("NAME", agent)
        await engine.workflows.register(load_text(text, "flow.yaml", Path(engine.directory)).plan, source=text)


async def heard(engine: Engine, count: int) -> list[Any]:
    """What those who listen have said, as soon as there are so many."""

    async def there() -> list[Any]:
        query = parse("workflow:after-*", RUN_FIELDS)
        heads, _ = await engine.store.runs.list(query, Page(), now=engine.now())
        done = [each for each in heads if each.finished_at is not None]
        return done if len(done) >= count else []

    states = [await engine.load(each.id) for each in await until(there)]
    return sorted(state.output for state in states if state is not None)


async def test_delegates_and_hand_overs_are_ends_of_work_too(tmp_path: Path) -> None:
    script = [
        {"when": "I am policy.", "text": "up to 10"},
        {"when": "I am billing.", "text": "corrected"},
        {"calls": [call("delegate_policy", task="how much?")]},
        {"calls": [call("handoff_billing", reason="money")]},
    ]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await listen(engine, "triage", "policy", "billing")
            await start(engine, TEAM)
            assert await over(engine) == ("completed", "corrected")
            assert await heard(engine, 3) == [
                "billing#1 completed", "triage completed", "triage/tool/0.0/policy completed"
            ]  # fmt: skip


async def test_an_agent_that_is_called_off_has_ended(tmp_path: Path) -> None:
    script = [
        {"when": "I am billing.", "calls": [call("fs_write", path="b.txt", content="x")]},
        {"calls": [call("handoff_billing", reason="money")]},
    ]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await listen(engine, "billing")
            await start(engine, TEAM)
            await waits(engine, "approval")
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await engine.workflows.refresh()
            await command(engine, types.CANCEL)
            assert await heard(engine, 1) == ["billing#1 cancelled"]


async def test_an_agent_that_is_tried_again_ends_once(tmp_path: Path) -> None:
    text = TEAM.replace('"the invoice is wrong"', '"x", retry: {max_attempts: 2, backoff: 10ms}')
    with start_stub(tmp_path, [FAILS, FAILS]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await listen(engine, "triage")
            await start(engine, text)
            assert (await over(engine))[0] == "failed"
            assert await heard(engine, 1) == ["triage failed"]
            # A signal is heard a moment before it is closed.
            for _ in range(2400):
                if not await engine.store.signals.unrouted():
                    break
                await asyncio.sleep(0.05)
            assert await engine.store.signals.unrouted() == []
            assert await heard(engine, 1) == ["triage failed"]


async def test_nobody_listens_and_nothing_is_kept(tmp_path: Path) -> None:
    with start_stub(tmp_path, [{"text": "done"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, TEAM)
            assert (await over(engine))[0] == "completed"
            sent, _ = await engine.store.signals.list(_every(), Page(), now=engine.now())
            assert types.AGENT_FINISHED not in {signal.type for signal in sent}


def _every() -> Any:
    from fleetprompt.engine.core.query_fields import SIGNAL_FIELDS

    return parse("", SIGNAL_FIELDS)
