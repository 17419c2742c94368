"""The two workflows that come with the engine, run from their files as an operator runs them."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cli_kit import Fleet

from fleetprompt.demo import service, shop

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
LOCK = 'version = 1\n[[package]]\nname = "left"\nversion = "{}"\n'


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)


def commit(folder: Path, files: dict[str, str]) -> None:
    if not folder.exists():
        subprocess.run(["git", "init", "-q", str(folder)], check=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    for command in (["add", "-A"], ["commit", "-qm", "change"]):
        subprocess.run(["git", "-C", str(folder), *command], check=True)


def audit(fleet: Fleet, folder: str) -> dict[str, Any]:
    said = fleet("run", str(WORKFLOWS / "repo-audit.yaml"), "-i", f"repo={folder}", "-i", "report=r.md", "--json")
    assert said.out, said
    assert said.json["status"] == ("failed" if said.code else "completed"), said
    assert "Traceback" not in said.err
    return said.json


def test_a_second_audit_tells_what_changed_since_the_first_of_the_same_repository(fleet: Fleet) -> None:
    commit(fleet.root / "one", {"uv.lock": LOCK.format(1), "a.env": f"TOKEN={TOKEN}\n", f"{TOKEN}.txt": "x"})
    assert audit(fleet, "one")["output"]["new"] == 1
    commit(fleet.root / "two", {"uv.lock": LOCK.format(1)})
    assert audit(fleet, "two")["output"]["grade"] == "A"
    commit(fleet.root / "one", {"uv.lock": LOCK.format(2)})
    done = audit(fleet, "one")
    assert "1 finding, 0 of them new" in done["output"]["summary"]
    report = (fleet.root / "r.md").read_text()
    assert "1 of 1 lock file changed since the last audit, " in report
    assert "| uv.lock | left | 1 | 2 |" in report
    for run in fleet.runs():
        for said in (fleet("show", run["id"], "--full"), fleet("facts", run["id"], "--json"), fleet("logs", run["id"])):
            assert TOKEN not in said.out + said.err
    assert TOKEN not in json.dumps(done) + report.replace("\\", "")
    assert TOKEN.encode() not in b"".join(path.read_bytes() for path in (fleet.root / ".fleet").glob("fleet.db*"))


@pytest.mark.parametrize(
    ("folder", "why"), [(".", ". is not a git repository"), ("no", "there is no directory no")], ids=["plain", "none"]
)
def test_what_cannot_be_audited_is_said_in_a_sentence(fleet: Fleet, folder: str, why: str) -> None:
    error = audit(fleet, folder)["error"]
    assert (error["code"], error["step"], error["message"]) == ("TOOL_ERROR", "inspect", why)
    assert not (fleet.root / "r.md").exists()


def triage(fleet: Fleet, **inputs: str) -> list[str]:
    """The command that looks into an incident of a service that nobody runs."""
    shop.create(fleet.root / "shop.db")
    line = service.log_line(datetime.now(UTC), "ERROR", "checkout", "no disk", exc_type="OSError")
    (fleet.root / "checkout.log").write_text(line + "\n")
    nobody = "http://127.0.0.1:9"
    given = {"log": "checkout.log", "db": "shop.db", "service_url": nobody, "control_url": nobody, "report": "r.md"}
    pairs = [f"{name}={value}" for name, value in (given | inputs).items()]
    return ["run", str(WORKFLOWS / "incident-triage.yaml"), *(word for pair in pairs for word in ("-i", pair))]


def test_a_service_that_does_not_answer_is_a_finding(fleet: Fleet) -> None:
    process = fleet.process(*triage(fleet))
    fleet.ok("reject", fleet.approval(), "--comment", "it is being moved")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "Restart checkout? The service does not answer, and its log holds errors." in out.decode()
    report = (fleet.root / "r.md").read_text()
    assert "checkout was unreachable; action: restart (not done); afterwards: not checked." in report
    assert "- approval: rejected by " in report
    assert ": it is being moved" in report


def test_a_control_port_that_does_not_answer_fails_the_run_and_rolls_nothing_back(fleet: Fleet) -> None:
    process = fleet.process(*triage(fleet), "--json")
    fleet.ok("approve", fleet.approval())
    run = json.loads(process.communicate(timeout=120)[0])
    assert process.returncode == 1
    assert run["error"]["message"] == "POST http://127.0.0.1:9/restart failed: connection refused"
    assert not any("@compensate" in step["path"] for step in run["steps"])


@pytest.mark.parametrize(
    ("inputs", "step", "why"),
    [
        ({"db": "gone.db"}, "context.orders", "there is no database gone.db"),
        ({"db": "checkout.log"}, "context.orders", "checkout.log cannot be read as the shop's database: "),
        ({"log": "gone.log"}, "cluster", "the log gone.log cannot be read: no such file or directory"),
        ({"log": "."}, "cluster", ". is not a file"),
    ],
)
def test_a_log_or_database_that_is_not_there_is_said_in_a_sentence(
    fleet: Fleet, inputs: dict[str, str], step: str, why: str
) -> None:
    said = fleet(*triage(fleet, **inputs))
    assert said.code == 1
    assert f"TOOL_ERROR in {step}\n  {why}" in said.out
    assert "Traceback" not in said.out + said.err
