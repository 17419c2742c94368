"""No event is lost: engines are killed with SIGKILL while they deliver, and in the end everything has come."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from receiver import SECRET, Receiver, receiving

FLOW = """
name: sends
inputs: {n: integer}
steps:
  - {id: say, type: emit, signal: deploy.done, data: {n: "${{ inputs.n }}"}}
"""
SETTINGS = """
[subscriptions.ops]
url = "%s"
types = ["deploy.*", "fleet.run.finished"]
secret = "OPS"
networks = ["127.0.0.0/8"]
max_attempts = 100
"""
ROUNDS = 6


async def _fleet(root: Path, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "fleetprompt.cli",
        "-C",
        str(root),
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "FLEET_SECRET_OPS": SECRET},
        start_new_session=True,
    )


async def _said(root: Path, *words: str) -> str:
    process = await _fleet(root, *words)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def _killed(root: Path, n: int, receiver: Receiver, draw: random.Random) -> None:
    """Start a run, and kill its engine: at once when a request has come in, or a moment later."""
    before = len(receiver.requests)
    process = await _fleet(root, "run", "sends.yaml", "-i", f"n={n}", "-q")
    came = asyncio.ensure_future(receiver.until(lambda all_: len(all_) > before))
    over = asyncio.ensure_future(process.wait())
    await asyncio.wait([came, over], return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(draw.choice([0.0, 0.0, 0.005, 0.02]))
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
    await process.communicate()
    came.cancel()


@pytest.mark.long
async def test_every_event_of_every_run_comes_though_engines_are_killed(tmp_path: Path) -> None:
    draw = random.Random(7)
    async with receiving() as receiver:
        (tmp_path / "sends.yaml").write_text(FLOW)
        (tmp_path / "fleet.toml").write_text(SETTINGS % receiver.url())
        answers = [None, "204 No Content", None]
        receiver.answer = lambda request: answers[len(receiver.requests) % len(answers)]
        for n in range(ROUNDS):
            await _killed(tmp_path, n, receiver, draw)
        receiver.answer = lambda request: "204 No Content"
        async with asyncio.timeout(90):
            while True:
                await _said(tmp_path, "recover", "-q", "--json")
                left = json.loads(await _said(tmp_path, "signals", "deliveries", "status:pending", "--json"))
                if not left:
                    break
        runs = {run["id"] for run in json.loads(await _said(tmp_path, "runs", "--json"))}
        made = json.loads(await _said(tmp_path, "signals", "deliveries", "--json", "--limit", "100"))
        assert len(runs) == ROUNDS
        assert {each["status"] for each in made} == {"delivered"}
        events = {request.id: request.event for request in receiver.requests}
        assert {each["id"] for each in made} == set(events)
        for type_ in ("deploy.done", "fleet.run.finished"):
            told = [event["source"].split("/")[1] for event in events.values() if event["type"] == type_]
            assert sorted(told) == sorted(runs), type_
