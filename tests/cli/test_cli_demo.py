"""`fleet demo` where nobody looks: it says that nobody is asked, repairs, reports, and leaves nothing behind."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing

import psutil
import pytest
from cli_kit import Fleet

from fleetprompt.demo.world import start


def test_the_demo_runs_by_itself(fleet: Fleet) -> None:
    process = fleet.process("demo", "--json")
    out, err = process.communicate(timeout=120)
    said = err.decode()
    assert process.returncode == 0, said
    assert "NOBODY IS ASKED: the repair will be approved as `demo-operator`" in said
    assert "approving `Restart checkout?" in said
    assert "starting a shop in .fleet/demo, and" in said
    assert "the whole report: .fleet/demo/incident.md" in said
    run = json.loads(out)
    assert (run["workflow"], run["status"]) == ("incident-triage", "completed")
    assert "afterwards: ok" in run["output"]["summary"]
    assert (fleet.root / ".fleet/demo/incident.md").is_file()
    votes = [fact for fact in fleet("facts", "last", "--json").json if fact["type"] == "ApprovalVoted"]
    assert [vote["by"] for vote in votes] == ["demo-operator"]
    assert alive(fleet) == []


@pytest.mark.crash
def test_a_demo_that_is_killed_in_its_repair_is_recovered_and_restarts_the_service_once(fleet: Fleet) -> None:
    process = fleet.process("demo", stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert any(b"restart  started" in line for line in process.stdout)
    process.kill()
    process.wait()
    said = fleet("recover")
    assert said.code == 0, said
    assert "afterwards: ok" in said.out
    with closing(sqlite3.connect(fleet.root / ".fleet/demo/control.db")) as control:
        assert control.execute("SELECT kind FROM actions").fetchall() == [("restart",)]
    fleet.until(lambda: alive(fleet) == [])


def test_a_demo_that_is_parked_leaves_the_shop_open_for_its_run(fleet: Fleet) -> None:
    terminal = fleet.terminal("demo", "--plain")
    terminal.expect("  > ")
    terminal.type("l\n")
    terminal.expect("later: press a")
    terminal.type("\x03")
    terminal.expect("Ctrl-C again parks the run")
    terminal.type("\x03")
    assert terminal.wait() == 130
    assert "the shop stays open for 10m, or until the run is over: `fleet recover`" in terminal.text
    assert len(alive(fleet)) == 2
    fleet.ok("reject", fleet.approval(), "--comment", "not now")
    assert "not done" in fleet.ok("recover", "last")
    fleet.until(lambda: alive(fleet) == [])


def alive(fleet: Fleet) -> list[int]:
    """The processes of the shop."""
    return [p.pid for p in psutil.process_iter(["cmdline"]) if str(fleet.root) in " ".join(p.info["cmdline"] or ())]


@pytest.mark.parametrize(("folder", "why"), [("taken", "file exists"), ("taken/deeper", "not a directory")])
def test_a_folder_that_cannot_be_used_is_an_answer(fleet: Fleet, folder: str, why: str) -> None:
    (fleet.root / "taken").write_text("this is a file")
    said = fleet("demo", "--directory", folder)
    assert said.code == 2
    assert f"fleet: the shop cannot live in {folder}: {why}" in said.err
    assert "hint: choose a folder: --directory DIR" in said.err


def test_a_folder_with_a_demo_in_it_is_an_answer(fleet: Fleet) -> None:
    with start(fleet.root / "shop"):
        said = fleet("demo", "--directory", "shop")
    assert said.code == 2
    assert "fleet: another demo is running in " in said.err
    assert "hint: wait until it is over, or choose another folder: --directory DIR" in said.err
