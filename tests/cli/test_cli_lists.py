"""What is listed and shown, for people and for machines."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli_kit import FILES, Fleet

from fleetprompt.cli import main


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store of a project that has had a run of each kind."""
    root = tmp_path_factory.mktemp("life")
    (root / ".fleet").mkdir(mode=0o700)
    for name, text in FILES.items():
        (root / f"{name}.yaml").write_text(text)
    assert main(["-C", str(root), "run", "quick.yaml", "--label", "env=prod", "-q"]) == 0
    assert main(["-C", str(root), "run", "failing.yaml", "-q"]) == 1
    assert main(["-C", str(root), "run", "gated.yaml", "-q", "--no-wait"]) == 3
    return root


@pytest.fixture
def lived_in(fleet: Fleet, life: Path) -> Fleet:
    """A project with a run of each kind: completed, failed, waiting."""
    for path in (life / ".fleet").glob("fleet.db*"):
        shutil.copy(path, fleet.root / ".fleet")
    return fleet


def test_runs_are_listed_newest_first(lived_in: Fleet) -> None:
    said = lived_in("runs")
    lines = said.out.splitlines()
    assert lines[0].split() == ["RUN", "WORKFLOW", "STATUS", "BY", "CREATED", "DUR", "COST", "NOW"]
    assert [line.split()[2] for line in lines[1:]] == ["gated", "failing", "quick"]
    assert "waiting approval" in lines[1]
    assert "broken: " in lines[2]
    assert "just now" in lines[3] or " ago" in lines[3]
    assert "\x1b" not in said.out
    assert not any(line != line.rstrip() for line in lines)


def test_runs_in_json(lived_in: Fleet) -> None:
    rows = lived_in.runs()
    assert [row["workflow"] for row in rows] == ["gated", "failing", "quick"]
    assert len({frozenset(row) for row in rows}) == 1
    assert rows[0]["waiting_on"] == "approval"
    assert [row["reason"] for row in rows] == ["waits for approval", None, None]
    assert rows[1]["error"]["code"] == "TOOL_ERROR"
    assert (rows[2]["cost_usd"], rows[2]["cost_nano"]) == (0.0, 0)
    assert all(row["created_at"].endswith("Z") and len(row["id"]) == 36 for row in rows)


def test_filters_pick_and_are_checked(lived_in: Fleet) -> None:
    assert [row["workflow"] for row in lived_in.runs("status:failed")] == ["failing"]
    assert [row["workflow"] for row in lived_in("runs", "label.env:prod", "since:1h", "--json").json] == ["quick"]
    assert [row["workflow"] for row in lived_in("runs", "-wf:gated", "-wf:quick", "--json").json] == ["failing"]
    assert lived_in("runs", "wf:none") == (0, "", "no run matches\n")
    said = lived_in("runs", "status:fialed")
    assert said.code == 2
    assert '^^^^^^ "fialed" is not a status' in said.err
    assert "did you mean failed?" in said.err
    assert lived_in("runs", "--jsn").err.startswith("fleet: no such option: --jsn")
    assert lived_in("cancel", "-h").code == 2


def test_the_limit_tells_what_it_hides(lived_in: Fleet) -> None:
    said = lived_in("runs", "--limit", "1")
    assert len(said.out.splitlines()) == 2
    assert said.err == "2 more runs: --limit N or --all\n"
    assert len(lived_in("runs", "--all").out.splitlines()) == 4
    assert len(lived_in("runs", "--limit", "2", "--json").json) == 2


def test_narrow_tables_leave_out_columns_and_keep_ids(lived_in: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    for command in (["runs"], ["approvals"], ["signals"], ["workflows"], ["facts", "last"]):
        lines = lived_in.ok(*command).splitlines()
        assert max(map(len, lines)) <= 60, command
    assert lived_in("approvals", "--json").json[0]["id"] in lived_in.ok("approvals")


def test_a_run_is_found_by_part_of_its_id(lived_in: Fleet) -> None:
    run = lived_in.runs("wf:quick")[0]["id"]
    for text in (run, run[-8:], run[:20]):
        assert lived_in("show", text, "--json").json["id"] == run
    assert lived_in("show", "last", "--json").json["workflow"] == "gated"
    assert lived_in("show", "0").code == 2
    assert "there is no run nope" in lived_in("show", "nope").err


def test_show_tells_the_whole_story(lived_in: Fleet) -> None:
    said = lived_in.ok("show", lived_in.runs("wf:failing")[0]["id"])
    for part in (
        "✗ failing",
        "plan",
        "failing.yaml",
        "✓ fine",
        "out  1",
        "✗ broken",
        "TOOL_ERROR in broken",
        "it burns",
    ):
        assert part in said
    assert "fleet retry" in said
    said = lived_in.ok("show", "last")
    assert "waits for approval" in said
    assert "Pay the bill?" in said
    assert "fleet approve ap-" in said


def test_show_in_json_and_in_the_past(lived_in: Fleet) -> None:
    run = lived_in.runs("wf:quick")[0]["id"]
    now = lived_in("show", run, "--json").json
    assert now["inputs"] == {"name": "world", "times": 2}
    assert now["steps"][0] | {"duration": 0} == now["steps"][0] | {"type": "transform", "id": "greet", "duration": 0}
    assert now["steps"][0]["output"] == "Hello, world!"
    assert now["labels"] == {"env": "prod"}
    past = lived_in("show", run, "--at", "3", "--json").json
    assert (past["status"], past["at"], past["finished_at"]) == ("running", 3, None)
    assert "fact 3 of" in lived_in.ok("show", run, "--at", "3")


def test_facts_are_the_journal(lived_in: Fleet) -> None:
    facts = lived_in("facts", "last", "--json").json
    assert [fact["type"] for fact in facts][:2] == ["RunCreated", "RunStarted"]
    assert [fact["n"] for fact in facts] == list(range(1, len(facts) + 1))
    assert facts[0]["at"].endswith("Z")
    assert len(lived_in("facts", "last", "--upto", "2", "--json").json) == 2
    text = lived_in.ok("facts", "last")
    assert "ApprovalRequested" in text
    assert len(text.splitlines()) == len(facts) + 1


def test_logs_are_lines_of_steps(lived_in: Fleet) -> None:
    run = lived_in.runs("wf:failing")[0]["id"]
    lines = lived_in("logs", run, "--json").json
    assert {"at", "level", "text", "data", "step", "attempt", "line"} == set(lines[0])
    assert [line["text"] for line in lines if line["level"] == "stderr"] == ["it burns"]
    assert lived_in("logs", run, "-s", "fine", "--json").json == []
    assert len(lived_in.ok("logs", run, "--tail", "1").splitlines()) == 1
    followed = [json.loads(line) for line in lived_in.ok("logs", run, "-f", "--json").splitlines()]
    assert followed == lines


def test_workflows_are_listed_with_files_that_never_ran(lived_in: Fleet) -> None:
    (lived_in.root / "workflows").mkdir()
    lived_in.write("workflows/new", "name: new\nsteps: [{id: a, type: transform, output: 1}]")
    rows = {row["name"]: row["status"] for row in lived_in("workflows", "--json").json}
    assert rows == {"failing": "active", "gated": "active", "quick": "active", "new": "draft"}
    assert "draft" in lived_in.ok("workflows")
    assert [row["name"] for row in lived_in("workflows", "-wf:q*", "status:active", "--json").json] == [
        "failing",
        "gated",
    ]
    assert lived_in("workflows", "status:archived").err == "no workflow matches\n"
    assert lived_in("workflows", "staus:active").code == 2


def test_a_file_that_ran_is_listed_once_whatever_its_workflow_is_called(lived_in: Fleet) -> None:
    (lived_in.root / "workflows").mkdir()
    lived_in.write("workflows/file", "name: fourth\nsteps: [{id: a, type: transform, output: 1}]")
    lived_in.ok("run", "file")
    assert [row["name"] for row in lived_in("workflows", "--json").json] == ["failing", "fourth", "gated", "quick"]


def test_a_paused_workflow_does_not_start(lived_in: Fleet) -> None:
    said = lived_in("workflows", "pause", "quick")
    assert said.code == 0
    assert "quick will be paused" in said.out
    assert "fleet recover" in said.err
    said = lived_in("run", "quick.yaml")
    assert said.code == 2
    assert "is paused" in said.err
    assert "fleet workflows activate quick" in said.err
    assert lived_in("workflows", "pause", "nope").code == 2
    lived_in.ok("workflows", "activate", "quick")
    lived_in.ok("run", "quick.yaml", "-q")


def test_signals_are_published_listed_shown_and_replayed(fleet: Fleet) -> None:
    fleet.write(
        "hears",
        """
name: hears
triggers: [{type: signal, match: "deploy.*", inputs: {what: "${{ data.what }}"}}]
inputs: {what: {type: string, default: none}}
steps: [{id: a, type: transform, output: "${{ inputs.what }}"}]
""",
    )
    fleet.ok("run", "hears.yaml", "-q")
    said = fleet("signal", "deploy.done", "--data", '{"what": "api"}', "--key", "d1", "--subject", "api", "--json")
    assert (said.code, said.json["status"], said.json["duplicate"]) == (0, "pending", False)
    assert fleet("signal", "deploy.done", "--key", "d1", "--json").json["duplicate"] is True
    (fleet.root / "data.json").write_text('{"what": "web"}')
    said = fleet("signal", "deploy.done", "--data", "@data.json")
    assert "recorded; it will be carried out when an engine runs" in said.err
    fleet.ok("recover", "-q")
    outputs = {fleet("show", row["id"], "--json").json["output"] for row in fleet.runs("trigger:signal")}
    assert outputs == {"api", "web"}
    sent = fleet("signals", "type:deploy.*", "--json").json
    assert [one["status"] for one in sent] == ["accepted", "accepted"]
    again = fleet("signals", "replay", sent[0]["id"], "--json").json
    first = sent[0]["id"]
    assert (again["causation"], again["replay_of"], again["data"]) == (first, first, {"what": "web"})
    assert sent[0]["id"] in fleet.ok("signals")
    assert "causation" in fleet.ok("signals", "show", again["id"])
    assert fleet("signals", "show", "nope").code == 2
    assert "are the engine's own" in fleet("signal", "fleet.run.start").err
    assert "is not JSON" in fleet("signal", "a.b", "--data", "{").err


def test_what_a_signal_could_not_start_is_listed_tried_again_and_dismissed(fleet: Fleet) -> None:
    flow = """
name: strict
triggers: [{id: t, type: signal, match: "deploy.*", inputs: {n: "${{ data.n }}"}}]
inputs: {n: {type: integer, default: 0}}
steps: [{id: a, type: transform, output: "${{ inputs.n }}"}]
"""
    fleet.write("strict", flow)
    fleet.ok("run", "strict.yaml", "-q")
    assert "there are no dead letters" in fleet("signals", "dead").err
    for n in ('"x"', "1"):
        fleet.ok("signal", "deploy.done", "--data", f'{{"n": {n}}}')
    fleet.ok("recover", "-q")
    [letter] = fleet("signals", "dead", "wf:strict", "--json").json
    assert (letter["target"], letter["trigger"], letter["status"], letter["attempts"]) == ("strict", "t", "dead", 1)
    assert letter["id"] in fleet.ok("signals", "dead")
    queued = fleet("signals", "replay", letter["id"], "--json").json
    assert (queued["result"]["status"], queued["status"]) == ("accepted", "dead")
    fleet.write("strict", flow.replace("integer", "string").replace("default: 0", "default: '0'"))
    fleet.ok("run", "strict.yaml", "-q")
    # The engine has carried out what was recorded before it learned of the new file.
    assert [each["attempts"] for each in fleet("signals", "dead", "--json").json] == [2]
    fleet.ok("signals", "replay", letter["id"])
    fleet.ok("recover", "-q")
    assert fleet("signals", "dead", "--json").json == []
    [letter] = fleet("signals", "dead", "--all", "--json").json
    assert letter["status"] == "replayed"
    refused = fleet("signals", "replay", letter["id"])
    assert (refused.code, "was replayed" in refused.err) == (2, True)
    assert fleet("signals", "dismiss", "status:dead", "--json").json["dismissed"] == 0


def test_a_range_of_signals_is_foreseen_and_said_again_once(fleet: Fleet) -> None:
    fleet.write(
        "hears",
        "name: hears\ntriggers: [{type: signal, match: 'deploy.*'}]\nsteps: [{id: a, type: transform, output: 1}]\n",
    )
    fleet.ok("run", "hears.yaml", "-q")
    for _ in range(3):
        fleet.ok("signal", "deploy.done")
    fleet.ok("recover", "-q")
    again = ["signals", "replay", "--since", "1h", "--type", "deploy.*"]
    foreseen = fleet(*again, "--dry-run", "--json").json
    assert (foreseen["signals"], foreseen["starts"], foreseen["before"]) == (3, {"hears": 3}, 0)
    assert "would start hears: 3 runs" in fleet(*again, "--dry-run").err
    asked = fleet(*again)
    assert (asked.code, "--yes does so without asking" in asked.err) == (2, True)
    assert len(fleet(*again, "--yes", "--json").json) == 3
    assert fleet(*again, "--yes", "--json").json == []
    assert len(fleet(*again, "--yes", "--key", "more", "--json").json) == 3
    fleet.ok("recover", "-q")
    assert len(fleet.runs("trigger:signal")) == 9
    assert "not both" in fleet("signals", "replay", "x", "--since", "1h").err
    assert "which signals?" in fleet("signals", "replay").err
    assert "more than 2 signals match" in fleet(*again, "--limit", "2", "--yes").err


def test_times_are_local_and_in_utc_on_request(lived_in: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        local, utc = lived_in.ok("facts", "last"), lived_in.ok("facts", "last", "--utc")
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    hour = int(lived_in("facts", "last", "--json").json[0]["at"][11:13])
    assert int(utc.splitlines()[1].split()[1][:2]) == hour
    assert int(local.splitlines()[1].split()[1][:2]) == (hour + 9) % 24


def test_a_step_that_a_run_does_not_have_is_said_so(fleet: Fleet) -> None:
    fleet("run", "failing.yaml", "-q")
    run = fleet.runs()[0]["id"][-8:]
    for extra in ([], ["--json"], ["--follow"]):
        said = fleet("logs", "last", "--step", "brokn", *extra)
        assert said == (2, "", f"fleet: run {run} has no step brokn\n  hint: did you mean `broken`?\n")
    assert fleet("logs", "last", "--step", "fine") == (0, "", "")


def test_what_is_much_too_long_is_not_repeated(fleet: Fleet) -> None:
    fleet.ok("run", "quick.yaml", "-q")
    for command in ("show", "runs", "approve", "cancel"):
        said = fleet(command, "x" * 5_000)
        assert (said.code, said.out) == (2, "")
        assert len(said.err) < 200, command
