"""What is seen when something goes wrong; what is never seen."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from cli_kit import Fleet, environment

from fleetprompt.cli import commands, main
from fleetprompt.cli.engine_log import engine_log
from fleetprompt.cli.failures import explain, leaf
from fleetprompt.engine.core.errors import InvalidInput, Refused


def test_an_expected_error_has_message_place_and_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(InvalidInput("it is wrong\n  here", where="x.yaml", hint="write it so"), []) == 2
    assert capsys.readouterr().err == "fleet: it is wrong\n  here\n  in x.yaml\n  hint: write it so\n"


def test_an_error_of_tasks_is_the_one_that_people_can_read(capsys: pytest.CaptureFixture[str]) -> None:
    error = BaseExceptionGroup("g", [ExceptionGroup("h", [ValueError("odd"), Refused("no")]), ValueError("x")])
    assert isinstance(leaf(error), Refused)
    assert explain(error, []) == 2
    assert capsys.readouterr().err == "fleet: no\n"


def test_a_bug_is_one_line_and_a_log(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("the \x1b[2J impossible\nhappened")

    monkeypatch.setattr(commands, "command", broken)
    said = fleet("runs", "secret-word")
    assert said.code == 70
    assert said.err.count("\n") == 1
    assert said.err.startswith("fleet: internal error: RuntimeError: the \\x1b[2J impossible; the details are in ")
    (log,) = (fleet.root / ".fleet").glob("crash-*.log")
    assert str(log) in said.err
    assert log.stat().st_mode & 0o777 == 0o600
    text = log.read_text()
    assert "Traceback" in text
    assert "command: runs" in text
    assert "secret-word" not in text


@pytest.mark.parametrize("command", ["runs", "init", "doctor"])
def test_a_folder_that_is_gone_is_said_so(fleet: Fleet, command: str) -> None:
    gone = fleet.root / "gone"
    script = f"mkdir {gone}; cd {gone}; rmdir {gone}; {sys.executable} -m fleetprompt.cli {command}"
    done = subprocess.run(["sh", "-c", script], env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "fleet: the folder you are in is gone\n  hint: go to another, or give one with -C DIR\n"


def test_what_may_not_be_read_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(PermissionError(13, "Permission denied", "x/y"), []) == 2
    hint = "check who owns it, and the folders above it"
    assert capsys.readouterr().err == f"fleet: permission denied\n  in x/y\n  hint: {hint}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_an_engine_log_on_a_full_disk_shows_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "engine.log").symlink_to("/dev/full")
    with engine_log(tmp_path) as log:
        logging.getLogger("fleetprompt").warning("there is no room")
    assert log.messages == ["there is no room"]
    assert capsys.readouterr() == ("", "")


def test_an_interrupt_is_130(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "command", interrupted)
    assert fleet("runs") == (130, "", "")


SPOIL = """
import sqlite3
store = sqlite3.connect(".fleet/fleet.db", timeout=120)
store.execute("UPDATE journal SET data = X'00' WHERE n = 2")
store.execute(
    "INSERT INTO journal SELECT seq + 1000, tenant, run, n + 1, type, at, data FROM journal ORDER BY seq DESC LIMIT 1"
)
store.commit()
"""
SPOILED = """
name: spoiled
steps:
  - {id: spoil, type: shell, argv: [%s, spoil.py], repeat: safe}
  - {id: after, type: transform, output: 1}
"""


def test_a_run_that_becomes_held_is_not_waited_for(fleet: Fleet) -> None:
    (fleet.root / "spoil.py").write_text(SPOIL)
    fleet.write("spoiled", SPOILED % sys.executable)
    fleet.write("parent", "name: parent\nsteps: [{id: child, type: workflow, workflow: spoiled}]")
    said = fleet("run", "spoiled.yaml")
    run = fleet.runs()[0]["id"]
    assert said.code == 1
    assert f"engine: run {run} is held: the journal of run {run} is damaged at fact 2" in said.err
    assert f"run {run[-8:]} is held: nothing is done for it any more\n" in said.err
    assert "fleet db check" in said.err
    for command in (["recover"], ["recover", run], ["recover", "--no-wait"]):
        said = fleet(*command, "--json", "--quiet")
        assert (said.code, [one["id"] for one in said.json]) == (1, [run]), command
        assert said.json[0]["error"]["code"] == "INTERNAL"
        assert "damaged at fact 2" in said.json[0]["error"]["message"]
    fleet.ok("run", "quick.yaml")
    for file in (fleet.root / ".fleet").glob("fleet.db*"):
        file.unlink()
    said = fleet("run", "parent.yaml")
    assert said.code == 1
    assert f"run {fleet.runs('wf:spoiled')[0]['id'][-8:]} is held" in said.err


def test_a_run_that_is_held_in_another_process_is_not_waited_for(fleet: Fleet) -> None:
    (fleet.root / "spoil.py").write_text(SPOIL)
    fleet.write("spoiled", SPOILED % sys.executable)
    keeper = fleet.process("run", "gated.yaml", "--quiet")
    fleet.approval()
    said = fleet("run", "spoiled.yaml")
    run = fleet.runs("wf:spoiled")[0]["id"]
    assert said.code == 1
    assert "the engine is in another process" in said.err
    assert f"run {run[-8:]} is held: nothing is done for it any more\n" in said.err
    assert keeper.poll() is None, "the engine goes on"
    assert "1 run held" in fleet.ok("doctor")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnus"], "there is no command `rnus`"),
        (["run"], "missing argument 'FILE|NAME'"),
        (["run", "a", "b"], "got unexpected extra argument"),
        (["show", "--nope", "x"], "no such option: --nope"),
        (["runs", "--limit", "0"], "invalid value for '--limit'"),
        (["--engine", "foo"], "invalid value for '--engine': 'foo' is not one of"),
        (["-C", "no/such/folder", "runs"], "there is no folder no/such/folder"),
        (["runs", "--db", "mysql://x/y"], "mysql://x/y cannot be a store"),
    ],
)
def test_mistakes_in_the_command_line(fleet: Fleet, arguments: list[str], message: str) -> None:
    said = fleet(*arguments)
    assert said.code == 2
    assert said.err.startswith(f"fleet: {message}"), said.err
    assert said.out == ""


def test_a_command_that_was_meant_is_named(fleet: Fleet) -> None:
    assert "did you mean `fleet runs`?" in fleet("rnus").err


def test_global_options_may_stand_anywhere(fleet: Fleet, tmp_path: Path) -> None:
    fleet.ok("run", "quick.yaml", "-q", "--db", "other.db")
    assert len(fleet("--db=other.db", "runs", "--json").json) == 1
    assert len(fleet("runs", "--json", "--utc", "--db", str(tmp_path / "other.db")).json) == 1
    assert fleet("runs").code == 2
    assert len(fleet("runs", "--json", "-C", str(tmp_path), "--db", str(tmp_path / "other.db")).json) == 1


def test_validate_imports_no_database_and_no_terminal_library(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: a\nsteps: [{id: a, type: transform, output: 1}]")
    code = (
        f"import sys; from fleetprompt.cli import main; main(['validate', {str(path)!r}]);"
        "print([m for m in ('rich.console','sqlalchemy','aiosqlite','alembic','httpx','litellm') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"


def test_numpy_is_not_imported_before_vectors_are_searched(fleet: Fleet, tmp_path: Path) -> None:
    code = (
        "import sys; from fleetprompt.cli import main; said = [main(['--help']), main(['run', 'quick.yaml', '-q'])];"
        "print(said, 'sqlalchemy' in sys.modules, 'numpy' in sys.modules)"
    )
    run = [sys.executable, "-c", code]
    shown = subprocess.run(run, env=environment(), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[0, 0] True False"


def test_the_process_returns_what_main_returns(fleet: Fleet) -> None:
    process = fleet.process("run", "failing.yaml", "--quiet")
    assert process.wait(timeout=120) == 1
    assert main(["--version"]) == 0
