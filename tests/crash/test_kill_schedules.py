"""Daemons that are killed around the times of a schedule: each time has started exactly one run."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from fleetprompt.client.opening import Place, open_console
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.facts import RunCreated
from fleetprompt.engine.ports import Page
from tests.crash.engines import environment

TICK = """
name: tick
triggers: [{id: second, type: schedule, every: 1s, overlap: allow, catchup: all}]
steps: [{id: a, type: transform, output: 1}]
"""
KILLS = 4
PATIENCE = 120.0


async def serve(folder: Path) -> asyncio.subprocess.Process:
    """A daemon that listens."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fleetprompt.cli", "serve", "--port", "0", "--json"),
        cwd=folder,
        env=environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        while b"listening" not in await process.stdout.readline():
            assert process.returncode is None, "it did not come up"
    return process


@pytest.mark.long
@pytest.mark.crash
@pytest.mark.timeout(300)
async def test_each_time_starts_one_run_however_often_the_daemon_is_killed(tmp_path: Path) -> None:
    chance = random.Random(5)
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows/tick.yaml").write_text(TICK)
    for _ in range(KILLS):
        process = await serve(tmp_path)
        # Around the full second, when it fires.
        await asyncio.sleep(1 + chance.uniform(0, 1.2))
        process.kill()
        await process.wait()
    process = await serve(tmp_path)
    state = tmp_path / ".fleet"
    console = await open_console(Place(root=tmp_path, state=state, database=str(state / "fleet.db")), "attach")
    try:
        await console.set_schedule("tick/second", "paused", by="ana")
        async with asyncio.timeout(PATIENCE):
            while await console.count("status:pending,running,waiting"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        firings, following = await console.firings("outcome:fired", Page(limit=500))
        assert not following
        dues = sorted(round(firing.due) for firing in firings)
        assert len(dues) > KILLS
        assert dues == list(range(dues[0], dues[-1] + 1)), "a time is missing, or fired twice"
        heads, _ = await console.runs("", Page(limit=500))
        started: Counter[str] = Counter()
        for head in heads:
            [first] = await console.facts(head.id, upto=1)
            assert isinstance(first.fact, RunCreated)
            started[mapping(mapping(first.fact.trigger)["data"])["scheduled"]] += 1
            assert head.status == "completed"
        assert started == Counter(firing.scheduled for firing in firings)
    finally:
        await console.close()
        process.terminate()
        await process.wait()
