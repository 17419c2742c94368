"""A program that an agent has started does not outlive an engine that is killed: real SIGKILL, real programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from agent_kit import StubModels, command, engine_at, facts, notes, over, until, waits
from orphan_kit import SCRIPT, SETTINGS
from stub_server import start_stub

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.facts import StepInDoubt

KIT = Path(__file__).with_name("orphan_kit.py")


def here(folder: Path) -> list[int]:
    """The programs that have begun, by their pids."""
    return sorted(int(file.name.removeprefix("here-")) for file in folder.glob("here-*"))


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    for pid in here(tmp_path):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.long
async def test_a_program_of_a_call_is_killed_before_the_call_is_in_doubt(tmp_path: Path) -> None:
    with start_stub(tmp_path, SCRIPT) as stub:
        environment = {**os.environ, "PYTHONPATH": str(KIT.parents[2])}
        engine_process = subprocess.Popen([sys.executable, str(KIT), str(tmp_path), stub.base], env=environment)  # noqa: ASYNC220
        try:
            [first] = await until(lambda: here(tmp_path))
        finally:
            engine_process.kill()
            engine_process.wait()
        assert alive(first)
        async with engine_at(tmp_path, StubModels(stub), **SETTINGS) as engine:
            await waits(engine, "in_doubt")
            assert not alive(first)
            [doubt] = [fact for fact in await facts(engine) if isinstance(fact, StepInDoubt)]
            assert f"(pid {first}) still ran, and was killed" in doubt.reason
            assert [note.key for note in await notes(engine, "process.killed")] == ["a/tool/0.0"]
            await command(engine, types.RESOLVE, path="work", answer="run")
            second = next(iter({*await until(lambda: len(here(tmp_path)) > 1 and here(tmp_path))} - {first}))
            assert alive(second)
            await command(engine, types.CANCEL)
            assert (await over(engine))[0] == "cancelled"
    assert not alive(second)
