"""`shell` with real processes: nothing outlives its step, and what outlives its engine can be found."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from steplab import done, until

from fleetprompt.engine.outside.process import Process, current_boot, identity, kill_orphan, started_at

PY = sys.executable


def python(code: str) -> list[str]:
    return [PY, "-c", code]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# ---------------------------------------------------------------- stopping


async def test_cancelled_ends_the_whole_group_even_if_it_ignores_the_signal(make: Any, tmp_path: Path) -> None:
    child = "import signal,time,os; signal.signal(15, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(600)"
    code = (
        "import subprocess, sys, signal; signal.signal(15, signal.SIG_IGN)\n"
        f"subprocess.run([sys.executable, '-c', {child!r}])"
    )
    ctx = make("shell", {"argv": python(code), "kill_after": "200ms"})
    task = asyncio.ensure_future(ctx.perform())
    await until(lambda: ctx.logged("stdout"))
    parent, grandchild = ctx.notes[0][2]["pid"], int(ctx.logged("stdout")[0])
    assert os.getpgid(grandchild) == parent
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started >= 0.2, "it had its time to end"
    await until(lambda: not alive(parent) and not alive(grandchild))


async def test_cancelled_gives_time_to_clean_up(make: Any) -> None:
    code = "trap 'echo cleaned up; exit 0' TERM; echo ready; while :; do sleep 0.02; done"
    ctx = make("shell", {"argv": ["sh", "-c", code], "kill_after": 600})
    task = asyncio.ensure_future(ctx.perform())
    await until(lambda: ctx.logged("stdout"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ctx.logged("stdout") == ["ready", "cleaned up"]


async def test_cancelled_twice_kills_at_once(make: Any) -> None:
    ctx = make(
        "shell", {"argv": ["sh", "-c", "trap '' TERM; echo ready; sleep 600 & wait; sleep 600"], "kill_after": 600}
    )
    task = asyncio.ensure_future(ctx.perform())
    await until(lambda: ctx.logged("stdout"))
    task.cancel()
    await asyncio.sleep(0.05)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 120)
    await until(lambda: not alive(ctx.notes[0][2]["pid"]))


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled_while_it_starts(make: Any, turns: int) -> None:
    ctx = make("shell", {"argv": ["sleep", "600"], "kill_after": 1})
    before = {child.pid for child in psutil.Process().children()}
    task = asyncio.ensure_future(ctx.perform())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 120)
    await until(lambda: not [c for c in psutil.Process().children() if c.pid not in before and alive(c.pid)])


def test_a_loop_that_is_shut_down_ends_what_it_runs(make: Any) -> None:
    ctx = make("shell", {"argv": ["sh", "-c", "echo; trap '' TERM; sleep 600"], "kill_after": "50ms"})

    async def main(turns: int) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(ctx.perform())
        for _ in range(turns):
            await asyncio.sleep(0)
        if turns > 5:
            await until(lambda: ctx.logged("stdout"))
        return task

    for turns in (1, 2, 4, 6):
        assert asyncio.run(main(turns)).cancelled()


async def test_a_grandchild_that_holds_the_pipes_does_not_hang_the_step(make: Any) -> None:
    ctx = make("shell", {"argv": ["sh", "-c", "sleep 600 & echo $!"]})
    output = done(await ctx.perform())
    grandchild = int(output["stdout"])
    try:
        assert alive(grandchild), "what a program leaves running on purpose is left running"
        assert "left others running" in ctx.logged("warning")[0]
    finally:
        os.kill(grandchild, signal.SIGKILL)


async def test_without_a_kernel_that_tells_of_exits(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Process, "_watch", lambda self: -1)
    assert done(await make("shell", {"argv": ["echo", "a"]}).perform())["stdout"] == "a"
    ctx = make("shell", {"argv": ["sh", "-c", "echo ready; exec sleep 600"]})
    task = asyncio.ensure_future(ctx.perform())
    await until(lambda: ctx.logged("stdout"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 120)
    await until(lambda: not alive(ctx.notes[0][2]["pid"]))


async def test_no_descriptor_is_left_open(make: Any) -> None:
    await make("shell", {"argv": ["true"]}).perform()
    before = psutil.Process().num_fds()
    for _ in range(5):
        await make("shell", {"argv": ["cat"], "stdin": "x" * 100_000}).perform()
        await make("shell", {"argv": ["no-such-program"]}).perform()
        await make("shell", {"argv": ["echo", "x" * 200_000]}).perform()
    await asyncio.sleep(0.01)
    assert psutil.Process().num_fds() <= before


# ---------------------------------------------------------------- orphans


async def test_nothing_runs_before_the_pid_is_durable(make: Any, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    ctx = make("shell", {"argv": ["touch", str(mark)]})

    async def durable(value: Any) -> None:
        await asyncio.sleep(0.1)
        assert not mark.exists()
        assert value["start_time"] == started_at(value["pid"])
        assert value["argv0"] == "touch"
        assert value["boot_id"] == current_boot()

    ctx.on_note = durable
    done(await ctx.perform())
    assert mark.exists()


async def test_nothing_runs_when_it_cannot_be_made_durable(make: Any, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    ctx = make("shell", {"argv": ["touch", str(mark)]})
    pids: list[int] = []

    async def fenced(value: Any) -> None:
        pids.append(value["pid"])
        raise RuntimeError("another engine has this run")

    ctx.on_note = fenced
    with pytest.raises(RuntimeError, match="another engine"):
        await ctx.perform()
    await until(lambda: not alive(pids[0]))
    assert not mark.exists()


def test_an_orphan_is_killed_only_if_it_is_the_same_process() -> None:
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        who = identity(child.pid, "sleep")
        assert not kill_orphan(child.pid, str(int(who["start_time"]) + 1), who["boot_id"])
        assert not kill_orphan(child.pid, who["start_time"], "another boot")
        assert not kill_orphan(child.pid, "", who["boot_id"])
        assert not kill_orphan(os.getpid(), started_at(os.getpid()), who["boot_id"])
        assert not kill_orphan(1, started_at(1), who["boot_id"])
        assert child.poll() is None
        assert kill_orphan(child.pid, who["start_time"], who["boot_id"])
        assert child.wait(5) == -signal.SIGKILL
        assert not kill_orphan(child.pid, who["start_time"], who["boot_id"])
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def test_a_member_of_another_group_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        who = identity(child.pid, "sleep")
        try:
            assert not kill_orphan(child.pid, who["start_time"], who["boot_id"])
            assert child.poll() is None
        finally:
            child.kill()


@pytest.mark.crash
def test_an_engine_that_dies_leaves_an_orphan_that_can_be_found(tmp_path: Path) -> None:
    """`kill -9` of a process that performs a step: before the gate opens nothing runs, after it the note finds it."""
    code = f"""
import asyncio, json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from fleetprompt.engine.steps.shell import Shell
from steplab import Recorder
from fleetprompt.engine.ports import Effect
effect = Effect(run="r", tenant="t", path="p", attempt=1, type="shell", key="k", directory={str(tmp_path)!r},
                input={{"argv": ["sh", "-c", "echo running; sleep 600"]}})
ctx = Recorder(effect, {{}})
ctx.on_log = lambda level, text: print(json.dumps([level, text, [n[2] for n in ctx.notes]]), flush=True)
asyncio.run(Shell.perform(ctx))
"""
    with subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        for raw in engine.stdout:
            level, text, notes = json.loads(raw)
            if (level, text) == ("stdout", "running"):
                break
        who = notes[0]
        known = (who["pid"], who["start_time"], who["boot_id"], who["engine"])
        assert not kill_orphan(*known), "its engine lives: somebody opened a copy of the store"
        engine.kill()
    assert alive(who["pid"])
    assert kill_orphan(*known)
    end = time.monotonic() + 120
    while alive(who["pid"]):
        assert time.monotonic() < end


@pytest.mark.crash
def test_an_engine_that_dies_before_the_pid_is_durable_leaves_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    code = f"""
import asyncio, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from fleetprompt.engine.steps.shell import Shell
from steplab import Recorder
from fleetprompt.engine.ports import Effect
effect = Effect(run="r", tenant="t", path="p", attempt=1, type="shell", key="k",
                input={{"argv": ["touch", {str(mark)!r}]}})
ctx = Recorder(effect, {{}})
async def never_durable(value):
    print(value["pid"], flush=True)
    await asyncio.sleep(600)
ctx.on_note = never_durable
asyncio.run(Shell.perform(ctx))
"""
    with subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        pid = int(engine.stdout.readline())
        assert alive(pid)
        engine.kill()
    end = time.monotonic() + 120
    while alive(pid):
        assert time.monotonic() < end
    assert not mark.exists()
