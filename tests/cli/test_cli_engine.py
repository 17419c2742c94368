"""`fleet engine`: the engine without a face, in real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import Any

import pytest
from cli_kit import PATIENCE, Fleet

PRINTS = """
name: prints
steps: [{id: talk, type: python, call: "talk:talk"}]
"""
TALK = """
def talk():
    print("words " * 100_000)
    return "said"
"""


def ready(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_drives_runs_until_it_is_told_to_end(fleet: Fleet, number: int) -> None:
    engine = fleet.process("engine")
    assert ready(engine)["ready"]["pid"] == engine.pid
    said = fleet("run", "quick.yaml")
    assert (said.code, f"pid {engine.pid} (fleet engine)" in said.err) == (0, True)
    engine.send_signal(number)
    assert engine.wait(PATIENCE) == 0
    assert "no engine runs" in fleet.ok("doctor")


def test_it_goes_on_with_what_was_interrupted_or_leaves_it_alone(fleet: Fleet) -> None:
    first = fleet.process("run", "slow.yaml", "--quiet")
    fleet.until(lambda: any(run["step"] == "pay" for run in fleet.runs()))
    first.kill()
    first.wait()
    leaving = fleet.process("engine", "--no-recover")
    told = ready(leaving)["ready"]["taken_up"]
    assert (told["runs"], told["others"]) == ([], 1)
    leaving.terminate()
    assert leaving.wait(PATIENCE) == 0
    taking = fleet.process("engine")
    told = ready(taking)["ready"]["taken_up"]
    assert (len(told["runs"]), told["in_doubt"], told["others"]) == (1, 1, 0)


def test_it_ends_with_its_standard_input(fleet: Fleet) -> None:
    engine = fleet.process("engine", "--until-eof", stdin=subprocess.PIPE)
    ready(engine)
    assert engine.stdin is not None
    engine.stdin.write(b"whatever\n")
    engine.stdin.flush()
    fleet.ok("run", "quick.yaml", "-q")
    engine.stdin.close()
    assert engine.wait(PATIENCE) == 0


def test_without_any_input_there_is_no_end_to_wait_for(fleet: Fleet) -> None:
    engine = fleet.process("engine", "--until-eof")
    assert "ready" in ready(engine)
    assert engine.wait(PATIENCE) == 0


def test_a_second_one_says_who_holds_the_engine(fleet: Fleet) -> None:
    engine = fleet.process("engine")
    ready(engine)
    second = fleet.process("engine")
    told = ready(second)["error"]
    assert told["holder"] == {"pid": engine.pid, "what": "fleet engine"}
    assert second.wait(PATIENCE) == 2
    assert second.stderr is not None
    assert f"(pid {engine.pid}, fleet engine) holds the engine" in second.stderr.read().decode()


def test_what_is_in_the_way_is_announced_and_said(fleet: Fleet) -> None:
    (fleet.root / ".fleet/fleet.db").write_text("this is no store, and it is long enough to be told from one " * 10)
    engine = fleet.process("engine")
    told = ready(engine)["error"]
    assert told["where"].endswith("fleet.db")
    assert engine.wait(PATIENCE) == 2
    assert engine.stderr is not None
    assert told["message"] in engine.stderr.read().decode()


def test_what_functions_print_stops_nothing_although_nobody_reads_its_output(fleet: Fleet) -> None:
    fleet.write("prints", PRINTS)
    (fleet.root / "talk.py").write_text(TALK)
    engine = fleet.process("engine", stderr=subprocess.DEVNULL)
    ready(engine)
    assert fleet("run", "prints.yaml", "-q").code == 0
    assert engine.stdout is not None
    engine.terminate()
    assert engine.stdout.read() == b"", "there is one line, and nothing else"
    assert engine.wait(PATIENCE) == 0


def test_it_is_not_listed_but_helps(fleet: Fleet) -> None:
    assert "\n  engine " not in fleet.ok("--help")
    assert "--until-eof" in fleet.ok("engine", "--help")


def test_a_console_brings_one_that_ends_with_it_and_tells_when_it_is_killed(fleet: Fleet) -> None:
    lock = fleet.root / ".fleet/engine.lock"
    for killed in (False, True):
        console = fleet.terminal("--engine", "process", columns=120)
        console.expect("there are no runs yet")
        console.expect("attached")
        held_by = json.loads(lock.read_bytes())
        assert held_by["what"] == "fleet engine"
        assert held_by["pid"] != console.process.pid
        if killed:
            # Whoever is killed before it can be asked is not missed, but has not begun.
            fleet.until((fleet.root / ".fleet" / "engine.sock").exists)
            os.kill(held_by["pid"], signal.SIGKILL)
            console.expect("the engine is gone")
        console.type("q")
        assert console.wait() == 0
        assert "no engine runs" in fleet.ok("doctor")
