"""`fleet triggers`: what starts runs here, and why a trigger of whatever kind has started none."""

from __future__ import annotations

from cli_kit import Fleet

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
