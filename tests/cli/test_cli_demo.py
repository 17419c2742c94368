"""`fleet demo` where nobody looks: it says that nobody is asked, repairs, reports, and leaves nothing behind."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from cli_kit import Fleet

from fleetprompt.cli.demo import find_workflow
from fleetprompt.demo.world import start

NOWHERE = {"support-reply": ("-i", "desk_url=http://127.0.0.1:1")}
"""What examples are given that would else look at a port on which somebody may listen."""


@pytest.mark.long
def test_the_demo_runs_by_itself(fleet: Fleet) -> None:
    process = fleet.process("demo", "--json")
    out, err = process.communicate(timeout=120)
    said = err.decode()
    assert process.returncode == 0, said
    assert "NOBODY IS ASKED: everything will be approved as `demo-operator`" in said
    assert "approving `Restart checkout?" in said
    assert " as demo-operator, because there is no terminal\n" in said
    assert "--approve-as" not in said
    assert "starting a shop in demo, and" in said
    assert "the whole report: demo/incident.md" in said
    run = json.loads(out)
    assert (run["workflow"], run["status"], run["mode"]) == ("incident-triage", "completed", "simulated")
    assert ", SIMULATED" in said
    assert "SIMULATED" in fleet("show", "last").out.splitlines()[0]
    assert " n/a" in fleet("runs").out
    assert "afterwards: ok" in run["output"]["summary"]
    assert (fleet.root / "demo/incident.md").is_file()
    votes = [fact for fact in fleet("facts", "last", "--json").json if fact["type"] == "ApprovalVoted"]
    why = "approved without looking, because there is no terminal"
    assert [(vote["by"], vote["comment"]) for vote in votes] == [("demo-operator", why)]
    assert alive(fleet) == []


@pytest.mark.long
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
    with closing(sqlite3.connect(fleet.root / "demo/control.db")) as control:
        assert control.execute("SELECT kind FROM actions").fetchall() == [("restart",)]
    fleet.until(lambda: alive(fleet) == [])


@pytest.mark.long
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


@pytest.mark.long
def test_one_person_sees_a_demo_to_its_end_that_takes_two(fleet: Fleet) -> None:
    terminal = fleet.terminal("demo", "release-gate", "--plain")
    terminal.expect("this takes two people: once you have approved, `demo-colleague` does")
    terminal.expect("  > ")
    terminal.type("a\n")
    assert terminal.wait() == 0
    assert "SIMULATED" in terminal.text
    votes = [fact["by"] for fact in fleet("facts", "last", "--json").json if fact["type"] == "ApprovalVoted"]
    assert len(votes) == 2
    assert votes[1] == "demo-colleague"


def alive(fleet: Fleet) -> list[int]:
    """The processes of the shop."""
    return [p.pid for p in psutil.process_iter(["cmdline"]) if str(fleet.root) in " ".join(p.info["cmdline"] or ())]


def test_the_examples_are_listed_and_each_can_be_run_without_a_model(fleet: Fleet) -> None:
    told = fleet("demo", "--list")
    assert told.code == 0
    listed = fleet("demo", "--list", "--json").json
    assert listed[0]["name"] == "incident-triage"
    for example in listed:
        assert example["name"] in told.out
        file = Path(example["file"])
        assert file.stem == example["name"]
        assert fleet("validate", str(file)).code == 0
        assert (file.parent / "simulations" / file.name).is_file()


def test_an_example_whose_shop_is_closed_says_what_opens_it(fleet: Fleet) -> None:
    for example in ("incident-triage", "data-quality", "support-reply"):
        said = fleet("run", str(find_workflow(fleet.root, example)), *NOWHERE.get(example, ()))
        assert said.code == 1
        assert "open the shop it needs, in another terminal  fleet demo up" in said.err + said.out


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
