"""An engine in a process beside a console: it ends with the console, and its death is told. Real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from client_kit import Heard, attached, embedded, place_at, start_of, until

from fleetprompt.client import beside, listening
from fleetprompt.client.attached import AttachedConsole
from fleetprompt.client.beside import BesideConsole, EngineBeside
from fleetprompt.client.opening import Place, open_beside, open_console
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.runtime.lock import EngineIsRunning, engine_holder

WAITS = """
name: waits
steps: [{id: w, type: wait, signal: go}]
"""
PARENT = """
import asyncio, sys
from pathlib import Path
from fleetprompt.client.opening import Place, open_console

async def main():
    root = Path(sys.argv[1])
    place = Place(root=root, state=root / ".fleet", database=str(root / ".fleet/fleet.db"))
    console = await open_console(place, "process")
    print(console.engine.pid, flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "LOOK_SECONDS", 0.02)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "waits.yaml").write_text(WAITS)
    return place_at(tmp_path)


def holder(place: Place) -> int | None:
    assert place.lock is not None
    found = engine_holder(place.lock)
    return found.get("pid") if found is not None else None


def go() -> Signal:
    return Signal(id="go", type="go", source="test", at=0.0)


async def in_process(place: Place) -> BesideConsole:
    console = await open_console(place, "process", recover=True)
    assert isinstance(console, BesideConsole)
    return console


async def test_the_engine_drives_runs_in_a_process_of_its_own_and_ends_with_the_console(place: Place) -> None:
    console = await in_process(place)
    assert (console.where, holder(place)) == ("attached", console.engine.pid)
    assert console.engine.pid != os.getpid()
    heard = Heard(console)
    run = await console.start(start_of(place.root / "waits.yaml"))
    await console.publish(go())
    await heard.until(lambda change: "RunFinished" in change.kinds)
    assert (await console.run(run)).status == "completed"
    health = await console.health()
    assert (health.state, health.pid, health.what) == ("running", console.engine.pid, "fleet engine")
    await heard.end()
    await console.close()
    assert not console.engine.alive
    ended = await console.engine.ended()
    assert (ended.code, ended.asked, holder(place)) == (0, True, None)


async def test_listeners_are_told_when_it_is_killed_and_when_it_is_started_again(place: Place) -> None:
    console, other = await in_process(place), await attached(place)
    listeners = [Heard(console), Heard(other)]
    for heard in listeners:
        await heard.until(lambda change: change.engine)
    run = await console.start(start_of(place.root / "waits.yaml"))
    for heard in listeners:
        await heard.until(lambda change: run in change.runs)
    killed = console.engine.pid
    os.kill(killed, signal.SIGKILL)
    ended = await console.engine.ended()
    assert (ended.pid, ended.code, ended.asked, ended.why) == (killed, -9, False, "killed by SIGKILL")
    for heard in listeners:
        await heard.until(lambda change: not change.engine)
    assert (console.where, (await console.health()).state) == ("none", "none")
    await console.engine.start()
    assert holder(place) == console.engine.pid != killed
    for heard in listeners:
        await heard.until(lambda change: change.engine)
    await other.publish(go())
    for heard in listeners:
        await heard.until(lambda change: run in change.runs and "RunFinished" in change.kinds)
        await heard.end()
    await console.close()
    await other.close()


async def test_it_takes_up_what_was_interrupted(place: Place) -> None:
    beside_ = await attached(place)
    await beside_.publish(go())
    await beside_.close()
    console = await open_beside(place, recover=True)
    assert (console.where, console.engine.alive) == ("none", False)
    await console.begin()
    assert console.taken_up.signals == ("go",)
    await console.restart()
    assert (console.engine.alive, console.taken_up.signals) == (True, ())
    await console.close()


async def test_when_the_console_is_killed_the_engine_ends(place: Place) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(place.root)], stdout=subprocess.PIPE)  # noqa: ASYNC220
    assert parent.stdout is not None
    engine = int(await asyncio.to_thread(parent.stdout.readline))
    assert holder(place) == engine
    parent.kill()
    parent.wait()
    parent.stdout.close()
    await until(lambda: holder(place) is None)


async def test_where_somebody_was_faster_it_attaches(place: Place) -> None:
    engine = await embedded(place)
    console = await open_console(place, "process")
    assert isinstance(console, AttachedConsole)
    assert (console.where, holder(place)) == ("attached", os.getpid())
    process = EngineBeside(place)
    with pytest.raises(EngineIsRunning) as refused:
        await process.start()
    assert refused.value.holder["pid"] == os.getpid()
    assert not process.alive
    await console.close()
    await engine.close()


async def test_what_keeps_it_from_being_ready_is_said(place: Place) -> None:
    process = EngineBeside(place)
    with pytest.raises(FleetError, match="no engine was started"):
        await process.ended()
    (place.root / "fleet.toml").write_text("max_rums = 3\n")
    with pytest.raises(FleetError, match=r"ended before it was ready \(exit code 2: .*1 problem to fix"):
        await process.start()
    (place.root / "fleet.toml").unlink()
    place.state.mkdir()
    Path(place.database).write_text("this is no store, and it is long enough to be told from one " * 10)
    with pytest.raises(FleetError) as refused:
        await process.start()
    assert refused.value.where == place.database
    assert not process.alive


async def test_one_that_does_not_end_is_killed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "CLOSING_SECONDS", 0.1)
    process = EngineBeside(place_at(place.root, grace=0.0))
    ready = await process.start()
    assert ready.pid == process.pid
    with pytest.raises(FleetError, match="runs already"):
        await process.start()
    os.kill(process.pid, signal.SIGSTOP)
    ended = await process.stop()
    assert (ended.code, ended.asked) == (-9, True)


async def test_a_start_that_is_given_up_leaves_no_process_behind(place: Place) -> None:
    process = EngineBeside(place)
    starting = asyncio.get_running_loop().create_task(process.start())
    await until(lambda: process.alive)
    starting.cancel()
    await asyncio.wait([starting])
    assert starting.cancelled()
    assert (await process.ended()).code == 0


async def test_listeners_are_told_of_an_engine_that_is_stopped_and_when_it_goes_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "SILENCE_SECONDS", 0.1)
    console = await in_process(place)
    heard = Heard(console)
    await heard.until(lambda change: change.engine)
    os.kill(console.engine.pid, signal.SIGSTOP)
    try:
        silent = await heard.until(lambda change: change.silent)
        assert (silent.engine, (await console.health()).state) == (True, "silent")
    finally:
        os.kill(console.engine.pid, signal.SIGCONT)
    assert (await heard.until(lambda change: not change.silent)).engine
    assert (await console.health()).state == "running"
    await heard.end()
    await console.close()
