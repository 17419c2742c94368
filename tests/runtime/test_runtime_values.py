"""Large values: spilled beside the journal, loaded when an expression asks for them, shown by size when too large."""

from __future__ import annotations

from typing import Any

import pytest
from world import World, check_end, tell

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.facts import Blob
from fleetprompt.engine.runtime.engine import Engine

MANY = """
name: many
inputs: {n: integer, size: integer}
steps:
  - {id: numbers, type: python, call: "world:count", with: {n: "${{ inputs.n }}"}}
  - id: each
    type: loop
    over: steps.numbers.output
    concurrency: 4
    steps: [{id: one, type: python, call: "world:act", with: {size: "${{ inputs.size }}"}}]
  - {id: all, type: transform, output: "${{ steps.each.output|length }}"}
"""


def forget(engine: Engine) -> None:
    """As in a new process: nothing that was spilled is in memory."""
    for driver in engine.live.values():
        driver.run.blobs.clear()
    for run in engine.recovery._parked.values():
        run.blobs.clear()


@pytest.mark.parametrize(("n", "size"), [(3, 100_000), (40, 70_000), (20, 1_000_000)])
def test_a_loop_may_have_more_large_results_than_are_kept_loaded(n: int, size: int) -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("many", n=n, size=size)
        readable = size * n < 1024 * 1024
        assert await world.over() == ["completed" if readable else "failed"]
        last = world.run("run-0").steps["all"]
        assert last.output == n if readable else "larger than 1 MiB" in last.error.message

    check_end(tell(story, MANY))


def test_expressions_see_large_values_and_of_very_large_ones_where_they_are() -> None:
    file = """
name: sees
steps:
  - {id: large, type: python, call: "world:act", with: {size: 900000}}
  - {id: huge, type: python, call: "world:act", with: {size: 1100000}}
  - {id: w, type: wait, signal: go}
  - id: seen
    type: transform
    output: {large: "${{ steps.large.output|length }}", huge: "${{ steps.huge.output }}"}
"""

    async def story(world: World, engine: Engine) -> None:
        await world.start("sees")
        await world.until(lambda: world.waits("run-0", "signal"))
        forget(engine)
        await world.publish("go")
        await world.over()

    world = tell(story, file)
    run = world.run("run-0")
    huge = run.steps["huge"].blob
    assert isinstance(huge, Blob)
    assert run.steps["seen"].output == {"large": 900_000, "huge": {"ref": huge.digest, "size": 1_100_002}}
    assert run.steps["large"].output is None, "in the journal there is only where it is"
    assert max(len(row.data) for row in world.disk.journal.values()) < 70_000
    check_end(world)


def test_a_large_input_of_a_run_and_of_a_step_arrives_whole() -> None:
    file = """
name: carries
inputs: {text: string}
steps:
  - {id: w, type: wait, signal: go}
  - {id: a, type: python, call: "world:echo", with: {text: "${{ inputs.text }}"}, repeat: safe,
     retry: {max_attempts: 2, backoff: 1s}}
"""

    async def story(world: World, engine: Engine) -> None:
        await world.start("carries", text="t" * 200_000)
        await world.until(lambda: world.waits("run-0", "signal"))
        forget(engine)
        await world.publish("go")
        await world.over()
        assert world.run("run-0").steps["a"].output == 200_000

    check_end(tell(story, file))


@pytest.mark.parametrize("size", [100, 100_000, 900_000])
def test_an_emitted_signal_carries_its_data_whatever_its_size(size: int) -> None:
    files = [
        """
name: tells
inputs: {size: integer}
steps:
  - {id: a, type: python, call: "world:act", with: {size: "${{ inputs.size }}"}}
  - {id: tell, type: emit, signal: big.news, subject: mine, data: {text: "${{ steps.a.output }}"}}
""",
        """
name: hears
triggers: [{type: signal, match: big.news, inputs: {n: "${{ data.text|length }}"}}]
inputs: {n: integer}
steps: [{id: a, type: transform, output: "${{ inputs.n }}"}]
""",
    ]

    async def story(world: World, engine: Engine) -> None:
        await world.start("tells", size=size)
        assert await world.over() == ["completed"]
        await world.until(lambda: len(world.disk.runs) == 2)
        other = next(run for run in world.disk.runs if run != "run-0")
        await world.over(other)
        assert world.run(other).steps["a"].output == size
        await world.until(lambda: not world.disk.unrouted)

    check_end(tell(story, *files))


@pytest.mark.parametrize("status", ["failed", "completed", "cancelled"])
def test_a_run_that_is_stopped_with_a_large_output_ends_as_it_says(status: str) -> None:
    file = f"""
name: stops
steps:
  - {{id: a, type: python, call: "world:act", with: {{size: 100000}}}}
  - {{id: end, type: stop, status: {status}, message: enough, output: "${{{{ steps.a.output }}}}"}}
"""

    async def story(world: World, engine: Engine) -> None:
        await world.start("stops")
        assert await world.over() == [status]

    check_end(tell(story, file))


@pytest.mark.parametrize("size", [100_000, 900_000])
def test_a_child_gets_its_inputs_whatever_their_size(size: int) -> None:
    files = [
        """
name: parent
inputs: {size: integer}
steps:
  - {id: a, type: python, call: "world:act", with: {size: "${{ inputs.size }}"}}
  - {id: b, type: python, call: "world:act", with: {size: "${{ inputs.size }}"}}
  - {id: sub, type: workflow, workflow: child, with: {a: "${{ steps.a.output }}", b: "${{ steps.b.output }}"}}
""",
        """
name: child
inputs: {a: string, b: string}
steps: [{id: a, type: transform, output: done}]
""",
    ]

    async def story(world: World, engine: Engine) -> None:
        await world.start("parent", size=size)
        assert await world.over() == ["completed"]
        await world.until(lambda: not world.disk.unrouted)

    check_end(tell(story, *files))


def test_a_wait_s_key_and_match_work_beside_a_large_value() -> None:
    file = """
name: waits
steps:
  - {id: a, type: python, call: "world:act", with: {size: 100000}}
  - {id: w, type: wait, signal: go, key: mine, match: "data.n == steps.a.output|length"}
"""

    async def story(world: World, engine: Engine) -> None:
        await world.start("waits")
        await world.until(lambda: world.waits("run-0", "signal"))
        forget(engine)
        await world.publish("go", {"n": 1}, subject="mine")
        await world.publish("go", {"n": 100_000}, subject="yours")
        assert world.run("run-0").status == "waiting"
        forget(engine)
        await world.publish("go", {"n": 100_000}, subject="mine")
        assert await world.over() == ["completed"]

    check_end(tell(story, file))


def test_a_reconcile_check_may_ask_for_a_large_value() -> None:
    file = """
name: checked
steps:
  - {id: text, type: python, call: "world:act", with: {size: 100000}}
  - id: a
    type: python
    call: "world:act"
    timeout: 1s
    with: {takes: 100}
    reconcile:
      type: python
      call: "world:echo"
      with: {text: "${{ steps.text.output }}"}
      happened: result == 100000
      output: found
"""

    async def story(world: World, engine: Engine) -> None:
        world.appended = lambda entry: forget(engine)  # type: ignore[method-assign]
        await world.start("checked")
        assert await world.over() == ["completed"]
        assert world.run("run-0").steps["a"].output == "found"

    check_end(tell(story, file))


def test_a_value_that_is_gone_is_said_to_be_missing() -> None:
    file = """
name: misses
steps:
  - {id: a, type: python, call: "world:act", with: {size: 100000}}
  - {id: w, type: wait, signal: go}
  - {id: b, type: transform, output: "${{ steps.a.output.missing }}"}
"""

    async def story(world: World, engine: Engine) -> None:
        await world.start("misses")
        await world.until(lambda: world.waits("run-0", "signal"))
        forget(engine)
        world.disk.blobs.clear()
        await world.publish("go")
        assert await world.over() == ["completed"]
        assert world.run("run-0").steps["b"].output is True

    tell(story, file)


def test_a_value_that_is_damaged_holds_its_run_and_no_other() -> None:
    file = """
name: damaged
steps:
  - {id: a, type: python, call: "world:act", with: {size: 100000}}
  - {id: w, type: wait, signal: go}
  - {id: b, type: transform, output: "${{ steps.a.output|length }}"}
"""

    async def story(world: World, engine: Engine) -> None:
        await world.start("damaged")
        await world.until(lambda: world.waits("run-0", "signal"))
        forget(engine)
        kept = dict(world.disk.blobs)
        world.disk.blobs.update({key: b"\xff" + data[1:] for key, data in kept.items()})
        await world.publish("go")
        await world.until(lambda: any(where == "run run-0 is held" for _, where, _ in engine.troubles))
        assert (await world.send(types.CANCEL)).status == "refused"
        world.disk.blobs.update(kept)
        await world.start("damaged", "run-1")
        await world.until(lambda: world.waits("run-1", "signal"))
        await world.publish("go")
        assert await world.over("run-1") == ["completed"]

    world = tell(story, file)
    assert any("fleet db check" in what for _, _, what in world.troubles)


def test_a_vote_and_a_resolution_may_need_a_value_that_is_not_loaded() -> None:
    file = """
name: decided
vars: {n: 0}
steps:
  - {id: a, type: python, call: "world:act", with: {size: 100000}}
  - {id: gate, type: approval, message: "Go on?", set: {n: steps.a.output|length}}
  - {id: b, type: transform, output: "${{ vars.n }}"}
"""

    async def story(world: World, engine: Engine) -> None:
        await world.start("decided")
        await world.until(lambda: world.waits("run-0", "approval"))
        forget(engine)
        answer: Any = await world.send(types.VOTE, approval=next(iter(world.disk.approvals)), decision="approved")
        assert answer.status == "accepted"
        assert await world.over() == ["completed"]
        assert world.run("run-0").steps["b"].output == 100_000

    check_end(tell(story, file))
