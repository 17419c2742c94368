"""`fleet schedules`: what comes when, what came of it, and what people do about it; with an engine, and without one."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from cli_kit import Fleet

TICK = """
name: tick
triggers:
  - {id: second, type: schedule, every: 1s, overlap: allow}
steps: [{id: a, type: transform, output: 1}]
"""
SLOW = TICK.replace("tick", "slow").replace("{id: a, type: transform, output: 1}", "{id: a, type: delay, for: 2500ms}")
TWO = """
name: two
triggers:
  - {id: nightly, type: schedule, cron: "30 2 * * *", timezone: Europe/Berlin, catchup: latest, jitter: 5m}
  - {id: weekly, type: schedule, cron: "@weekly", overlap: queue}
  - {type: manual}
steps: [{id: a, type: transform, output: 1}]
"""


def registered(fleet: Fleet, name: str, text: str) -> None:
    """A workflow that was run once."""
    fleet.write(name, text)
    fleet.ok("run", f"{name}.yaml", "-q")


def shown(fleet: Fleet, name: str, *words: str) -> dict[str, Any]:
    return fleet("schedules", "show", name, *words, "--json").json


def fired(fleet: Fleet, name: str) -> list[dict[str, Any]]:
    return [firing for firing in shown(fleet, name, "--limit", "1000")["firings"] if firing["outcome"] == "fired"]


def test_nothing_here_yet(fleet: Fleet) -> None:
    assert "there is nothing here yet" in fleet("schedules").err
    registered(fleet, "quick", (fleet.root / "quick.yaml").read_text())
    assert "no registered workflow has a schedule" in fleet("schedules").err
    assert fleet("schedules", "--json").json == []


def test_schedules_are_listed_with_what_comes_next(fleet: Fleet) -> None:
    registered(fleet, "two", TWO)
    said = fleet("schedules")
    lines = said.out.splitlines()
    assert lines[0].split() == ["SCHEDULE", "STATUS", "WHEN", "ZONE", "NEXT", "LAST", "OUTCOME"]
    assert lines[1].split()[:7] == ["●", "two/nightly", "active", "30", "2", "*", "*"]
    assert "Europe/Berlin" in lines[1]
    assert "never" in lines[1]
    assert "no engine is here: nothing fires" in said.err
    nightly, weekly = fleet("schedules", "--json").json
    assert (nightly["name"], nightly["cron"], nightly["catchup"], nightly["jitter"]) == (
        "two/nightly",
        "30 2 * * *",
        "latest",
        300.0,
    )
    assert (weekly["overlap"], weekly["every"], weekly["last"], weekly["status"]) == ("queue", None, None, "active")
    assert nightly["next_at"].endswith("Z")
    assert datetime.fromisoformat(weekly["next_at"]).strftime("%a %H:%M") == "Sun 00:00"


def test_filters_pick_schedules(fleet: Fleet) -> None:
    registered(fleet, "two", TWO)
    assert [row["trigger"] for row in fleet("schedules", "overlap:queue", "--json").json] == ["weekly"]
    assert [row["trigger"] for row in fleet("schedules", "timezone:europe/*", "--json").json] == ["nightly"]
    assert [row["trigger"] for row in fleet("schedules", "next<8d", "--json").json] == ["nightly", "weekly"]
    assert fleet("schedules", "status:paused").err.startswith("no schedule matches")
    assert fleet("schedules", "status:broken").code == 2


def test_what_a_paused_workflow_has_is_off(fleet: Fleet) -> None:
    registered(fleet, "two", TWO)
    fleet.ok("workflows", "pause", "two")
    fleet("recover")
    assert {row["status"] for row in fleet("schedules", "--json").json} == {"off"}
    assert "off: its workflow is paused" in fleet.ok("schedules", "show", "nightly")


def test_one_is_named_by_its_trigger_or_its_workflow(fleet: Fleet) -> None:
    registered(fleet, "two", TWO)
    registered(fleet, "tick", TICK)
    assert [shown(fleet, name)["name"] for name in ("two/weekly", "weekly", "tick", "second")] == [
        "two/weekly",
        "two/weekly",
        "tick/second",
        "tick/second",
    ]
    said = fleet("schedules", "show", "two")
    assert said.code == 2
    assert "two/nightly, two/weekly" in said.err
    assert "did you mean `tick`" in fleet("schedules", "fire", "tikc").err


def test_a_run_that_was_asked_for_lets_no_schedule_fire(fleet: Fleet) -> None:
    registered(fleet, "slow", SLOW)
    assert shown(fleet, "slow")["firings"] == []
    assert len(fleet.runs()) == 1


def test_an_engine_that_stays_fires_and_is_told_to_stop(fleet: Fleet) -> None:
    registered(fleet, "tick", TICK)
    said = fleet("schedules", "pause", "tick", "--reason", "not yet")
    assert said.code == 0
    assert "will be paused" in said.out
    assert "fleet recover" in said.err
    fleet.process("engine")
    paused = fleet.until(lambda: shown(fleet, "tick")["status"] == "paused" and shown(fleet, "tick"))
    assert (paused["reason"], paused["firings"], paused["next_at"]) == ("not yet", [], None)
    assert "is already paused" in fleet.ok("schedules", "pause", "tick")
    run = fleet("schedules", "fire", "tick", "--json").json["run"]
    fleet.until(lambda: [row for row in fleet.runs("status:completed") if row["id"] == run])
    # At least one second has been let go by.
    since = datetime.fromisoformat(paused["changed_at"]).timestamp()
    fleet.until(lambda: time.time() > since + 1.1)
    assert "is active" in fleet.ok("schedules", "resume", "tick")
    assert next(row["reason"] for row in shown(fleet, "tick", "outcome:skipped")["firings"]).endswith(": not yet")
    fleet.until(lambda: len(fired(fleet, "tick")) >= 4)
    fleet.ok("schedules", "pause", "tick")
    before = fired(fleet, "tick")
    assert len({firing["scheduled"] for firing in before}) == len(before)
    fleet.until(lambda: not fleet("signals", "status:pending", "--json").json)
    assert fired(fleet, "tick") == before
    runs = {row["id"] for row in fleet.runs("trigger:schedule")}
    assert runs == {firing["run"] for firing in before}
    listing = fleet.ok("schedules", "show", "tick", "--limit", "1000")
    assert "asked for by" in listing
    assert "by hand" in listing
    assert fleet("schedules").err == ""


def test_the_next_times_of_a_cron_expression(fleet: Fleet) -> None:
    found = fleet("schedules", "next", "30 2 * * *", "--timezone", "Europe/Berlin", "-n", "400", "--json").json
    assert len(found) == 400
    (moved,) = [each for each in found if each["note"]][:1]
    assert moved["scheduled"].endswith("T03:30")
    assert len({each["scheduled"] for each in found}) == 400
    lines = fleet.ok("schedules", "next", "0 9 * * 7").splitlines()
    assert len(lines) == 10
    assert all(line.startswith("Sun ") for line in lines)
    for wrong in (["0 0 31 2 *"], ["* * * *"], ["@daily", "--timezone", "Mars"]):
        said = fleet("schedules", "next", *wrong)
        assert said.code == 2
        assert said.err
