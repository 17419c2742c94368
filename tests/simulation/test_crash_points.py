"""Crash before and after every durable write of every scenario: all ends are the same, nothing is lost or repeated."""

from __future__ import annotations

from functools import lru_cache

import pytest
from scenarios import SCENARIOS
from world import Interruption, Mode, Scenario, World, check_end, ending, play, statuses

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
MODES: list[Mode] = ["before", "after", "close"]


@lru_cache
def uncrashed(name: str) -> World:
    return play(BY_NAME[name])


def assert_same(scenario: Scenario, *interruptions: Interruption) -> World:
    """The story with these interruptions comes to the same end as without."""
    world = play(scenario, *interruptions)
    told = f"{scenario.name} with {interruptions}"
    assert ending(world) == ending(uncrashed(scenario.name)), told
    check_end(world)
    return world


@pytest.mark.parametrize("name", BY_NAME)
def test_a_story_without_a_crash_ends_as_its_files_say(name: str) -> None:
    world = uncrashed(name)
    assert statuses(world) == BY_NAME[name].expect
    assert world.troubles == []
    check_end(world)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", BY_NAME)
def test_a_crash_at_any_durable_write_changes_nothing_about_the_end(name: str, mode: Mode) -> None:
    for k in range(1, uncrashed(name).points + 1):
        assert_same(BY_NAME[name], (mode, k))
