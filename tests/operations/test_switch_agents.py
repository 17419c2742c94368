"""The fleet's switch in the middle of an agent's work: no model is asked and no tool called until it is on again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from agent_kit import StubModels, engine_at, notes, over, start, until
from stub_server import start_stub

from fleetprompt.engine.core.signal import SET_SWITCH, Signal
from fleetprompt.engine.runtime.engine import Engine

READS = """
name: reads
agents:
  sre: {system: You are careful., tools: ["fs.*"]}
steps:
  - {id: look, type: agent, agent: sre, prompt: "What is in a.txt?"}
"""


async def move(engine: Engine, position: str) -> None:
    at = engine.now()
    data = {"position": position}
    result = await engine.bus.submit(
        Signal(id=f"switch-{at}", type=SET_SWITCH, source="test", at=at, by="ana", data=data)
    )
    assert result.status == "accepted"


@pytest.mark.parametrize(("position", "asked_again"), [("paused", False), ("off", True)])
async def test_an_agent_stands_still_and_goes_on_where_it_was(tmp_path: Path, position: str, asked_again: bool) -> None:
    (tmp_path / "a.txt").write_text("the pool is empty\n")
    call = {"calls": [{"name": "fs_read", "arguments": {"path": "a.txt"}}]}
    script = [call | {"delay": 0.5}, *([call] if asked_again else []), {"text": "empty"}]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, READS)
            await until(lambda: stub.requests())
            await move(engine, position)
            if not asked_again:
                await until(lambda: _answered(engine))
            for _ in range(20):
                await asyncio.sleep(0.01)
            assert not await notes(engine, "tool.started")
            assert len(stub.requests()) == 1
            await move(engine, "on")
            assert await over(engine) == ("completed", "empty")
            assert len(await notes(engine, "tool.completed")) == 1
            assert len(stub.requests()) == len(script)


async def _answered(engine: Engine) -> bool:
    return bool(await notes(engine, "llm.completed"))
