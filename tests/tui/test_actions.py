"""The table of actions: every action is done somewhere."""

from __future__ import annotations

from fleetprompt.tui.actions import ACTIONS, BY_ID, at, method


def test_ids_are_unique() -> None:
    assert len(BY_ID) == len(ACTIONS)


def test_a_place_knows_its_actions_in_the_order_of_the_table() -> None:
    found = at(["runs"])
    assert BY_ID["run.cancel"] in found
    assert BY_ID["approval.edit"] not in found
    assert [ACTIONS.index(action) for action in found] == sorted(ACTIONS.index(action) for action in found)
    assert method("run.cancel") == "do_run_cancel"
