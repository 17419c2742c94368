"""Secrets that were planted everywhere an agent can come across them are found in no file, and in no request but where
they belong."""

from __future__ import annotations

import asyncio
import json
import logging
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from agent_kit import StubModels, engine_at, facts, over, start, vote, waits
from stub_server import Stub, start_stub

from fleetprompt.engine.agents import attempts
from fleetprompt.engine.runtime.engine import Engine

KEY = "planted-key-9f27c1"
"""The key of the model."""
TOKEN = 'planted "token"/9f27c1=='
"""A secret that code of the project reads by itself."""
CANARIES = (KEY, TOKEN)

TOOLS = '''
import base64, json, os, urllib.parse
from fleetprompt.tools import tool

TOKEN = os.environ["FLEET_SECRET_PLANTED"]

@tool(effect="read")
def look() -> dict:
    """Look around, and tell too much."""
    forms = [base64.b64encode(TOKEN.encode()).decode(), urllib.parse.quote(TOKEN, safe="")]
    return {"said": f"the token is {TOKEN}", TOKEN: forms}

@tool(effect="read")
def fall() -> str:
    """Fail, and tell too much."""
    raise ValueError(f"refused for {TOKEN}")
'''

FLOW = """
name: leaky
agents:
  a: {tools: [look, fall, fs.write], model: %s}
steps:
  - {id: say, type: agent, agent: a, prompt: hello}
"""


class LeakyModels(StubModels):
    """Models of the stub server, which want a key."""

    def reveal(self, target: Any) -> str:
        return KEY


def forms() -> Iterator[bytes]:
    for canary in CANARIES:
        yield canary.encode()
        yield json.dumps(canary)[1:-1].encode()
        yield quote(canary, safe="").encode()
        yield b64encode(canary.encode())


def leaks(folder: Path) -> list[str]:
    """Files of the project that hold any of it: the journal, its log of writes, logs of steps, whatever there is."""
    files = [path for path in folder.rglob("*") if path.is_file() and "requests-" not in path.name]
    return [str(path) for path in files for form in forms() if form in path.read_bytes()]


def prompts(stub: Stub) -> str:
    return json.dumps([request["body"] for request in stub.requests()])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLEET_SECRET_PLANTED", TOKEN)
    monkeypatch.setattr(attempts, "BACKOFF", (0.01, 0.01, 0.01))
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "canary.py").write_text(TOOLS)
    return folder


async def everything(engine: Engine) -> str:
    """What faces are given of the run, and what the engine complains about."""
    found = [msgspec.json.encode(fact).decode() for fact in await facts(engine)]
    head = await engine.store.runs.get("r1")
    found.append(msgspec.json.encode(head).decode())
    found += [str(each) for each in engine.troubles]
    return "\n".join(found)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([{"calls": [{"name": "look", "arguments": {}}]}, {"text": "ok"}], id="result"),
        pytest.param([{"calls": [{"name": "fall", "arguments": {}}]}, {"text": "ok"}], id="error"),
        pytest.param([{"calls": [{"name": "canary_nope", "arguments": {"x": TOKEN}}]}, {"text": "ok"}], id="unknown"),
        pytest.param([{"text": f"here it is: {TOKEN} and {KEY}"}], id="answer"),
        pytest.param([{"reasoning": f"I know {KEY}", "text": "ok"}], id="reasoning"),
    ],
)
async def test_what_tools_and_models_let_slip_is_kept_nowhere(
    project: Path, script: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with start_stub(project, script) as stub:
        async with engine_at(project, LeakyModels(stub), tools={"python": ["canary:look", "canary:fall"]}) as engine:
            await start(engine, FLOW % '""')
            status, output = await over(engine)
            assert status == "completed", output
            shown = await everything(engine)
        assert {request["headers"].get("authorization") for request in stub.requests()} == {f"Bearer {KEY}"}
        told = prompts(stub)
    assert leaks(project) == []
    assert "•••" in shown
    for form in map(bytes.decode, forms()):
        assert form not in shown
        assert form not in told
        assert form not in caplog.text
        assert form not in str(output)


async def test_what_people_are_asked_to_approve_shows_no_secret(project: Path) -> None:
    write = {"name": "fs_write", "arguments": {"path": "out.txt", "content": f"token: {TOKEN}\n"}}
    with start_stub(project, [{"calls": [write]}, {"text": "ok"}]) as stub:
        async with engine_at(project, LeakyModels(stub)) as engine:
            await start(engine, FLOW.replace("look, fall, ", "") % '""')
            await waits(engine, "approval")
            shown = await everything(engine)
            assert "token: •••" in shown
            await vote(engine)
            assert (await over(engine))[0] == "completed"
    assert leaks(project) == []
    assert (project / "out.txt").read_text() == "token: •••\n"


@pytest.mark.parametrize(
    "mode",
    ["500", "401", "400", "quota", "badjson", "badchunk", "close", "eof", "reset", "errframe", "errfirst", "empty"],
)
async def test_however_a_request_fails_its_key_is_told_to_nobody(
    project: Path, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with start_stub(project) as stub:
        async with asyncio.timeout(120), engine_at(project, LeakyModels(stub)) as engine:
            await start(engine, FLOW.replace("look, fall, fs.write", "") % f"stub-{mode}")
            await over(engine)
            shown = await everything(engine)
        assert stub.requests()
    assert leaks(project) == []
    for form in map(bytes.decode, forms()):
        assert form not in shown
        assert form not in caplog.text
