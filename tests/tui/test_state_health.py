"""The engine in figures: rates from look to look, and nothing that outlives the engine it was about."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from fleetprompt.client.wording import Times
from fleetprompt.engine.ports import EngineHealth, StoreHealth
from fleetprompt.engine.ports.live import PoolHealth, Trouble
from fleetprompt.tui.state.health import HealthView
from tests.tui.tui_kit import NOW


def look(**fields: Any) -> EngineHealth:
    values: dict[str, Any] = {
        "state": "running",
        "store": StoreHealth("/x/fleet.db"),
        "pid": 7,
        "what": "fleet",
        "at": NOW,
    }
    return EngineHealth(**(values | fields))


def said(view: HealthView) -> dict[str, str]:
    lines: dict[str, str] = {}
    for index in range(view.rows.count):
        name, cell = view.rows.cells(index) or (("", ""), ("", ""))
        parts = (cell,) if isinstance(cell[0], str) else cell
        lines[str(name[0]).strip()] = "".join(part[0] for part in parts).strip()  # type: ignore[misc]
    return lines


def test_rates_are_what_came_between_two_looks() -> None:
    view = HealthView(Times(UTC))
    for second, commits in enumerate((10, 30, 90)):
        view.take(look(at=NOW + second * 2, commits=commits, facts=commits * 3))
    commits, facts = view.rates()
    assert commits == [10, 30]
    assert facts == [30, 90]
    assert said(view)["commits"].startswith("30/s")


def test_another_engine_begins_from_nothing() -> None:
    view = HealthView(Times(UTC))
    view.take(look(commits=1000))
    view.take(look(at=NOW + 1, pid=8, commits=5))
    assert view.rates() == ([], [])


def test_what_went_wrong_is_told_the_latest_first_and_inert() -> None:
    view = HealthView(Times(UTC))
    troubles = (Trouble(NOW, "route", "old"), Trouble(NOW + 1, "store", "\x1b[31mnew"))
    view.take(look(troubles=troubles, holds={"run-1": "damaged\x07"}, pools={"gpu": PoolHealth(4, 3, 2)}))
    lines = said(view)
    assert lines["run-1"].isprintable()
    assert lines["pool gpu"] == "■■■□ 3 of 4  2 waiting"
    told = [line for line in lines.values() if "new" in line or "old" in line]
    assert told == ["store: \\x1b[31mnew", "route: old"]


def test_no_engine_is_said_with_what_to_do() -> None:
    view = HealthView(Times(UTC))
    view.take(look(state="none", pid=0))
    assert "`fleet`" in said(view)["state"]
    assert "commits" not in said(view)
