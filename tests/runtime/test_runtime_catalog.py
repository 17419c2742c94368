"""The catalog of workflows: who changes it at the same time as others, or while the store is away, loses nothing."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from world import World, tell

from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.core.plan import Plan, plan_digest
from fleetprompt.engine.ports import Workflow
from fleetprompt.engine.runtime.engine import Engine

PLAIN = """
name: plain
steps: [{id: a, type: transform, output: 1}]
"""
GONE = StoreUnavailable("the disk is gone")


def known(world: World, name: str = "plain") -> Workflow:
    return world.disk.workflows["default", name]


def newer(engine: Engine) -> Plan:
    return msgspec.structs.replace(engine.workflows.active[0].plan, description="newer")


def test_a_plan_that_is_registered_while_its_workflow_is_paused_is_the_current_one_afterwards() -> None:
    async def story(world: World, engine: Engine) -> None:
        # Whoever pauses it has read its row, and is told so a while later.
        delays = iter([10.0])
        world.read_time = lambda what: next(delays, 0.0) if what == "catalog.workflow" else 0.0
        pausing = asyncio.ensure_future(engine.workflows.set_status("plain", "paused", "default"))
        await asyncio.sleep(1)
        plan = newer(engine)
        await engine.workflows.register(plan, source="")
        await pausing
        assert (known(world).plan, known(world).status) == (plan_digest(plan), "paused")

    tell(story, PLAIN)


async def register(engine: Engine, plan: Plan, *, together: bool) -> None:
    if together:
        await engine.workflows.register_all([(plan, "", "")])
    else:
        await engine.workflows.register(plan, source="")


@pytest.mark.parametrize("together", [False, True])
def test_a_workflow_that_is_paused_while_a_plan_of_it_is_registered_is_paused_afterwards(together: bool) -> None:
    async def story(world: World, engine: Engine) -> None:
        plan = newer(engine)
        delays = iter([10.0])
        world.read_time = lambda what: next(delays, 0.0) if what.startswith("catalog.workflow") else 0.0
        registering = asyncio.ensure_future(register(engine, plan, together=together))
        await asyncio.sleep(1)
        await engine.workflows.set_status("plain", "paused", "default")
        await registering
        assert (known(world).plan, known(world).status) == (plan_digest(plan), "paused")

    tell(story, PLAIN)


def test_what_is_wrong_with_one_of_many_is_raised_as_it_is_and_the_others_count() -> None:
    async def story(world: World, engine: Engine) -> None:
        plan = engine.workflows.active[0].plan
        many = [(msgspec.structs.replace(plan, name=name), "", "") for name in ("a", "b", "c")]
        faults = iter([None, GONE])
        world.read_fault = lambda what: next(faults, None) if what == "catalog.set_workflow" else None
        with pytest.raises(StoreUnavailable):
            await engine.workflows.register_all(many)
        assert [each.plan.name for each in engine.workflows.active] == ["a", "c", "plain"]

    tell(story, PLAIN)


@pytest.mark.parametrize("together", [False, True])
def test_a_plan_that_became_durable_as_the_store_went_away_counts_once_it_is_back(together: bool) -> None:
    async def story(world: World, engine: Engine) -> None:
        plan = newer(engine)
        world.late_fault = lambda what: GONE if what == "catalog.set_workflow" else None
        with pytest.raises(StoreUnavailable):
            await register(engine, plan, together=together)
        # It is the same as before for who sends it again: there is nothing to be changed.
        await world.until(lambda: engine.workflows.active[0].plan == plan)

    tell(story, PLAIN)


def test_a_plan_that_cannot_be_read_is_told_of_once_however_often_others_write() -> None:
    async def story(world: World, engine: Engine) -> None:
        lost = world.disk.plans.pop(engine.workflows.active[0].digest)
        engine.workflows._plans.clear()
        for _ in range(5):
            await engine.others_wrote()
        assert [where for _, where, _ in engine.troubles] == ["workflow plain"]
        assert engine.workflows.unreadable == {("default", "plain")}
        world.disk.plans[world.loaded["plain"].digest] = lost
        await engine.others_wrote()
        assert engine.workflows.unreadable == set()
        assert [each.plan.name for each in engine.workflows.active] == ["plain"]

    tell(story, PLAIN)
