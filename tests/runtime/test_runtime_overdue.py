"""What was recorded in time counts, although nobody was there to hear it before a timer was overdue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from world import EPOCH, World, check_end, load, tell

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.core.facts import AnyFact, ApprovalDecided, ApprovalRequested, ApprovalVoted
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports import Stored
from fleetprompt.engine.runtime.engine import Engine
from fleetprompt.engine.store.database import SqlStore

GATED = """
name: gated
steps:
  - {id: gate, type: approval, message: "Go on?", timeout: 25s, on_timeout: ON_TIMEOUT, quorum: QUORUM}
  - {id: act, type: shell, argv: [touch, acted], repeat: never}
"""
LISTENS = """
name: listens
steps:
  - {id: news, type: wait, signal: go, timeout: 25s}
"""
NAPS = """
name: naps
steps:
  - {id: nap, type: delay, for: 25s}
  - {id: act, type: shell, argv: [touch, acted], repeat: never}
"""
EXPIRY = 25.0
LATE = EXPIRY + 60
"""The wall stands still while an engine works, which moves its timers on by as long as that takes."""


def gated(on_timeout: str, quorum: int = 1) -> str:
    return GATED.replace("ON_TIMEOUT", on_timeout).replace("QUORUM", str(quorum))


class Wall:
    """A clock on the wall, which a test sets forward."""

    def __init__(self) -> None:
        self.at = EPOCH

    def now(self) -> float:
        return self.at


class Project:
    """A store on disk, and engines that come and go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wall = Wall()

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[Engine]:
        async with Engine(SqlStore(self.folder / "fleet.db"), clock=self.wall, directory=self.folder) as engine:
            yield engine

    async def park(self, file: str, on: str) -> None:
        """Start a run, and leave it when it waits."""
        loaded = load(file)
        async with self.engine() as engine:
            await engine.workflows.register(loaded.plan, source=loaded.source)
            start = {"workflow": loaded.plan.name, "inputs": {}}
            await engine.bus.submit(self.signal(types.START, start, id="run"))
            await stands_still(engine, on)

    def signal(self, type_: str, data: Any = None, *, by: str = "ana", id: str = "said") -> Signal:
        return Signal(id=id, type=type_, source="test", at=self.wall.at, subject="run", by=by, data=data)

    async def record(self, signal: Signal) -> None:
        """What a console does where no engine runs."""
        store = SqlStore(self.folder / "fleet.db")
        await store.open()
        await store.signals.publish(signal)
        await store.close()

    async def vote(self, decision: str) -> Signal:
        store = SqlStore(self.folder / "fleet.db")
        await store.open()
        found = await store.journal.facts("run")
        await store.close()
        facts = [stored.fact for stored in found if isinstance(stored, Stored)]
        asked = next(fact for fact in facts if isinstance(fact, ApprovalRequested))
        return self.signal(types.VOTE, {"run": "run", "approval": asked.id, "decision": decision})

    async def end(self) -> tuple[str, list[AnyFact], list[Result]]:
        """How the run ends with the next engine, its facts, and what became of what was said."""
        async with self.engine() as engine:
            async with asyncio.timeout(120):
                head = await engine.wait("run")
            _, results = await engine.store.signals.results("said")
            return head.status, await engine.history("run"), results

    @property
    def acted(self) -> bool:
        return (self.folder / "acted").exists()


async def stands_still(engine: Engine, on: str) -> None:
    """Until the run waits for that."""
    for _ in range(12_000):
        head = await engine.store.runs.get("run")
        if head is not None and head.waiting_on == on:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"the run does not wait for {on}")


def decision(facts: list[AnyFact]) -> tuple[str, str]:
    return next((fact.decision, fact.reason) for fact in facts if isinstance(fact, ApprovalDecided))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.mark.parametrize(("said", "on_timeout"), [("rejected", "approve"), ("approved", "reject")])
async def test_a_decision_taken_in_time_holds_when_the_next_engine_comes_too_late(
    project: Project, said: str, on_timeout: str
) -> None:
    await project.park(gated(on_timeout), "approval")
    project.wall.at += EXPIRY - 1
    await project.record(await project.vote(said))
    project.wall.at += 60
    status, facts, results = await project.end()
    assert decision(facts) == (said, "vote")
    assert [result.status for result in results] == ["accepted"]
    assert (status, project.acted) == (("completed", True) if said == "approved" else ("failed", False))


@pytest.mark.parametrize(("said", "on_timeout"), [("rejected", "approve"), ("approved", "reject")])
async def test_a_decision_taken_after_the_expiry_is_too_late(project: Project, said: str, on_timeout: str) -> None:
    await project.park(gated(on_timeout), "approval")
    project.wall.at += LATE
    await project.record(await project.vote(said))
    project.wall.at += 60
    _, facts, results = await project.end()
    assert decision(facts) == ("approved" if on_timeout == "approve" else "rejected", "timeout")
    assert [result.status for result in results] == ["refused"]
    assert "expired" in results[0].reason
    assert project.acted == (on_timeout == "approve")


async def test_a_vote_that_is_not_enough_is_in_the_record_when_the_time_is_over(project: Project) -> None:
    await project.park(gated("reject", quorum=2), "approval")
    await project.record(await project.vote("approved"))
    project.wall.at += 60
    status, facts, results = await project.end()
    assert [fact.by for fact in facts if isinstance(fact, ApprovalVoted)] == ["ana"]
    assert decision(facts) == ("rejected", "timeout")
    assert [result.status for result in results] == ["accepted"]
    assert (status, project.acted) == ("failed", False)


@pytest.mark.parametrize(("after", "ends"), [(EXPIRY - 1, "completed"), (LATE, "failed")])
async def test_a_signal_is_heard_if_it_was_published_before_the_wait_was_over(
    project: Project, after: float, ends: str
) -> None:
    await project.park(LISTENS, "signal")
    project.wall.at += after
    await project.record(project.signal("go"))
    project.wall.at += 60
    assert (await project.end())[0] == ends


@pytest.mark.parametrize("type_", [types.CANCEL, types.PAUSE])
async def test_a_command_that_was_recorded_comes_before_a_timer_that_is_overdue(project: Project, type_: str) -> None:
    await project.park(NAPS, "timer")
    await project.record(project.signal(type_, {"run": "run"}))
    project.wall.at += 60
    if type_ == types.PAUSE:
        async with project.engine() as engine:
            await stands_still(engine, "paused")
            assert not project.acted
            await engine.bus.submit(project.signal(types.RESUME, {"run": "run"}, id="resume"))
        assert (await project.end())[0] == "completed"
    else:
        assert (await project.end())[0] == "cancelled"
        assert not project.acted


# ---------------------------------------------------------------- an engine that comes back


@pytest.mark.parametrize("away", [False, True])
def test_an_engine_that_was_stalled_hears_what_was_recorded_meanwhile_before_its_timers_fire(away: bool) -> None:
    """The machine slept beyond the expiry while somebody decided; `away`: the store cannot be read at once."""

    async def story(world: World, engine: Engine) -> None:
        await world.start("gated")
        await world.until(lambda: world.waits("run-0", "approval"))
        assert world.store is not None
        approval = next(iter(world.disk.approvals))
        said = world.command(types.VOTE, "run-0", {"approval": approval, "decision": "rejected"})
        await world.store.signals.publish(said)
        world.skew += 3_600
        back = world.time_now() + 100
        if away:
            fault = StoreUnavailable("database is locked")
            world.read_fault = lambda what: fault if world.time_now() < back and what == "signals.unrouted" else None
        assert await world.over() == ["failed"]
        assert decision(world.facts("run-0")) == ("rejected", "vote")

    check_end(tell(story, gated("approve")))


def test_a_run_that_never_rests_is_told_of_its_own_timer() -> None:
    file = """
name: busy
steps:
  - id: p
    type: parallel
    until: any
    branches:
      clock: [{id: nap, type: delay, for: 3s}]
      mill: [{id: l, type: loop, while: "true", max_iterations: 100000,
              steps: [{id: turn, type: transform, output: 1}]}]
"""

    async def story(world: World, engine: Engine) -> None:
        world.commit_time = lambda: 1.0
        await world.start("busy")
        assert await world.over() == ["completed"]
        steps = world.run("run-0").steps
        assert (steps["p.nap"].status, steps["p.l"].status) == ("completed", "cancelled")

    tell(story, file)
