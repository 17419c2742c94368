"""Keys that are pressed at one go, before what the first of them opens stands on the screen."""

from __future__ import annotations

from pathlib import Path

from textual.events import Key

from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.screens.messages import MessagesScreen
from fleetprompt.tui.screens.picker import PickerInput
from tests.tui.test_runs_screen import console, until


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
