"""The engine of a console: gone and back, in a process beside it or in its own loop."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fleetprompt.client.beside import BesideConsole
from fleetprompt.client.consoles import AttachedConsole
from fleetprompt.client.opening import open_beside, open_console
from fleetprompt.client.protocol import Console
from fleetprompt.client.reopening import take_over
from fleetprompt.tui.app import FleetConsole
from tests.client.client_kit import place_at, start_of
from tests.tui.test_runs_screen import SLEEPER, runs_of, until

QUICK = "name: quick\nsteps:\n  - {id: nap, type: delay, for: 0.05s}\n"


def said(app: FleetConsole, text: str) -> bool:
    return any(text in message.text for message in app.fleet.messages)


async def test_an_engine_that_is_killed_is_missed_and_brought_back(tmp_path: Path) -> None:
    file = tmp_path / "quick.yaml"
    file.write_text(QUICK)
    place = place_at(tmp_path)
    (tmp_path / ".fleet").mkdir()
    consoles: list[Any] = []

    async def open_() -> Console:
        console = await open_console(place, "process", recover=True)
        consoles.append(console)
        return console

    async def again(console: Console) -> Console:
        assert isinstance(console, BesideConsole)
        await console.restart()
        return console

    app = FleetConsole(open_, who="ana", again=again)
    async with app.run_test(size=(110, 24)) as pilot:
        await until(pilot, lambda: app.client is not None and runs_of(app).loaded)
        assert app.fleet.engine == "attached"
        consoles[0].engine.kill()
        await until(pilot, lambda: app.fleet.engine == "none")
        assert said(app, "^e starts one here")
        client = app.client
        assert client is not None
        run = await client.start(start_of(file))
        assert (await client.store.runs.get(run)) is None  # type: ignore[attr-defined]
        await pilot.press("ctrl+e")
        await until(pilot, lambda: said(app, "an engine runs"))
        await until(pilot, lambda: runs_of(app).count == 1)

        def over() -> bool:
            head = runs_of(app).head(runs_of(app).key(0))
            return head is not None and head.status == "completed"

        await until(pilot, over)
    await app.door.close()


async def test_an_engine_that_has_come_and_gone_between_two_looks_is_missed(tmp_path: Path) -> None:
    (tmp_path / ".fleet").mkdir()
    app = FleetConsole(lambda: open_beside(place_at(tmp_path), recover=True), who="ana")
    async with app.run_test(size=(110, 24)) as pilot:
        await until(pilot, lambda: app.fleet.engine == "attached")
        beside: Any = app.door.behind
        beside.engine.kill()
        await until(pilot, lambda: app.fleet.engine == "none" and said(app, "the engine is gone"))
    await app.door.close()


async def test_where_nobody_runs_an_engine_this_console_becomes_it(tmp_path: Path) -> None:
    file = tmp_path / "sleeper.yaml"
    file.write_text(SLEEPER)
    place = place_at(tmp_path)
    (tmp_path / ".fleet").mkdir()

    async def again(console: Console) -> Console:
        assert isinstance(console, AttachedConsole)
        return await take_over(console, place)

    app = FleetConsole(lambda: open_console(place, "attach"), who="ana", again=again)
    async with app.run_test(size=(110, 24)) as pilot:
        await until(pilot, lambda: app.client is not None and runs_of(app).loaded)
        assert app.fleet.engine == "none"
        await pilot.press("ctrl+e")
        await until(pilot, lambda: app.fleet.engine == "embedded")
        assert app.client is not None
        await app.client.start(start_of(file))
        await until(pilot, lambda: runs_of(app).count == 1)
    await app.door.close()


async def test_who_may_only_look_starts_no_engine(tmp_path: Path) -> None:
    (tmp_path / ".fleet").mkdir()
    app = FleetConsole(lambda: open_console(place_at(tmp_path), "attach"), who="ana", read_only=True)
    async with app.run_test(size=(110, 24)) as pilot:
        await until(pilot, lambda: app.client is not None and runs_of(app).loaded)
        await pilot.press("ctrl+e")
        assert said(app, "read-only")
        assert app.fleet.engine == "none"
    await app.door.close()


async def test_what_a_console_was_opening_is_put_away_before_it_is_gone() -> None:
    begun, put_away, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def open_() -> Console:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await put_away.wait()
            done.set()
        raise AssertionError

    app = FleetConsole(open_, who="ana")
    async with app.run_test():
        await begun.wait()
    ended = asyncio.create_task(app.ended())
    await asyncio.sleep(0)
    assert not ended.done()
    put_away.set()
    await ended
    assert done.is_set()
