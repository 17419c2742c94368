"""Leaving the console for a while, what is said when that stops runs, and what is read when one is back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleetprompt.client.protocol import Change
from fleetprompt.tui.acting import left_out
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.screens.dialog import Confirm
from fleetprompt.tui.screens.health import HealthScreen
from fleetprompt.tui.screens.picker import MENU_COLUMNS, Picker
from fleetprompt.tui.state.fleet import Fleet
from fleetprompt.tui.widgets.ask_box import AskBox
from fleetprompt.tui.widgets.bars import TopBar
from fleetprompt.tui.widgets.lines import Lines
from tests.client.client_kit import start_of
from tests.tui.deciding_kit import dialog
from tests.tui.test_runs_screen import SLEEPER, console, runs_of, until

BUSY = "name: busy\nsteps:\n  - {id: work, type: shell, argv: [sleep, '60']}\n"


@pytest.fixture
def stops(monkeypatch: pytest.MonkeyPatch) -> list[FleetConsole]:
    """Consoles that were stopped; none is in earnest, the tests would stop with it."""
    stopped: list[FleetConsole] = []
    monkeypatch.setattr(FleetConsole, "action_suspend_process", lambda app: stopped.append(app))
    return stopped


async def test_it_is_asked_first_where_an_engine_with_work_would_stop_with_the_console(
    tmp_path: Path, stops: list[FleetConsole]
) -> None:
    file = tmp_path / "busy.yaml"
    file.write_text(BUSY)
    async with console(tmp_path) as (app, pilot):
        assert app.client is not None
        await app.client.start(start_of(file))
        await until(pilot, lambda: app.fleet.counts.get("running") == 1)
        await pilot.press("ctrl+z")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert "1 run is carried out by the engine of this console now." in dialog(app)
        assert "nothing is carried out until `fg`" in dialog(app)
        await pilot.press("escape")
        assert stops == []
        await pilot.press("ctrl+z")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: stops == [app])


async def test_where_nothing_is_at_work_it_is_not_asked(tmp_path: Path, stops: list[FleetConsole]) -> None:
    async with console(tmp_path) as (app, pilot):
        await pilot.press("ctrl+z")
        await until(pilot, lambda: stops == [app])


@pytest.mark.parametrize("how", ["fg", "engine"])
async def test_what_was_missed_is_read_at_once(tmp_path: Path, how: str) -> None:
    file = tmp_path / "sleeper.yaml"
    file.write_text(SLEEPER)
    async with console(tmp_path) as (app, pilot):
        client = app.client
        assert client is not None
        await until(pilot, lambda: runs_of(app).loaded and app.fleet.counted)
        app.listening.end()
        listening = app.listening
        if how == "engine":
            await listening._take(client, Change(engine=False))  # pyright: ignore[reportPrivateUsage]
        await client.start(start_of(file))
        await pilot.pause(0.3)
        assert runs_of(app).count == 0, "nobody has told"
        if how == "engine":
            await listening._take(client, Change(engine=True))  # pyright: ignore[reportPrivateUsage]
        else:
            app.app_resume_signal.publish(app)
        await until(pilot, lambda: runs_of(app).count == 1)
        await until(pilot, lambda: sum(app.fleet.counts.values()) == 1)


async def test_screens_underneath_are_read_again_when_one_comes_back_to_them(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        await pilot.press("g", "h")
        await until(pilot, lambda: isinstance(app.screen, HealthScreen))
        app.listening.read_again()
        await until(pilot, lambda: app.console_screens()[0].stale)
        await pilot.press("escape")
        await until(pilot, lambda: not app.console_screens()[0].stale)


async def test_nothing_is_counted_at_the_top_before_it_was_counted(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):

        def top() -> str:
            return "".join(text for text, _ in app.screen.query_one(TopBar).parts(150))

        await until(pilot, lambda: app.fleet.counted)
        assert "● 0" in top()
        assert "today" in top()
        app.fleet = Fleet()
        assert "0" not in top()
        assert "today" not in top()


async def test_a_command_that_takes_no_argument_says_so(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        await pilot.press("colon", *"pause", "space", "x", "enter")
        said = "`pause` takes no argument: it is done to what is selected here"
        await until(pilot, lambda: app.screen.query_one(Lines).empty[0][0] == said)


def test_what_is_left_out_of_many_is_said_in_the_plural() -> None:
    heads: list[Any] = [None, None, None]
    [[(many, _)]] = left_out([(head, "it is completed already") for head in heads], "cancelled")
    assert many == "3 more runs cannot be cancelled and stay as they are: they are completed already"
    head = heads[0]
    several = left_out([(head, "it is completed already")] * 2 + [(head, "it is not paused"), (head, "no")], "resumed")
    assert [line[0][0] for line in several[1:]] == ["  2 are completed already", "  1 is not paused", "  1: no"]
    [[(one, _)]] = left_out([(heads[0], "it is completed already")], "cancelled")
    assert one == "1 more run cannot be cancelled and stays as it is: it is completed already"


async def test_a_long_question_beside_a_run_says_that_there_is_more(tmp_path: Path) -> None:
    file = tmp_path / "gated.yaml"
    message = "\\n".join(["x" * 600, *map(str, range(6))])
    file.write_text(f'name: gated\nsteps:\n  - {{id: gate, type: approval, message: "{message}"}}\n')
    async with console(tmp_path, (140, 44)) as (app, pilot):
        assert app.client is not None
        await app.client.start(start_of(file))
        await until(pilot, lambda: any(box.has_class("-asks") for box in app.screen.query(AskBox)))
        said = str(app.screen.query_one(AskBox).render())
        assert "x…" in said
        assert "x" * 500 not in said
        assert "… 3 more lines" in said


async def test_who_leaves_while_a_question_opens_leaves(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        app.exit(return_code=143)
        # Textual gives it nothing of what it is made of any more.
        app.push_screen(Picker("any", [], MENU_COLUMNS))
        await until(pilot, lambda: app.return_code == 143 and not app.is_running)
    assert app.return_code == 143
