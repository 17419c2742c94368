"""The process that holds the engine is told to stop: it finishes or parks, and loses nothing. Real processes."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from cli_kit import PATIENCE, Fleet

from fleetprompt.engine.runtime.lock import engine_holder

WORK = """
name: work
steps:
  - id: all
    type: parallel
    branches:
      pay:
        - id: pay
          type: shell
          argv: [sh, -c, "echo $$ >> pay.begun; until [ -e go ]; do sleep 0.05; done; echo paid"]
      call: [{id: call, type: python, call: "near:call"}]
      safe: [{id: safe, type: shell, argv: [sh, -c, "echo $$ >> safe.begun; [ -e go ] || sleep 60"], repeat: safe}]
  - {id: end, type: transform, output: "${{ steps['all'].output.pay.stdout }}"}
"""
NEAR = """
import time
from pathlib import Path

def call():
    with Path("call.begun").open("a") as file:
        file.write("x\\n")
    while not Path("go").exists():
        time.sleep(0.05)
    return "called"
"""
BEGUN = ("pay.begun", "call.begun", "safe.begun")


@pytest.fixture
def work(fleet: Fleet) -> Fleet:
    fleet.write("work", WORK)
    (fleet.root / "near.py").write_text(NEAR)
    return fleet


def lines(fleet: Fleet, name: str) -> list[str]:
    return (fleet.root / name).read_text().split()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def lock_of(fleet: Fleet) -> Path:
    return fleet.root / ".fleet" / "engine.lock"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_must_not_be_repeated_ends_and_is_recorded_and_the_rest_is_parked(
    work: Fleet, number: signal.Signals
) -> None:
    process = work.process("run", "work.yaml")
    work.until(lambda: all((work.root / name).exists() for name in BEGUN))
    process.send_signal(number)
    assert process.stderr is not None
    assert b"parking" in process.stderr.readline()
    if number != signal.SIGINT:
        # Whoever is impatient asks again, and a terminal that is closed asks in its own way.
        for again in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
            process.send_signal(again)
    work.until(lambda: not is_alive(int(lines(work, "safe.begun")[0])))
    assert process.poll() is None, "it waits for what must not be repeated"
    assert engine_holder(lock_of(work)) is not None
    (work.root / "go").touch()
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert b"Traceback" not in out + err
    assert b"parked: nothing is lost" in err
    assert engine_holder(lock_of(work)) is None
    assert sorted(path.name for path in (work.root / ".fleet").glob("*.sock")) == []
    assert sorted(path.name for path in (work.root / ".fleet").glob("fleet.db*")) == ["fleet.db"]

    said = work("recover", "--json")
    assert (said.code, said.json[0]["status"], said.json[0]["output"]) == (0, "completed", "paid")
    assert [len(lines(work, name)) for name in BEGUN] == [1, 1, 2]
    assert "StepInDoubt" not in json.dumps(work("facts", "last", "--json").json)


def test_what_outlasts_its_grace_is_in_doubt_and_not_done_again(work: Fleet) -> None:
    (work.root / "fleet.toml").write_text("grace = 0.5\n")
    process = work.process("run", "work.yaml")
    work.until(lambda: all((work.root / name).exists() for name in BEGUN))
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert b"Traceback" not in out + err
    assert not is_alive(int(lines(work, "pay.begun")[0]))
    (work.root / "go").touch()
    said = work("recover", "--no-wait")
    assert said.code == 3
    assert len(work.runs("waiting:in_doubt")) == 1
    assert [len(lines(work, name)) for name in BEGUN] == [1, 1, 2]
