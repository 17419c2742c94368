"""`fleet triggers`: what starts runs here, and why a trigger of whatever kind has started none."""

from __future__ import annotations

import pytest
from cli_kit import Fleet

from fleetprompt.cli import triggers

MANY = """
name: many
triggers:
  - {type: manual}
  - {id: nightly, type: schedule, cron: "30 2 * * *"}
  - {id: hook, type: webhook, path: ops/alerts}
  - {id: heard, type: signal, match: "deploy.*", key: "${{ data.n }}"}
  - {id: after, type: completion, agent: sre, status: [failed, timeout]}
  - {id: broken, type: completion, workflow: quick, inputs: {n: "${{ data.nothing }}"}}
  - {id: files, type: watch, paths: ["in/*.csv"]}
inputs: {n: {type: integer, default: 0}}
steps: [{id: a, type: transform, output: 1}]
"""


def test_triggers_are_listed_with_why_the_last_has_started_nothing(fleet: Fleet) -> None:
    assert "there is nothing here yet" in fleet("triggers").err
    fleet.write("many", MANY)
    fleet.ok("run", "many.yaml", "-q")
    rows = {row["trigger"]: row for row in fleet("triggers", "--json").json}
    assert {name: (row["kind"], row["what"]) for name, row in rows.items()} == {
        "manual": ("manual", ""),
        "nightly": ("schedule", "30 2 * * *"),
        "hook": ("webhook", "POST /api/webhooks/ops/alerts"),
        "heard": ("signal", "deploy.*"),
        "after": ("completion", "agent sre failed, timeout"),
        "broken": ("completion", "quick completed"),
        "files": ("watch", "in/*.csv"),
    }
    assert {row["last"] for row in rows.values()} == {None}
    fleet.ok("run", "quick.yaml", "-q")
    for _ in range(2):
        fleet("signal", "deploy.done", "--data", '{"n": 1}')
    fleet("recover")
    rows = {row["trigger"]: row for row in fleet("triggers", "--json").json}
    assert rows["broken"]["last"]["outcome"] == "failed"
    assert "nothing" in rows["broken"]["last"]["reason"]
    assert rows["heard"]["last"]["outcome"] == "duplicate"
    said = fleet("triggers").out
    assert "many/broken" in said
    assert "✗ failed" in said
    listed = fleet("triggers", "firings", "kind:completion")
    assert "data.nothing" in listed.out or "nothing" in listed.out
    assert [each["trigger"] for each in fleet("triggers", "firings", "outcome:duplicate", "--json").json] == ["heard"]
    assert "no firing matches" in fleet("triggers", "firings", "outcome:missed").err


def test_a_watch_is_listed_and_paused_as_a_schedule_is(fleet: Fleet) -> None:
    fleet.write("many", MANY)
    fleet.ok("run", "many.yaml", "-q")
    rows = {row["name"]: row for row in fleet("schedules", "--json").json}
    files = rows["many/files"]
    assert (files["kind"], files["paths"], files["status"], files["next_at"]) == ("watch", ["in/*.csv"], "active", None)
    assert rows["many/nightly"]["kind"] == "schedule"
    assert [row["name"] for row in fleet("schedules", "kind:watch", "--json").json] == ["many/files"]
    assert "files in/*.csv" in fleet.ok("schedules", "show", "many/files")
    fleet("schedules", "pause", "many/files", "--reason", "incident 7")
    fleet("recover")
    paused = fleet("schedules", "show", "many/files", "--json").json
    assert (paused["status"], paused["reason"]) == ("paused", "incident 7")
    listed = {row["name"]: row["status"] for row in fleet("triggers", "--json").json}
    assert (listed["many/files"], listed["many/nightly"]) == ("paused", "active")
    fleet("schedules", "resume", "many/files")
    fleet("recover")
    assert fleet("schedules", "show", "many/files", "--json").json["status"] == "active"
    fleet("schedules", "fire", "many/files")
    fleet("recover")
    assert fleet.runs("wf:many trigger:watch") == [], "files fire it, and nobody else"


def test_the_last_of_a_trigger_is_told_however_often_others_go_off(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.write("many", MANY.replace('key: "${{ data.n }}"', "if: data.n == 1"))
    fleet.ok("run", "many.yaml", "-q")
    fleet("signal", "deploy.done", "--data", '{"n": 2}')
    fleet("recover")
    for _ in range(2):
        fleet.ok("run", "quick.yaml", "-q")
    fleet("recover")
    monkeypatch.setattr(triggers, "RECENT", 1)
    rows = {row["trigger"]: row for row in fleet("triggers", "--json").json}
    assert (rows["heard"]["last"]["outcome"], rows["heard"]["last"]["reason"]) == ("skipped", "its `if` does not hold")
    assert rows["broken"]["last"]["outcome"] == "failed"
    assert rows["files"]["last"] is None
    [sent] = fleet("signals", "type:deploy.done", "--json").json
    assert "trigger heard of many: its `if` does not hold" in fleet("signals", "show", sent["id"]).out
