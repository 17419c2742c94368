"""Schedules in an engine: each minute starts one run, whatever dies; what is paused, late or in the way does not."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace
from world import EPOCH, Scenario, Story, World, check_end, load

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.core.facts import RunCancelRequested
from fleetprompt.engine.core.firing import Firing
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.runtime.engine import Engine

MINUTE = 60.0


def flow(options: str = "", name: str = "tick", step: str = "takes: 0.1", more: str = "", repeat: str = "never") -> str:
    return f"""
name: {name}
{more}
triggers:
  - {{id: t, type: schedule, cron: "* * * * *", {options}}}
steps:
  - {{id: a, type: python, call: "world:act", repeat: {repeat}, with: {{{step}}}}}
"""


def world_of(*files: str, seed: int | None = None) -> World:
    world = World(Scenario("schedules", files, []), seed=seed)
    world.fires = True
    return world


def tell(story: Story, *files: str) -> World:
    world = world_of(*files)
    world.live(story=story)
    assert not world.breaks
    return world


def firings(world: World, outcome: str = "") -> list[Firing]:
    found = sorted(world.disk.firings.values(), key=lambda firing: firing.seq)
    return [firing for firing in found if not outcome or firing.outcome == outcome]


async def ask(world: World, type_: str, name: str = "tick/t", id_: str = "", **data: Any) -> Result:
    assert world.engine is not None
    workflow, _, trigger = name.partition("/")
    asked = {"workflow": workflow, "trigger": trigger, **data}
    signal = Signal(id=id_ or world.new_id("cmd"), type=type_, source="test", at=world.now(), by="ana", data=asked)
    return await world.engine.bus.submit(signal)


def starts(world: World) -> Counter[str]:
    """How many runs each time has started."""
    return Counter(str(world.facts(run)[0].trigger["data"]["scheduled"]) for run in world.disk.runs)  # type: ignore[union-attr]


# ---------------------------------------------------------------- by the clock


def test_each_minute_starts_a_run_that_knows_why() -> None:
    async def story(world: World, engine: Engine) -> None:
        await asyncio.sleep(10 * MINUTE + 1)

    world = tell(story, flow("overlap: allow"))
    # A new schedule comes from now on: the world begins at a full minute, which is over.
    assert [firing.due - EPOCH for firing in firings(world)] == [MINUTE * n for n in range(1, 11)]
    assert {firing.outcome for firing in firings(world)} == {"fired"}
    assert set(starts(world).values()) == {1}
    assert {firing.run for firing in firings(world)} == set(world.disk.runs)
    created = world.run(firings(world)[0].run).created
    assert created is not None
    assert created.trigger == {
        "kind": "schedule",
        "id": "t",
        "signal": firings(world)[0].signal,
        "type": types.TRIGGER_SCHEDULE,
        "data": {"scheduled": "2027-01-15T08:01", "timezone": "UTC", "due": "2027-01-15T08:01:00Z"},
    }
    check_end(world)


def test_an_engine_that_is_there_for_something_else_fires_nothing() -> None:
    async def story(world: World, engine: Engine) -> None:
        await asyncio.sleep(10 * MINUTE)

    world = world_of(flow())
    world.fires = False
    world.live(story=story)
    assert not world.disk.firings
    assert not world.disk.runs


def test_waiting_for_the_next_time_asks_nothing_of_the_store() -> None:
    asked: list[str] = []

    async def story(world: World, engine: Engine) -> None:
        await asyncio.sleep(5)
        world.read_time = lambda what: asked.append(what) or 0.0  # type: ignore[func-returns-value]
        await asyncio.sleep(5 * 3600)

    tell(story, flow().replace("* * * * *", "0 0 1 1 *"))
    assert asked == []


@pytest.mark.parametrize("seed", range(12))
def test_each_minute_fires_once_whatever_dies(seed: int) -> None:
    """Engines die before and after what they write, and time passes while none is there."""
    random_ = random.Random(seed)
    world = world_of(flow("overlap: allow, catchup: all", step="takes: 0.1, repeat: safe", repeat="safe"), seed=seed)

    async def story(world: World, engine: Engine) -> None:
        await asyncio.sleep(random_.uniform(1, 200))

    for _ in range(12):
        world.live((random_.choice(["before", "after"]), random_.randint(1, 25)), story)
        world.time += random_.choice([0.0, 1.0, 70.0, 1000.0])

    async def end(world: World, engine: Engine) -> None:
        await asyncio.sleep(3 * MINUTE)
        await ask(world, types.SET_SCHEDULE, state="paused")
        await world.until(lambda: not world.disk.unrouted)
        await world.over(*world.disk.runs)

    world.live(story=end)
    (standing,) = world.disk.schedules.values()
    expected = int((standing.upto - standing.since) // MINUTE) + (1 if standing.since % MINUTE else 0)
    fired = firings(world, "fired")
    assert [firing.due % MINUTE for firing in fired] == [0.0] * len(fired)
    dues = sorted(firing.due for firing in fired)
    assert dues == [standing.upto - MINUTE * n for n in reversed(range(len(dues)))]
    assert abs(len(dues) - expected) <= 1
    assert starts(world) == Counter(firing.scheduled for firing in fired)
    assert not world.breaks


def test_what_was_missed_is_made_up_for_as_the_file_says() -> None:
    async def story(world: World, engine: Engine) -> None:
        await asyncio.sleep(MINUTE * 2.5)

    expected = {"none": ["missed"] * 9 + ["fired"], "latest": ["missed"] * 9 + ["fired"], "all": ["fired"] * 10}
    for catchup, outcomes in expected.items():
        world = world_of(flow(f"overlap: allow, catchup: {catchup}"))
        world.live(story=story)
        world.time += 10 * MINUTE
        world.live(story=story)
        assert [firing.outcome for firing in firings(world)][2:12] == outcomes
        assert len(world.disk.runs) == len(firings(world, "fired"))


# ---------------------------------------------------------------- overlap

SLOW = "takes: 150"


def test_skip_starts_no_run_beside_one_that_goes_on() -> None:
    async def story(world: World, engine: Engine) -> None:
        await asyncio.sleep(7 * MINUTE + 5)

    world = tell(story, flow(step=SLOW))
    assert [firing.outcome for firing in firings(world)] == ["fired", "skipped", "skipped"] * 2 + ["fired"]
    assert firings(world)[0].run in firings(world)[1].reason
    assert world.deeds.most["a"] == 1


def test_queue_has_one_run_after_the_other() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.until(lambda: len(world.disk.runs) >= 3)
        await ask(world, types.SET_SCHEDULE, state="paused")
        await world.over(*world.disk.runs)

    world = tell(story, flow("overlap: queue", step=SLOW))
    assert len(world.disk.runs) == 3
    assert world.deeds.most["a"] == 1
    assert {head.status for head in world.disk.runs.values()} == {"completed"}
    order = [firing.run for firing in firings(world, "fired")]
    assert [call[0] for call in world.deeds.calls] == order


def test_queue_waits_for_the_end_of_a_run_that_waits_itself() -> None:
    """Waiting for a time, a person or a signal is no end: what comes next has to wait all the same."""

    async def story(world: World, engine: Engine) -> None:
        await world.until(lambda: len(world.disk.runs) >= 3)
        await ask(world, types.SET_SCHEDULE, state="paused")
        await world.over(*world.disk.runs)

    world = tell(story, flow("overlap: queue").replace("steps:", "steps:\n  - {id: rest, type: delay, for: 150s}"))
    ends = [world.disk.runs[firing.run].finished_at for firing in firings(world, "fired")]
    began = [world.run(firing.run).started_at for firing in firings(world, "fired")]
    assert all(
        end is not None and start is not None and end <= start for end, start in zip(ends, began[1:], strict=False)
    )
    assert len(ends) == 3


def test_cancel_running_lets_the_newest_win() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.until(lambda: len(firings(world)) >= 4)
        await ask(world, types.SET_SCHEDULE, state="paused")
        await world.over(*world.disk.runs)

    world = tell(story, flow("overlap: cancel_running", step=f"{SLOW}, repeat: safe", repeat="safe"))
    order = [firing.run for firing in firings(world, "fired")]
    assert [world.disk.runs[run].status for run in order] == ["cancelled"] * 3 + ["completed"]
    assert world.deeds.most["a"] == 1
    (cancelled,) = [fact for fact in world.facts(order[0]) if isinstance(fact, RunCancelRequested)]
    assert "takes its place" in cancelled.reason


def test_allow_lets_them_run_side_by_side() -> None:
    async def story(world: World, engine: Engine) -> None:
        await asyncio.sleep(4 * MINUTE)
        await world.over(*world.disk.runs)

    assert tell(story, flow("overlap: allow", step=SLOW)).deeds.most["a"] == 3


# ---------------------------------------------------------------- what comes of the signal


def test_a_wait_for_anything_does_not_hear_the_clock() -> None:
    """What triggers say is for their workflow, and no run of another is woken by it."""
    waits = "name: waits\nsteps: [{id: w, type: wait, signal: '**'}]\n"

    async def story(world: World, engine: Engine) -> None:
        await world.start("waits", "r")
        await world.until(lambda: len(firings(world, "fired")) >= 2)
        assert world.run("r").status == "waiting"
        await world.publish("go.on", {"n": 1})
        await world.over("r")

    world = tell(story, waits, flow("overlap: allow"))
    assert world.run("r").output["type"] == "go.on"  # type: ignore[index]


def test_a_run_that_cannot_be_started_is_told_of() -> None:
    async def story(world: World, engine: Engine) -> None:
        await asyncio.sleep(1.5 * MINUTE)
        (found,), _ = await engine.store.firings.list(_everything(), _page(), now=world.now())
        assert found.outcome == "failed"
        assert "`n`" in found.reason

    tell(story, flow(more="inputs: {n: {type: integer, required: true}}"))


def test_a_condition_that_does_not_hold_skips_the_run() -> None:
    async def story(world: World, engine: Engine) -> None:
        await asyncio.sleep(1.5 * MINUTE)
        (found,), _ = await engine.store.firings.list(_everything(), _page(), now=world.now())
        assert (found.outcome, found.reason) == ("skipped", "its `if` does not hold")
        assert not world.disk.runs

    tell(story, flow("if: \"data.timezone == 'Asia/Tokyo'\""))


def _everything() -> Any:
    from fleetprompt.engine.core.query import parse
    from fleetprompt.engine.core.query_fields import FIRING_FIELDS

    return parse("", FIRING_FIELDS)


def _page() -> Any:
    from fleetprompt.engine.ports import Page

    return Page()


# ---------------------------------------------------------------- workflows that change


def test_a_paused_workflow_fires_nothing_and_comes_back_from_then_on() -> None:
    async def status(world: World, to: str) -> None:
        assert world.engine is not None
        data = {"workflow": "tick", "status": to}
        signal = Signal(id=world.new_id("cmd"), type=types.SET_WORKFLOW, source="t", at=world.now(), data=data)
        assert (await world.engine.bus.submit(signal)).status == "accepted"

    async def story(world: World, engine: Engine) -> None:
        await asyncio.sleep(2.5 * MINUTE)
        await status(world, "paused")
        await asyncio.sleep(20 * MINUTE)
        assert len(firings(world)) == 2
        await status(world, "active")
        await asyncio.sleep(2 * MINUTE)

    world = tell(story, flow("catchup: all, overlap: allow"))
    assert [firing.due - EPOCH for firing in firings(world)] == [MINUTE * n for n in (1, 2, 23, 24)]


def test_a_file_that_changes_changes_what_is_to_come() -> None:
    daily = load(flow().replace("* * * * *", "0 3 * * *"))

    async def story(world: World, engine: Engine) -> None:
        await asyncio.sleep(2.5 * MINUTE)
        await engine.workflows.register(daily.plan, source=daily.source)
        await asyncio.sleep(20 * 3600)

    world = tell(story, flow())
    assert [firing.due - EPOCH for firing in firings(world)] == [MINUTE, 2 * MINUTE, 19 * 3600]
    (standing,) = world.disk.schedules.values()
    assert standing.rhythm == "0 3 * * * UTC"


def test_a_schedule_that_leaves_its_file_begins_anew_when_it_comes_back() -> None:
    without = load("name: tick\nsteps: [{id: a, type: transform, output: 1}]\n")

    async def story(world: World, engine: Engine) -> None:
        await asyncio.sleep(1.5 * MINUTE)
        await engine.workflows.register(without.plan, source=without.source)
        await asyncio.sleep(60 * MINUTE)
        assert not world.disk.schedules
        again = load(flow("catchup: all"))
        await engine.workflows.register(again.plan, source=again.source)
        await asyncio.sleep(MINUTE)

    world = tell(story, flow("catchup: all"))
    assert [firing.due - EPOCH for firing in firings(world)] == [MINUTE, 62 * MINUTE]


def test_other_triggers_may_change_places_around_it() -> None:
    more = load(flow().replace("triggers:", "triggers:\n  - {type: manual}\n  - {type: signal, match: a}"))

    async def story(world: World, engine: Engine) -> None:
        await asyncio.sleep(MINUTE + 5)
        await engine.workflows.register(more.plan, source=more.source)
        await asyncio.sleep(MINUTE)

    world = tell(story, flow("catchup: all, overlap: allow").replace("id: t, ", ""))
    assert [firing.due - EPOCH for firing in firings(world)][:1] == [MINUTE]
    assert set(Counter(firing.scheduled for firing in firings(world)).values()) == {1}


def test_one_that_cannot_be_read_is_told_of_and_stops_no_other() -> None:
    good, bad = load(flow(name="good")), load(flow(name="bad"))
    (trigger,) = bad.plan.triggers
    broken = replace(bad.plan, triggers=(replace(trigger, config={**trigger.config, "cron": "0 0 31 2 *"}),))

    async def story(world: World, engine: Engine) -> None:
        await engine.workflows.register(broken, source="")
        await engine.workflows.register(good.plan, source=good.source)
        await asyncio.sleep(2.5 * MINUTE)
        assert [where for _, where, _ in engine.troubles] == ["schedule bad/t"]

    world = tell(story)
    assert [firing.workflow for firing in firings(world)] == ["good", "good"]


# ---------------------------------------------------------------- by hand


def test_a_schedule_that_is_paused_stays_so_in_the_next_engine() -> None:
    async def pause(world: World, engine: Engine) -> None:
        await asyncio.sleep(1.5 * MINUTE)
        answer = await ask(world, types.SET_SCHEDULE, state="paused", reason="incident 7")
        assert answer.data == {"changed": True}
        assert (await ask(world, types.SET_SCHEDULE, state="paused")).data == {"changed": False}
        await asyncio.sleep(10 * MINUTE)

    async def resume(world: World, engine: Engine) -> None:
        await asyncio.sleep(5 * MINUTE)
        assert len(firings(world)) == 1
        (standing,) = world.disk.schedules.values()
        assert (standing.paused, standing.by, standing.reason) == (True, "ana", "incident 7")
        await ask(world, types.SET_SCHEDULE, state="active")
        await asyncio.sleep(2 * MINUTE)

    world = world_of(flow("catchup: all, overlap: allow"))
    world.live(story=pause)
    world.time += 3600
    world.live(story=resume)
    first, gone, *others = firings(world)
    assert first.outcome == "fired"
    assert (gone.outcome, gone.reason) == ("skipped", "paused by ana: incident 7")
    assert [firing.outcome for firing in others] == ["fired", "fired"]
    assert others[0].due > EPOCH + 3600


def test_one_can_be_fired_now_also_while_it_is_paused() -> None:
    async def story(world: World, engine: Engine) -> None:
        await ask(world, types.SET_SCHEDULE, state="paused")
        answer = await ask(world, types.FIRE)
        assert answer.status == "accepted"
        await world.until(lambda: answer.data["run"] in world.disk.runs)
        await world.over(answer.data["run"])
        created = world.run(answer.data["run"]).created
        assert created is not None
        assert created.owner == "ana"
        assert created.trigger["data"]["scheduled"] == "2027-01-15T08:00"

    world = tell(story, flow())
    (firing,) = firings(world)
    assert (firing.outcome, firing.by, firing.reason) == ("fired", "ana", "asked for by ana")


def test_firing_now_is_done_once_for_each_who_asks() -> None:
    async def story(world: World, engine: Engine) -> None:
        first = await ask(world, types.FIRE, id_="c1")
        second = await ask(world, types.FIRE, id_="c2")
        assert first.data["run"] != second.data["run"]
        # As after a crash between what was done and what was said.
        signal = world.disk.signals["c1"]
        assert await engine.schedules.fire(signal) == first.data
        await world.until(lambda: len(world.disk.runs) == 2)

    assert len(firings(tell(story, flow("overlap: allow")))) == 2


def test_firing_now_is_refused_beside_a_run_that_goes_on_and_recorded() -> None:
    async def story(world: World, engine: Engine) -> None:
        await ask(world, types.FIRE)
        answer = await ask(world, types.FIRE)
        assert answer.status == "refused"
        assert "has not ended" in answer.reason
        assert [firing.outcome for firing in firings(world)] == ["fired", "skipped"]

    tell(story, flow(step=SLOW))


@pytest.mark.parametrize(
    ("type_", "name", "data", "reason"),
    [
        (types.FIRE, "tick/x", {}, "there is no schedule tick/x"),
        (types.FIRE, "nope/t", {}, "there is no schedule nope/t"),
        (types.SET_SCHEDULE, "tick/x", {"state": "paused"}, "there is no schedule"),
        (types.SET_SCHEDULE, "tick/t", {"state": "off"}, "paused or active"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(type_: str, name: str, data: dict[str, Any], reason: str) -> None:
    async def story(world: World, engine: Engine) -> None:
        answer = await ask(world, type_, name, **data)
        assert answer.status == "refused"
        assert reason in answer.reason

    tell(story, flow())


def test_a_schedule_of_a_paused_workflow_is_not_fired_by_hand() -> None:
    async def story(world: World, engine: Engine) -> None:
        await engine.workflows.set_status("tick", "paused", "default")
        answer = await ask(world, types.FIRE)
        assert (answer.status, answer.reason) == ("refused", "workflow `tick` is paused")
        assert not firings(world)

    tell(story, flow())


# ---------------------------------------------------------------- a store that is away


def test_a_store_that_is_away_for_a_while_costs_no_minute() -> None:
    async def story(world: World, engine: Engine) -> None:
        await asyncio.sleep(1.5 * MINUTE)
        away = world.now() + 3 * MINUTE
        fault = StoreUnavailable("away")
        world.read_fault = lambda what: fault if world.now() < away else None
        await asyncio.sleep(5 * MINUTE)

    world = tell(story, flow("catchup: all, overlap: allow"))
    assert [firing.due - EPOCH for firing in firings(world)] == [MINUTE * n for n in range(1, 7)]
    assert set(starts(world).values()) == {1}


def test_an_answer_that_is_lost_fires_nothing_twice() -> None:
    async def story(world: World, engine: Engine) -> None:
        lost = iter([StoreUnavailable("lost"), StoreUnavailable("lost"), None, StoreUnavailable("lost")])
        world.late_fault = lambda what: next(lost, None) if what == "firings.record" else None
        await asyncio.sleep(5.5 * MINUTE)

    world = tell(story, flow("catchup: all, overlap: allow"))
    assert [firing.due - EPOCH for firing in firings(world)] == [MINUTE * n for n in range(1, 6)]
    assert set(starts(world).values()) == {1}
