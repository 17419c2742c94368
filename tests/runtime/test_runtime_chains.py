"""Workflows that start one another by what becomes of them: each link is told why, and no chain goes on for ever."""

from __future__ import annotations

import asyncio

import pytest
from world import Scenario, World

from fleetprompt.engine.core.signal import MAX_CHAIN, Signal
from fleetprompt.engine.runtime.engine import Engine

ITSELF = """
name: echo
triggers: [{type: completion, workflow: echo, id: again}]
steps: [{id: a, type: transform, output: 1}]
"""
EMITS = """
name: echo
triggers: [{type: signal, match: told.again, id: again}]
steps: [{id: a, type: emit, signal: told.again}]
"""
BY_A_CHILD = (
    """
name: echo
triggers: [{type: completion, workflow: inner, id: again}]
steps: [{id: a, type: workflow, workflow: inner}]
""",
    "name: inner\nsteps: [{id: a, type: transform, output: 1}]\n",
)


def lived(*files: str, seconds: float = 3600) -> World:
    world = World(Scenario("chains", files, []))

    async def story(world: World, engine: Engine) -> None:
        await world.start("echo", "first")
        await asyncio.sleep(seconds)

    world.live(story=story)
    assert not world.breaks
    return world


@pytest.mark.parametrize("files", [(ITSELF,), (EMITS,), BY_A_CHILD])
def test_a_chain_of_runs_ends_and_says_so(files: tuple[str, ...]) -> None:
    world = lived(*files)
    runs = [run for run in world.disk.runs if world.run(run).created.workflow == "echo"]  # type: ignore[union-attr]
    assert len(runs) == MAX_CHAIN + 1
    [firing] = world.disk.firings.values()
    assert (firing.workflow, firing.trigger, firing.outcome) == ("echo", "again", "failed")
    assert "started one another in a row" in firing.reason
    depths = sorted(world.run(run).created.trigger.get("chain", 0) for run in runs)  # type: ignore[union-attr]
    assert depths == list(range(MAX_CHAIN + 1))


def test_why_the_end_of_a_run_has_started_nothing_is_recorded() -> None:
    listening = """
name: listening
triggers:
  - {type: completion, workflow: echo, id: unwanted, if: "data.status == 'failed'"}
  - {type: completion, workflow: echo, id: broken, inputs: {n: "${{ data.nothing }}"}}
  - {type: completion, workflow: echo, id: misfit, inputs: {n: text}}
  - {type: completion, workflow: echo, id: other, status: failed}
inputs: {n: {type: integer, default: 0}}
steps: [{id: a, type: transform, output: 1}]
"""
    world = lived("name: echo\nsteps: [{id: a, type: transform, output: 1}]\n", listening)
    found = {firing.trigger: firing for firing in world.disk.firings.values()}
    assert {name: firing.outcome for name, firing in found.items()} == {
        "unwanted": "skipped",
        "broken": "failed",
        "misfit": "failed",
    }
    assert {firing.kind for firing in found.values()} == {"completion"}
    assert "`if`" in found["unwanted"].reason
    assert "nothing" in found["broken"].reason
    assert "n" in found["misfit"].reason
    assert len(world.disk.runs) == 1


PICKY = """
name: picky
triggers:
  - {type: signal, match: "deploy.*", id: prod, if: "data.env == 'prod'"}
  - {type: signal, match: "deploy.**", id: large, if: "data.env == 'large'"}
steps: [{id: a, type: transform, output: 1}]
"""
WAITING = "name: waiting\nsteps: [{id: a, type: wait, signal: deploy.done}]\n"


def test_why_a_signal_has_started_nothing_is_told_of_each_and_recorded_now_and_then() -> None:
    world = World(Scenario("picky", (PICKY, WAITING), []))

    def deployed(n: int, env: str = "test", type_: str = "deploy.new") -> Signal:
        return Signal(id=f"s{n}", type=type_, source="test", at=world.now(), data={"env": env})

    async def story(world: World, engine: Engine) -> None:
        for n in range(5):
            await engine.bus.publish(deployed(n))
        await asyncio.sleep(60)
        await engine.bus.publish(deployed(5))
        await engine.bus.publish(deployed(6, "prod"))
        await world.start("waiting", "w")
        await asyncio.sleep(60)
        await engine.bus.publish(deployed(7, type_="deploy.done"))

    world.live(story=story)
    assert not world.breaks
    why = "trigger prod of picky: its `if` does not hold; trigger large of picky: its `if` does not hold"
    for n in range(6):
        assert [(each.status, each.run, each.reason) for each in world.disk.results[f"s{n}"].values()] == [
            ("accepted", "", why)
        ]
    recorded = [each for each in world.disk.firings.values() if each.trigger == "prod"]
    assert [(each.signal, each.outcome, each.kind) for each in recorded] == [
        (signal, "skipped", "signal") for signal in ("s0", "s5", "s7")
    ]
    assert [each.reason for each in recorded] == [
        "its `if` does not hold",
        "its `if` does not hold, as for 4 more since the last one that was recorded",
        "its `if` does not hold",
    ]
    started = world.disk.results["s6"].values()
    assert sorted((bool(each.run), each.reason) for each in started) == [
        (False, "trigger large of picky: its `if` does not hold"),
        (True, ""),
    ]
    assert {each.run for each in world.disk.results["s7"].values()} == {"", "w"}
    assert not world.disk.unrouted
