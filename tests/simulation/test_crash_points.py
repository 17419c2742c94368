"""Crash before and after every durable write of every scenario: all ends are the same, nothing is lost or repeated."""

from __future__ import annotations

from functools import lru_cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_crashes_while_recovering_from_crashes_change_nothing_about_the_end(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(BY_NAME)))
    most = uncrashed(name).points
    crashes = st.tuples(st.sampled_from(MODES), st.integers(1, most))
    interruptions = data.draw(st.lists(crashes, min_size=2, max_size=4))
    assert_same(BY_NAME[name], *interruptions)


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_an_engine_that_dies_as_soon_as_it_has_opened_loses_nothing(data: st.DataObject) -> None:
    """A crash loop: each engine makes one or two durable writes, and there are many of them."""
    name = data.draw(st.sampled_from(sorted(BY_NAME)))
    step = st.tuples(st.sampled_from(["before", "after"]), st.integers(1, 3))
    interruptions = data.draw(st.lists(step, min_size=5, max_size=12))
    assert_same(BY_NAME[name], *interruptions)
