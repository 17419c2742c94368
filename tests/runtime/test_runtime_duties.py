"""Who has started a run is known of all that it leads to: children, retries, runs that its signals or its end start."""

from __future__ import annotations

import asyncio

from world import World, check_end, tell

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.runtime.engine import Engine

FILES = (
    """
name: top
steps:
  - {id: sub, type: workflow, workflow: inner}
  - {id: say, type: emit, signal: told.now}
""",
    "name: inner\nsteps: [{id: a, type: transform, output: 1}]\n",
    "name: heard\ntriggers: [{type: signal, match: told.*}]\nsteps: [{id: a, type: stop, status: failed}]\n",
    "name: after\ntriggers: [{type: completion, workflow: top}]\nsteps: [{id: a, type: transform, output: 1}]\n",
)


def started(world: World, workflow: str) -> list[tuple[str, ...]]:
    runs = [world.run(run).created for run in world.disk.runs]
    return [created.starters for created in runs if created is not None and created.workflow == workflow]


def test_who_starts_a_run_has_a_part_in_all_that_comes_of_it() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("top")
        await world.over()
        await asyncio.sleep(10)
        for workflow in ("top", "inner", "heard", "after"):
            assert started(world, workflow) == [("ana",)], workflow
        [run] = [run for run, head in world.disk.runs.items() if head.workflow == "heard"]
        retry = Signal(id="again", type=types.RETRY, source="t", at=world.now(), subject=run, by="bo", data={})
        assert (await engine.bus.submit(retry)).status == "accepted"
        await asyncio.sleep(10)
        assert started(world, "heard") == [("ana",), ("ana", "bo")]

    check_end(tell(story, *FILES))


def test_who_publishes_a_signal_starts_what_it_starts() -> None:
    async def story(world: World, engine: Engine) -> None:
        signal = Signal(id="news", type="told.you", source="http/eve", at=world.now(), by="eve")
        await engine.bus.publish(signal)
        await asyncio.sleep(10)
        assert started(world, "heard") == [("eve",)]

    check_end(tell(story, *FILES))
