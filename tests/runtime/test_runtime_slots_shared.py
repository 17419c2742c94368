"""Slots that others hold, too: other engines of the same store, and tenants that use the same names."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from world import World, check_end, load, tell

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.facts import Slot
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import ClaimRefused, Holder
from fleetprompt.engine.runtime import slots
from fleetprompt.engine.runtime.engine import Engine, Limits
from fleetprompt.engine.store.database import SqlStore

GROUP = """
name: grouped
concurrency: {group: g}
steps:
  - {id: a, type: python, call: "world:act", with: {takes: 20}}
"""
WAITS = """
name: waits
concurrency: {group: g}
steps:
  - {id: w, type: wait, signal: go}
"""
STEPS = """
name: stepped
steps:
  - {id: a, type: python, call: "world:act", concurrency: {group: s}, with: {takes: 20}}
  - {id: b, type: python, call: "world:act", with: {takes: 3000}}
"""
FOREIGN = ("elsewhere", "@")


async def start(world: World, workflow: str, run: str, tenant: str = "default") -> None:
    data = {"workflow": workflow, "inputs": {}}
    signal = Signal(id=run, type=types.START, source="test", at=world.now(), by="ana", data=data, tenant=tenant)
    assert world.engine is not None
    await world.engine.bus.submit(signal)


def begun(world: World) -> list[str]:
    return list(dict.fromkeys(run for run, _, _ in world.deeds.calls))


# ---------------------------------------------------------------- tenants


def test_tenants_do_not_wait_for_what_others_call_by_the_same_name() -> None:
    async def story(world: World, engine: Engine) -> None:
        for tenant in ("a", "b"):
            loaded = world.loaded["grouped"]
            await engine.workflows.register(loaded.plan, source=loaded.source, tenant=tenant)
        await start(world, "grouped", "a-1", "a")
        await start(world, "grouped", "a-2", "a")
        await start(world, "grouped", "b-1", "b")
        await asyncio.sleep(1)
        assert begun(world) == ["a-1", "b-1"]
        await world.over("a-1", "b-1")
        await asyncio.sleep(1)
        assert begun(world) == ["a-1", "b-1", "a-2"]
        assert await world.over("a-2") == ["completed"]

    check_end(tell(story, GROUP, limits=Limits(max_runs=1)))


def test_the_next_engine_reads_what_each_tenant_holds() -> None:
    async def story(world: World, engine: Engine) -> None:
        loaded = world.loaded["waits"]
        await engine.workflows.register(loaded.plan, source=loaded.source, tenant="a")
        await start(world, "waits", "one", "a")
        await world.until(lambda: world.waits("one", "signal"))

    async def again(world: World, engine: Engine) -> None:
        reads: list[str] = []
        world.read_time = lambda what: reads.append(what) or 0.0
        await start(world, "waits", "two", "a")
        await world.until(lambda: engine.slots.waiting == 1)
        await asyncio.sleep(10)
        assert reads.count("claims.holders") == 1, "the store had to refuse what was granted in vain"

    tell(again, world=tell(story, WAITS))


# ---------------------------------------------------------------- other engines


async def test_what_another_engine_gives_back_is_granted_when_this_one_hears_of_a_change(tmp_path: Path) -> None:
    loaded = load(WAITS)

    async def engine_on(path: Path) -> Engine:
        engine = Engine(SqlStore(path), recover=False)
        await engine.open()
        await engine.workflows.register(loaded.plan, source=loaded.source)
        return engine

    async def soon(run: str, status: str) -> None:
        for _ in range(24_000):
            head = await there.store.runs.get(run)
            if head is not None and f"{head.status} {head.waiting_on or ''}".strip() == status:
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"{run} is not {status}")

    def signal(type_: str, id_: str, data: Any = None) -> Signal:
        return Signal(id=id_, type=type_, source="t", at=0.0, data=data)

    here, there = await engine_on(tmp_path / "s.db"), await engine_on(tmp_path / "s.db")
    try:
        await here.bus.submit(signal(types.START, "first", {"workflow": "waits"}))
        await soon("first", "waiting signal")
        token = await there.store.changed(0)
        await there.bus.submit(signal(types.START, "second", {"workflow": "waits"}))
        await soon("second", "pending")
        assert there.slots.waiting == 1
        await here.bus.publish(signal("go", "go"))
        assert (await here.wait("first")).status == "completed"
        assert await there.store.changed(token) != token
        await there.others_wrote()
        await soon("second", "waiting signal")
    finally:
        await here.close()
        await there.close()


def held_elsewhere(world: World) -> dict[tuple[str, str], Holder]:
    holders = world.disk.claims.setdefault(("default", "group:g"), {})
    holders[FOREIGN] = Holder(*FOREIGN)
    return holders


def test_a_slot_that_is_held_elsewhere_costs_nothing_until_something_has_been_written() -> None:
    async def story(world: World, engine: Engine) -> None:
        holders = held_elsewhere(world)
        reads: list[str] = []
        world.read_time = lambda what: reads.append(what) or 0.0
        await start(world, "grouped", "run-0")
        await asyncio.sleep(10_000)
        assert reads.count("claims.holders") == 1
        await engine.others_wrote()
        await asyncio.sleep(1)
        assert reads.count("claims.holders") == 2
        assert begun(world) == []
        del holders[FOREIGN]
        await engine.others_wrote()
        assert await world.over() == ["completed"]
        await engine.others_wrote()
        await asyncio.sleep(1)
        assert reads.count("claims.holders") == 3, "nobody waits any more"

    check_end(tell(story, GROUP))


def test_what_goes_while_holders_are_being_read_is_read_again() -> None:
    async def story(world: World, engine: Engine) -> None:
        holders = held_elsewhere(world)
        await start(world, "grouped", "run-0")
        await asyncio.sleep(1)
        world.read_time = lambda what: 5.0 if what == "claims.holders" else 0.0
        await engine.others_wrote()
        await asyncio.sleep(1)
        del holders[FOREIGN]
        await engine.others_wrote()
        assert await world.over() == ["completed"]

    check_end(tell(story, GROUP))


def test_a_holder_that_a_refusal_named_and_that_has_gone_since_is_not_waited_for() -> None:
    async def story(world: World, engine: Engine) -> None:
        await start(world, "stepped", "holder")
        await world.until(lambda: begun(world) == ["holder"])
        left = [ClaimRefused(Slot("group:s", 1), [Holder("holder", "a")])]
        world.write_fault = lambda entry: left.pop() if left and entry.takes and entry.run == "next" else None
        await start(world, "stepped", "next")
        # The refusal is told while the holder still holds, and comes to be looked at when it does not any more.
        world.read_time = lambda what: 100.0 if what == "journal.histories" else 0.0
        await world.until(lambda: not left)
        await world.until(lambda: "next" in begun(world), "the next one never began")
        assert world.disk.runs["holder"].status == "running"
        await world.over("holder", "next")

    check_end(tell(story, STEPS))


def test_groups_that_nobody_holds_or_wants_are_forgotten(monkeypatch: Any) -> None:
    monkeypatch.setattr(slots, "KEPT_SECTIONS", 5)
    file = GROUP.replace("group: g", 'group: "${{ run.id }}"').replace("takes: 20", "takes: 0.1")

    async def story(world: World, engine: Engine) -> None:
        for i in range(30):
            await start(world, "grouped", f"run-{i}")
        await world.over(*[f"run-{i}" for i in range(30)])
        assert len(engine.slots._sections) <= 5

    check_end(tell(story, file))


def test_what_is_given_back_while_the_holders_are_read_is_noticed() -> None:
    """The answer that is on its way knows nothing of it."""

    async def story(world: World, engine: Engine) -> None:
        holders = held_elsewhere(world)
        world.read_time = lambda what: 5.0 if what == "claims.holders" else 0.0
        await start(world, "grouped", "run-0")
        await asyncio.sleep(1)
        del holders[FOREIGN]
        await engine.others_wrote()
        assert await world.over() == ["completed"]

    check_end(tell(story, GROUP))
