"""`shell` with real processes: what it hands over, what it brings back, and that nothing outlives it."""

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
from pydantic import ValidationError

from fleetprompt.engine.ports import Done, Failed
from fleetprompt.engine.steps._output import LINE_BYTES, Stream
from fleetprompt.engine.steps._process import Process, current_boot, identity, kill_orphan, started_at
from fleetprompt.engine.steps.shell import Shell

PY = sys.executable


def python(code: str) -> list[str]:
    return [PY, "-c", code]


def done(outcome: Any) -> Any:
    assert isinstance(outcome, Done), outcome
    return outcome.output


def failure(outcome: Any) -> Any:
    assert isinstance(outcome, Failed), outcome
    return outcome.error


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# ---------------------------------------------------------------- the ordinary


async def test_output_and_log(make: Any) -> None:
    ctx = make("shell", {"argv": ["sh", "-c", "echo one; echo two; echo oops >&2"]})
    output = done(await ctx.perform())
    assert output["exit_code"] == 0
    assert output["stdout"] == "one\ntwo"
    assert output["stderr"] == "oops"
    assert output["truncated"] is False
    assert ctx.logged("stdout") == ["one", "two"]
    assert ctx.logged("stderr") == ["oops"]
    assert ctx.logged("info")[0] == "$ sh -c 'echo one; echo two; echo oops >&2'"
    assert ctx.logged("info")[1].startswith("exit 0 after ")


async def test_arguments_are_never_read_by_a_shell(make: Any) -> None:
    nasty = ["$(touch pwned)", "; id", "a b", "'\"", "*", "-n", "", "ü\u2028\n", "`id`", "&&", "> x"]
    output = done(
        await make("shell", {"argv": [*python("import sys,json; print(json.dumps(sys.argv[1:]))"), *nasty]}).perform()
    )
    assert json.loads(output["stdout"]) == nasty


async def test_numbers_and_booleans_become_text(make: Any) -> None:
    argv = ["printf", "%s,", 3, 2.5, True]
    assert done(await make("shell", {"argv": argv}).perform())["stdout"] == "3,2.5,true,"


@pytest.mark.parametrize(
    "argv", [[], "ls -l", ["ls", None], ["ls", {"a": 1}], ["ls", ["x"]], ["ls", "a\0b"], ["ls", float("nan")]]
)
def test_refused_at_validation(argv: Any) -> None:
    with pytest.raises(ValidationError):
        Shell.model_validate({"type": "shell", "argv": argv})


@pytest.mark.parametrize("item", [None, {"secret": "s3cret"}, ["s3cret"], "s3cret\0"])
async def test_refused_when_a_template_became_it(make: Any, item: Any) -> None:
    ctx = make("shell", {"argv": ["ls", "${{ inputs.x }}"]}, input={"argv": ["ls", item]})
    error = failure(await ctx.perform())
    assert (error.code, error.retryable) == ("VALIDATION_ERROR", False)
    assert error.message.startswith("the rendered input cannot be used: argv.1: ")
    assert "s3cret" not in error.message


async def test_standard_input(make: Any) -> None:
    assert done(await make("shell", {"argv": ["cat"], "stdin": "\nä\n\n"}).perform())["stdout"] == "\nä\n"
    value = {"a": [1, None, "x"]}
    assert done(await make("shell", {"argv": ["cat"], "stdin": value, "output": "json"}).perform())["json"] == value
    assert done(await make("shell", {"argv": ["cat"]}).perform())["stdout"] == ""
    again = {"argv": ["sh", "-c", "cat /dev/stdin"], "stdin": "through a path"}
    assert done(await make("shell", again).perform())["stdout"] == "through a path"


async def test_large_standard_input_and_a_program_that_does_not_read_it(make: Any) -> None:
    text = "0123456789abcde\n" * 200_000
    assert done(await make("shell", {"argv": ["wc", "-c"], "stdin": text}).perform())["stdout"].strip() == str(
        len(text)
    )
    assert done(await make("shell", {"argv": ["true"], "stdin": text}).perform())["exit_code"] == 0


async def test_lines_json_and_none(make: Any) -> None:
    argv = ["printf", "a\\nb\\n\\n"]
    assert done(await make("shell", {"argv": argv, "output": "lines"}).perform())["lines"] == ["a", "b", ""]
    assert done(await make("shell", {"argv": ["true"], "output": "lines"}).perform())["lines"] == []
    ctx = make("shell", {"argv": argv, "output": "none"})
    output = done(await ctx.perform())
    assert "stdout" not in output
    assert output["truncated"] is False
    assert ctx.logged("stdout") == ["a", "b", ""]
    error = failure(await make("shell", {"argv": ["echo", "{no"], "output": "json"}).perform())
    assert "did not write JSON" in error.message
    assert error.retryable is False
    deep = python("print('[' * 200_000)")
    assert "did not write JSON" in failure(await make("shell", {"argv": deep, "output": "json"}).perform()).message
    big = {"argv": ["echo", '"' + "x" * 500 + '"'], "output": "json", "max_output": 100}
    assert "larger than `max_output`" in failure(await make("shell", big).perform()).message


async def test_folder(make: Any, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    assert done(await make("shell", {"argv": ["pwd"]}).perform())["stdout"] == str(tmp_path)
    assert done(await make("shell", {"argv": ["pwd"], "cwd": "sub"}).perform())["stdout"] == str(tmp_path / "sub")
    error = failure(await make("shell", {"argv": ["pwd"], "cwd": "nowhere"}).perform())
    assert error.retryable is False
    assert str(tmp_path / "nowhere") in error.message


# ---------------------------------------------------------------- the environment


async def test_environment_is_an_allow_list(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "leak")
    monkeypatch.setenv("LC_TIME", "C")
    monkeypatch.setenv("WANTED", "yes")
    monkeypatch.setenv("FLEET_RUN_ID", "spoofed")
    argv = python("import os,json; print(json.dumps(dict(os.environ)))")
    step = {
        "argv": argv,
        "env": {"EXTRA": 5, "LANG": None, "FLEET_STEP": "spoofed"},
        "inherit_env": ["WANTED", "ABSENT"],
    }
    env = done(await make("shell", {**step, "output": "json"}, attempt=4).perform())["json"]
    assert "AWS_SECRET_ACCESS_KEY" not in env
    assert "ABSENT" not in env
    assert "LANG" not in env
    assert (env["EXTRA"], env["WANTED"], env["LC_TIME"]) == ("5", "yes", "C")
    fleet = {name: value for name, value in env.items() if name.startswith("FLEET_")}
    assert fleet == {
        "FLEET_IDEMPOTENCY_KEY": "key-1",
        "FLEET_RUN_ID": "r1",
        "FLEET_STEP": "audit[3].deps",
        "FLEET_ATTEMPT": "4",
    }
    allowed = {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "TERM",
        "TZ",
        "TMPDIR",
        "EXTRA",
        "WANTED",
        "PWD",
        "VIRTUAL_ENV",
    }
    rest = {name for name in env if not name.startswith(("FLEET_", "LC_", "LANG", "SSL_"))}
    assert rest <= allowed | {
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
        "CONDA_PREFIX",
        "_",
        "SHLVL",
    }


async def test_secrets_reach_the_program_and_nothing_else(make: Any) -> None:
    secrets = {"/env/TOKEN": "s3cret-a", "/stdin/auth/0": "s3cret-b"}
    code = (
        "import os, sys, json; a = os.environ['TOKEN']; b = json.load(sys.stdin)['auth'][0]\n"
        "print(a[::-1], b[::-1]); sys.exit(1)"
    )
    step = {"argv": python(code), "env": {"TOKEN": "•"}, "stdin": {"auth": ["•"], "x": 1}}
    ctx = make("shell", step, secrets=secrets)
    outcome = await ctx.perform()
    assert ctx.logged("stdout") == ["a-terc3s b-terc3s"]
    assert "s3cret" not in repr((outcome, ctx.lines, ctx.notes))


# ---------------------------------------------------------------- failures


async def test_exit_code(make: Any) -> None:
    ctx = make("shell", {"argv": ["sh", "-c", "echo first >&2; echo the reason >&2; exit 3"]})
    error = failure(await ctx.perform())
    assert (error.code, error.retryable) == ("TOOL_ERROR", True)
    assert error.message == "`sh` exited with 3: the reason"
    assert error.data == {"exit_code": 3, "stderr_tail": "first\nthe reason\n"}
    assert (
        done(await make("shell", {"argv": ["sh", "-c", "exit 3"], "expect_exit": [0, 3]}).perform())["exit_code"] == 3
    )
    assert failure(await make("shell", {"argv": ["true"], "expect_exit": 1}).perform()).data["exit_code"] == 0


async def test_death_by_signal_is_definite(make: Any) -> None:
    error = failure(await make("shell", {"argv": ["sh", "-c", "kill -KILL $$"]}).perform())
    assert error.message == "`sh` was killed by SIGKILL"
    assert error.data["signal"] == "SIGKILL"
    assert "memory" in error.hint


async def test_programs_that_cannot_be_run(make: Any, tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("x")
    missing = failure(await make("shell", {"argv": ["no-such-program-here"]}).perform())
    assert "on the PATH" in missing.message
    together = failure(await make("shell", {"argv": ["ls -l"]}).perform())
    assert "items of their own" in together.hint
    plain = failure(await make("shell", {"argv": ["./plain.txt"]}).perform())
    assert "chmod +x" in plain.hint
    gone = failure(await make("shell", {"argv": ["./gone"]}).perform())
    folder = failure(await make("shell", {"argv": [str(tmp_path)]}).perform())
    long = failure(await make("shell", {"argv": ["echo", "x" * 200_000]}).perform())
    assert "cannot be started" in long.message
    assert not any(error.retryable for error in (missing, together, plain, gone, folder, long))


async def test_a_program_is_found_relative_to_its_folder_and_path(make: Any, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "tool"
    tool.write_text("#!/bin/sh\necho found $1\n")
    tool.chmod(0o755)
    assert done(await make("shell", {"argv": ["./tool", "a"], "cwd": "bin"}).perform())["stdout"] == "found a"
    path = {"argv": ["tool", "b"], "env": {"PATH": f"{tmp_path / 'bin'}:/bin:/usr/bin"}}
    assert done(await make("shell", path).perform())["stdout"] == "found b"


# ---------------------------------------------------------------- much output


async def test_a_hundred_megabytes_need_no_memory(make: Any) -> None:
    line = "x" * 999
    ctx = make(
        "shell", {"argv": python(f"import sys; w=sys.stdout.write\nfor _ in range(100_000): w({line!r}+chr(10))")}
    )
    memory = psutil.Process().memory_info
    before, peak, seen = memory().rss, 0, 0

    def count(level: str, text: str) -> None:
        nonlocal seen, peak
        seen += level == "stdout"
        if seen % 500 == 0:
            peak = max(peak, memory().rss)

    ctx.on_log = count
    output = done(await ctx.perform())
    assert seen == 100_000
    assert output["truncated"] is True
    assert len(output["stdout"]) < 1024 * 1024 + 100
    assert "[… 99.0 MB cut …]" in output["stdout"]
    assert peak - before < 16 * 1024 * 1024


def test_beginning_and_end_are_kept() -> None:
    lines: list[str] = []
    stream = Stream(lines.append, head=30, tail=30)
    for number in range(100):
        stream.feed(b"line %d\n" % number)
    stream.close()
    assert len(lines) == 100
    assert stream.text() == "line 0\nline 1\nline 2\nline 3\n[… 738 B cut …]\nline 97\nline 98\nline 99\n"


def test_lines_however_they_arrive() -> None:
    data = "über\r\n\nlast — without end".encode()
    for step in range(1, 9):
        lines: list[str] = []
        stream = Stream(lines.append, head=1000, tail=1000)
        for i in range(0, len(data), step):
            stream.feed(data[i : i + step])
        stream.close()
        assert lines == ["über", "", "last — without end"]
        assert stream.text() == data.decode()


def test_long_lines_are_cut_and_bad_bytes_replaced() -> None:
    lines: list[str] = []
    stream = Stream(lines.append)
    for _ in range(10):
        stream.feed("ä".encode() * 5_000)
    stream.feed(b"\nshort \xff\xfe\n")
    assert lines == ["ä" * (LINE_BYTES // 2) + " [… 83.6 kB cut]", "short \ufffd\ufffd"]
    stream.feed(b"a" + "ä".encode() * LINE_BYTES + b"\n")
    assert "\ufffd" not in lines[-1]


def test_kept_text_is_cut_inside_characters_without_failing() -> None:
    stream = Stream(lambda _: None, head=5, tail=5)
    stream.feed("ääääääääää".encode())
    assert stream.text().startswith("ää\n[… ")
    assert stream.text().endswith("ää")
    empty = Stream(lambda _: None)
    empty.feed(b"abc")
    assert empty.text() == "[… 3 B cut …]\n"


# ---------------------------------------------------------------- stopping


async def test_cancelled_ends_the_whole_group_even_if_it_ignores_the_signal(
    make: Any, until: Any, tmp_path: Path
) -> None:
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
    assert 0.2 <= time.monotonic() - started < 3
    await until(lambda: not alive(parent) and not alive(grandchild))


async def test_cancelled_gives_time_to_clean_up(make: Any, until: Any) -> None:
    code = "trap 'echo cleaned up; exit 0' TERM; echo ready; while :; do sleep 0.02; done"
    ctx = make("shell", {"argv": ["sh", "-c", code], "kill_after": 20})
    task = asyncio.ensure_future(ctx.perform())
    await until(lambda: ctx.logged("stdout"))
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 10
    assert ctx.logged("stdout") == ["ready", "cleaned up"]


async def test_cancelled_twice_kills_at_once(make: Any, until: Any) -> None:
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
        await asyncio.wait_for(task, 5)
    await until(lambda: not alive(ctx.notes[0][2]["pid"]))


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled_while_it_starts(make: Any, until: Any, turns: int) -> None:
    ctx = make("shell", {"argv": ["sleep", "600"], "kill_after": 1})
    before = {child.pid for child in psutil.Process().children()}
    task = asyncio.ensure_future(ctx.perform())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    await until(lambda: not [c for c in psutil.Process().children() if c.pid not in before and alive(c.pid)])


def test_a_loop_that_is_shut_down_ends_what_it_runs(make: Any, until: Any) -> None:
    ctx = make("shell", {"argv": ["sh", "-c", "echo; trap '' TERM; sleep 600"], "kill_after": "50ms"})

    async def main(turns: int) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(ctx.perform())
        for _ in range(turns):
            await asyncio.sleep(0)
        if turns > 5:
            await until(lambda: ctx.logged("stdout"))
        return task

    for turns in (1, 2, 4, 6):
        started = time.monotonic()
        assert asyncio.run(main(turns)).cancelled()
        assert time.monotonic() - started < 3


async def test_a_grandchild_that_holds_the_pipes_does_not_hang_the_step(make: Any) -> None:
    ctx = make("shell", {"argv": ["sh", "-c", "sleep 600 & echo $!"]})
    started = time.monotonic()
    output = done(await ctx.perform())
    assert time.monotonic() - started < 5
    grandchild = int(output["stdout"])
    try:
        assert alive(grandchild), "what a program leaves running on purpose is left running"
        assert "left others running" in ctx.logged("warning")[0]
    finally:
        os.kill(grandchild, signal.SIGKILL)


async def test_without_a_kernel_that_tells_of_exits(make: Any, until: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Process, "_watch", lambda self: -1)
    assert done(await make("shell", {"argv": ["echo", "a"]}).perform())["stdout"] == "a"
    ctx = make("shell", {"argv": ["sh", "-c", "echo ready; exec sleep 600"]})
    task = asyncio.ensure_future(ctx.perform())
    await until(lambda: ctx.logged("stdout"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
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


async def test_nothing_runs_when_it_cannot_be_made_durable(make: Any, until: Any, tmp_path: Path) -> None:
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
from conftest import Recorder
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
        engine.kill()
    who = notes[0]
    assert alive(who["pid"])
    assert kill_orphan(who["pid"], who["start_time"], who["boot_id"])
    end = time.monotonic() + 5
    while alive(who["pid"]):
        assert time.monotonic() < end


def test_what_it_declares() -> None:
    model = Shell.model_validate({"type": "shell", "argv": ["ls"]})
    assert model.repeats() == "never"
    assert Shell.model_validate({"type": "shell", "argv": ["ls"], "repeat": "safe"}).repeats() == "safe"
    assert (Shell.pool_name, Shell.secret_fields) == ("shell", ("/env", "/stdin"))
    assert model.config() == {"argv": ["ls"]}
