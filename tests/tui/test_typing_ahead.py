"""Keys that are pressed at one go, before what the first of them opens stands on the screen."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from textual.events import Key

from fleetprompt.tui import pressing
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.screens.dialog import Confirm, ConfirmWithReason
from fleetprompt.tui.screens.health import HealthScreen
from fleetprompt.tui.screens.messages import MessagesScreen
from fleetprompt.tui.screens.picker import PickerInput
from fleetprompt.tui.screens.runs import RunsScreen
from fleetprompt.tui.widgets.filter_bar import FilterInput
from tests.client.client_kit import start_of
from tests.tui.terminal_kit import GATED
from tests.tui.test_runs_screen import console, runs_of, until


@pytest.fixture(autouse=True)
def _in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key waits for the one before it however long that takes: after a second it is done without, and on a busy
    machine a menu takes that to open."""
    monkeypatch.setattr(pressing, "PATIENCE", 120.0)


def press(app: FleetConsole, *keys: str) -> None:
    """All of them are there before the first one is looked at."""
    for key in keys:
        app.post_message(Key(key, key if len(key) == 1 else None))


async def test_the_letter_after_g_goes_to_the_menu_that_it_opens(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        press(app, "g", "m")
        await until(pilot, lambda: isinstance(app.screen, MessagesScreen))


async def test_a_command_that_is_typed_at_one_go_is_typed_as_a_whole(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        press(app, "colon", *"help")
        await until(pilot, lambda: [box.value for box in app.screen.query(PickerInput)] == ["help"])


async def test_a_key_that_a_menu_does_not_know_is_given_to_it_once(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        press(app, "colon", "f5", "f6", "h")
        await until(pilot, lambda: [box.value for box in app.screen.query(PickerInput)] == ["h"])


async def test_keys_that_come_while_a_menu_closes_close_nothing_else(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        press(app, "g", "h")
        await until(pilot, lambda: isinstance(app.screen, HealthScreen))
        press(app, "g", "m", "j", "k", "j")
        await until(pilot, lambda: isinstance(app.screen, MessagesScreen))
        assert [type(screen) for screen in app.screen_stack] == [RunsScreen, MessagesScreen]


async def test_esc_twice_at_one_go_leaves_no_more_than_there_is(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        press(app, "g", "m")
        await until(pilot, lambda: isinstance(app.screen, MessagesScreen))
        press(app, "escape", "escape", "escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        press(app, "g", "m")
        await until(pilot, lambda: isinstance(app.screen, MessagesScreen))
        assert not any(message.level == "error" for message in app.fleet.messages)


async def test_a_filter_that_is_typed_at_one_go_does_nothing_to_runs(tmp_path: Path) -> None:
    file = tmp_path / "gated.yaml"
    file.write_text(GATED)
    async with console(tmp_path) as (app, pilot):
        assert app.client is not None
        run = await app.client.start(start_of(file))
        await until(pilot, lambda: runs_of(app).count == 1)
        press(app, "slash", *"paxycd")
        await until(pilot, lambda: [box.value for box in app.screen.query(FilterInput)] == ["paxycd"])
        assert app.screen is app.console_screens()[0]
        assert not app.fleet.messages
        assert (await app.client.run(run)).waiting_on == "approval"


async def test_no_question_is_answered_by_what_was_pressed_before_it_was_seen(tmp_path: Path) -> None:
    file = tmp_path / "gated.yaml"
    file.write_text(GATED)
    async with console(tmp_path) as (app, pilot):
        assert app.client is not None
        run = await app.client.start(start_of(file))
        await until(pilot, lambda: runs_of(app).count == 1)
        for keys, asks in ((("a", "y"), Confirm), (("x", "enter", "r", "enter"), ConfirmWithReason)):
            press(app, *keys)
            await until(pilot, lambda asks=asks: isinstance(app.screen, asks))
            await pilot.pause(0.1)
            assert isinstance(app.screen, asks)
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        assert (await app.client.run(run)).waiting_on == "approval"


async def test_what_is_typed_into_a_field_keeps_its_order(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        press(app, "slash", *"abc", "left", *"d", "ctrl+u", *"9", "home", *"8")
        await until(pilot, lambda: [box.value for box in app.screen.query(FilterInput)] == ["89c"])


KEYS = [*"abcdefghijklmnoprstvwxyzRLJ1[]", "tab", "enter", "escape", "up", "down", "space", "slash", "colon", "f5"]
KEYS += ["question_mark", "apostrophe", "left", "right", "end"]


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_is_typed_however_fast_the_console_goes_on(tmp_path: Path, seed: int) -> None:
    """What fails here is played again by its seed, and by how slow the machine was."""
    dice = random.Random(seed)
    file = tmp_path / "gated.yaml"
    file.write_text(GATED)
    async with console(tmp_path) as (app, pilot):
        assert app.client is not None
        await app.client.start(start_of(file))
        await until(pilot, lambda: runs_of(app).count == 1)
        for _ in range(6):
            press(app, *dice.choices(KEYS, k=dice.randint(2, 7)))
            await pilot.pause(dice.choice((0, 0.01, 0.1)))

        # Whatever has been opened is left, also what opens a moment later.
        for _ in range(200):
            press(app, "escape", "g", "m")
            await pilot.pause(0.1)
            if isinstance(app.screen, MessagesScreen):
                break
        else:
            raise AssertionError(f"it does not go on: {app.screen_stack}, {app.focused}")
        assert not any("internal" in message.text for message in app.fleet.messages)
