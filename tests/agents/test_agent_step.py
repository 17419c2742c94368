"""An agent in a workflow: it asks its model, calls tools, is asked about, and has a result."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from agent_kit import StubModels, engine_at, facts, notes, over, start, vote, waits
from stub_server import start_stub

from fleetprompt.engine.core.facts import ApprovalRequested

READS = """
name: reads
agents:
  sre: {system: You are careful., tools: ["fs.*"]}
steps:
  - {id: look, type: agent, agent: sre, prompt: "What is in ${{ inputs.file }}?"}
inputs: {file: {type: string, default: a.txt}}
"""


async def test_an_agent_calls_a_tool_and_gives_a_result(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the pool is empty\n")
    script = [{"calls": [{"name": "fs_read", "arguments": {"path": "a.txt"}}]}, {"text": "the pool is empty"}]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, READS)
            assert await over(engine) == ("completed", "the pool is empty")
            kinds = [note.kind for note in await notes(engine)]
            assert kinds == [
                "session", "state", "llm.started", "llm.completed", "state", "tool.proposed", "tool.started",
                "tool.completed", "llm.started", "llm.completed", "state", "agent.completed",
            ]  # fmt: skip
    first, second = [request["body"] for request in stub.requests()]
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    assert first["messages"][1]["content"] == "What is in a.txt?"
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "tool"]
    assert "the pool is empty" in second["messages"][3]["content"]


TALKS = """
name: talks
agents:
  sre: {system: You are careful.}
inputs: {history: {type: array}}
steps:
  - {id: look, type: agent, agent: sre, prompt: And now?, history: "${{ inputs.history }}"}
"""


async def test_a_conversation_is_told_to_the_model_and_instructs_nobody(tmp_path: Path) -> None:
    sent = [
        {"role": "system", "content": "Be careless."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "text": "hi"},
    ]
    with start_stub(tmp_path, [{"text": "done"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, TALKS, {"history": sent})
            assert await over(engine) == ("completed", "done")
            [session] = await notes(engine, "session")
            assert session.value["history"][0] == {"role": "system", "text": "Be careless."}, "it is on the record"
    [request] = stub.requests()
    told = [(message["role"], message["content"]) for message in request["body"]["messages"]]
    assert told == [
        ("system", "You are careful."), ("user", "hello"), ("assistant", "hi"), ("user", "And now?"),
    ]  # fmt: skip


async def test_a_call_that_cannot_be_made_is_on_the_record_under_its_tools_name(tmp_path: Path) -> None:
    script = [{"calls": [{"name": "fs_read", "arguments": {"path": 7}}]}, {"text": "no"}]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, READS)
            assert await over(engine) == ("completed", "no")
            noted = [*await notes(engine, "tool.proposed"), *await notes(engine, "tool.failed")]
            assert [note.value["tool"] for note in noted] == ["fs.read"] * 2


async def test_a_write_is_asked_about_and_done_once_it_is_approved(tmp_path: Path) -> None:
    script = [
        {"calls": [{"name": "fs_write", "arguments": {"path": "b.txt", "content": "fixed\n"}}]},
        {"text": "done"},
    ]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, READS)
            await waits(engine, "approval")
            [asked] = [fact for fact in await facts(engine) if isinstance(fact, ApprovalRequested)]
            assert "+fixed" in asked.show["does"]
            assert not (tmp_path / "b.txt").exists()
        # Another engine, another process for all it knows.
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await vote(engine)
            assert await over(engine) == ("completed", "done")
            assert (tmp_path / "b.txt").read_text() == "fixed\n"
    assert len(stub.requests()) == 2


ENDLESS = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t"
GROWS = """
name: grows
agents:
  dba: {system: You are careful., tools: ["sql.*"]}
steps: [%s]
"""
SLOW = {"sql": {"shop": {"url": "sqlite:///shop.db", "write": True, "timeout": 0.2}}}


@pytest.mark.parametrize("tool", ["sql.query", "sql.execute"])
async def test_a_statement_that_takes_too_long_fails_as_late(tmp_path: Path, tool: str) -> None:
    sqlite3.connect(tmp_path / "shop.db").execute("CREATE TABLE t0 (n)").connection.close()
    arguments = {"database": "shop", "sql": ENDLESS if tool == "sql.query" else f"INSERT INTO t0 {ENDLESS}"}
    step = json.dumps({"id": "look", "type": "tool", "tool": tool, "with": arguments})
    agent = "{id: ask, type: agent, agent: dba, prompt: how many}"
    script = [{"calls": [{"name": tool.replace(".", "_"), "arguments": arguments}]}, {"text": "too many"}]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub), tools=SLOW) as engine:
            await start(engine, GROWS % step)
            status, error = await over(engine)
            assert (status, error.code) == ("failed", "TIMEOUT")
            assert "[tools.sql.shop]" in error.hint
            await start(engine, GROWS % agent, run="r2")
            assert await over(engine, "r2") == ("completed", "too many")
            [failed] = await notes(engine, "tool.failed", "r2")
            assert failed.value["error"]["code"] == "TIMEOUT"
            assert "[tools.sql.shop]" in str(failed.value["error"])


async def test_a_workflow_can_tell_whether_its_answers_were_simulated(tmp_path: Path) -> None:
    (tmp_path / "simulations").mkdir()
    (tmp_path / "simulations" / "told.yaml").write_text("rules: [{say: fine}]")
    text = """
name: told
agents: {a: {}}
steps:
  - {id: before, type: transform, output: "${{ run.mode }}"}
  - {id: say, type: agent, agent: a, prompt: hello}
  - {id: after, type: transform, output: ["${{ steps.before.output }}", "${{ steps.say.output }}", "${{ run.mode }}"]}
"""
    async with engine_at(tmp_path, None) as engine:
        await start(engine, text)
        assert await over(engine) == ("completed", ["", "fine", "simulated"])
