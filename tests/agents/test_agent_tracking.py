"""What is on the record of an agent's way, by the names that whoever analyses journals reads: they never change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agent_kit import StubModels, command, engine_at, notes, over, start, until, vote, waits
from stub_server import start_stub

from fleetprompt.engine.agents import attempts
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.facts import StepNoted


def call(name: str, /, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "BACKOFF", (0.0, 0.0, 0.0))


LOOKS = """
name: looks
agents:
  sre: {tools: ["fs.*", human.ask], max_tokens: 100}
steps:
  - {id: look, type: agent, agent: sre, prompt: look}
"""
ACTION = {"type", "name", "tool", "capability", "status", "retry_count", "max_retries"}


def actions(noted: list[StepNoted]) -> list[tuple[Any, ...]]:
    """Of each note that has one, what kind of action it is and how it is."""
    found = [(note.kind, note.value["action"]) for note in noted if "action" in (note.value or {})]
    assert all(set(action) == ACTION for _, action in found)
    return [
        (kind, each["type"], each["name"], each["capability"], each["status"], each["retry_count"])
        for kind, each in found
    ]


async def test_requests_and_calls_are_actions_from_their_begin_to_their_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the pool is empty\n")
    script = [
        {"mode": "500"},
        {"calls": [call("fs_read", path="a.txt"), call("fs_write", path="b.txt", content="x")]},
        {"calls": [call("human_ask", question="restart?")]},
        {"calls": [call("fs_reed", path="a.txt")]},
        {"text": "done"},
    ]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, LOOKS)
            await waits(engine, "approval")
            await vote(engine, "rejected", comment="no")
            await waits(engine, "approval")
            await vote(engine, values={"answer": "yes"})
            assert await over(engine) == ("completed", "done")
            noted = await notes(engine)
    assert actions(noted) == [
        ("llm.started", "llm_call", "default", "answer", "running", 0),
        ("llm.failed", "llm_call", "default", "answer", "failed", 0),
        ("llm.started", "llm_call", "default", "answer", "running", 1),
        ("llm.completed", "llm_call", "default", "answer", "completed", 1),
        ("tool.started", "file_read", "fs.read", "fs", "running", 0),
        ("tool.completed", "file_read", "fs.read", "fs", "completed", 0),
        ("tool.failed", "file_write", "fs.write", "fs", "rejected", 0),
        ("llm.started", "llm_call", "default", "answer", "running", 0),
        ("llm.completed", "llm_call", "default", "answer", "completed", 0),
        ("tool.started", "wait", "human.ask", "human", "running", 0),
        ("tool.completed", "wait", "human.ask", "human", "completed", 0),
        ("llm.started", "llm_call", "default", "answer", "running", 0),
        ("llm.completed", "llm_call", "default", "answer", "completed", 0),
        ("tool.failed", "tool_execution", "fs_reed", "fs_reed", "failed", 0),
        ("llm.started", "llm_call", "default", "answer", "running", 0),
        ("llm.completed", "llm_call", "default", "answer", "completed", 0),
    ]
    found = {note.kind: note.value for note in noted}
    assert found["llm.started"]["action"]["max_retries"] == attempts.TRIES - 1
    assert found["tool.started"]["action"]["tool"] == "human.ask"
    # What went in and came out, cost and times stand beside it, and not twice.
    assert {"at", "digest"} <= set(found["llm.started"])
    assert {"cost_nano", "tokens", "seconds", "text", "calls"} <= set(found["llm.completed"])
    assert {"at", "arguments", "key"} <= set(found["tool.started"])
    assert {"seconds", "output"} <= set(found["tool.completed"])


async def test_what_is_broken_off_says_so_as_an_action(tmp_path: Path) -> None:
    text = LOOKS + "guardrails: {requests: 9}\n"
    with start_stub(tmp_path, [{"mode": "hang"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, text)
            await until(lambda: stub.requests())
            await command(engine, types.CANCEL)
            await over(engine)
            noted = await notes(engine)
    assert actions(noted)[-1] == ("llm.failed", "llm_call", "default", "answer", "cancelled", 0)
