"""Keys of one's own: read from a file, and what is told about them is what happens."""

from __future__ import annotations

import os
from pathlib import Path

from fleetprompt.client.opening import open_console
from fleetprompt.tui.actions import ACTIONS, BY_ID, at
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.keymap import Keymap
from fleetprompt.tui.settings import ConsoleSettings, load_settings
from fleetprompt.tui.widgets.filter_bar import FilterBar
from tests.client.client_kit import place_at
from tests.tui.test_runs_screen import until


def written(folder: Path, text: str) -> ConsoleSettings:
    file = folder / "console.toml"
    file.write_text(text)
    return load_settings(file)


def test_ours_do_not_clash() -> None:
    assert Keymap({action.id: action.keys for action in ACTIONS}).problems() == []


def test_a_key_that_is_chosen_is_taken_from_what_it_meant_and_that_is_told() -> None:
    keymap = Keymap({"run.cancel": ("p", "k")})
    assert keymap.keys(BY_ID["run.cancel"]) == ("p", "k")
    assert keymap.shown(BY_ID["run.pause"]) == ""
    assert keymap.keys(BY_ID["list.up"]) == ("up",)
    assert keymap.problems() == [
        "`p` is for `run.cancel` now — `run.pause` has no key now: choose one for it",
        "`k` is for `run.cancel` now — `list.up` has up now",
    ]


def test_of_two_choices_the_first_has_the_key() -> None:
    keymap = Keymap({"run.pause": ("z",), "run.cancel": ("z", "f5")})
    assert keymap.keys(BY_ID["run.pause"]) == ("z",)
    assert keymap.keys(BY_ID["run.cancel"]) == ("f5",)
    assert keymap.problems() == [
        "`z` is chosen for `run.pause` and `run.cancel` — only `run.pause` has it",
        "`z` is for `run.pause` now — `run.zoom` has no key now: choose one for it",
    ]


def test_keys_can_be_exchanged_without_a_word() -> None:
    keymap = Keymap({"run.pause": ("x",), "run.cancel": ("p",)})
    assert keymap.problems() == []
    assert keymap.shown(BY_ID["run.pause"]) == "x"


def test_an_action_that_does_not_exist_is_told_with_what_may_be_meant() -> None:
    assert Keymap({"run.cancle": ("b",)}).problems() == ["there is no action `run.cancle` — did you mean `run.cancel`?"]


def test_keys_are_shown_as_people_know_them() -> None:
    assert Keymap({"run.cancel": ("ctrl+x",)}).shown(BY_ID["run.cancel"]) == "^x"
    assert Keymap().shown(BY_ID["filter.edit"]) == "/"


def test_what_the_file_says_is_used_and_what_cannot_be_is_told(tmp_path: Path) -> None:
    settings = written(
        tmp_path,
        'theme = "blue"\nthme = 1\n[keys]\n"run.cancel" = ["pgdwn", "^x"]\n"run.pause" = "a,b"\n'
        'run.retry = "f5"\n"list.mark" = []\n"list.jump" = 7\n',
    )
    assert settings.keymap.keys(BY_ID["run.cancel"]) == ("ctrl+x",)
    assert settings.keymap.keys(BY_ID["run.pause"]) == BY_ID["run.pause"].keys
    assert settings.keymap.keys(BY_ID["run.retry"]) == ("f5",)
    assert settings.keymap.keys(BY_ID["list.mark"]) == ()
    assert settings.problems == (
        "there is no setting `thme` — did you mean `theme`?",
        "`theme` is one of dark, light, not 'blue'",
        "`run.cancel`: `pgdwn` is not a key — did you mean `pgdn`?",
        '`run.pause`: `a,b` is not one key — several are a list: ["a", "b"]',
        "`list.jump`: keys are a text or a list of texts — [] takes the keys away",
    )


def test_a_file_that_cannot_be_read_is_told_and_no_file_is_not(tmp_path: Path) -> None:
    file = tmp_path / "console.toml"
    assert load_settings(file).problems == ()
    assert load_settings(tmp_path / "no" / "folder").problems == ()
    file.mkdir()
    assert load_settings(file).problems == (
        "this is a folder — settings are a file of TOML; the console opens without it",
    )
    file.rmdir()
    os.mkfifo(file)
    assert "this is no file" in load_settings(file).problems[0]
    file.unlink()
    file.symlink_to(file)
    assert "too many levels" in load_settings(file).problems[0]
    file.unlink()
    assert written(tmp_path, "[keys\n").problems[0].startswith("line 1")
    file.write_bytes(b"\xff")
    assert "not UTF-8" in load_settings(file).problems[0]


CHOSEN = {
    "run.cancel": ("y",),
    "run.pause": ("x",),
    "go.workflows": ("f5", "1"),
    "list.copy_line": ("p", "slash"),
    "go.help": ("j",),
    "list.mark": (),
    "console.quit": ("k",),
    "approval.reject": ("R",),
    "run.retry": ("r",),
}


async def test_what_is_shown_is_what_a_key_does(tmp_path: Path) -> None:
    keymap = Keymap(CHOSEN)
    settings = ConsoleSettings(keymap=keymap)
    app = FleetConsole(lambda: open_console(place_at(tmp_path), "none"), who="ana", settings=settings)
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: app.client is not None and app.focused is not None)
        bound = {key: active.binding.action for key, active in app.screen.active_bindings.items()}
        for action in at(["runs", "list", "console"]):
            keys = keymap.keys(action)
            assert [bound.get(key) for key in keys] == [f"do('{action.id}')"] * len(keys)
            assert {key for key in action.keys if bound.get(key) == f"do('{action.id}')"} <= {*keys}
        await pilot.press("1")
        await until(pilot, lambda: len(app.console_screens()) == 2)
        assert app.console_screens()[1].NAME == "workflows"
        assert app.console_screens()[0].query_one(FilterBar).text == ""
    if app.client is not None:
        await app.client.close()


async def test_what_is_wrong_with_the_file_is_told_on_opening(tmp_path: Path) -> None:
    settings = written(tmp_path, '[keys]\n"run.cancel" = ["pgdwn", "p"]\n')
    app = FleetConsole(lambda: open_console(place_at(tmp_path), "none"), who="ana", settings=settings)
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: app.client is not None)
        said = [message.text for message in app.fleet.messages]
        assert f"{settings.file}: `run.cancel`: `pgdwn` is not a key — did you mean `pgdn`?" in said
        assert any("`run.pause` has no key now" in text for text in said)
    if app.client is not None:
        await app.client.close()
