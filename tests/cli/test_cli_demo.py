"""`fleet demo` where nobody looks: it says that nobody is asked, repairs, reports, and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess

import psutil
from cli_kit import Fleet


def test_the_demo_runs_by_itself(fleet: Fleet) -> None:
    process = fleet.process("demo", "--json")
    out, err = process.communicate(timeout=120)
    said = err.decode()
    assert process.returncode == 0, said
    assert "NOBODY IS ASKED: the repair will be approved as `demo-operator`" in said
    assert "approving `Restart checkout?" in said
    assert str(fleet.root / ".fleet/demo/incident.md") in said
    run = json.loads(out)
    assert (run["workflow"], run["status"]) == ("incident-triage", "completed")
    assert "afterwards: ok" in run["output"]["summary"]
    assert (fleet.root / ".fleet/demo/incident.md").is_file()
    votes = [fact for fact in fleet("facts", "last", "--json").json if fact["type"] == "ApprovalVoted"]
    assert [vote["by"] for vote in votes] == ["demo-operator"]
    alive = [p for p in psutil.process_iter(["cmdline"]) if str(fleet.root) in " ".join(p.info["cmdline"] or ())]
    assert alive == []


def test_a_world_that_does_not_come_up_is_an_answer(fleet: Fleet) -> None:
    (fleet.root / "taken").write_text("this is a file")
    process = fleet.process("demo", "--directory", "taken", stdout=subprocess.DEVNULL)
    _, err = process.communicate(timeout=120)
    assert process.returncode in (2, 70)
    assert b"Traceback" not in err
