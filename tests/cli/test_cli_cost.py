"""What was spent, as the command line tells it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from cli_kit import Fleet

from fleetprompt.engine.core.facts import AnyFact, RunCreated, StepNoted, StepSucceeded
from fleetprompt.engine.ports import Append, RunHead
from fleetprompt.engine.store.database import SqlStore

CENT = 10_000_000
DAY = 86_400.0


def spent(path: str, cents: int, tokens: int, days: float) -> AnyFact:
    return StepSucceeded(path=path, usage={"cost_nano": cents * CENT, "tokens": tokens}, at=time.time() - days * DAY)


def run(id_: str, workflow: str, *outcomes: AnyFact, **fields: Any) -> Append:
    """A completed run that was created when its first step had spent something, and took ten seconds."""
    at = outcomes[0].at
    facts = (RunCreated(run=id_, plan="p", workflow=workflow, at=at), *outcomes)
    times = {"created_at": at, "updated_at": at, "started_at": at, "finished_at": at + 10}
    values: dict[str, Any] = {"status": "completed", "plan": "p", "tenant": "default", "n": len(facts), **times}
    head = RunHead(id=id_, workflow=workflow, **values | fields)
    return Append(run=id_, tenant="default", after=0, facts=facts, head=head)


def fill(fleet: Fleet, *runs: Append) -> None:
    """Put runs into the store of a project."""

    async def append() -> None:
        store = SqlStore(fleet.root / ".fleet" / "fleet.db")
        await store.open()
        for each in runs:
            await store.journal.append(each)
        await store.close()

    asyncio.run(append())


@pytest.fixture
def spending(fleet: Fleet) -> Fleet:
    """A project whose store has seen three runs that spent money."""
    runs = (
        run("run-1-aaaaaaaa", "audit", spent("each[0].ask", 150, 1000, 0.01), spent("each[1].ask", 50, 500, 0.01)),
        run("run-2-bbbbbbbb", "audit", spent("sum", 10, 20, 2), status="failed", error_code="TOOL_ERROR"),
        run("run-3-cccccccc", "crawl", spent("ask", 1234, 9, 20)),
    )
    fill(fleet, *runs)
    return fleet


def test_cost_is_shown_by_what_is_asked_for(spending: Fleet) -> None:
    lines = [line.split() for line in spending.ok("cost", "--since", "30d").splitlines()]
    assert lines == [
        ["WORKFLOW", "COST", "TOKENS", "CALLS", "RUNS"],
        ["crawl", "$12.34", "9", "1", "1"],
        ["audit", "$2.10", "1,520", "3", "2"],
        ["total", "$14.44", "1,529", "4", "3"],
    ]
    lines = [line.split() for line in spending.ok("cost", "--by", "step").splitlines()]
    assert lines[1:] == [
        ["each.ask", "audit", "$2.00", "1,500", "2", "1"],
        ["sum", "audit", "$0.10", "20", "1", "1"],
        ["total", "$2.10", "1,520", "3"],
    ]
    assert [line.split()[0] for line in spending.ok("cost", "--by", "run").splitlines()] == [
        "RUN",
        "aaaaaaaa",
        "bbbbbbbb",
        "total",
    ]
    assert spending.ok("cost", "--by", "model").splitlines()[1].split()[:2] == ["unknown", "$2.10"]


def test_what_may_have_been_spent_is_shown_apart(fleet: Fleet) -> None:
    now = time.time()
    lost = StepNoted(path="ask", kind="llm.failed", value={"model": "m/large", "uncertain_nano": 30 * CENT}, at=now)
    asked = StepNoted(
        path="ask", kind="llm.completed", value={"model": "m/small", "cost_nano": CENT, "tokens": 9}, at=now
    )
    fill(fleet, run("run-1-aaaaaaaa", "audit", lost, asked))
    lines = [line.split() for line in fleet.ok("cost", "--by", "model").splitlines()]
    assert lines == [
        ["MODEL", "COST", "UNCERTAIN", "TOKENS", "CALLS", "RUNS"],
        ["m/small", "$0.01", "-", "9", "1", "1"],
        ["m/large", "$0.00", "$0.30", "0", "1", "1"],
        ["total", "$0.01", "$0.30", "9", "2"],
    ]
    (row,) = fleet("cost", "--json").json
    assert (row["cost_nano"], row["uncertain_nano"], row["uncertain_usd"]) == (CENT, 30 * CENT, 0.3)

    fill(fleet, run("run-2-bbbbbbbb", "sums", asked), run("run-3-cccccccc", "loses", lost, uncertain_nano=30 * CENT))
    listed = [line.split() for line in fleet.ok("runs").splitlines()]
    assert listed[0] == ["RUN", "WORKFLOW", "STATUS", "BY", "CREATED", "DUR", "COST", "UNCERTAIN", "NOW"]
    assert sorted((line[2], line[-2:]) for line in listed[1:]) == [
        ("audit", ["-", "-"]),
        ("loses", ["-", "$0.30"]),
        ("sums", ["-", "-"]),
    ]
    (row,) = fleet.runs("wf:loses")
    assert (row["uncertain_nano"], row["uncertain_usd"]) == (30 * CENT, 0.3)
    assert "UNCERTAIN" not in fleet.ok("runs", "wf:sums")


def test_what_no_model_has_said_has_no_price(fleet: Fleet) -> None:
    def asked(model: str, mode: str, nano: int) -> AnyFact:
        value = {"model": model, "mode": mode, "cost_nano": nano, "tokens": 9}
        return StepNoted(path="ask", kind="llm.completed", value=value, at=time.time())

    fill(fleet, run("run-1-aaaaaaaa", "audit", asked("simulated/script", "simulated", 0)))
    (line,) = fleet.ok("cost").splitlines()[1:]
    assert line.split() == ["audit", "n/a", "9", "1", "1", "SIMULATED"]
    (row,) = fleet("cost", "--json").json
    assert (row["cost_usd"], row["cost_nano"], row["unreal"]) == (None, None, 1)
    fill(fleet, run("run-2-bbbbbbbb", "audit", asked("m/small", "live", CENT)))
    assert fleet.ok("cost").split()[-6:] == ["$0.01", "18", "2", "2", "PARTLY", "SIMULATED"]
    lines = [line.split() for line in fleet.ok("cost", "--by", "model").splitlines()[1:]]
    assert lines[0] == ["m/small", "$0.01", "9", "1", "1"]
    assert lines[1][1:] == ["n/a", "9", "1", "1", "SIMULATED"]
    assert lines[2] == ["total", "$0.01", "18", "2"]


def test_a_filter_and_a_time_pick_what_counts(spending: Fleet) -> None:
    found = spending("cost", "status:failed", "--json").json
    assert found == [
        {
            "by": "workflow",
            "key": "audit",
            "workflow": "audit",
            "cost_usd": 0.1,
            "cost_nano": 10 * CENT,
            "uncertain_usd": 0.0,
            "uncertain_nano": 0,
            "tokens": 20,
            "calls": 1,
            "unreal": 0,
            "runs": 1,
        }
    ]
    days = spending("cost", "--by", "day", "--since", "30d", "--json").json
    assert [row["cost_nano"] // CENT for row in days] == [200, 10, 1234]
    assert days == sorted(days, key=lambda row: row["key"], reverse=True)
    assert spending("cost", "-wf:audit").err.startswith("nothing was spent since ")
    said = spending("cost", "--limit", "1", "--since", "30d")
    assert len(said.out.splitlines()) == 2
    assert said.err == "there are more: --limit N\n"


def test_what_cannot_be_understood_is_said(spending: Fleet) -> None:
    assert "is not a time" in spending("cost", "--since", "soon").err
    assert spending("cost", "--since", "soon").code == 2
    assert spending("cost", "status:bogus").code == 2
    assert spending("cost", "--by", "colour").code == 2


def test_workflows_tell_how_they_do(spending: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    spending.write("audit", "name: audit\nsteps: [{id: a, type: transform, output: 1}]")
    spending.ok("run", "audit.yaml", "-q")
    (row,) = spending("workflows", "--json").json
    figures = row["statistics"]
    assert (figures["days"], figures["runs"], figures["success"]) == (7, 3, 2 / 3)
    assert figures["p95"] == pytest.approx(10)
    assert figures["cost_nano"] == 210 * CENT
    titles, line = (line.split() for line in spending.ok("workflows").splitlines())
    assert titles == ["WORKFLOW", "STATUS", "RUNS", "OK", "P50", "P95", "COST", "CHANGED", "FILE"]
    assert line[2:5] == ["active", "3", "66%"]
    assert line[6:8] == ["10s", "$2.10"]
    monkeypatch.setenv("COLUMNS", "48")
    assert "COST" not in spending.ok("workflows")
    assert "WORKFLOW" in spending.ok("workflows")
