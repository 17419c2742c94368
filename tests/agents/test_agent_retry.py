"""A run that is done again goes on with what its agents have done: nothing of it is paid for or done twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent_kit import StubModels, command, engine_at, head, notes, over, start, vote, waits
from stub_server import start_stub

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.runtime.engine import Engine

FLOW = """
name: again
agents:
  a: {tools: ["fs.*"]%s}
steps:
  - {id: first, type: transform, output: 1}
  - {id: look, type: agent, agent: a, prompt: hello}
  - {id: after, type: transform, output: "${{ steps.look.output }}!"}
"""
LOOK = {"calls": [{"name": "fs_read", "arguments": {"path": "a.txt"}}]}
WRITE = {"calls": [{"name": "fs_write", "arguments": {"path": "b.txt", "content": "x"}}]}


async def retry(engine: Engine, **data: Any) -> str:
    await command(engine, types.RETRY, new="r2", run="r1", **data)
    return "r2"


async def test_a_retry_goes_on_where_an_agent_had_come_to(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the pool is empty")
    with start_stub(tmp_path, [LOOK, {"text": "ok"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, FLOW % ", guardrails: {requests: 1}")
            status, error = await over(engine)
            assert (status, error.code) == ("failed", "BUDGET_EXCEEDED")
            await retry(engine)
            assert await over(engine, "r2") == ("completed", "ok!")
            assert [note.attempt for note in await notes(engine, "llm.completed", "r2")] == [1, 2]
            assert len(await notes(engine, "tool.started", "r2")) == 1
            moved = [note.value for note in await notes(engine, "state", "r2")]
            assert [(each["from"], each["to"], each["type"]) for each in moved] == [
                ("", "planning", "normal"),
                ("planning", "executing", "normal"),
                ("executing", "failed", "error"),
                ("failed", "planning", "retry"),
                ("planning", "completed", "normal"),
            ]
            assert [each["sequence"] for each in moved] == [0, 1, 2, 3, 4]
            assert [each["state_data"].get("attempt") for each in moved] == [1, None, None, 2, None]
            assert (await head(engine, "r2")).cost_nano == 2 * 25_000
    assert len(stub.requests()) == 2


async def test_a_retry_from_a_step_begins_it_anew(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the pool is empty")
    with start_stub(tmp_path, [LOOK, {"text": "no"}, LOOK, {"text": "ok"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, FLOW % "")
            assert await over(engine) == ("completed", "no!")
            await retry(engine, **{"from": "look"})
            assert await over(engine, "r2") == ("completed", "ok!")
            assert len(await notes(engine, "tool.started", "r2")) == 1
    assert len(stub.requests()) == 4


async def test_a_run_that_was_cancelled_while_an_agent_waited_asks_once_more(tmp_path: Path) -> None:
    with start_stub(tmp_path, [WRITE, {"text": "ok"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, FLOW % "")
            await waits(engine, "approval")
            await command(engine, types.CANCEL)
            assert (await over(engine))[0] == "cancelled"
            await retry(engine)
            await waits(engine, "approval", "r2")
            assert not (tmp_path / "b.txt").exists()
            await vote(engine, run="r2")
            assert await over(engine, "r2") == ("completed", "ok!")
            assert (tmp_path / "b.txt").read_text() == "x"
    assert len(stub.requests()) == 2
