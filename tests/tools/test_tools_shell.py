"""Running programs: what comes out, what they are given, and which command lines are not what they seem."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fleetprompt.engine.outside.process import started_at
from fleetprompt.engine.ports.world import Unknown
from fleetprompt.engine.tools._argv import never, trick
from tests.tools.toolkit import Room, call, done, find, preview, problem, refusal

CANARY = "CANARY-77ab"


@pytest.fixture
def room(tmp_path: Path) -> Room:
    root = tmp_path / "work"
    (root / "sub").mkdir(parents=True)
    (root / "say.py").write_text("import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(3)\n")
    return Room(root)


async def test_a_program_is_run(room: Room) -> None:
    ran = await done(room, "shell.run", argv=["python3", "say.py"])
    assert ran == {"exit_code": 3, "stdout": "out\n", "stderr": "err\n", "cut": False}
    assert ("stdout", "out", None) in room.logged
    shown = await preview(room, "shell.run", argv=["python3", "say.py"])
    assert (shown.kind, shown.show, shown.summary) == ("argv", ["python3", "say.py"], "python3 say.py")
    assert shown.verdict is None
    assert shown.subject == {"argv": ["python3", "say.py"], "program": "python3", "cwd": "."}


async def test_a_program_is_noted_before_it_runs(room: Room) -> None:
    seen: list[bool] = []

    async def runs(process: Mapping[str, Any]) -> None:
        await asyncio.sleep(0)
        seen.append((room.root / "made").exists() or started_at(process["pid"]) != process["start_time"])

    room.runs = runs  # type: ignore[method-assign]
    await done(room, "shell.run", argv=["touch", "made"])
    assert seen == [False]
    assert (room.root / "made").exists()


async def test_no_shell_reads_the_arguments(room: Room) -> None:
    ran = await done(room, "shell.run", argv=["echo", "$HOME", "&&", "`id`", "*", "a b"])
    assert ran["stdout"] == "$HOME && `id` * a b\n"


async def test_a_program_gets_no_secrets(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_SECRET_TOKEN", CANARY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.setenv("HOME", f"/home/{CANARY}")
    (room.root / "env.py").write_text("import os, json\nprint(json.dumps(dict(os.environ)))\n")
    ran = await done(room, "shell.run", argv=["python3", "env.py"])
    env = json.loads(ran["stdout"])
    assert CANARY not in ran["stdout"]
    assert env.keys() - {"PWD", "SHLVL", "_", "LC_CTYPE"} <= {
        "PATH",
        "LANG",
        "HOME",
        "TMPDIR",
        "FLEET_IDEMPOTENCY_KEY",
    } | {name for name in env if "PYENV" in name}
    assert env["FLEET_IDEMPOTENCY_KEY"] == room.key
    assert not Path(env["HOME"]).exists()


async def test_much_output_is_cut_in_the_middle(room: Room) -> None:
    ran = await done(room, "shell.run", argv=["seq", "200000"])
    assert ran["cut"]
    assert len(ran["stdout"]) < 70_000
    assert ran["stdout"].startswith("1\n2\n")
    assert ran["stdout"].endswith("\n200000\n")
    assert "cut …]" in ran["stdout"]


async def test_a_folder_of_the_workspace_is_run_in(room: Room) -> None:
    assert (await done(room, "shell.run", argv=["pwd", "-P"], cwd="sub"))["stdout"] == f"{room.root}/sub\n"
    assert "leaves the workspace" in await refusal(room, "shell.run", argv=["pwd"], cwd="..")
    (room.root / "away").symlink_to("/etc")
    assert "symbolic link" in await refusal(room, "shell.run", argv=["pwd"], cwd="away")
    (room.root / ".fleet").mkdir()
    assert "private" in await refusal(room, "shell.run", argv=["ls"], cwd=".fleet")


async def test_what_takes_too_long_is_ended_with_its_children_and_in_doubt(room: Room) -> None:
    (room.root / "long.py").write_text(
        "import subprocess, sys, time\n"
        "deaf = 'import signal, time; signal.signal(15, 1); time.sleep(600)'\n"
        "child = subprocess.Popen([sys.executable, '-c', deaf])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    outcome = await call(room, "shell.run", argv=["python3", "long.py"], timeout=1.5)
    assert isinstance(outcome, Unknown)
    assert "was ended after 1.5 s" in outcome.reason
    pid = int(outcome.reason.splitlines()[-1])
    _gone(pid)


async def test_a_cancelled_call_ends_its_program(room: Room) -> None:
    (room.root / "long.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n")
    task = asyncio.create_task(call(room, "shell.run", argv=["python3", "long.py"]))
    pid = int(await room.line("stdout"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    _gone(pid)


def _gone(pid: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.01)
    raise AssertionError(f"{pid} still runs")


async def test_programs_are_named_without_their_folder(room: Room) -> None:
    script = room.root / "run.sh"
    script.write_text("#!/bin/sh\necho ran\n")
    script.chmod(0o755)
    assert "[tools.shell] programs does not list it" in await refusal(room, "shell.run", argv=["./run.sh"])
    assert "named with its path" in await refusal(room, "shell.run", argv=["/bin/echo", "x"])
    mine = Room(room.root, {"programs": ["./run.sh", "/bin/echo"]})
    assert (await done(mine, "shell.run", argv=["./run.sh"]))["stdout"] == "ran\n"
    assert (await done(mine, "shell.run", argv=["/bin/echo", "x"]))["stdout"] == "x\n"
    script.unlink()
    script.symlink_to("/bin/ls")
    assert "symbolic link" in await refusal(mine, "shell.run", argv=["./run.sh"])
    assert "there is no program `nosuch`" in await refusal(room, "shell.run", argv=["nosuch"])
    assert "items of their own" in await refusal(room, "shell.run", argv=["git log"])


async def test_another_program_than_was_seen_is_not_run(room: Room, tmp_path: Path) -> None:
    tools = [tmp_path / "a", tmp_path / "b"]
    for folder in tools:
        folder.mkdir()
    (tools[1] / "hello").write_text("#!/bin/sh\necho good\n")
    (tools[1] / "hello").chmod(0o755)
    mine = Room(room.root, {"path": f"{tools[0]}:{tools[1]}:/usr/bin:/bin"})
    mine.bound = (await preview(mine, "shell.run", argv=["hello"])).bound
    (tools[0] / "hello").write_text("#!/bin/sh\necho evil\n")
    (tools[0] / "hello").chmod(0o755)
    outcome = await find("shell.run").call({"argv": ["hello"]}, mine)  # type: ignore[arg-type]
    assert "is another program now" in str(outcome)


@pytest.mark.parametrize("argv", [["sudo", "ls"], ["doas", "ls"], ["su", "-"], ["/usr/bin/sudo", "ls"]])
async def test_nothing_gives_other_rights(room: Room, argv: list[str]) -> None:
    mine = Room(room.root, {"programs": ["/usr/bin/sudo"]})
    assert "gives other rights" in await refusal(mine, "shell.run", argv=argv)


async def test_tricks_are_refused_unless_a_rule_is_for_them(room: Room) -> None:
    shown = await preview(room, "shell.run", argv=["bash", "-c", "ls | wc"])
    assert shown.verdict == "deny"
    assert "`bash` runs what its arguments" in shown.risk


TRICKS = [
    "sh -c x", "bash", "dash x.sh", "zsh -c x", "busybox sh", "python -c x", "python3 -Sc x", "python3.11 -Ic x",
    "python -cx", "python", "python -", "python -i x.py", "python -W ignore -c x", "python -X dev -c x",
    "python -m timeit x", "python -mtimeit x", "python -Wignore -c x", "perl -e x", "perl -ne x", "perl -Mmodule=x a",
    "ruby -e x", "node -e x", "node --eval=x", "node -p x", "nodejs --ev x", "php -r x", "lua -e x", "env FOO=1 sh",
    "env", "xargs rm", "nohup x", "timeout 5 rm x", "nice rm x", "setsid x", "stdbuf -o0 x", "strace x", "watch x",
    "flock f x", "find . -exec rm {} ;", "find . -delete", "find . -ok x ;", "find . -execdir x ;",
    "find . -fprintf f x", "fd -x rm", "rg --pre x y", "git -c core.pager=x log", "git --config-env=a=b log",
    "git --exec-path=/x log", "git -C / log", "git --git-dir=/x log", "git fetch --upload-pack=x",
    "git fetch --upload-pa x", "git push --receive-pack=x", "git push --force", "git push -f",
    "git push origin +main", "git push origin :main", "git clone ext::sh", "git fetch ext::sh",
    "git config alias.x !sh", "git submodule foreach x", "git bisect run x", "git rebase --exec x", "git x",
    "git grep -Ox y", "git log --output=x", "git diff --ext-diff", "git difftool", "git filter-branch",
    "git ls-remote --exec=x y", "git-upload-pack x", "git diff --no-index /etc/passwd x", "git -p log",
    "git branch -D x", "ssh -oProxyCommand=x h", "ssh -o ProxyCommand=x h", "ssh -vo ProxyCommand=x h",
    "scp -S x a b", "tar --checkpoint-action=exec=x -cf a b", "tar -cf a --checkpoint-act=x b",
    "tar --to-command=x -xf a", "tar -I x -xf a", "tar --use-compress-prog=x -xf a", "tar xf a --rsh-command=x",
    "rsync -e x a b", "rsync -ave x a b", "rsync --rsh=x a b", "awk system", "gawk x", "sed -n 1e x", "vim -c !sh",
    "less x", "sort --compress-program=x", "sort -o f x", "curl -o f u", "curl -sSo f u", "curl --out f u",
    "wget -O f u", "make SHELL=x", "make -f /x", "npm exec x", "npx x", "docker run x", "kubectl exec x",
    "sqlite3 db .shell", "sqlite3", "psql -c x", "mysql -e x", "zip -T -TT x", "dd if=a of=b", "tcpdump -z x",
    "man x", "gdb x", "ssh-agent x", "PYTHON -c x", "BASH", "socat x", "pytest -p x", "crontab -e", "ld.so x",
    "tar cIf x a b", "sort --o=f x", "split --f=x a", "sqlite3 --init x db",
    "python --check-hash-based-pycs always -c x",
]  # fmt: skip
HARMLESS = [
    "ls -la", "cat a.txt", "git status", "git log --oneline -20", "git diff HEAD~1 -- src", "git show HEAD:a",
    "git add -A", "git commit -m x", "git push origin main", "python -m pytest -q", "python3 script.py -c x",
    "python --version", "tar -xzf a.tgz", "tar -czf a.tgz b", "tar xzf a.tgz", "grep -rn x .", "rg x", "find . -name x",
    "make test",
    "npm test", "npm run build", "cargo test", "go test ./...", "pytest -q -k x", "rsync -av a b", "ssh host uptime",
    "curl -s u", "sort -u x", "wc -l x", "head -n 5 x", "echo -c --exec", "python3 -B -m pytest", "diff -u a b",
]  # fmt: skip


@pytest.mark.parametrize("line", TRICKS)
def test_a_trick_is_seen(line: str) -> None:
    assert trick(line.split(" ")), line


@pytest.mark.parametrize("line", HARMLESS)
def test_what_is_harmless_is_not_taken_for_a_trick(line: str) -> None:
    assert not trick(line.split(" ")), trick(line.split(" "))
    assert not never(line.split(" "))


def test_arguments_are_a_list() -> None:
    assert "`argv` should be a valid array" in problem("shell.run", {"argv": "ls -la"})
    assert "should have at least 1 item" in problem("shell.run", {"argv": []})
    assert "`argv.0` holds a NUL byte" in problem("shell.run", {"argv": ["a\0b"]})
    assert "less than or equal to 3600" in problem("shell.run", {"argv": ["a"], "timeout": 1e9})


async def test_settings_that_cannot_be_used_are_told(room: Room) -> None:
    said = await refusal(Room(room.root, {"timout": 5}), "shell.run", argv=["ls"])
    assert "[tools.shell] of the settings cannot be used" in said
    assert "`timout`" in said


def test_descriptors_are_not_left_open(room: Room) -> None:
    def run() -> None:
        asyncio.run(_ten(room))

    run()
    before = len(list(Path("/proc/self/fd").iterdir()))
    run()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


async def _ten(room: Room) -> None:
    for _ in range(10):
        await done(room, "shell.run", argv=["true"])
        await done(room, "fs.list", depth=3)
        await refusal(room, "fs.read", path="none/x")
