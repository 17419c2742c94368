"""What was spent, added up by the store and shown in proportion."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

from msgspec.structs import replace

from fleetprompt.client.reading import Reading
from fleetprompt.client.wording import Times
from fleetprompt.engine.core.facts import StepNoted, StepSucceeded
from fleetprompt.engine.ports import Append
from fleetprompt.tui.state.cost import PERIODS, CostView, midnight
from tests.tui.tui_kit import NOW, begun, put, reading

CENT = 10_000_000


def spent(number: int, workflow: str, step: str, cents: int, at: float) -> Append:
    """A run that has spent so much at a step."""
    entry = begun(number, workflow=workflow)
    used = StepSucceeded(at=at, path=step, usage={"cost_nano": cents * CENT, "tokens": cents * 100})
    return replace(entry, facts=(*entry.facts, used), head=replace(entry.head, n=2))


async def table(client: Reading, view: CostView) -> list[list[str]]:
    await view.load(client, NOW)  # type: ignore[arg-type]
    lines: list[list[str]] = []
    for index in range(view.rows.count):
        cells = view.rows.cells(index) or ()
        lines.append([str(cell[0]) for cell in cells])
    return lines


async def test_the_most_expensive_is_on_top_with_its_share(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await put(client, spent(1, "audit", "ask[3].call", 25, NOW - 60), spent(2, "deploy", "plan", 75, NOW - 50))
        view = CostView(Times(UTC))
        found = await table(client, view)
        assert [(line[0], line[1], line[2]) for line in found] == [
            ("deploy", "$0.75", "75%"),
            ("audit", "$0.25", "25%"),
        ]
        assert len(found[0][3]) == 3 * len(found[1][3])
        assert "".join(text for text, _ in view.said()) == "$1.00 · 10.0k tokens"
        view.next_by()
        assert [line[:2] for line in await table(client, view)] == [["plan", "deploy"], ["ask.call", "audit"]]


async def test_a_period_counts_what_was_spent_within_it(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        day = 86_400.0
        await put(client, spent(1, "old", "s", 10, NOW - 40 * day), spent(2, "new", "s", 20, NOW - 2 * day))
        view = CostView(Times(UTC))
        names: dict[str, list[str]] = {}
        for period in PERIODS:
            view.period = period
            names[period.name] = [line[0] for line in await table(client, view)]
        assert names == {"today": [], "24 hours": [], "7 days": ["new"], "30 days": ["new"], "all time": ["new", "old"]}


def test_the_day_begins_at_the_readers_midnight() -> None:
    assert midnight(NOW, Times(UTC)) <= NOW
    assert midnight(NOW, Times(UTC)) % 86_400 == 0


async def test_a_filter_chooses_the_runs(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await put(client, spent(1, "audit", "s", 1, NOW - 1), spent(2, "deploy", "s", 1, NOW - 1))
        view = CostView(Times(UTC))
        view.filter = "wf:audit"
        assert [line[0] for line in await table(client, view)] == ["audit"]


async def test_what_was_simulated_has_no_price_and_what_is_uncertain_is_told_apart(tmp_path: Path) -> None:
    def called(number: int, workflow: str, **value: object) -> Append:
        entry = begun(number, workflow=workflow)
        note = StepNoted(at=NOW - 60, path="a", kind="llm.completed", key="a/llm/0", value=value)
        return replace(entry, facts=(*entry.facts, note), head=replace(entry.head, n=2))

    async with reading(tmp_path) as client:
        await put(
            client,
            called(1, "live", model="openai/m", mode="live", tokens=10, cost_nano=CENT, uncertain_nano=2 * CENT),
            called(2, "demo", model="simulated/script", mode="simulated", tokens=10),
        )
        view = CostView(Times(UTC))
        live, demo = await table(client, view)
        assert (live[0], live[1], live[-1]) == ("live", "≥$0.01", "+ up to $0.02")
        assert (demo[0], demo[1], demo[-2], demo[-1]) == ("demo", "n/a", "n/a", "SIMULATED")
        said = "".join(text for text, _ in view.said())
        assert said == "$0.01 + up to $0.02 uncertain · 20 tokens · 1 call simulated"
