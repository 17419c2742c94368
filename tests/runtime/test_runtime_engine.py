"""An engine takes up what was left, wakes what is due, holds what it cannot read, and goes on with all the rest."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from world import EPOCH, Scenario, World, check_end, check_run, tell

from fleetprompt.engine.core import codec
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import FleetError, StoreUnavailable
from fleetprompt.engine.runtime.engine import Engine, Limits
from fleetprompt.engine.runtime.timers import Timers

NAPS = """
name: naps
inputs: {seconds: number}
steps:
  - {id: nap, type: delay, for: "${{ inputs.seconds }}"}
  - {id: end, type: transform, output: awake}
"""
LINE = """
name: line
steps:
  - {id: a, type: python, call: "world:act"}
  - {id: b, type: python, call: "world:act", repeat: safe, with: {repeat: safe}}
"""


# ---------------------------------------------------------------- timers


def timers_at(world: World) -> tuple[Timers, list[tuple[float, str]]]:
    woken: list[tuple[float, str]] = []
    return Timers(world.now, lambda run: woken.append((world.now() - EPOCH, run))), woken


def test_timers_wake_in_order_of_time_whatever_the_order_of_setting() -> None:
    async def story(world: World, engine: Engine) -> None:
        timers, woken = timers_at(world)
        start = world.now() - EPOCH
        for n in range(10_000):
            timers.set(f"r{n * 7919 % 10_000}", EPOCH + start + 1 + n * 7919 % 10_000)
        assert timers.waiting == 10_000
        await asyncio.sleep(10_001)
        assert [run for _, run in woken] == [f"r{n}" for n in range(10_000)]
        assert all(abs(at - start - 1 - n) < 0.001 for n, (at, _) in enumerate(woken))
        assert timers.waiting == 0

    tell(story)


def test_a_timer_can_be_put_off_brought_forward_and_dropped() -> None:
    async def story(world: World, engine: Engine) -> None:
        timers, woken = timers_at(world)
        now = world.now()
        for run in ("later", "sooner", "dropped", "same"):
            timers.set(run, now + 10)
        timers.set("later", now + 20)
        timers.set("sooner", now + 5)
        timers.set("same", now + 10)
        timers.drop("dropped")
        timers.drop("unknown")
        timers.set("past", now - 3)
        await asyncio.sleep(100)
        assert [(round(at + EPOCH - now), run) for at, run in woken] == [
            (0, "past"),
            (5, "sooner"),
            (10, "same"),
            (20, "later"),
        ]
        timers.set("never", world.now() + 1)
        timers.close()
        timers.set("neither", world.now() + 1)
        await asyncio.sleep(10)
        assert len(woken) == 4

    tell(story)


def test_a_timer_that_is_moved_again_and_again_costs_no_memory() -> None:
    async def story(world: World, engine: Engine) -> None:
        timers, woken = timers_at(world)
        for n in range(10_000):
            timers.set("restless", world.now() + 100 + n)
        assert len(timers._heap) < 1_000
        await asyncio.sleep(20_000)
        assert len(woken) == 1

    tell(story)


@pytest.mark.parametrize("jump", [-5_000.0, -10.0, 10.0, 90_000.0])
def test_a_clock_that_jumps_wakes_nobody_early_and_hardly_anybody_late(jump: float) -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("naps", seconds=600)
        await asyncio.sleep(1)
        world.skew = jump
        await world.start("naps", "run-1", seconds=600)
        await world.over()
        await world.over("run-1")
        run = world.run("run-0")
        nap = run.steps["nap"]
        assert nap.started_at is not None
        assert nap.finished_at is not None
        assert nap.finished_at >= nap.started_at + 600
        assert run.at >= (run.started_at or 0.0)
        times = [codec.decode(row.data).at for _, row in sorted(world.disk.journal.items())]
        assert times == sorted(times)
        assert world.time_now() < 600 * 16 / 15 + 61
        told = [what for _, where, what in engine.troubles if where == "clock"]
        assert len(told) == (jump < 0)

    check_end(tell(story, NAPS))


def test_a_thousand_runs_sleep_as_rows_and_wake_in_order_also_for_the_next_engine() -> None:
    async def sleep(world: World, engine: Engine) -> None:
        for n in range(1_000):
            await world.start("naps", f"run-{n:04}", seconds=1_000 + (n * 619) % 1_000)
        await world.until(lambda: not engine.live)
        assert engine.timers.waiting == 1_000
        await asyncio.sleep(300)

    async def wake(world: World, engine: Engine) -> None:
        assert engine.recovered.runs == ()
        await world.until(lambda: all(head.finished_at for head in world.disk.runs.values()))

    world = tell(sleep, NAPS)
    world = tell(wake, world=world)
    woken = sorted(world.disk.runs.values(), key=lambda head: head.finished_at or 0.0)
    wanted = [1_000 + (n * 619) % 1_000 for n in range(1_000)]
    assert [wanted[int(head.id[4:])] for head in woken] == sorted(wanted)
    late = [(head.finished_at or 0) - (head.started_at or 0) - wanted[int(head.id[4:])] for head in woken]
    assert min(late) >= 0
    assert max(late) < 1.0


def test_more_than_one_batch_of_runs_that_are_due_at_once_are_all_woken() -> None:
    async def sleep(world: World, engine: Engine) -> None:
        for n in range(1_100):
            await world.start("naps", f"run-{n:04}", seconds=100)
        await world.until(lambda: not engine.live)

    async def wake(world: World, engine: Engine) -> None:
        world.commit_time = lambda: 5.0
        await world.until(lambda: all(head.finished_at for head in world.disk.runs.values()))

    world = tell(sleep, NAPS)
    assert world.time < 100
    tell(wake, world=world)


def test_what_becomes_due_while_an_engine_opens_is_woken() -> None:
    async def sleep(world: World, engine: Engine) -> None:
        await world.start("naps", seconds=100)
        await asyncio.sleep(50)

    async def wake(world: World, engine: Engine) -> None:
        assert world.now() - EPOCH > 100, "the engine took its time"
        await asyncio.sleep(10)
        assert world.disk.runs["run-0"].status == "completed"

    world = tell(sleep, NAPS)
    world.read_time = lambda what: 100.0 if what == "runs.unfinished" else 0.0
    tell(wake, world=world)


def test_a_timer_that_strikes_while_the_store_is_away_is_not_forgotten() -> None:
    async def sleep(world: World, engine: Engine) -> None:
        await world.start("naps", seconds=100)
        await asyncio.sleep(50)

    async def wake(world: World, engine: Engine) -> None:
        back = world.now() + 100
        world.read_fault = lambda what: StoreUnavailable("database is locked") if world.now() < back else None
        await asyncio.sleep(200)
        assert world.disk.runs["run-0"].status == "completed"

    tell(wake, world=tell(sleep, NAPS))


@pytest.mark.parametrize("paused", [True, False])
def test_a_run_that_may_not_go_on_when_its_time_has_come_spins_no_wheels(paused: bool) -> None:
    """A retry that is due in a paused run, or in one without slots, neither starts nor keeps the engine busy."""
    file = """
name: again
max_runs: 1
steps:
  - {id: a, type: python, call: "world:act", with: {fails: 1}, retry: {max_attempts: 2, backoff: 5s}}
"""
    other = LINE.replace("name: line", "name: other").replace("steps:", "steps:")

    async def story(world: World, engine: Engine) -> None:
        await world.start("again")
        await world.until(lambda: world.waits("run-0", "timer"))
        if paused:
            await world.send(types.PAUSE)
        await asyncio.sleep(3_000)
        if paused:
            assert world.disk.runs["run-0"].status == "waiting"
            await world.send(types.RESUME)
        assert await world.over() == ["completed"]

    check_end(tell(story, file, other))


# ---------------------------------------------------------------- recovery


def interrupted() -> World:
    """A world in which an engine has died while it performed the first step of three runs."""

    async def story(world: World, engine: Engine) -> None:
        for n in range(3):
            await world.start("line", f"run-{n}")
        await asyncio.sleep(0.1)
        world.die()
        await asyncio.sleep(1)

    return tell(story, LINE)


def test_an_engine_says_what_it_took_up() -> None:
    async def story(world: World, engine: Engine) -> None:
        assert sorted(engine.recovered.runs) == ["run-0", "run-1", "run-2"]
        assert engine.recovered.in_doubt == 3
        assert engine.recovered.corrupt == ()

    tell(story, world=interrupted())


@pytest.mark.parametrize("damage", ["row", "plan", "first", "type"])
def test_a_run_that_cannot_be_read_is_held_and_all_others_go_on(damage: str) -> None:
    world = interrupted()
    rows = world.state.histories["run-1"]
    if damage == "plan":
        head = world.state.runs["run-1"]
        world.state.runs["run-1"] = msgspec.structs.replace(head, plan="0" * 64)
    else:
        at, data = {
            "row": (2, b'{"type":"StepStarted","at":'),
            "first": (0, b"\xff\x00"),
            "type": (1, b'{"type":"RunDreamed","at":1}'),
        }[damage]
        rows[at] = msgspec.structs.replace(rows[at], data=data)
        world.state.journal[rows[at].seq] = rows[at]

    async def story(world: World, engine: Engine) -> None:
        assert [corrupt.run for corrupt in engine.recovered.corrupt] == ["run-1"]
        assert sorted(engine.recovered.runs) == ["run-0", "run-2"]
        for run in ("run-0", "run-2"):
            await world.send(types.RESOLVE, run, path="a", answer="happened", output=1)
        assert await world.over("run-0", "run-2") == ["completed", "completed"]
        answer = await world.send(types.CANCEL, "run-1", key="k")
        assert answer.status == "refused"

    tell(story, world=world)
    assert any("run-1" in where and "held" in where for _, where, _ in world.troubles)
    for run in ("run-0", "run-2"):
        check_run(world, run)


def test_a_run_that_sleeps_and_whose_plan_cannot_be_read_is_held_and_the_others_wake() -> None:
    others = [f"name: nap-{n}\nsteps: [{{id: nap, type: delay, for: 100s}}]\n" for n in range(3)]

    async def asleep(world: World, engine: Engine) -> None:
        for n in range(3):
            await world.start(f"nap-{n}", f"run-{n}")
        await asyncio.sleep(1)
        await engine.workflows.set_status("nap-0", "archived", "default")

    async def awake(world: World, engine: Engine) -> None:
        await world.over("run-1", "run-2")
        assert engine.holds.keys() == {"run-0"}

    world = tell(asleep, *others)
    kept = world.state.plans[world.loaded["nap-0"].digest]
    kept["default"] = (b"{damaged", "")
    tell(awake, world=world)


def test_a_workflow_whose_plan_is_gone_keeps_no_engine_from_opening() -> None:
    world = interrupted()
    del world.state.plans[world.loaded["line"].digest]
    world.acknowledged.clear()

    async def story(world: World, engine: Engine) -> None:
        await world.start("naps", "new", seconds=1)
        assert await world.over("new") == ["completed"]

    world.loaded = World(Scenario("naps", [NAPS], [])).loaded
    tell(story, world=world)
    assert world.troubles


def test_every_interrupted_run_is_taken_up_however_many_there_are() -> None:
    """The store hands out at most ten thousand at a time unless it is asked for more."""

    async def story(world: World, engine: Engine) -> None:
        await world.start("line")
        await world.until(lambda: world.disk.runs)
        await engine.close()

    world = tell(story, LINE, limits=Limits(grace=0.01))
    head = world.state.runs["run-0"]
    first, *rest = world.state.histories["run-0"]
    created = codec.decode(first.data)
    for n in range(10_100):
        run = f"copy-{n}"
        data = codec.encode(msgspec.structs.replace(created, run=run))
        world.state.runs[run] = msgspec.structs.replace(head, id=run)
        world.state.histories[run] = [msgspec.structs.replace(first, run=run, data=data), *rest]

    async def next_life(world: World, engine: Engine) -> None:
        assert len(engine.recovered.runs) == 10_101

    tell(next_life, world=world)


def test_an_engine_that_recovers_nothing_leaves_the_rest_alone_but_a_command_takes_a_run_up() -> None:
    world = interrupted()

    async def story(world: World, engine: Engine) -> None:
        assert engine.recovered.others == 3
        await asyncio.sleep(10)
        assert [len(world.facts(run)) for run in world.disk.runs] == [3, 3, 3]
        assert (await world.send(types.CANCEL, "run-0")).status == "accepted"
        assert await world.over("run-0") == ["cancelled"]

    world.recover = False
    tell(story, world=world)


# ---------------------------------------------------------------- children, retries


PARENT = """
name: parent
steps:
  - {id: sub, type: workflow, workflow: child}
  - {id: end, type: transform, output: "${{ steps.sub.output }}"}
"""
CHILD = """
name: child
steps:
  - {id: w, type: wait, signal: go, timeout: 1d}
  - {id: sub, type: workflow, workflow: grandchild}
"""
GRANDCHILD = """
name: grandchild
steps:
  - {id: w, type: wait, signal: go}
"""


STARTS_LATE = """
name: child
inputs: {since: {default: null}}
steps:
  - {id: w, type: wait, signal: "go.${{ last_run.output if last_run else 'x' }}"}
"""


def by_workflow(world: World) -> dict[str, str]:
    return {head.workflow: head.status for head in world.disk.runs.values()}


@pytest.mark.parametrize("parked", [True, False])
def test_a_cancelled_run_takes_its_children_with_it(parked: bool) -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("parent")
        await world.until(lambda: len(world.disk.runs) == 2)
        await world.publish("go")
        await world.until(lambda: len(world.disk.runs) == 3 and not engine.live)
        if parked:
            engine.recovery._parked.clear()
        assert (await world.send(types.CANCEL)).status == "accepted"
        await world.over(*world.disk.runs)
        await world.until(lambda: not world.disk.unrouted)

    world = tell(story, PARENT, CHILD, GRANDCHILD)
    assert by_workflow(world) == dict.fromkeys(("parent", "child", "grandchild"), "cancelled")
    check_end(world)


UNDOING = (
    """
name: parent
on_failure: compensate
steps:
  - {id: a, type: python, call: "world:act", compensate: {type: python, call: "world:act"}}
  - {id: c, type: workflow, workflow: child, timeout: "${{ inputs.limit }}"}
inputs: {limit: {default: null}}
""",
    """
name: child
on_failure: compensate
grace: 30s
steps:
  - {id: first, type: python, call: "world:act", compensate: {type: python, call: "world:act"}}
  - {id: slow, type: python, call: "world:act", with: {takes: 20}, compensate: {type: python, call: "world:act"}}
  - {id: never, type: delay, for: 1d}
""",
)


@pytest.mark.parametrize("limit", [None, 5])
def test_what_a_child_did_is_undone_before_what_its_parent_did(limit: float | None) -> None:
    """It may finish what must not be repeated, and undoes it; only then is the parent's turn."""

    async def story(world: World, engine: Engine) -> None:
        await world.start("parent", limit=limit)
        await world.until(lambda: any(path == "slow" for _, path, _ in world.deeds.calls))
        if limit is None:
            assert (await world.send(types.CANCEL)).status == "accepted"
        assert await world.over() == ["cancelled" if limit is None else "failed"]

    world = tell(story, *UNDOING)
    assert by_workflow(world) == {"parent": "cancelled" if limit is None else "failed", "child": "cancelled"}
    assert [path for _, path, _ in world.deeds.calls] == [
        "a", "first", "slow", "slow@compensate", "first@compensate", "a@compensate",
    ]  # fmt: skip
    check_end(world)


@pytest.mark.parametrize("moment", [0.0, 0.5, 1.5, 2.5])
def test_a_cancel_that_overtakes_the_start_of_a_child_is_not_lost(moment: float) -> None:
    async def story(world: World, engine: Engine) -> None:
        world.read_time = lambda what: 2.0 if what == "runs.last_completed" else 0.0
        await world.start("parent")
        await world.until(lambda: world.waits("run-0", "child"))
        await asyncio.sleep(moment)
        assert (await world.send(types.CANCEL)).status == "accepted"
        await world.over(*world.disk.runs)

    world = tell(story, PARENT, STARTS_LATE)
    assert set(by_workflow(world).values()) == {"cancelled"}
    check_end(world)


def test_a_child_that_is_cancelled_before_it_began_never_begins() -> None:
    """The parent's cancel overtakes the start of the child, whose turn takes longer."""

    async def story(world: World, engine: Engine) -> None:
        world.read_time = lambda what: 2.0 if what == "runs.last_completed" else 0.0
        await world.start("parent")
        await world.until(lambda: world.waits("run-0", "child"))
        assert (await world.send(types.CANCEL)).status == "accepted"
        await asyncio.sleep(20)
        assert await world.over() == ["cancelled"]
        assert all(head.finished_at is not None for head in world.disk.runs.values())

    check_end(tell(story, PARENT, STARTS_LATE))


def test_a_parent_that_only_lent_its_names_to_a_child_is_parked_again() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("parent")
        await world.until(lambda: len(world.disk.runs) == 2)
        await asyncio.sleep(1)
        assert not engine.live

    tell(story, PARENT, CHILD, GRANDCHILD)


RETRIED = """
name: retried
steps:
  - {id: a, type: python, call: "world:act", with: {value: 1}, concurrency: {group: g}}
  - {id: tell, type: emit, signal: told.once}
  - {id: gate, type: approval, message: "Go on?"}
  - {id: b, type: python, call: "world:act", needs: [gate.approved], with: {broken_until: mended}}
  - {id: c, type: python, call: "world:act", needs: [b], concurrency: {group: g}}
"""
HEARS = """
name: hears
triggers: [{type: signal, match: told.once}]
steps: [{id: a, type: transform, output: 1}]
"""


async def fail_once(world: World) -> str:
    await world.start("retried")
    await world.until(lambda: world.waits("run-0", "approval"))
    approval = next(iter(world.disk.approvals))
    await world.send(types.VOTE, approval=approval, decision="approved")
    assert await world.over() == ["failed"]
    world.begun.add("mended")
    return approval


def test_a_retry_does_again_what_went_wrong_and_nothing_else() -> None:
    async def story(world: World, engine: Engine) -> None:
        approval = await fail_once(world)
        answer = await world.send(types.RETRY, key="again")
        assert answer.status == "accepted"
        assert await world.over(answer.run) == ["completed"]
        head = world.disk.runs[answer.run]
        assert head.retry_of == "run-0"
        assert [path for run, path, _ in world.deeds.calls if run == answer.run] == ["b", "c"]
        assert [head.workflow for head in world.disk.runs.values()].count("hears") == 1
        assert world.disk.approvals[approval].run == "run-0"
        assert (await world.send(types.RETRY, key="again")).run == answer.run

    check_end(tell(story, RETRIED, HEARS))


def test_a_retry_from_a_step_does_everything_after_it_too_with_new_keys() -> None:
    async def story(world: World, engine: Engine) -> None:
        await fail_once(world)
        answer = await world.send(types.RETRY, **{"from": "a"})
        await world.until(lambda: world.waits(answer.run, "approval"))
        pending = [a.id for a in world.disk.approvals.values() if a.status == "pending"]
        await world.send(types.VOTE, answer.run, approval=pending[0], decision="approved")
        assert await world.over(answer.run) == ["completed"]
        assert [path for run, path, _ in world.deeds.calls if run == answer.run] == ["a", "b", "c"]
        assert max(world.deeds.tries.values()) == 1, "an operator's retry has a key of its own"

    check_end(tell(story, RETRIED, HEARS))


def test_only_a_finished_run_can_be_retried() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("naps", seconds=100)
        with pytest.raises(FleetError, match="finished"):
            await world.send(types.RETRY)
        answer = await world.send(types.RETRY, key="k")
        assert answer.status == "refused"
        await world.over()
        with pytest.raises(FleetError, match="completed"):
            await world.send(types.RETRY)

    tell(story, NAPS)


# ---------------------------------------------------------------- commands to what is parked


def test_commands_reach_runs_that_are_rows() -> None:
    async def story(world: World, engine: Engine) -> None:
        for n in range(4):
            await world.start("naps", f"run-{n}", seconds=1_000)
        await world.until(lambda: not engine.live)
        engine.recovery._parked.clear()
        assert (await world.send(types.PAUSE, "run-0")).status == "accepted"
        assert (await world.send(types.CANCEL, "run-1")).status == "accepted"
        assert (await world.send(types.RESOLVE, "run-2", path="nap", answer="run")).status == "refused"
        assert (await world.send(types.RESUME, "run-3")).status == "refused"
        assert await world.over("run-1") == ["cancelled"]
        assert not engine.live
        await asyncio.sleep(2_000)
        statuses = {run: head.status for run, head in world.disk.runs.items()}
        assert statuses == {"run-0": "waiting", "run-1": "cancelled", "run-2": "completed", "run-3": "completed"}
        assert (await world.send(types.RESUME, "run-0")).status == "accepted"
        assert await world.over("run-0") == ["completed"]
        assert (await world.send(types.CANCEL, "run-0")).status == "refused"
        assert not engine.live

    check_end(tell(story, NAPS))
