"""Metrics are counted from facts: once each, right after a restart, and never without a bound."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from agent_kit import StubModels, command, notes, over, start, vote, waits
from store_kit import ask, created, entry, put
from stub_server import start_stub

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.facts import ApprovalDecided
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import Append, Reserve, Store
from fleetprompt.engine.ports.budget import Allowance, Amounts
from fleetprompt.engine.runtime.agency import Agency, AgencySettings
from fleetprompt.engine.runtime.engine import Engine
from fleetprompt.engine.runtime.secrets import Secrets
from fleetprompt.engine.store.database import SqlStore
from fleetprompt.engine.telemetry.metrics import Metrics
from fleetprompt.engine.telemetry.series import OTHER, Histogram, Values

READS = """
name: reads
guardrails: {cost_usd: 1}
agents:
  sre: {system: You are careful., tools: ["fs.*"]}
steps:
  - {id: look, type: agent, agent: sre, prompt: "What is in a.txt?"}
"""
FAILS = """
name: fails
steps:
  - {id: well, type: transform, output: 1}
  - {id: bad, type: transform, output: "${{ inputs.x + 1 }}"}
inputs: {x: {type: string, default: a}}
"""


@asynccontextmanager
async def measured(folder: Path, models: Any = None) -> AsyncIterator[tuple[Engine, Metrics]]:
    """An engine, and what is counted of it."""
    metrics, secrets = Metrics(), Secrets()
    agency = Agency(secrets, AgencySettings(), root=folder, models=models)
    engine = Engine(
        SqlStore(folder / "fleet.db"), secrets=secrets, directory=folder, agency=agency, observers=[metrics]
    )
    async with engine:
        yield engine, metrics


async def test_an_agents_requests_tokens_money_and_calls_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the pool is empty\n")
    script = [
        {"calls": [{"name": "fs_read", "arguments": {"path": "a.txt"}}]},
        {"calls": [{"name": "fs_read", "arguments": {"path": "missing.txt"}}]},
        {"text": "empty"},
    ]
    with start_stub(tmp_path, script) as stub:
        async with measured(tmp_path, StubModels(stub)) as (engine, metrics):
            await start(engine, READS)
            assert (await over(engine))[0] == "completed"
            head = await engine.store.runs.get("r1")
    assert head is not None
    assert metrics.executions.values == {("reads", "completed"): 1}
    assert metrics.requests.values == {("openai/stub", "completed"): 3}
    assert sum(metrics.tokens.values.values()) == head.tokens
    assert all(metrics.tokens.values[("openai/stub", direction)] for direction in ("input", "output"))
    assert round(metrics.cost.values[("settled",)] * 1e9) == head.cost_nano > 0
    assert metrics.calls.values == {("fs.read", "completed"): 1, ("fs.read", "failed"): 1}
    assert metrics.reserved_usd == 0
    [(labels, counts)] = metrics.steps.counts.items()
    assert (labels, sum(counts)) == (("reads", "agent"), 1)


async def test_what_a_provider_takes_beyond_what_was_reserved_is_told(tmp_path: Path) -> None:
    greedy = {"text": "done", "usage": {"prompt": 11, "completion": 9_000}}
    with start_stub(tmp_path, [{"calls": [{"name": "fs_list", "arguments": {}}]}, greedy]) as stub:
        async with measured(tmp_path, StubModels(stub)) as (engine, metrics):
            await start(engine, READS)
            assert (await over(engine))[0] == "completed"
            [budget] = await engine.store.budgets.of_run("r1")
            first, last = [note.value for note in await notes(engine, "llm.completed")]
            [begun] = [note.value for note in await notes(engine, "llm.started")][1:]
            await engine.store.logs.flush()
            lines, _ = await engine.store.logs.read("r1")
    held = begun["reserve"]["amounts"]
    assert "overshoot" not in first
    assert last["overshoot"] == {
        "tokens": 9_011 - held["tokens"],
        "cost_nano": last["cost_nano"] - held["cost_nano"],
    }
    assert metrics.overshoots.values == {("openai/stub",): 1}
    assert [line.level for line in lines if "took more than was reserved for it" in line.text] == ["warning"]
    # It is spent, whatever was reserved.
    assert budget.spent.tokens == first["tokens"] + 9_011


async def test_what_is_open_is_right_at_once_after_a_restart(tmp_path: Path) -> None:
    script = [{"calls": [{"name": "fs_write", "arguments": {"path": "b.txt", "content": "x"}}]}, {"text": "done"}]
    with start_stub(tmp_path, script) as stub:
        async with measured(tmp_path, StubModels(stub)) as (engine, metrics):
            await start(engine, READS)
            await waits(engine, "approval")
            assert metrics.approvals_pending == 1
        async with measured(tmp_path, StubModels(stub)) as (engine, metrics):
            assert metrics.approvals_pending == 1
            await vote(engine)
            assert (await over(engine))[0] == "completed"
            assert metrics.approvals_pending == 0
            assert sum(metrics.waits.counts[("approved",)]) == 1
            assert metrics.executions.values == {("reads", "completed"): 1}


async def test_what_a_retry_copies_is_counted_once(tmp_path: Path) -> None:
    async with measured(tmp_path) as (engine, metrics):
        await start(engine, FAILS)
        assert (await over(engine))[0] == "failed"
        await command(engine, types.RETRY, new="r2")
        assert (await over(engine, "r2"))[0] == "failed"
        assert metrics.executions.values == {("fails", "failed"): 2}
        assert sum(sum(counts) for counts in metrics.steps.counts.values()) == 3, "`well` was done once"


async def test_doubts_and_reservations_are_read_once_and_kept_by_facts(store: Store) -> None:
    reserve = Reserve("q1", (Allowance("run/r1"),), Amounts(cost_nano=7_000_000_000))
    asked = entry("r1", 0, created("r1"), ask("apr-1", about="stuck"), reserves=(reserve,))
    await put(store, asked, entry("r2", 0, created("r2"), head_={"status": "waiting", "waiting_on": "in_doubt"}))
    metrics = Metrics()
    await metrics.begin(store)
    assert (metrics.approvals_pending, metrics.circling, metrics.in_doubt) == (1, 1, 1)
    assert metrics.reserved_usd == 7.0

    decided = ApprovalDecided(at=asked.facts[1].at + 5, path="ship", id="apr-1", decision="approved")
    metrics.committed(_run(), entry("r1", 2, decided, settles=()))
    metrics.committed(_run(), entry("r2", 1))
    assert (metrics.approvals_pending, metrics.circling, metrics.in_doubt) == (0, 0, 0)


def _run() -> Run:
    from fleetprompt.engine.core.program import Program
    from fleetprompt.engine.definition.load import load_text

    return Run(Program(load_text(FAILS, "flow.yaml", Path()).plan))


def test_the_values_of_a_label_are_bounded() -> None:
    values = Values(most=3)
    assert [values.bound(f"w{n}") for n in range(5)] == ["w0", "w1", "w2", OTHER, OTHER]
    assert values.bound("w1") == "w1"


def test_a_histogram_counts_each_value_in_one_range() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 99.0, -3.0):
        histogram.observe((), value)
    assert histogram.counts[()] == [3, 1, 1]
    assert histogram.sums[()] == 102.0


class Broken:
    """Looks on, and makes a mistake."""

    traces: ClassVar[bool] = False

    async def begin(self, store: Store) -> None:
        """Nothing to prepare."""

    def committed(self, run: Run, entry: Append) -> None:
        """Always wrong."""
        raise FleetError("no")


async def test_one_that_only_looks_on_holds_up_nothing(tmp_path: Path) -> None:
    engine = Engine(SqlStore(tmp_path / "fleet.db"), directory=tmp_path, observers=[Broken()])
    async with engine:
        await start(engine, FAILS)
        assert (await over(engine))[0] == "failed"
        assert engine.observers == []
        assert "Broken" in engine.troubles[0][1]
