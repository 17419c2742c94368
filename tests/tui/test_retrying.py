"""Runs that are done again, paused and resumed from the console: what is repeated is said, and where the new run is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deciding_kit import client_of, console, dialog, ended, locked, said, start, title, until

from fleetprompt.engine.ports import Page, RunHead
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.screens.dialog import Ask, Confirm
from fleetprompt.tui.screens.run import RunScreen
from fleetprompt.tui.screens.runs import RunsScreen
from tests.client.client_kit import start_of

BREAKS = """
name: breaks
steps:
  - {id: build, type: shell, argv: [sh, -c, "echo built >> built"]}
  - {id: upload, type: shell, argv: [sh, -c, "test -e mirror"]}
  - {id: announce, type: transform, output: done}
"""
PLAIN = "name: plain\nsteps:\n  - {id: one, type: transform, output: 1}\n  - {id: two, type: transform, output: 2}\n"
SLEEPER = "name: sleeper\nsteps:\n  - {id: nap, type: delay, for: 1h}\n"
BUSY = """
name: busy
steps:
  - {id: work, type: shell, argv: [sh, -c, "until test -e go; do sleep 0.05; done"], repeat: never}
  - {id: after, type: transform, output: 1}
"""


def home(app: FleetConsole) -> RunsScreen:
    screen = app.console_screens()[0]
    assert isinstance(screen, RunsScreen)
    return screen


async def listed(app: FleetConsole, pilot: Any, clock: Any, number: int) -> None:
    """So many runs are listed, long enough to be meant."""
    await until(pilot, lambda: home(app).runs.count == number and home(app).head() is not None)  # type: ignore[union-attr]
    clock.at += 10


async def broken(app: FleetConsole, pilot: Any, clock: Any, root: Path, number: int = 1) -> list[str]:
    """Runs that failed."""
    runs = [await start(app, root, BREAKS) for _ in range(number)]
    assert await ended(client_of(app), *runs) == ["failed"] * number
    (root / "mirror").touch()
    await listed(app, pilot, clock, number)
    return runs


async def newest(app: FleetConsole) -> RunHead:
    return await client_of(app).run(await client_of(app).find("last"))


async def test_a_retry_says_what_is_repeated_and_puts_the_cursor_on_the_new_run(tmp_path: Path) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        (run,) = await broken(app, pilot, clock, tmp_path)
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert "done again: upload, announce" in dialog(app)
        assert "1 other step: as before, not done again" in dialog(app)
        await pilot.press("y")
        await until(pilot, lambda: said(app, "enter opens it"))
        new = await newest(app)
        assert (new.retry_of, await ended(client_of(app), new.id)) == (run, ["completed"])
        assert said(app, f"retried: run {run[-8:]} of breaks is done again by run {new.id[-8:]}; enter opens it")
        assert (tmp_path / "built").read_text() == "built\n"
        await until(pilot, lambda: home(app).head() is not None and home(app).head().id == new.id)  # type: ignore[union-attr]
        clock.at += 10
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.runview is not None)
        assert app.screen.runview.id == new.id  # type: ignore[attr-defined]


async def test_a_retry_on_the_screen_of_a_run_leads_to_the_new_one(tmp_path: Path) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        (run,) = await broken(app, pilot, clock, tmp_path)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.steps is not None)
        await pilot.press("R", "y")
        await until(pilot, lambda: said(app, "it is shown now, esc goes back"))
        new = await newest(app)
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.crumb() == new.id[-8:])
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.crumb() == run[-8:])


async def test_a_new_run_that_the_filter_hides_is_named(tmp_path: Path) -> None:
    async with console(tmp_path, link="runs status:failed") as (app, pilot, clock):
        (run,) = await broken(app, pilot, clock, tmp_path)
        await pilot.press("R", "y")
        await until(pilot, lambda: said(app, "retried"))
        new = await newest(app)
        assert said(app, f"`:run {new.id[-8:]}` opens it")
        assert home(app).head() is not None
        assert home(app).head().id == run  # type: ignore[union-attr]


async def test_a_run_that_completed_is_asked_about_from_where_on(tmp_path: Path) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        run = await start(app, tmp_path, PLAIN)
        await ended(client_of(app), run)
        await listed(app, pilot, clock, 1)
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        assert "nothing in it went wrong" in dialog(app)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert "done again: one, two" in dialog(app)
        await pilot.press("y")
        await until(pilot, lambda: said(app, "retried"))
        assert (await newest(app)).retry_of == run


async def test_marked_runs_are_retried_from_a_step_that_is_named_and_those_without_it_are_left_out(
    tmp_path: Path,
) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        await start(app, tmp_path, SLEEPER)
        await ended(client_of(app), await start(app, tmp_path, PLAIN))
        runs = [await start(app, tmp_path, BREAKS) for _ in range(3)]
        await ended(client_of(app), *runs)
        (tmp_path / "mirror").touch()
        await listed(app, pilot, clock, 5)
        await pilot.press("asterisk", "B")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        assert title(app) == "retry 5 runs from which step?"
        assert app.screen._value == "upload", "the step of the cursor is offered"  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert title(app) == "retry 3 runs?"
        assert "2 more runs cannot be retried" in dialog(app)
        assert "the run has no step upload" in dialog(app)
        assert "only a finished run can be retried" in dialog(app)
        await pilot.press("y")
        await until(pilot, lambda: said(app, "retried: 3 runs"))
        heads, _ = await client_of(app).runs("wf:breaks", Page(limit=20))
        assert {head.retry_of for head in heads} == {"", *runs}
        assert (tmp_path / "built").read_text() == "built\n" * 3, "what came before stands"


async def test_marked_runs_in_which_nothing_went_wrong_are_left_out_of_a_retry(tmp_path: Path) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        await broken(app, pilot, clock, tmp_path, 2)
        await ended(client_of(app), *[await start(app, tmp_path, PLAIN) for _ in range(2)])
        await listed(app, pilot, clock, 4)
        await pilot.press("asterisk", "R")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert title(app) == "retry 2 runs?"
        assert "2 more runs cannot be retried and stay as they are: everything in it completed" in dialog(app)


async def test_what_is_not_paused_has_nothing_to_resume(tmp_path: Path) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        sleeping = await start(app, tmp_path, SLEEPER)
        await listed(app, pilot, clock, 1)
        while (await client_of(app).run(sleeping)).status != "waiting":
            await pilot.pause(0.02)
        await pilot.press("P")
        await until(pilot, lambda: said(app, f"nothing to resume in run {sleeping[-8:]}: it is not paused"))
        signals, _ = await client_of(app).signals("type:fleet.run.resume", Page(limit=20))
        assert not signals


async def test_a_paused_run_is_resumed_also_while_something_in_it_goes_on(tmp_path: Path) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        busy = await client_of(app).start(start_of(_file(tmp_path, BUSY)))
        await start(app, tmp_path, SLEEPER)
        while (await client_of(app).run(busy)).status != "running":
            await pilot.pause(0.02)
        await listed(app, pilot, clock, 2)
        await pilot.press("down")
        await until(pilot, lambda: home(app).head() is not None and home(app).head().id == busy)  # type: ignore[union-attr]
        await pilot.press("P")
        await until(pilot, lambda: said(app, "it is not paused"))
        await pilot.press("p")
        await until(pilot, lambda: said(app, "paused: run"))
        head = await client_of(app).run(busy)
        assert (head.status, head.waiting_on) == ("running", "paused"), "its step goes on"
        await pilot.press("asterisk", "P")
        await until(pilot, lambda: said(app, f"resumed: run {busy[-8:]}"))
        (tmp_path / "go").touch()
        assert await ended(client_of(app), busy) == ["completed"]


def _file(root: Path, text: str) -> Path:
    file = root / "busy.yaml"
    file.write_text(text)
    return file


async def test_many_runs_are_cancelled_with_a_counter_and_what_is_over_is_told(tmp_path: Path) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        for _ in range(30):
            await start(app, tmp_path, SLEEPER)
        await ended(client_of(app), await start(app, tmp_path, PLAIN))
        await listed(app, pilot, clock, 31)
        await pilot.press("asterisk", "x")
        await until(pilot, lambda: "cancel 30 runs?" in title(app))
        assert "… and 22 more runs" in dialog(app)
        assert "1 more run cannot be cancelled and stays as it is: it is completed already" in dialog(app)
        with locked(tmp_path):
            await pilot.press("y")
            await until(pilot, lambda: app.work.words == "cancelling 0 of 30 runs")
        await until(pilot, lambda: said(app, "cancelled: 30 runs"))
        assert not app.work.words
        assert await client_of(app).count("status:cancelled") == 30
