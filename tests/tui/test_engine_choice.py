"""The engine of a console: gone and back, in a process beside it or in its own loop."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fleetprompt.client.attached import AttachedConsole
from fleetprompt.client.beside import BesideConsole, EngineBeside
from fleetprompt.client.opening import open_beside, open_console
from fleetprompt.client.protocol import Console
from fleetprompt.client.reopening import take_over
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import Page
from fleetprompt.tui.app import FleetConsole
from tests.client.client_kit import place_at, start_of
from tests.tui.test_runs_screen import SLEEPER, runs_of, until

QUICK = "name: quick\nsteps:\n  - {id: nap, type: delay, for: 0.05s}\n"


def said(app: FleetConsole, text: str) -> bool:
    return any(text in message.text for message in app.fleet.messages)


def begun(app: FleetConsole) -> bool:
    """The engine has said that it is ready: before, its end is no loss."""
    return not any(worker.name == "engine" and not worker.is_finished for worker in app.workers)


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
        assert (await app.door.behind.store.runs.get(run)) is None  # type: ignore[union-attr]
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
        await until(pilot, lambda: app.fleet.engine == "attached" and begun(app))
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


async def test_what_is_asked_for_in_the_console_is_recorded_as_its_own_wherever_the_engine_is(tmp_path: Path) -> None:
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
        client = app.client
        assert client is not None
        await client.start(start_of(file))
        await pilot.press("ctrl+e")
        await until(pilot, lambda: app.fleet.engine == "embedded" and runs_of(app).count == 1)
        await pilot.press("p")
        await until(pilot, lambda: said(app, "paused: run"))
        published, _ = await client.publish(Signal(id="s1", type="order.paid", source="test", at=0.0, by="ana"))
        await client.replay(published.id, by="ana")
        signals, _ = await client.signals("", Page(limit=10, oldest_first=True))
        assert [(signal.type, signal.source) for signal in signals] == [
            ("fleet.run.start", "console/ana"),
            ("fleet.run.pause", "console/ana"),
            ("order.paid", "test"),
            ("order.paid", "replay/ana"),
        ]
    await app.door.close()


async def test_an_engine_that_others_held_meanwhile_is_taken_up_again_when_they_leave(tmp_path: Path) -> None:
    file = tmp_path / "quick.yaml"
    file.write_text(QUICK)
    place = place_at(tmp_path)
    (tmp_path / ".fleet").mkdir()

    async def again(console: Console) -> Console:
        assert isinstance(console, BesideConsole)
        await console.restart()
        return console

    app = FleetConsole(lambda: open_beside(place, recover=True), who="ana", again=again)
    others = EngineBeside(place)
    async with app.run_test(size=(110, 24)) as pilot:
        await until(pilot, lambda: app.fleet.engine == "attached" and begun(app))
        own: Any = app.door.behind
        own.engine.kill()
        await until(pilot, lambda: app.fleet.engine == "none" and said(app, "^e starts one here"))
        await others.start()
        await until(pilot, lambda: said(app, "the engine is back"))
        assert not own.engine.alive
        await others.stop()
        await until(pilot, lambda: own.engine.alive and app.fleet.engine == "attached")
        assert app.client is not None
        await app.client.start(start_of(file))
        await until(pilot, lambda: runs_of(app).count == 1)
    await app.door.close()


async def test_an_engine_of_others_that_has_died_is_not_taken_up_by_itself(tmp_path: Path) -> None:
    place = place_at(tmp_path)
    (tmp_path / ".fleet").mkdir()
    others = EngineBeside(place)
    await others.start()

    async def again(console: Console) -> Console:
        return console

    app = FleetConsole(lambda: open_beside(place, recover=True), who="ana", again=again)
    async with app.run_test(size=(110, 24)) as pilot:
        await until(pilot, lambda: app.door.behind is not None and not app.door.is_to_begin)
        own: Any = app.door.behind
        await until(pilot, lambda: app.fleet.engine == "attached" and not own.engine.alive)
        others.kill()
        await until(pilot, lambda: said(app, "^e starts one here"))
        assert not said(app, "starts its own again")
    await app.door.close()
