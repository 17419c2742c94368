"""The table of actions: every key means one thing at a time, every action is done somewhere."""

from __future__ import annotations

from fleetprompt.tui.actions import ACTIONS, BY_ID, at, method
from fleetprompt.tui.keymap import Keymap, sign


def test_ids_are_unique_and_keys_do_not_clash() -> None:
    assert len(BY_ID) == len(ACTIONS)
    assert Keymap({action.id: action.keys for action in ACTIONS}).problems() == []


def test_a_key_that_is_taken_is_told_with_both_actions() -> None:
    problems = Keymap({"run.cancel": ("p",)}).problems()
    assert problems == ["`p` means both `run.cancel` and `run.pause`"]


def test_an_action_that_does_not_exist_is_told() -> None:
    assert Keymap({"run.explode": ("b",)}).problems() == ["there is no action `run.explode`"]


def test_keys_are_shown_as_people_know_them() -> None:
    assert sign("ctrl+d") == "^d"
    assert Keymap({"run.cancel": ("ctrl+x",)}).shown(BY_ID["run.cancel"]) == "^x"
    assert Keymap().shown(BY_ID["filter.edit"]) == "/"


def test_a_place_knows_its_actions_in_the_order_of_the_table() -> None:
    found = at(["runs"])
    assert BY_ID["run.cancel"] in found
    assert BY_ID["approval.edit"] not in found
    assert [ACTIONS.index(action) for action in found] == sorted(ACTIONS.index(action) for action in found)
    assert method("run.cancel") == "do_run_cancel"
