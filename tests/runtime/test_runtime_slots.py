"""Slots: at most so many at a time, in order of priority, given back at every ending, and never deadlocked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from world import World, check_end, statuses, tell

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import Conflict, Holder
from fleetprompt.engine.runtime.engine import Engine, Limits

WORK = """
name: work
steps:
  - {id: a, type: python, call: "world:act", with: {tag: work}}
  - {id: w, type: delay, for: 10s}
  - {id: b, type: python, call: "world:act", with: {tag: work}}
"""
LIMITED = WORK.replace("name: work", "name: limited\nmax_runs: 2")


def group(on_conflict: str, limit: int = 1, extra: str = "") -> str:
    return f"""
name: grouped
concurrency: {{group: g, limit: {limit}, on_conflict: {on_conflict}}}
{extra}
steps:
  - {{id: a, type: python, call: "world:act", repeat: safe, with: {{takes: 20, tag: grouped, repeat: safe}}}}
"""


async def start(world: World, workflow: str, run: str, priority: int = 0, **inputs: Any) -> None:
    data = {"workflow": workflow, "inputs": inputs, "priority": priority}
    assert world.engine is not None
    await world.engine.bus.submit(Signal(id=run, type=types.START, source="test", at=world.now(), by="ana", data=data))


def begun(world: World) -> list[str]:
    """Runs in the order of their first call."""
    return list(dict.fromkeys(run for run, _, _ in world.deeds.calls))


@pytest.mark.parametrize(("file", "limits", "most"), [(WORK, Limits(max_runs=3), 3), (LIMITED, Limits(), 2)])
def test_at_most_so_many_runs_are_active_and_a_waiting_one_does_not_count(file: str, limits: Limits, most: int) -> None:
    async def story(world: World, engine: Engine) -> None:
        name = "work" if file is WORK else "limited"
        for i in range(8):
            await start(world, name, f"run-{i}")
        began = world.now()
        await world.over(*[f"run-{i}" for i in range(8)])
        # While some wait, others work: one after the other they would need twelve seconds each.
        assert world.now() - began < 8 * 12

    world = tell(story, file, limits=limits)
    assert world.deeds.most["work"] == most
    check_end(world)


def test_a_higher_priority_goes_first_and_then_age() -> None:
    async def story(world: World, engine: Engine) -> None:
        await start(world, "work", "first")
        for run, priority in (("low", -5), ("old", 0), ("young", 0), ("high", 7)):
            await start(world, "work", run, priority)
        await world.over("first", "low", "old", "young", "high")
        assert begun(world) == ["first", "high", "old", "young", "low"]

    check_end(tell(story, WORK, limits=Limits(max_runs=1)))


@pytest.mark.parametrize("how", ["completed", "failed", "cancelled", "timeout"])
@pytest.mark.parametrize("where", ["workflow", "step"])
def test_a_critical_section_is_free_again_however_its_holder_ended(how: str, where: str) -> None:
    concurrency = "concurrency: {group: g}"
    file = f"""
name: holder
{concurrency if where == "workflow" else ""}
{"guardrails: {timeout: 5s}" if how == "timeout" else ""}
inputs: {{bad: {{type: boolean, default: false}}}}
steps:
  - id: a
    type: python
    call: "world:act"
    repeat: safe
    with: {{takes: "${{{{ 20 if inputs.bad and '{how}' != 'failed' else 1 }}}}", repeat: safe, tag: section,
           permanent: "${{{{ inputs.bad and '{how}' == 'failed' }}}}"}}
    {concurrency if where == "step" else ""}
"""

    async def story(world: World, engine: Engine) -> None:
        await start(world, "holder", "bad", bad=how != "completed")
        await world.until(lambda: world.deeds.calls)
        await start(world, "holder", "next")
        await asyncio.sleep(0.1)
        assert begun(world) == ["bad"]
        if how == "cancelled":
            await world.send(types.CANCEL, "bad")
        assert await world.over("bad", "next") == [how, "completed"]

    world = tell(story, file)
    assert world.deeds.most["section"] == 1
    check_end(world)


def test_a_group_keeps_its_holder_while_that_waits_and_lets_in_as_many_as_its_limit() -> None:
    file = """
name: grouped
concurrency: {group: "g-${{ inputs.of }}", limit: 2}
inputs: {of: {default: x}}
steps:
  - {id: w, type: delay, for: 10s}
  - {id: a, type: python, call: "world:act", with: {tag: "${{ inputs.of }}"}}
"""

    async def story(world: World, engine: Engine) -> None:
        began = world.now()
        for i in range(4):
            await start(world, "grouped", f"run-{i}")
        await start(world, "grouped", "other", of="y")
        await world.over("other")
        assert world.now() - began < 12
        await world.over(*[f"run-{i}" for i in range(4)])
        assert world.now() - began > 21

    world = tell(story, file)
    check_end(world)


def test_skip_is_about_the_section_not_about_other_slots() -> None:
    file = group("skip", extra="max_runs: 5").replace("group: g", 'group: "${{ run.id }}"')

    async def story(world: World, engine: Engine) -> None:
        await start(world, "grouped", "one")
        await start(world, "grouped", "two")
        await asyncio.sleep(1)
        assert begun(world) == ["one"]
        assert await world.over("one", "two") == ["completed", "completed"]

    check_end(tell(story, file, limits=Limits(max_runs=1)))


def test_skip_ends_the_run_that_comes_second() -> None:
    async def story(world: World, engine: Engine) -> None:
        await start(world, "grouped", "one")
        await world.until(lambda: world.deeds.calls)
        await start(world, "grouped", "two")
        assert await world.over("two", "one") == ["cancelled", "completed"]
        assert "taken" in world.disk.runs["two"].error_message

    check_end(tell(story, group("skip")))


def test_the_newest_run_wins_over_those_that_hold_and_those_that_wait() -> None:
    async def story(world: World, engine: Engine) -> None:
        await start(world, "work", "bystander")
        for run in ("one", "two", "three"):
            await start(world, "grouped", run)
            await asyncio.sleep(0.5)
        assert await world.over("one", "two", "three") == ["cancelled", "cancelled", "completed"]
        assert await world.over("bystander") == ["completed"]

    check_end(tell(story, group("cancel_running"), WORK))


def test_cancel_running_cancels_nobody_who_only_shares_other_slots() -> None:
    async def story(world: World, engine: Engine) -> None:
        await start(world, "work", "bystander")
        await start(world, "grouped", "one")
        await asyncio.sleep(0.5)
        assert await world.over("bystander", "one") == ["completed", "completed"]

    world = tell(story, group("cancel_running", extra="max_runs: 1"), WORK, limits=Limits(max_runs=1))
    assert statuses(world) == {"grouped": ["completed"], "work": ["completed"]}
    check_end(world)


def test_who_waits_for_one_thing_holds_up_nobody_who_waits_for_another() -> None:
    """`limited` waits for its workflow's slot; what waits behind it for the section goes on meanwhile."""
    files = [
        """
name: limited
max_runs: 1
inputs: {takes: {default: 30}}
steps:
  - {id: a, type: python, call: "world:act", with: {takes: 1}}
  - {id: b, type: python, call: "world:act", concurrency: {group: s}, with: {takes: "${{ inputs.takes }}"}}
""",
        """
name: outside
steps:
  - {id: b, type: python, call: "world:act", concurrency: {group: s}, with: {takes: 1}}
""",
    ]

    async def story(world: World, engine: Engine) -> None:
        await start(world, "outside", "first")
        for run in ("l1", "l2", "l3"):
            await start(world, "limited", run, priority=9)
        await start(world, "outside", "last")
        await world.over("first", "l1", "l2", "l3", "last")

    world = tell(story, *files)
    assert world.deeds.most["b"] == 1
    check_end(world)


def test_a_run_that_gave_its_slot_back_gets_it_again_for_a_retry() -> None:
    file = """
name: again
max_runs: 1
steps:
  - {id: a, type: python, call: "world:act", with: {fails: 2, tag: again}, retry: {max_attempts: 3, backoff: 5s}}
"""

    async def story(world: World, engine: Engine) -> None:
        for i in range(3):
            await start(world, "again", f"run-{i}")
        assert await world.over("run-0", "run-1", "run-2") == ["completed"] * 3

    world = tell(story, file)
    assert world.deeds.most["again"] == 1
    check_end(world)


def test_a_slot_that_another_engine_holds_is_asked_for_again() -> None:
    """The claim is there, unseen: the store refuses, and the run waits without harm until it is gone."""
    key = ("default", "workflow:limited")

    async def story(world: World, engine: Engine) -> None:
        await start(world, "limited", "warm-up")
        await world.over("warm-up")
        world.disk.claims[key] = {("other", ""): Holder("other", "", 2)}
        await start(world, "limited", "run-0")
        await asyncio.sleep(30)
        assert begun(world) == ["warm-up"]
        assert world.disk.runs["run-0"].status == "pending"
        world.disk.claims[key].clear()
        await engine.others_wrote()
        assert await world.over("run-0") == ["completed"]

    check_end(tell(story, LIMITED))


def test_a_refused_claim_loses_nothing_else_that_happened_in_the_run() -> None:
    """A branch's outcome goes into the same append as the refused claim: it must be recorded, and not done again."""
    file = """
name: sides
steps:
  - id: both
    type: parallel
    branches:
      x: [{id: x1, type: python, call: "world:act", with: {takes: 2}}]
      y: [{id: y1, type: python, call: "world:act", with: {takes: 1}},
          {id: y2, type: python, call: "world:act", concurrency: {group: s}}]
"""
    key = ("default", "group:s")

    async def story(world: World, engine: Engine) -> None:
        await start(world, "sides", "warm-up")
        await world.over("warm-up")
        world.disk.claims[key] = {("other", "s"): Holder("other", "s")}
        world.commit_time = lambda: 0.7
        await start(world, "sides", "run-0")
        await asyncio.sleep(10)
        world.disk.claims[key].clear()
        await engine.others_wrote()
        assert await world.over("run-0") == ["completed"]
        assert len(world.deeds.calls) == 6

    check_end(tell(story, file))


def test_a_holder_that_goes_while_holders_are_being_read_is_not_waited_for() -> None:
    async def story(world: World, engine: Engine) -> None:
        for i in range(3):
            await start(world, "limited", f"run-{i}")
        await world.until(lambda: len(begun(world)) == 2)
        await engine.close()

    world = tell(story, LIMITED)
    # The next engine reads holders for longer than the work takes.
    world.read_time = lambda what: 3.0 if what == "claims.holders" else 0.0
    assert world.live() is True
    check_end(world)


def test_a_store_that_cannot_be_read_for_a_while_leaves_no_slot_request_behind() -> None:
    async def story(world: World, engine: Engine) -> None:
        down = world.now() + 20
        world.read_fault = lambda what: (
            StoreUnavailable("database is locked") if what == "claims.holders" and world.now() < down else None
        )
        await start(world, "limited", "run-0")
        assert await world.over("run-0") == ["completed"]

    check_end(tell(story, LIMITED))


def test_what_a_run_gives_to_itself_begins_when_that_is_durable() -> None:
    """The end of one holder lets in the next of the same run: no effect begins before its intent is written."""
    file = """
name: self
steps:
  - id: each
    type: loop
    over: [1, 2, 3]
    concurrency: 3
    steps:
      - {id: a, type: python, call: "world:act", concurrency: {group: s}, with: {tag: section}}
      - {id: b, type: python, call: "world:act"}
"""

    async def story(world: World, engine: Engine) -> None:
        world.commit_time = lambda: 0.3
        await start(world, "self", "run-0")
        assert await world.over("run-0") == ["completed"]

    world = tell(story, file)
    assert world.deeds.most["section"] == 1
    check_end(world)


def test_a_run_whose_grant_was_refused_is_not_parked_and_forgotten() -> None:
    """Between the grant and the refusal the run looks as if it waited for the approval."""
    file = """
name: asks
concurrency: {group: g, limit: 2}
steps:
  - {id: gate, type: approval, message: "Go on?", approvers: [ana]}
"""

    async def story(world: World, engine: Engine) -> None:
        await start(world, "asks", "before")
        await world.until(lambda: world.waits("before", "approval"))
        # Who holds the group is known now: the next run is granted it while it asks.
        left = [Conflict("somebody else was first")]
        world.write_fault = lambda entry: left.pop() if left and entry.releases else None
        await start(world, "asks", "run-0")
        await world.until(lambda: world.waits("run-0", "approval"), "nobody was asked")
        assert not left
        for approval in list(world.disk.approvals.values()):
            await world.send(types.VOTE, approval.run, approval=approval.id, decision="approved")
        assert await world.over("before", "run-0") == ["completed", "completed"]

    check_end(tell(story, file))


def test_a_slot_that_comes_too_late_for_one_step_goes_to_another_of_the_same_run() -> None:
    file = """
name: two
steps:
  - id: both
    type: parallel
    branches:
      race:
        - id: any
          type: parallel
          until: any
          branches:
            quick: [{id: q, type: python, call: "world:act", with: {takes: 19.9}}]
            held: [{id: h, type: python, call: "world:act", concurrency: {group: s}}]
      other:
        - {id: d, type: delay, for: 1s}
        - {id: o, type: python, call: "world:act", concurrency: {group: s}}
"""
    holder = """
name: holder
steps:
  - {id: a, type: python, call: "world:act", concurrency: {group: s}, with: {takes: 20}}
"""

    async def story(world: World, engine: Engine) -> None:
        world.commit_time = lambda: 0.5
        # It holds the slot until the race is run, but not recorded.
        await start(world, "holder", "holder")
        await world.until(lambda: world.deeds.calls)
        await start(world, "two", "run-0")
        assert await world.over("holder", "run-0") == ["completed", "completed"]
        assert sorted(path for _, path, _ in world.deeds.calls if path != "a") == [
            "both.any.q",
            "both.o",
        ]

    check_end(tell(story, file, holder))


def test_a_step_that_asks_anew_keeps_its_place() -> None:
    """What it wants beside its group changes as the run gets and loses its own slots."""
    file = """
name: asks
max_runs: 5
steps:
  - id: each
    type: loop
    over: [0, 1, 2, 3]
    concurrency: 4
    steps: [{id: a, type: python, call: "world:act", concurrency: {group: s}}]
"""
    holder = """
name: holder
steps:
  - {id: h, type: python, call: "world:act", concurrency: {group: s}}
"""

    async def story(world: World, engine: Engine) -> None:
        await start(world, "holder", "holder")
        await world.until(lambda: world.deeds.calls)
        await start(world, "asks", "run-0")
        assert await world.over("holder", "run-0") == ["completed", "completed"]
        assert [path for _, path, _ in world.deeds.calls] == ["h", *(f"each[{i}].a" for i in range(4))]

    check_end(tell(story, file, holder))


def test_a_step_that_is_called_off_while_it_queues_leaves_the_queue() -> None:
    file = """
name: queues
steps:
  - id: race
    type: parallel
    until: any
    branches:
      quick: [{id: q, type: delay, for: 2s}]
      held: [{id: h, type: python, call: "world:act", concurrency: {group: s}}]
  - {id: w, type: wait, signal: go}
  - {id: last, type: python, call: "world:act", with: {takes: 30}}
"""
    holder = """
name: holder
steps:
  - {id: a, type: python, call: "world:act", concurrency: {group: s}, with: {takes: 20}}
"""

    async def story(world: World, engine: Engine) -> None:
        await start(world, "holder", "holder")
        await asyncio.sleep(0.1)
        await start(world, "queues", "run-0")
        await world.until(lambda: world.waits("run-0", "signal"))
        assert engine.slots.waiting == 0
        await asyncio.sleep(10)
        await world.publish("go")
        # Now the holder goes while the last step works: nothing is granted to the branch that is gone.
        assert await world.over("holder", "run-0") == ["completed", "completed"]
        assert sorted(path for _, path, _ in world.deeds.calls) == ["a", "last"]

    check_end(tell(story, file, holder))


def test_a_paused_run_leaves_its_place_to_others() -> None:
    async def story(world: World, engine: Engine) -> None:
        for i in range(3):
            await start(world, "work", f"run-{i}")
        await world.send(types.PAUSE, "run-1")
        assert await world.over("run-0", "run-2") == ["completed", "completed"]
        assert world.disk.runs["run-1"].status == "pending"
        await world.send(types.RESUME, "run-1")
        assert await world.over("run-1") == ["completed"]

    world = tell(story, WORK, limits=Limits(max_runs=1))
    assert world.deeds.most["work"] == 1
    check_end(world)


def test_a_pool_has_so_many_places_and_higher_priority_takes_the_next() -> None:
    file = """
name: pooled
steps: [{id: a, type: python, call: "world:act", pool: small, with: {tag: pooled}}]
"""

    async def story(world: World, engine: Engine) -> None:
        for i in range(4):
            await start(world, "pooled", f"run-{i}")
        await start(world, "pooled", "high", priority=5)
        await start(world, "pooled", "low", priority=-5)
        runs = ["run-0", "run-1", "high", "run-2", "run-3", "low"]
        assert engine.pools["small"].in_use == 2
        await world.over(*runs)
        assert begun(world) == runs
        assert engine.pools["small"].in_use == 0
        assert engine.pools["small"].waiting == 0

    world = tell(story, file, limits=Limits(pools={"small": 2}))
    assert world.deeds.most["pooled"] == 2
    check_end(world)


def test_a_run_that_is_cancelled_while_it_waits_for_a_place_takes_none() -> None:
    file = """
name: pooled
steps: [{id: a, type: python, call: "world:act", pool: small, with: {takes: 10}}]
"""

    async def story(world: World, engine: Engine) -> None:
        for run in ("one", "two", "three"):
            await start(world, "pooled", run)
        await world.send(types.CANCEL, "two")
        assert await world.over("two", "one", "three") == ["cancelled", "completed", "completed"]
        assert begun(world) == ["one", "three"]
        assert engine.pools["small"].in_use == 0

    check_end(tell(story, file, limits=Limits(pools={"small": 1})))
