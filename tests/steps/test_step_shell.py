"""`shell` with real processes: what it hands over, what it brings back, and that nothing outlives it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import ValidationError
from steplab import done, failure

from fleetprompt.engine.outside.output import LINE_BYTES, Stream
from fleetprompt.engine.steps.shell import Shell

PY = sys.executable


def python(code: str) -> list[str]:
    return [PY, "-c", code]


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


@pytest.mark.parametrize("fields", [{"inherit_env": ["FLEET_SECRET_X"]}, {"inherit_env": ["A=B"]}, {"env": {"A.B": 1}}])
def test_variables_that_are_refused(fields: Any) -> None:
    with pytest.raises(ValidationError):
        Shell.model_validate({"type": "shell", "argv": ["env"], **fields})


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
    assert len(output["stdout"]) < 512 * 1024 + 100
    assert "[… 99.5 MB cut …]" in output["stdout"]
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


def test_what_it_declares() -> None:
    model = Shell.model_validate({"type": "shell", "argv": ["ls"]})
    assert model.repeats() == "never"
    assert Shell.model_validate({"type": "shell", "argv": ["ls"], "repeat": "safe"}).repeats() == "safe"
    assert (Shell.pool_name, Shell.secret_fields) == ("shell", ("/env", "/stdin"))
    assert model.config() == {"argv": ["ls"]}
