"""The fleet's switch: whatever is asked for, by whomever, nothing starts that it does not let start; and it is kept."""

from __future__ import annotations

import asyncio

import pytest
from world import Scenario, World, check_end, tell

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.facts import StepInDoubt, StepStarted
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports.operations import Position
from fleetprompt.engine.runtime.engine import Engine, Limits

LINE = """
name: line
steps:
  - {id: a, type: python, call: "world:act", repeat: safe, with: {takes: 10, repeat: safe}}
  - {id: b, type: python, call: "world:act", with: {takes: 10}}
  - {id: c, type: transform, output: done}
"""
NAPS = """
name: naps
steps:
  - {id: nap, type: delay, for: 100}
  - {id: b, type: python, call: "world:act"}
"""
RETRIES = """
name: retries
steps:
  - {id: a, type: python, call: "world:act", retry: {max_attempts: 3, backoff: 30}, with: {fails: 1}}
"""
PARENT = """
name: parent
steps:
  - {id: nap, type: delay, for: 50}
  - {id: child, type: workflow, workflow: naps}
"""


async def move(world: World, engine: Engine, position: Position | str, tenant: str = "default") -> Result:
    return await engine.bus.submit(
        Signal(
            id=world.new_id("switch"),
            type=types.SET_SWITCH,
            source="test",
            at=world.now(),
            by="ana",
            tenant=tenant,
            data={"position": position, "reason": "incident 7"},
        )
    )


def begun(world: World, run: str = "run-0") -> list[str]:
    return [fact.path for fact in world.facts(run) if isinstance(fact, StepStarted)]


def test_paused_what_is_in_flight_finishes_and_nothing_follows_until_it_is_on_again() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("line")
        await asyncio.sleep(3)
        await move(world, engine, "paused")
        await world.start("line", "run-1")
        await asyncio.sleep(500)
        assert begun(world) == ["a"]
        assert world.run("run-0").steps["a"].status == "completed"
        assert begun(world, "run-1") == []
        assert world.disk.runs["run-1"].status == "pending"
        await move(world, engine, "on")
        assert await world.over("run-0", "run-1") == ["completed", "completed"]
        assert world.deeds.happened.total() == 4

    check_end(tell(story, LINE))


def test_paused_it_stays_for_the_next_engine_which_starts_nothing() -> None:
    async def first(world: World, engine: Engine) -> None:
        await world.start("line")
        await world.start("naps", "run-1")
        await asyncio.sleep(1)
        await move(world, engine, "paused")
        world.die()
        await asyncio.sleep(1)

    async def second(world: World, engine: Engine) -> None:
        await asyncio.sleep(1000)
        # What was in flight had been promised, and is done again once it may be; a delay that is over is over.
        assert world.deeds.happened.total() == 0
        assert begun(world, "run-1") in ([], ["nap"])
        switch = engine.switch.of("default")
        assert (switch.position, switch.by, switch.reason) == ("paused", "ana", "incident 7")
        await move(world, engine, "on")
        assert await world.over("run-0", "run-1") == ["completed", "completed"]

    world = World(Scenario("story", (LINE, NAPS), [], limits=Limits(grace=5.0)))
    world.live(story=first)
    check_end(tell(second, world=world))


def test_draining_lets_runs_end_that_have_begun_with_their_children_and_no_other_begin() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("parent")
        await asyncio.sleep(1)
        await move(world, engine, "draining")
        await world.start("naps", "run-1")
        assert await world.over("run-0") == ["completed"]
        assert begun(world, "run-1") == []
        await move(world, engine, "on")
        assert await world.over("run-1") == ["completed"]

    check_end(tell(story, PARENT, NAPS))


@pytest.mark.parametrize("max_runs", [None, 1])
def test_off_stops_what_is_in_flight_and_what_must_not_be_repeated_is_in_doubt(max_runs: int | None) -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("line")
        await asyncio.sleep(3)
        await move(world, engine, "off")
        await asyncio.sleep(100)
        assert world.deeds.running.total() == 0
        assert world.deeds.happened.total() == 0
        await move(world, engine, "on")
        await asyncio.sleep(13)
        assert world.deeds.happened.total() == 1, "`a` is done again, with the same key"
        assert world.deeds.running["b"] == 1
        await move(world, engine, "off")
        await world.until(lambda: world.deeds.running.total() == 0)
        [doubt] = [fact for fact in world.facts("run-0") if isinstance(fact, StepInDoubt)]
        assert (doubt.path, doubt.reason) == ("b", "stopped by the fleet's switch by ana: incident 7")
        await move(world, engine, "on")
        await world.send(types.RESOLVE, path="b", answer="run", attempt=1)
        assert await world.over("run-0") == ["completed"]

    tell(story, LINE, limits=Limits(grace=5.0, max_runs=max_runs))


def test_paused_nothing_is_tried_again_and_slots_are_given_once_it_is_on() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("retries")
        await world.start("line", "run-1")
        await world.start("line", "run-2")
        await world.until(lambda: world.waits("run-0", "timer"))
        await move(world, engine, "paused")
        await asyncio.sleep(500)
        tries = world.deeds.tries.copy()
        await asyncio.sleep(500)
        assert world.deeds.tries == tries
        await move(world, engine, "on")
        assert await world.over("run-0", "run-1", "run-2") == ["completed"] * 3

    check_end(tell(story, RETRIES, LINE, limits=Limits(grace=5.0, max_runs=2)))


def test_what_was_asked_for_while_no_engine_ran_is_carried_out_before_anything_goes_on() -> None:
    async def first(world: World, engine: Engine) -> None:
        await world.start("line")
        await asyncio.sleep(3)
        signal = Signal(
            id="late", type=types.SET_SWITCH, source="cli/ana", at=world.now(), by="ana", data={"position": "off"}
        )
        await engine.store.signals.publish(signal)
        world.die()
        await asyncio.sleep(1)

    async def second(world: World, engine: Engine) -> None:
        assert engine.switch.of("default").position == "off"
        await asyncio.sleep(100)
        assert world.deeds.tries.total() == 1, "only what had begun before"

    world = World(Scenario("story", (LINE,), [], limits=Limits(grace=5.0)))
    world.live(story=first)
    tell(second, world=world)


def test_the_switch_of_a_tenant_is_its_own_and_that_of_the_fleet_everybodys() -> None:
    async def story(world: World, engine: Engine) -> None:
        await move(world, engine, "paused", "acme")
        assert [engine.switch.of(tenant).position for tenant in ("default", "acme", "other")] == ["on", "paused", "on"]
        await world.start("naps")
        assert await world.over("run-0") == ["completed"]
        await move(world, engine, "off")
        assert [engine.switch.of(tenant).position for tenant in ("default", "acme", "other")] == ["off"] * 3
        await move(world, engine, "on", "acme")
        assert engine.switch.of("acme").position == "off", "a tenant cannot get around it"
        await move(world, engine, "on")
        assert engine.switch.of("acme").position == "on"
        refused = await move(world, engine, "sideways")
        assert refused.status == "refused"

    tell(story, NAPS)
