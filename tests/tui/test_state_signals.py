"""The stream of signals over a real store: pages, what is new, what came of each, lineages as lines, drafts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from fleetprompt.client.attached import AttachedConsole
from fleetprompt.client.wording import Times
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports import Kin, Lineage
from fleetprompt.tui.state.lineage import Place, lineage_rows
from fleetprompt.tui.state.publish import Draft
from fleetprompt.tui.state.signals import PAGE, SignalList, SignalRow, cells, only
from tests.client.client_kit import attached, place_at

NOW = 1_800_000_000.0
TIMES = Times(UTC)


@asynccontextmanager
async def stream(root: Path) -> AsyncIterator[tuple[AttachedConsole, SignalList]]:
    console = await attached(place_at(root))
    try:
        yield console, SignalList(console, lambda: NOW, TIMES)
    finally:
        await console.close()


def sent(number: int, type_: str = "order.placed", **fields: Any) -> Signal:
    return Signal(**({"id": f"s{number:05}", "type": type_, "source": "test", "at": NOW + number} | fields))


async def publish(console: AttachedConsole, *numbers: int, **fields: Any) -> None:
    for number in numbers:
        await console.publish(sent(number, **fields))


def ids(signals: SignalList) -> list[object]:
    return [signals.key(index) for index in range(signals.count)]


def text(cells_: Any) -> list[str]:
    return ["".join(t for t, _ in ((cell,) if isinstance(cell[0], str) else cell)) for cell in cells_]


async def test_the_newest_come_first_and_older_ones_when_they_are_looked_at(tmp_path: Path) -> None:
    async with stream(tmp_path) as (console, signals):
        await publish(console, *range(PAGE * 2 + 5))
        await signals.load()
        assert signals.count == PAGE
        assert signals.key(0) == f"s{PAGE * 2 + 4:05}"
        assert signals.more
        signals.show(0, 10)
        assert not signals.wants_more
        signals.show(PAGE - 20, PAGE)
        assert signals.wants_more
        while signals.more:
            assert await signals.fetch_more()
        assert ids(signals) == [f"s{number:05}" for number in range(PAGE * 2 + 4, -1, -1)]
        assert not await signals.fetch_more()


async def test_new_ones_are_shown_at_once_only_to_who_stands_at_the_top(tmp_path: Path) -> None:
    async with stream(tmp_path) as (console, signals):
        await publish(console, 1, 2)
        await signals.load()
        await publish(console, 3)
        assert await signals.renew() == {"s00003"}
        assert ids(signals) == ["s00003", "s00002", "s00001"]
        signals.at_top = False
        await publish(console, 4, 5)
        await signals.renew()
        assert signals.key(0) == "s00003"
        assert signals.find("s00005") is None
        assert signals.fresh == 2
        signals.show_new()
        assert ids(signals)[:3] == ["s00005", "s00004", "s00003"]
        assert signals.find("s00003") == 2


async def test_who_looks_far_down_keeps_what_was_read_and_nothing_is_missing(tmp_path: Path) -> None:
    async with stream(tmp_path) as (console, signals):
        await publish(console, *range(PAGE * 5))
        await signals.load()
        for _ in range(4):
            await signals.fetch_more()
        signals.at_top = False
        signals.show(PAGE * 4, PAGE * 4 + 20)
        await publish(console, 7000, 7001)
        await signals.renew()
        assert signals.count == PAGE * 5
        assert signals.fresh == 2
        # More than is read at once: what was read before would not follow without a gap.
        await publish(console, *range(8000, 8000 + PAGE + 1))
        await signals.renew()
        signals.show_new()
        shown = ids(signals)
        assert len(shown) == len(set(shown))
        while signals.more:
            await signals.fetch_more()
        assert signals.count == PAGE * 6 + 3


async def test_what_came_of_a_signal_is_told_once_it_is_known(tmp_path: Path) -> None:
    async with stream(tmp_path) as (console, signals):
        await publish(console, 0, 1, 2, 3)
        await signals.load()
        assert [text(signals.cells(at))[-1] for at in range(4)] == ["nobody has taken it up yet"] * 4
        runs = (Result("s00001", "accepted", run="0" * 30 + "run-00aa"), Result("s00001", "accepted", run="x" * 9))
        await console.store.signals.close("s00001", runs)
        await console.store.signals.close("s00002", (Result("s00002", "refused", run="audit", reason="no \x1b[31m"),))
        await console.store.signals.close("s00003")
        await console.store.signals.close("s00000", (Result("s00000", "accepted", reason="its `if` does not hold"),))
        assert await signals.renew() == {"s00000", "s00001", "s00002", "s00003"}
        lines = [signals.cells(at) for at in range(4)]
        assert [text(line)[-1] for line in lines] == [
            "nobody listened",
            r"no \x1b[31m",
            "reached 2 runs",
            "started nothing: its `if` does not hold",
        ]
        assert [line[0][1] for line in lines if line is not None] == ["accepted", "refused", "accepted", "accepted"]
        assert await signals.renew() == frozenset()


async def test_a_filter_that_no_signal_fits_any_more_loses_it(tmp_path: Path) -> None:
    async with stream(tmp_path) as (console, signals):
        await publish(console, 1, 2)
        signals.filter = "status:pending"
        await signals.load()
        await console.store.signals.close("s00002")
        await signals.renew()
        assert ids(signals) == ["s00001"]
        signals.filter = only("s00002")
        await signals.load()
        assert ids(signals) == ["s00002"]
        signals.filter = "tpye:x"
        with pytest.raises(InvalidInput):
            await signals.load()


async def test_payloads_are_not_kept_and_texts_are_inert(tmp_path: Path) -> None:
    hostile = "\u202e\x1b]0;x\x07[red]" + "z" * 2_000
    async with stream(tmp_path) as (console, signals):
        await publish(console, 1, data={"big": "Z" * 900_000}, source=hostile, subject=hostile, correlation=hostile)
        await signals.load()
        row = signals.row("s00001")
        assert row is not None
        assert row.signal.data is None
        line = text(cells(row, TIMES, NOW))
        assert all(part.isprintable() for part in line)
        assert max(map(len, line)) < 1_000
        assert line[3].startswith(r"\u202e\x1b]0;x\x07[red]z")


def test_known_types_and_values_are_counted_for_completion(tmp_path: Path) -> None:
    assert Draft(["fleet.run.start", "a.b", "c.a"]).offers() == ["a.b", "c.a"]
    draft = Draft(["order.placed", "deploy.finished", "deploy.failed"])
    draft.type = "dep"
    assert draft.offers() == ["deploy.finished", "deploy.failed"]
    draft.type = "fail"
    assert draft.offers() == ["deploy.failed"]


@pytest.mark.parametrize(
    ("type_", "problem"),
    [
        ("", "is needed"),
        ("fleet.run.start", "types under fleet. are the engine's own"),
        ("a..b", "is dot-separated words of letters, digits, _ and -"),
        ("[red]", "is dot-separated words of letters, digits, _ and -"),
        (" deploy.finished ", ""),
    ],
)
def test_a_type_is_checked_while_it_is_typed(type_: str, problem: str) -> None:
    draft = Draft([])
    draft.type = type_
    assert draft.type_problem() == problem


def test_data_is_json_or_nothing_and_faults_are_told_with_their_place() -> None:
    draft = Draft([])
    draft.type = "a.b"
    assert draft.written().data is None
    draft.data = '\n{"a": 1,\n  "é": x}'
    assert draft.data_problem().endswith("in line 3, column 8")
    assert draft.wrong == "data"
    with pytest.raises(InvalidInput):
        draft.written()
    draft.data = "[" * 100_000
    assert draft.data_problem()
    draft.data = '"' + "x" * 1_100_000 + '"'
    assert "1 MiB" in draft.data_problem()
    draft.data = ' {"a": [1, null]} '
    draft.key = " k "
    assert draft.written().data == {"a": [1, None]}
    assert draft.written().key == "k"


def test_a_lineage_is_a_tree_from_the_first_cause_to_the_last_effect() -> None:
    first, here, after = sent(1, "build.done"), sent(2), sent(3, "order.paid", source="run/r2/step")
    other = sent(4, "order.lost")
    lineage = Lineage(
        signal=here,
        causes=(Kin(id="gone-run", how="emitted", depth=1), Kin(id=first.id, how="started", depth=2, signal=first)),
        effects=(
            Kin(id="r2", how="reached", depth=1),
            Kin(id=after.id, how="emitted", depth=2, signal=after),
        ),
        family=(here, after, other),
        more=frozenset({"effects"}),
    )
    rows = lineage_rows(lineage)
    said = [(place, text(line)[0]) for place, line in rows]
    assert said[:5] == [
        (Place("signal", "s00001", "cause"), "build.done  test"),
        (Place("text", "gone-run", "cause"), "  → run gone-run  is no longer there"),
        (Place("signal", "s00002", "self"), "    → emitted order.placed  test"),
        (Place("text", "r2", "effect"), "      → run r2  is no longer there"),
        (Place("signal", "s00003", "effect"), "        → emitted order.paid  run r2"),
    ]
    assert said[5][1] == "there is more than these 2 effects"
    assert said[-2][1] == "correlation s00002: 1 more signal"
    assert said[-1] == (Place("signal", "s00004", "family"), "  order.lost  test")
    assert len({place for place, _ in rows}) == len(rows)


def test_a_signal_without_kin_says_so() -> None:
    rows = lineage_rows(Lineage(signal=sent(1), causes=(), effects=(), family=(sent(1),)))
    assert [text(line)[0] for _, line in rows] == [
        "order.placed  test",
        "nothing led to it, and nothing came of it",
    ]


def test_correlations_are_told_apart_by_their_ends_and_ours_as_everywhere() -> None:
    ours = "0196a1b2-0000-7000-8000-00001d0622ef"
    given = {
        ours: "1d0622ef",
        "": "",
        "order-4711": "order-4711",
        "order-2026-000123": "order…000123",
        "refund-2026-000123": "refun…000123",
        "order-2026-000124": "order…000124",
    }
    for id_, shown in given.items():
        row = SignalRow(sent(1, correlation=id_))
        assert text(cells(row, TIMES, NOW))[5] == shown
