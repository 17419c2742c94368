"""Changes: where to look again, gathered in the listener's own time. Nothing told of nothing, and nothing missed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from world import World, tell

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.facts import StepStarted
from fleetprompt.engine.ports import Change
from fleetprompt.engine.runtime import changes
from fleetprompt.engine.runtime.changes import MOST_RUNS, Listener
from fleetprompt.engine.runtime.engine import Engine

LINE = """
name: line
steps:
  - {id: a, type: python, call: "world:act"}
  - {id: b, type: python, call: "world:act"}
"""
GATE = """
name: gate
steps: [{id: gate, type: approval, message: "Go on?"}]
"""
SECONDS = 0.05


class Heard:
    """What one listener was told, and when."""

    def __init__(self, engine: Engine, seconds: float = SECONDS, pause: float = 0.0) -> None:
        self.changes: list[Change] = []
        self.times: list[float] = []
        self._task = asyncio.get_running_loop().create_task(self._listen(engine, seconds, pause))

    async def _listen(self, engine: Engine, seconds: float, pause: float) -> None:
        async for change in engine.feed.changes(engine.store.journal, seconds):
            self.changes.append(change)
            self.times.append(asyncio.get_running_loop().time())
            await asyncio.sleep(pause)

    async def first(self) -> None:
        """Until it is told the first change, after which those that count begin."""
        while not self.changes:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        self.forget()

    @property
    def ended(self) -> bool:
        return self._task.done()

    def forget(self) -> None:
        self.changes.clear()
        self.times.clear()

    async def end(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


def test_the_first_change_says_where_things_stand_and_then_there_is_silence() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("line")
        await world.over()
        heard = Heard(engine)
        await asyncio.sleep(1_000)
        (change,) = heard.changes
        assert change == Change(lost=True, signals=True, workflows=True, troubles=True, seq=world.disk.seq)
        await heard.end()
        assert engine.feed.readers == 0

    tell(story, LINE)


def test_a_run_that_goes_on_is_named_with_what_happened_in_it() -> None:
    async def story(world: World, engine: Engine) -> None:
        heard = Heard(engine)
        await heard.first()
        await world.start("line")
        await world.over()
        await asyncio.sleep(1)
        assert set().union(*(change.runs for change in heard.changes)) == {"run-0"}
        kinds = [change.kinds for change in heard.changes]
        assert "RunCreated" in kinds[0]
        assert "RunFinished" in kinds[-1]
        assert set().union(*kinds) == {type(fact).__name__ for fact in world.facts("run-0")}
        assert heard.changes[-1].seq == world.disk.seq
        assert not any(change.lost or change.workflows or change.troubles for change in heard.changes)
        await heard.end()

    tell(story, LINE)


def test_however_much_happens_changes_keep_their_distance() -> None:
    async def story(world: World, engine: Engine) -> None:
        heard = Heard(engine)
        await heard.first()
        for n in range(40):
            await world.start("line", f"run-{n}")
            await asyncio.sleep(0.01)
        await world.over(*[f"run-{n}" for n in range(40)])
        await asyncio.sleep(1)
        assert set().union(*(change.runs for change in heard.changes)) == {f"run-{n}" for n in range(40)}
        gaps = [later - earlier for earlier, later in zip(heard.times, heard.times[1:], strict=False)]
        assert gaps
        assert min(gaps) >= SECONDS - 1e-9
        assert len(heard.changes) < 40, "several runs are told together"
        await heard.end()

    tell(story, LINE)


def test_a_slow_listener_is_told_everything_at_once_and_a_fast_one_is_not_held_up() -> None:
    async def story(world: World, engine: Engine) -> None:
        slow, fast = Heard(engine, pause=10_000), Heard(engine)
        await fast.first()
        await world.start("line", "run-0")
        await world.start("line", "run-1")
        await world.over("run-0", "run-1")
        await asyncio.sleep(1)
        assert len(fast.changes) > 2
        assert slow.times == [slow.times[0]], "it looks at its first change"
        await asyncio.sleep(10_000)
        assert slow.changes[1].runs == {"run-0", "run-1"}
        assert slow.changes[1].seq == fast.changes[-1].seq == world.disk.seq
        for heard in (slow, fast):
            await heard.end()
        assert engine.feed.readers == 0

    tell(story, LINE)


def test_more_runs_than_are_listed_are_lost_and_the_next_change_lists_again() -> None:
    fact = (StepStarted(path="a"),)
    listener = Listener()
    for n in range(10_000):
        listener.note(f"run-{n}", n + 1, fact)
    change = listener.take()
    assert (change.lost, change.runs, change.seq) == (True, frozenset(), 10_000)
    assert change.kinds == {"StepStarted"}
    assert change.signals, "whatever may have changed has"
    listener.note("run-1", 10_001, fact)
    assert listener.take() == Change(runs=frozenset({"run-1"}), kinds=frozenset({"StepStarted"}), seq=10_001)


def test_as_many_runs_as_are_listed_are_all_named() -> None:
    listener = Listener()
    for n in range(MOST_RUNS):
        listener.note(f"run-{n}", n + 1, ())
    change = listener.take()
    assert (change.lost, len(change.runs)) == (False, MOST_RUNS)


def test_a_busy_engine_s_runs_are_lost_to_who_does_not_look_and_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MOST_RUNS", 3)

    async def story(world: World, engine: Engine) -> None:
        heard = Heard(engine, pause=1_000)
        runs = [f"run-{n}" for n in range(5)]
        await asyncio.sleep(1)
        for run in runs:
            await world.start("line", run)
        assert await world.over(*runs) == ["completed"] * 5
        await asyncio.sleep(1_000)
        assert (heard.changes[1].lost, heard.changes[1].seq) == (True, world.disk.seq)
        await heard.end()

    tell(story, LINE)


async def publish(world: World, engine: Engine) -> None:
    await world.publish("deploy.finished", {"n": 1})


async def vote(world: World, engine: Engine) -> None:
    (approval,) = world.disk.approvals.values()
    await world.send(types.VOTE, "run-0", approval=approval.id, decision="approved")


async def publish_in_another_process(world: World, engine: Engine) -> None:
    data = {"workflow": "no-such"}
    signal = types.Signal(id="far", type=types.START, source="t", at=0.0, data=data)
    await engine.store.signals.publish(signal)
    await engine.bus.drain()


async def cancel_nothing(world: World, engine: Engine) -> None:
    with suppress(FleetError):
        await world.send(types.CANCEL, "no-such-run")


@pytest.mark.parametrize("deed", [publish, vote, publish_in_another_process, cancel_nothing])
def test_signals_are_told(deed: Callable[[World, Engine], Awaitable[None]]) -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("gate")
        await asyncio.sleep(1)
        heard = Heard(engine)
        await heard.first()
        await deed(world, engine)
        await asyncio.sleep(1)
        assert any(change.signals for change in heard.changes)
        assert not any(change.lost or change.workflows for change in heard.changes)
        await heard.end()

    tell(story, GATE)


def test_a_workflow_that_is_paused_is_told_once() -> None:
    async def story(world: World, engine: Engine) -> None:
        heard = Heard(engine)
        await heard.first()
        await world.send(types.SET_WORKFLOW, "line", workflow="line", status="paused")
        await asyncio.sleep(1)
        assert [change.workflows for change in heard.changes].count(True) == 1
        heard.forget()
        await engine.others_wrote()
        await asyncio.sleep(1)
        assert heard.changes == [], "it was read again, and is the same"
        await heard.end()

    tell(story, LINE)


def test_a_run_that_is_held_is_named_although_it_has_no_new_fact() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("line")
        heard = Heard(engine)
        await world.over()
        await heard.first()
        engine.hold("run-0", FleetError("its journal is damaged"))
        await asyncio.sleep(1)
        (change,) = heard.changes
        assert (change.runs, change.kinds, change.troubles) == ({"run-0"}, frozenset(), True)
        await heard.end()

    tell(story, LINE)


def test_when_the_engine_closes_what_is_left_is_told_and_it_ends() -> None:
    listeners: list[Heard] = []

    async def story(world: World, engine: Engine) -> None:
        listeners.extend([Heard(engine), Heard(engine, pause=1.0)])
        await listeners[0].first()
        listeners[0].forget()
        await world.start("line")
        await engine.close()
        await asyncio.sleep(5)
        for heard in listeners:
            assert heard.ended
            assert [change.engine for change in heard.changes] == [True] * (len(heard.changes) - 1) + [False]
            assert heard.changes[-1].seq == world.disk.seq
        assert engine.feed.readers == 0

    tell(story, LINE)
    assert len(listeners) == 2
