"""A driver answers everyone, loses nothing that the store refuses for a while, and never shares its run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest
from world import Scenario, World, check_end, check_run, tell

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import FleetError, InvalidInput, StoreUnavailable
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports import Append, Conflict, Effect
from fleetprompt.engine.runtime.context import StepContext
from fleetprompt.engine.runtime.driver import BASELESS
from fleetprompt.engine.runtime.engine import Engine, Limits
from fleetprompt.engine.runtime.message import Message

WAITS = """
name: waits
steps:
  - {id: w, type: wait, signal: go, match: "data.n == 1"}
  - {id: a, type: python, call: "world:act"}
"""
LINE = """
name: line
steps:
  - {id: a, type: python, call: "world:act"}
  - {id: b, type: python, call: "world:act"}
"""
SIDES = """
name: sides
steps:
  - id: both
    type: parallel
    branches:
      x: [{id: x1, type: python, call: "world:act", with: {takes: 1}}, {id: x2, type: python, call: "world:act"}]
      y: [{id: y1, type: python, call: "world:act", with: {takes: 1.002}}, {id: y2, type: python, call: "world:act"}]
"""
BIG = """
name: big
steps:
  - {id: a, type: python, call: "world:act", with: {size: 100000}}
  - {id: w, type: wait, signal: go, match: "steps.a.output|length == data.n"}
"""


def once(error: FleetError, fits: Callable[[Append], bool]) -> Callable[[Append], FleetError | None]:
    """A fault that strikes the first append that fits."""
    left = [error]
    return lambda entry: left.pop() if left and fits(entry) else None


def records(name: str, path: str = "") -> Callable[[Append], bool]:
    return lambda entry: any(type(f).__name__ == name and path in ("", getattr(f, "path", "")) for f in entry.facts)


def test_a_signal_that_no_wait_wants_is_done_with() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("waits")
        await world.until(lambda: world.waits("run-0", "signal"))
        ignored = await world.publish("go", {"n": 0})
        assert ignored.id not in world.disk.unrouted
        await world.publish("go", {"n": 1})
        assert await world.over() == ["completed"]

    check_end(tell(story, WAITS))


@pytest.mark.parametrize("error", [Conflict("somebody else was first"), StoreUnavailable("the disk is gone")])
@pytest.mark.parametrize("path", ["a", "b"])
def test_an_outcome_that_the_journal_did_not_take_is_not_lost_and_the_effect_not_repeated(
    path: str, error: FleetError
) -> None:
    async def story(world: World, engine: Engine) -> None:
        world.write_fault = once(error, records("StepSucceeded", path))
        await world.start("line")
        assert await world.over() == ["completed"]
        assert len(world.deeds.calls) == 2

    check_end(tell(story, LINE))


def test_no_effect_begins_before_its_intent_is_durable_though_its_place_was_the_last() -> None:
    """The place that a refused start held is given back, and wakes the run itself: what it decides then has to wait."""

    async def story(world: World, engine: Engine) -> None:
        world.write_fault = once(Conflict("somebody else was first"), records("StepStarted", "b"))
        world.commit_time = lambda: 5.0
        await world.start("line")
        assert await world.over() == ["completed"]
        assert world.deeds.unpromised == []

    world = World(Scenario("story", [LINE], [], limits=Limits(pools={"python": 1})))
    check_end(tell(story, LINE, world=world))


def test_a_large_input_is_waited_for_while_the_store_cannot_be_read() -> None:
    async def story(world: World, engine: Engine) -> None:
        back = world.now() + 30
        world.read_fault = lambda what: (
            StoreUnavailable("database is locked") if world.now() < back and what == "blobs.get" else None
        )
        await world.start("large")
        assert await world.over() == ["completed"]

    file = """
name: large
steps:
  - {id: a, type: python, call: "world:act", with: {size: 70000}}
  - {id: b, type: python, call: "world:act", with: {value: "${{ steps.a.output }}"}}
"""
    check_end(tell(story, file))


def test_outcomes_that_arrive_while_an_append_is_refused_are_kept_too() -> None:
    async def story(world: World, engine: Engine) -> None:
        world.write_fault = once(Conflict("somebody else was first"), records("StepSucceeded", "both.x1"))
        world.commit_time = lambda: 0.5
        await world.start("sides")
        assert await world.over() == ["completed"]
        assert len(world.deeds.calls) == 4

    check_end(tell(story, SIDES))


def test_a_command_whose_append_was_refused_is_carried_out_after_all() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("waits")
        world.write_fault = once(Conflict("somebody else was first"), records("RunPaused"))
        assert (await world.send(types.PAUSE)).status == "accepted"
        assert (await world.send(types.RESUME)).status == "accepted"
        await world.publish("go", {"n": 1})
        assert await world.over() == ["completed"]

    check_end(tell(story, WAITS))


def test_an_append_that_seemed_to_fail_is_not_made_twice() -> None:
    """The disk answered with an error after it had written: what was recorded counts, commands keep their answer."""

    async def story(world: World, engine: Engine) -> None:
        store = world.store
        assert store is not None
        left = ["RunCreated", "RunPaused"]

        def written(entry: Append) -> FleetError | None:
            if left and records(left[0])(entry):
                left.pop(0)
                store.journal._apply(entry)
                return StoreUnavailable("disk I/O error")
            return None

        world.write_fault = written
        assert (await world.start("waits")).status == "accepted"
        assert (await world.send(types.PAUSE)).status == "accepted"
        assert not left
        assert (await world.send(types.RESUME)).status == "accepted"
        await world.publish("go", {"n": 1})
        assert await world.over() == ["completed"]

    check_end(tell(story, WAITS))


@pytest.mark.parametrize("name", ["StepWaiting", "RunFinished", "StepSucceeded"])
def test_what_seemed_to_fail_and_was_written_has_all_its_consequences(name: str) -> None:
    """A child is started and its parent told, a slot is free again, whoever waits learns of the end."""
    parent = """
name: parent
concurrency: {group: g}
steps: [{id: sub, type: workflow, workflow: line}]
"""

    async def story(world: World, engine: Engine) -> None:
        seen: Counter[str] = Counter()

        def late(what: str) -> FleetError | None:
            facts = [type(f).__name__ for run in world.disk.runs for f in world.facts(run)]
            struck = facts.count(name) > seen[name]
            seen[name] = facts.count(name)
            return StoreUnavailable("connection lost") if struck else None

        world.late_fault = late
        waiters = [
            asyncio.create_task(world.over(run)) for run in ("run-0", "run-1") if await world.start("parent", run)
        ]
        assert await asyncio.gather(*waiters) == [["completed"], ["completed"]]
        assert seen[name]

    check_end(tell(story, parent, LINE))


def test_a_store_that_is_away_for_a_while_delays_and_reorders_nothing() -> None:
    async def story(world: World, engine: Engine) -> None:
        tried: list[tuple[int, int]] = []

        def fault(entry: Append) -> FleetError | None:
            tried.append((entry.after, len(entry.facts)))
            return StoreUnavailable("database is locked") if world.now() % 60 < 50 else None

        world.write_fault = fault
        await world.start("line")
        assert await world.over() == ["completed"]
        assert tried == sorted(tried), "another entry was offered before the first was taken"
        assert len(tried) > len(set(tried))
        assert len(world.deeds.calls) == 2

    world = tell(story, LINE)
    check_end(world)
    assert any("database is locked" in what for _, _, what in world.troubles)


def test_a_run_whose_facts_cannot_be_stored_is_held_and_answers() -> None:
    async def story(world: World, engine: Engine) -> None:
        world.write_fault = lambda entry: InvalidInput("not storable") if records("RunPaused")(entry) else None
        await world.start("waits")
        await world.start("line", "run-1")
        first = await world.send(types.PAUSE)
        assert (first.status, "not storable" in first.reason) == ("refused", True)
        second = await world.send(types.CANCEL)
        assert (second.status, "held" in second.reason) == ("refused", True)
        held = list(engine.troubles)
        assert await world.over("run-1") == ["completed"]
        for _ in range(150):
            engine.trouble("elsewhere", StoreUnavailable("disk I/O error"))
        assert "not storable" in engine.holds["run-0"], "whatever else goes wrong meanwhile"
        engine.troubles[:] = held

    world = tell(story, WAITS, LINE)
    assert any(where == "run run-0 is held" for _, where, _ in world.troubles)


def test_a_run_whose_appends_conflict_with_nothing_is_held_and_says_so() -> None:
    """Something in the database refuses its facts, and nobody else has written: to ask again would never end."""

    async def story(world: World, engine: Engine) -> None:
        await world.start("waits")
        await world.until(lambda: world.waits("run-0", "signal"))
        await world.start("line", "other")
        tries: list[Append] = []

        def refuse(entry: Append) -> FleetError | None:
            if entry.run != "run-0":
                return None
            tries.append(entry)
            return Conflict("its journal moved on", where=entry.run)

        world.write_fault = refuse
        answer = await world.send(types.PAUSE)
        assert answer.status == "refused"
        assert "journal moved on" in answer.reason
        assert len(tries) == BASELESS
        assert any("run-0 is held" in where for _, where, _ in engine.troubles)
        assert await world.over("other") == ["completed"]

    tell(story, WAITS, LINE)


def test_a_command_that_was_taken_keeps_its_answer_when_another_needs_a_value_that_is_not_loaded() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("big")
        await world.until(lambda: world.waits("run-0", "signal"))
        driver = await engine.driver("run-0")
        assert driver is not None
        driver.run.blobs.clear()
        world.commit_time = lambda: 1.0
        answers = await asyncio.gather(
            world.send(types.PAUSE, key="k1"), world.send(types.RESUME, key="k2"), world.publish("go", {"n": 100_000})
        )
        assert [answers[0].status, answers[1].status] == ["accepted", "accepted"]
        assert await world.over() == ["completed"]
        for key in ("k1", "k2"):
            id_ = world.disk.keys[("default", key)]
            assert world.disk.results[id_]["run-0"].status == "accepted"

    check_end(tell(story, BIG))


def test_who_waits_for_an_answer_is_told_when_the_engine_closes() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("waits")
        await world.until(lambda: world.waits("run-0", "signal"))
        world.write_fault = lambda entry: StoreUnavailable("the disk is gone")
        pause = asyncio.get_running_loop().create_task(world.send(types.PAUSE))
        cancel = asyncio.get_running_loop().create_task(world.send(types.CANCEL))
        await asyncio.sleep(1)
        await engine.close()
        for task in (pause, cancel):
            answer = await task
            assert (answer.status, "closed" in answer.reason) == ("refused", True)

    world = tell(story, WAITS)
    assert world.run("run-0").paused is False


def test_a_parked_run_has_one_driver_only() -> None:
    """A step that outlives its cancellation reports to a driver that has parked the run: nothing is done twice."""
    file = """
name: parks
steps:
  - id: race
    type: parallel
    until: any
    branches:
      fast: [{id: f, type: python, call: "world:act", repeat: safe, with: {takes: 1}}]
      slow: [{id: s, type: python, call: "world:act", repeat: safe, with: {takes: 50, stubborn: 10}}]
  - {id: w, type: wait, signal: go}
  - {id: last, type: python, call: "world:act", with: {takes: 30}}
"""

    async def story(world: World, engine: Engine) -> None:
        await world.start("parks")
        await world.until(lambda: world.waits("run-0", "signal"))
        first = await engine.driver("run-0")
        await asyncio.sleep(1)
        assert first is not None
        first.wake()
        await asyncio.sleep(1)
        assert "run-0" not in engine.live
        await world.publish("go")
        await asyncio.sleep(2)
        first.tell(lambda run, now: [])
        first.wake()
        assert await world.over() == ["completed"]
        assert [path for _, path, _ in world.deeds.calls].count("last") == 1

    check_end(tell(story, file))


def test_a_step_that_cancels_itself_is_not_waited_for_for_ever() -> None:
    """Nobody called it off, so it has an outcome: nobody knows which."""
    from fleetprompt.engine.registry import STEPS

    class Odd:
        pool_name = ""

        @classmethod
        async def perform(cls, ctx: object) -> None:
            raise asyncio.CancelledError

    async def story(world: World, engine: Engine) -> None:
        known, STEPS._items["python"] = STEPS._items["python"], Odd
        try:
            await world.start("line")
            await world.until(lambda: world.waits("run-0", "in_doubt"))
        finally:
            STEPS._items["python"] = known

    tell(story, LINE)


def test_notes_of_work_that_was_called_off_are_not_recorded() -> None:
    file = """
name: noted
steps:
  - id: race
    type: parallel
    until: any
    branches:
      fast: [{id: f, type: delay, for: 1s}]
      slow: [{id: s, type: python, call: "world:act", repeat: safe, with: {takes: 50}}]
"""

    async def story(world: World, engine: Engine) -> None:
        await world.start("noted")
        driver = await engine.driver("run-0")
        assert driver is not None
        step = driver.run.steps["race.slow.s"] if "race.slow.s" in driver.run.steps else driver.run.steps["race.s"]
        effect = Effect(
            run="run-0", tenant="default", path=step.path, attempt=1, type="python", input={}, key="k", repeat="safe"
        )
        await world.over()
        before = len(world.disk.journal)
        driver.parked = False
        await StepContext(engine, driver, effect).note("message", "", "too late")
        assert len(world.disk.journal) == before

    world = tell(story, file)
    check_run(world, "run-0")


def test_a_note_that_waits_behind_an_outcome_is_not_older_than_it() -> None:
    third = '      z: [{id: z1, type: python, call: "world:act", with: {takes: 50}}]'

    async def story(world: World, engine: Engine) -> None:
        await world.start("sides")
        await world.until(lambda: "x1" in str(world.deeds.calls) and "z1" in str(world.deeds.calls))
        driver = engine.live["run-0"]
        world.commit_time = lambda: 5.0
        await asyncio.sleep(1.5)
        assert driver.appending, "the outcome of x1; that of y1 waits"
        effect = Effect(run="run-0", tenant="default", path="both.z1", attempt=1, type="python", input={}, key="k")
        await StepContext(engine, driver, effect).note("message", "", "here")
        world.commit_time = lambda: 0.001
        assert await world.over() == ["completed"]

    world = tell(story, SIDES.rstrip() + "\n" + third + "\n")
    check_run(world, "run-0")


def test_shutdown_gives_work_its_grace_records_it_and_starts_nothing_new() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("line")
        await world.until(lambda: world.deeds.calls)
        await engine.close()

    world = tell(story, LINE, limits=Limits(grace=5.0))
    run = world.run("run-0")
    assert (run.steps["a"].status, run.steps["b"].status) == ("completed", "pending")
    assert world.live() is True
    assert len(world.deeds.calls) == 2
    check_end(world)


def test_work_that_takes_longer_than_the_grace_is_in_doubt_next_time() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("line")
        await world.until(lambda: world.deeds.calls)
        await engine.close()

    world = tell(story, LINE, limits=Limits(grace=0.2))
    assert world.run("run-0").steps["a"].status == "running"
    assert world.live() is True
    names = [type(fact).__name__ for fact in world.facts("run-0")]
    assert names.count("StepInDoubt") == 1
    check_end(world)


def test_safe_work_is_called_off_at_once_and_done_again_by_the_next_engine() -> None:
    file = LINE.replace('"world:act"}', '"world:act", repeat: safe, with: {takes: 1000, repeat: safe}}')

    async def story(world: World, engine: Engine) -> None:
        await world.start("line")
        await world.until(lambda: world.deeds.calls)
        began = world.now()
        await engine.close()
        assert world.now() - began < 1.0

    world = tell(story, file)
    assert world.live() is True
    assert [path for _, path, _ in world.deeds.calls] == ["a", "a", "b"]
    assert "StepInDoubt" not in [type(fact).__name__ for fact in world.facts("run-0")]
    check_end(world)


def test_a_late_outcome_of_an_old_attempt_is_ignored() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("line")
        await world.until(lambda: world.deeds.calls)
        driver = await engine.driver("run-0")
        assert driver is not None
        from fleetprompt.engine.ports import Done
        from fleetprompt.engine.runtime.performer import _told

        driver.done_with(_told(engine, "a", 7, Done("late")))
        driver.done_with(_told(engine, "zz", 1, Done("of nothing")))
        await world.over()

    world = tell(story, LINE)
    assert world.run("run-0").steps["a"].output == "done"
    check_end(world)


def test_a_stored_signal_is_not_taken_for_a_command() -> None:
    """`Signal` values of unknown runs are answered with a refusal that stays to be read."""

    async def story(world: World, engine: Engine) -> None:
        answer = await world.send(types.PAUSE, "no-such-run", key="k")
        assert (answer.status, "no run" in answer.reason) == ("refused", True)
        id_ = world.disk.keys[("default", "k")]
        assert [r.status for r in world.disk.results[id_].values()] == ["refused"]
        assert not world.disk.unrouted
        direct = await engine.bus.submit(
            Signal(id="x", type=types.CANCEL, source="test", at=0.0, data={"run": "nope"}, by="ana")
        )
        assert direct.status == "refused"

    tell(story, LINE)


def test_a_mistake_in_a_run_holds_that_run_alone_and_says_so() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("waits")
        driver = await engine.driver("run-0")
        assert driver is not None
        driver.tell(lambda run, now: [] if run.n < 0 else [][1])
        assert driver.held
        answer = await world.send(types.CANCEL)
        assert (answer.status, "held" in answer.reason) == ("refused", True)
        await world.start("line", "run-1")
        assert await world.over("run-1") == ["completed"]
        assert any("run-0 is held" in where for _, where, _ in engine.troubles)

    world = tell(story, WAITS, LINE)
    # The next engine takes the run from its journal, where nothing is wrong.
    assert world.run("run-0").status == "waiting"


def test_a_signal_that_breaks_its_reader_is_refused_and_read_no_more() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("waits")
        driver = await engine.driver("run-0")
        assert driver is not None
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        odd = world.command(types.CANCEL, "run-0")
        driver.deliver(Message(lambda run, now: [][1], signal=odd, received=True, answer=answer))
        assert (await answer).status == "refused"
        await world.publish("go", {"n": 1})
        assert await world.over() == ["completed"]

    check_end(tell(story, WAITS))
