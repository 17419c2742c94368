"""Any plan, in any order, with any outcome, and a crash at any append."""

from __future__ import annotations

from typing import Any

import promises
from chance import LARGE, Dice, Maker, Order, Seeded, World, nodes_of, number, outcome, plans, slots
from fate import Fate, lived, same_end, undisturbed
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from play import Play

from fleetprompt.engine.core.command import Refusal
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import (
    RunForked,
    StepStarted,
)
from fleetprompt.engine.core.fork import fork
from fleetprompt.engine.core.plan import Plan, encode_plan

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


def begin(plan: Plan, dice: Dice, **fields: Any) -> Play:
    note(encode_plan(plan).decode())
    return Play(plan, order=Order(plan), slots=slots(dice), **fields)


@settings(max_examples=300, deadline=None, suppress_health_check=QUIET)
@given(plans(), st.data())
def test_every_run_ends_and_is_at_any_time_what_its_journal_says(plan: Plan, data: st.DataObject) -> None:
    dice = Dice(data.draw)
    play = begin(plan, dice, every=5)
    world = World(play, dice)
    world.live()
    play.check()
    promises.kept(play, nodes_of(plan.root.nodes))


@settings(max_examples=1200, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.integers(0, 2**32))
def test_larger_runs_end_too(seed: int) -> None:
    """As above, with plans and lives that hypothesis would seldom come upon."""
    dice = Seeded(seed)
    plan = Maker(dice).plan()
    play = begin(plan, dice, every=10)
    World(play, dice, crowd=dice.chance(30)).live(turns=80)
    play.check()
    promises.kept(play, nodes_of(plan.root.nodes))


@settings(max_examples=60, deadline=None, suppress_health_check=QUIET)
@given(plans(), st.data())
def test_asking_for_a_decision_changes_nothing(plan: Plan, data: st.DataObject) -> None:
    dice = Dice(data.draw)
    World(begin(plan, dice, every=20, pure=True), dice).live(turns=25)


def deterministic(path: str, tries: int) -> Any:
    n = number(path, tries)
    return Failure("TOOL_ERROR", "boom") if n == 0 else outcome(path, tries)


@settings(max_examples=150, deadline=None, suppress_health_check=QUIET)
@given(plans(safe=True, calm=True))
def test_a_run_that_crashes_at_every_append_is_the_run_that_never_did(plan: Plan) -> None:
    """Where all effects are safe, a crash leaves no trace: the journals are the same, byte for byte."""
    note(encode_plan(plan).decode())
    calm = lived(Play(plan, verify=False), Fate(deterministic), crash=undisturbed)
    calm.check()
    seen = 0

    def crash(play: Play, where: str) -> bool:
        nonlocal seen
        fresh = where == "after" and len(play.appends) > seen
        seen = len(play.appends)
        return fresh

    stormy = lived(Play(plan, verify=False), Fate(deterministic), crash=crash)
    stormy.check()
    assert stormy.journal == calm.journal
    assert same_end(stormy) == same_end(calm)


def good(path: str, tries: int) -> Any:
    return [path, LARGE] if number(path) == 0 else 5


@settings(max_examples=100, deadline=None, suppress_health_check=QUIET)
@given(plans(calm=True))
def test_a_run_whose_appends_get_lost_ends_like_one_whose_do_not(plan: Plan) -> None:
    """Every append is lost once, after its effect has happened outside. Doubts are answered truthfully."""
    note(encode_plan(plan).decode())
    calm = lived(Play(plan, verify=False), Fate(good), crash=undisturbed)
    lost = -1

    def crash(play: Play, where: str) -> bool:
        nonlocal lost
        fresh = where == "before" and len(play.appends) > lost
        lost = len(play.appends)
        return fresh

    stormy = lived(Play(plan, verify=False), Fate(good), crash=crash)
    stormy.check()
    assert same_end(stormy)["status"] == same_end(calm)["status"]


@settings(max_examples=120, deadline=None, suppress_health_check=QUIET)
@given(plans(), st.data())
def test_a_fork_of_any_run_does_again_what_it_says_and_ends(plan: Plan, data: st.DataObject) -> None:
    dice = Dice(data.draw)
    play = begin(plan, dice, every=50)
    World(play, dice).live(turns=30)
    paths = [path for path, step in play.run.steps.items() if step.status != "pending"]
    start = dice.pick(["", *paths])
    facts = fork(play.run, play.facts, new="r2", at=play.now + 10, start=start)
    if isinstance(facts, Refusal):
        return
    note(f"from {start!r}")
    assert any(isinstance(fact, RunForked) for fact in facts)
    later = Play(plan, now=play.now + 10, facts=facts, blobs=play.blobs, every=7)
    copied = {fact.path for fact in facts if isinstance(fact, StepStarted)}
    World(later, dice).live(turns=30)
    later.check()
    promises.nothing_is_left(later)
    promises.no_more_attempts_than_the_file_says(later)
    promises.asked_once(later)
    again = {fact.path for fact in later.facts[len(facts) :] if isinstance(fact, StepStarted) and fact.attempt == 1}
    assert not {path for path in again & copied if later.step(path).role == "step"}, "what stands was begun again"
