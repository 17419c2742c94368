"""A store that is lost while the console is open: told once, shown by the frame, read again when it is back.

And engines that come late, fall silent, or do not come. Real files, engines and processes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleetprompt.client import listening
from fleetprompt.client.beside import BesideConsole, EngineBeside, Ready
from fleetprompt.client.door import Door
from fleetprompt.client.opening import open_beside, open_console
from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.screens.health import HealthScreen
from tests.client.client_kit import lose, place_at, start_of
from tests.tui.test_engine_choice import said
from tests.tui.test_runs_screen import SLEEPER, console, runs_of, until


def frame(app: FleetConsole) -> str:
    """What the first line of the screen says."""
    return "".join(segment.text for segment in app.screen.query_one("TopBar").render_line(0))


def health_of(app: FleetConsole) -> str:
    """Everything that the screen of health says."""
    screen = app.screen
    assert isinstance(screen, HealthScreen)
    rows = screen.health.rows
    cells = [cell for index in range(rows.count) for cell in (rows.cells(index) or ())]
    return "\n".join(cell[0] if isinstance(cell[0], str) else "".join(part[0] for part in cell) for cell in cells)


async def seconds(app: FleetConsole, pilot: Any, number: int) -> None:
    """Until the console has ticked so many times more."""
    ticks = 0
    tick = app.standing.tick

    def counted() -> None:
        nonlocal ticks
        ticks += 1
        tick()

    app.standing.tick = counted  # type: ignore[method-assign]
    await until(pilot, lambda: ticks >= number)


DAMAGE = """
import pathlib, sys
file = pathlib.Path(sys.argv[1])
with file.open("r+b") as handle:
    for page in range(1, file.stat().st_size // 4096):
        handle.seek(page * 4096)
        handle.write(b"\\xff" * 4096)
"""


def elsewhere(code: str, *arguments: Path) -> None:
    """Do something to a store that is open in another process: whoever closes its file gives up all its locks here."""
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)


def errors(app: FleetConsole) -> list[str]:
    return [message.text for message in app.fleet.messages if message.level == "error"]


@pytest.mark.parametrize("fault", ["deleted", "replaced", "cut off"])
async def test_a_lost_store_is_told_once_and_opened_anew_when_it_is_back(tmp_path: Path, fault: str) -> None:
    file = tmp_path / "sleeper.yaml"
    file.write_text(SLEEPER)
    place = place_at(tmp_path)
    async with console(tmp_path) as (app, pilot):
        assert app.client is not None
        run = await app.client.start(start_of(file))
        await until(pilot, lambda: runs_of(app).count == 1)
        await pilot.press("g", "h")
        await until(pilot, lambda: "running" in health_of(app))
        assert "live" in frame(app)
        backup = tmp_path / "backup.db"
        await app.door.behind.store.backup(backup)  # type: ignore[union-attr]
        lose(place, fault)
        await until(pilot, lambda: app.fleet.trouble)
        await until(pilot, lambda: "STORE CANNOT BE READ" in health_of(app))
        told = health_of(app)
        assert told.index("INTERNAL") < told.index("ENGINE")
        assert "put the store or a backup back" in told
        assert "as they were" in told
        assert "live" not in frame(app)
        assert "store lost" in frame(app)
        await seconds(app, pilot, 4)
        (only,) = errors(app)
        # Whoever reads at the moment in which it is cut off finds it damaged before it is found empty.
        assert only.startswith(("INTERNAL: the store", "INTERNAL: the database is damaged"))
        assert "^r opens it anew" in only

        assert place.file is not None
        for beside in (place.file, *place.file.parent.glob("fleet.db-*")):
            beside.unlink(missing_ok=True)
        shutil.copy(backup, place.file)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: said(app, "opened anew"))
        await until(pilot, lambda: "STORE CANNOT BE READ" not in health_of(app) and "running" in health_of(app))
        assert "live" in frame(app)
        assert (await app.client.run(run)).status == "waiting"
        await app.client.start(start_of(file))
        await pilot.press("g", "r")
        await until(pilot, lambda: runs_of(app).count == 2)
        assert len(app.screen.query("RunLines")) == 1
        assert errors(app) == [only]


async def test_a_store_that_is_still_away_is_not_begun_anew_and_opened_when_it_is_back(tmp_path: Path) -> None:
    place = place_at(tmp_path)
    opened = False

    async def open_() -> Any:
        # As the command does.
        nonlocal opened
        assert place.file is not None
        if opened and not place.file.exists():
            raise StoreUnavailable("the store is gone")
        opened = True
        return await open_console(place, "prefer")

    app = FleetConsole(open_, who="ana")
    async with app.run_test(size=(110, 24)) as pilot:
        await until(pilot, lambda: app.client is not None and runs_of(app).loaded)
        assert place.file is not None
        place.file.rename(tmp_path / "away.db")
        await until(pilot, lambda: app.fleet.lost)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: app.fleet.engine == "failed")
        assert "no store" in frame(app)
        # Nothing ends the console while there is no store.
        for keys in (("g", "h"), ("g", "a"), ("g", "r"), ("S",), ("ctrl+e",), ("slash", "x", "escape")):
            await pilot.press(*keys)
        assert app.is_running
        (tmp_path / "away.db").rename(place.file)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: app.fleet.engine == "embedded")
        assert "live" in frame(app)
    await app.door.close()


async def test_a_store_that_is_moved_away_and_back_is_read_again_by_itself(tmp_path: Path) -> None:
    place = place_at(tmp_path)
    async with console(tmp_path) as (app, pilot):
        assert place.file is not None
        place.file.rename(tmp_path / "away.db")
        await until(pilot, lambda: app.fleet.trouble)
        (tmp_path / "away.db").rename(place.file)
        await until(pilot, lambda: said(app, "the store can be read again"))
        assert not app.fleet.trouble
        assert "live" in frame(app)


async def test_a_damaged_page_is_told_and_a_restored_store_is_opened_anew(tmp_path: Path) -> None:
    file = tmp_path / "sleeper.yaml"
    file.write_text(SLEEPER)
    place = place_at(tmp_path)
    async with console(tmp_path) as (app, pilot):
        assert app.client is not None
        same = start_of(file)
        await asyncio.gather(*(app.client.start(same) for _ in range(200)))
        await until(pilot, lambda: runs_of(app).count == 200)
        backup = tmp_path / "backup.db"
        await app.door.behind.store.backup(backup)  # type: ignore[union-attr]
    # What is written is in the file, and nothing of it in memory.
    damaged = FleetConsole(lambda: open_console(place, "attach"), who="ana")
    async with damaged.run_test(size=(110, 24)) as pilot:
        await until(pilot, lambda: damaged.client is not None and runs_of(damaged).loaded)
        assert place.file is not None
        elsewhere(DAMAGE, place.file)
        await pilot.press("g", "c")
        await until(pilot, lambda: damaged.fleet.trouble)
        assert "damaged" in damaged.fleet.trouble
        assert "store lost" in frame(damaged)
        await seconds(damaged, pilot, 3)
        assert len(errors(damaged)) == 1
        elsewhere("import shutil, sys; shutil.copyfile(sys.argv[2], sys.argv[1])", place.file, backup)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: said(damaged, "opened anew") or said(damaged, "can be read again"))
        await pilot.press("g", "r")
        await until(pilot, lambda: runs_of(damaged).count == 200 and not damaged.fleet.trouble)
    await damaged.door.close()


# ---------------------------------------------------------------- an engine that comes late, hangs, or does not come


def in_process(tmp_path: Path) -> FleetConsole:
    async def again(console: Any) -> Any:
        await console.restart()
        return console

    return FleetConsole(lambda: open_beside(place_at(tmp_path), recover=True), who="ana", again=again)


async def test_rows_are_shown_before_the_engine_process_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "sleeper.yaml"
    file.write_text(SLEEPER)
    async with console(tmp_path) as (app, pilot):
        assert app.client is not None
        await app.client.start(start_of(file))
    released: list[Callable[[], None]] = []
    begin = Door.begin

    async def later(door: Door) -> None:
        gate = asyncio.Event()
        released.append(gate.set)
        door._starting = True  # pyright: ignore[reportPrivateUsage]
        await gate.wait()
        await begin(door)

    monkeypatch.setattr(Door, "begin", later)
    app = in_process(tmp_path)
    async with app.run_test(size=(110, 24)) as pilot:
        await until(pilot, lambda: runs_of(app).loaded and runs_of(app).count == 1 and released)
        await until(pilot, lambda: "engine starting" in frame(app))
        assert not errors(app)
        released[0]()
        await until(pilot, lambda: "attached" in frame(app))
        assert not said(app, "the engine is back")
    await app.door.close()


async def test_an_engine_process_that_cannot_begin_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".fleet").mkdir()
    command = ["sh", "-c", "echo no luck today >&2; exit 3"]
    monkeypatch.setattr("fleetprompt.client.beside.EngineBeside._command", lambda self: command)
    app = in_process(tmp_path)
    async with app.run_test(size=(110, 24)) as pilot:
        await until(pilot, lambda: said(app, "exit code 3: no luck today"))
        await until(pilot, lambda: "no engine" in frame(app))
        assert runs_of(app).loaded
    await app.door.close()


async def test_an_engine_that_hangs_is_shown_as_silent_and_live_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "SILENCE_SECONDS", 0.2)
    (tmp_path / ".fleet").mkdir()
    app = in_process(tmp_path)
    socket = tmp_path / ".fleet" / "engine.sock"
    async with app.run_test(size=(110, 24)) as pilot:
        # Whoever is stopped before it can be asked is not silent, but has not begun.
        await until(pilot, lambda: "attached" in frame(app) and socket.exists())
        beside = app.door.behind
        assert isinstance(beside, BesideConsole)
        os.kill(beside.engine.pid, signal.SIGSTOP)
        try:
            await until(pilot, lambda: "engine silent" in frame(app))
            assert said(app, "does not answer")
        finally:
            os.kill(beside.engine.pid, signal.SIGCONT)
        await until(pilot, lambda: "attached" in frame(app))
        assert said(app, "the engine is back")
        beside.engine.kill()
        await until(pilot, lambda: "no engine" in frame(app))
        assert said(app, "the engine is gone (killed by SIGKILL)")
    await app.door.close()


async def test_an_engine_that_hangs_just_before_it_is_ready_is_live_when_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(listening, "ANSWER_SECONDS", 0.2)
    (tmp_path / ".fleet").mkdir()
    ready = asyncio.Event()
    start = EngineBeside.start

    async def late(engine: EngineBeside) -> Ready:
        started = await start(engine)
        os.kill(engine.pid, signal.SIGSTOP)
        await ready.wait()
        return started

    monkeypatch.setattr(EngineBeside, "start", late)
    app = in_process(tmp_path)
    async with app.run_test(size=(110, 24)) as pilot:
        await until(pilot, lambda: said(app, "does not answer"))
        ready.set()
        await until(pilot, lambda: not app.door.starting)
        beside = app.door.behind
        assert isinstance(beside, BesideConsole)
        os.kill(beside.engine.pid, signal.SIGCONT)
        await until(pilot, lambda: "attached" in frame(app))
        assert said(app, "the engine is back")
    await app.door.close()
