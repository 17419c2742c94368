"""Small terminals: nothing that is said covers a question or the frame, and whatever has the focus can be seen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.errors import NoWidget
from textual.geometry import Region
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets._toast import Toast

from fleetprompt.client.opening import open_console
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.screens.dialog import Confirm
from fleetprompt.tui.screens.form import FormDialog
from fleetprompt.tui.screens.messages import MessagesScreen
from fleetprompt.tui.screens.shown import ConfirmShown
from fleetprompt.tui.widgets.bars import FootBar, TopBar
from fleetprompt.tui.widgets.lines import Lines
from fleetprompt.tui.widgets.text_pane import TextPane
from tests.client.client_kit import place_at, start_of
from tests.tui.deciding_kit import HandClock
from tests.tui.test_runs_screen import runs_of, until

GATED = """
name: gated
steps:
  - id: gate
    type: approval
    message: Pay the bill? It is a long question that needs more than one line
    form:
      amount: {type: integer, default: 12, description: how much of it is to be paid today}
      note: {type: string, default: "", description: what for}
      mode: {type: string, enum: [fast, slow], default: fast}
"""
SIZES = [(20, 5), (40, 10), (60, 24), (80, 24), (200, 60)]


@asynccontextmanager
async def asked(root: Path, size: tuple[int, int] = (80, 24)) -> AsyncIterator[tuple[FleetConsole, Pilot[Any]]]:
    """A console with an approval that waits."""
    file = root / "gated.yaml"
    file.write_text(GATED)
    app = FleetConsole(lambda: open_console(place_at(root), "prefer"), who="ana", now=HandClock())
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: app.client is not None and runs_of(app).loaded)
        assert app.client is not None
        await app.client.start(start_of(file))
        await until(pilot, lambda: runs_of(app).count == 1 and app.fleet.approvals == 1)
        yield app, pilot
    await app.door.close()


def toasts(app: FleetConsole) -> list[Toast]:
    """Those of which anything can be seen."""
    return [toast for toast in app.screen.query(Toast) if shown(toast).area]


def shown(widget: Widget) -> Region:
    """What can be seen of a widget."""
    try:
        return widget.screen.find_widget(widget).visible_region
    except NoWidget:
        return Region()


def can_be_seen(app: FleetConsole, widget: Widget) -> bool:
    """Its first line stands on the screen, and nothing over it."""
    region = shown(widget)
    if not region.area:
        return False
    found, _ = app.screen.get_widget_at(region.x, region.y)
    return widget in found.ancestors_with_self


@pytest.mark.parametrize("size", SIZES)
async def test_what_is_said_covers_neither_a_question_nor_the_frame(tmp_path: Path, size: tuple[int, int]) -> None:
    async with asked(tmp_path, size) as (app, pilot):
        for number in range(6):
            app.say("warning", f"something has happened, and it takes more than one line to say that: {number}")
        await until(pilot, lambda: toasts(app))
        bars: list[Widget] = [app.screen.query_one(TopBar), app.screen.query_one(FootBar)]
        assert not [toast for toast in toasts(app) for bar in bars if shown(toast).overlaps(bar.region)]
        if size[1] < 12:
            assert sum(shown(toast).height for toast in toasts(app)) == 1
        app.push_screen(Confirm("leave?", [(("really", ""),)], "leave"))
        await until(pilot, lambda: isinstance(app.screen, Confirm) and toasts(app))
        await pilot.pause()
        box = app.screen.query_one(".box")
        assert box.region.height >= 3
        assert not [toast for toast in toasts(app) if shown(toast).overlaps(box.region)]
        assert can_be_seen(app, app.screen.query_one(".keys"))
        await pilot.press("escape")


async def test_what_is_still_to_be_read_is_not_said_again(tmp_path: Path) -> None:
    async with asked(tmp_path) as (app, pilot):
        for _ in range(3):
            app.say("info", "there is nothing to retry")
        await until(pilot, lambda: toasts(app))
        assert len(toasts(app)) == 1
        assert [message.text for message in app.fleet.messages].count("there is nothing to retry") == 3


async def test_every_field_of_a_form_can_be_seen_whatever_becomes_of_the_terminal(tmp_path: Path) -> None:
    async with asked(tmp_path) as (app, pilot):
        await pilot.press("g", "a")
        await until(pilot, lambda: app.screen.NAME == "approvals" and app.screen.query(TextPane).first().display)  # type: ignore[attr-defined]
        app.now.at += 10  # type: ignore[attr-defined]  # It stands there for long enough to be meant.
        await pilot.press("e")
        # A part of what is decided about was out of sight.
        await until(pilot, lambda: isinstance(app.screen, ConfirmShown) and app.screen.query_one(TextPane).ended)
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        fields: list[Widget] = []
        while app.focused not in fields:
            assert app.focused is not None
            fields.append(app.focused)
            for size in (*SIZES, *reversed(SIZES)):
                await pilot.resize_terminal(*size)
                await until(pilot, lambda: app.focused is not None and can_be_seen(app, app.focused))
                assert can_be_seen(app, app.screen.query_one(".keys")), size
            await pilot.resize_terminal(20, 5)
            await pilot.press("tab")
            await until(pilot, lambda: app.focused is not None and can_be_seen(app, app.focused))
        assert len(fields) == 4


async def test_where_there_are_few_rows_they_all_belong_to_what_is_read(tmp_path: Path) -> None:
    async with asked(tmp_path, (20, 5)) as (app, pilot):
        await pilot.press("g", "a")
        await until(pilot, lambda: app.screen.NAME == "approvals" and app.screen.query("ApprovalLines"))  # type: ignore[attr-defined]
        lines, pane = app.screen.query_one("ApprovalLines"), app.screen.query_one(TextPane)
        await until(pilot, lambda: lines.size.height == 3 and pane.display)
        await pilot.press("tab")
        listed = app.screen.query_one(".listed")
        await until(pilot, lambda: (pane.has_focus, pane.size.height, listed.size.height) == (True, 3, 0))
        await pilot.press("escape")
        await until(pilot, lambda: lines.size.height == 3)


@pytest.mark.parametrize("width", [20, 40, 60, 100])
async def test_the_frame_says_first_where_one_is_and_how_the_engine_is(tmp_path: Path, width: int) -> None:
    async with asked(tmp_path, (width, 24)) as (app, pilot):
        await pilot.press("g", "w")
        await until(pilot, lambda: app.screen.NAME == "workflows")  # type: ignore[attr-defined]
        line = "".join(segment.text for segment in app.screen.query_one(TopBar).render_line(0))
        assert "workflows" in line
        assert width == 20 or "● live" in line
        assert width < 60 or "1 approval" in line


def top_of(app: FleetConsole, width: int) -> str:
    """What the top says in so many columns."""
    return "".join(text for text, _ in app.screen.query_one(TopBar).parts(width - 2))


async def test_a_long_trail_is_shortened_before_anything_else_gives_way(tmp_path: Path) -> None:
    async with asked(tmp_path, (80, 24)) as (app, pilot):
        for name in ("approvals", "signals", "workflows", "health", "cost"):
            await app.go_to(name)
            await until(pilot, lambda name=name: name == app.screen.NAME)  # type: ignore[attr-defined]
        await until(pilot, lambda: app.screen.query_one(TopBar).size.width == 80)
        app.fleet.counts, app.fleet.approvals, app.fleet.activity = {"running": 12, "failed": 3}, 5, ()
        line = app.screen.query_one(TopBar).render_line(0).text.strip()
        assert line == "● live  ● 12  ◆ 0  ✗ 3  ○ 0  ✓ 0  ◆ 5 approvals  today $0.00  … › cost"
        assert top_of(app, 65) == "● live  ● 12  ✗ 3  ◆ 5 approvals  today $0.00  … › cost"
        assert top_of(app, 45) == "● live  ● 12  ✗ 3  ◆ 5 approvals  cost"
        assert top_of(app, 35) == "● live  ◆ 5 approvals  cost"
        assert top_of(app, 25) == "● live  cost"
        assert "runs › approvals › signals › workflows › health › cost" in top_of(app, 140)


async def test_where_there_is_room_the_counters_have_words(tmp_path: Path) -> None:
    async with asked(tmp_path, (200, 24)) as (app, _):
        app.fleet.counts, app.fleet.activity = {"running": 12, "failed": 3}, ()
        assert "● 12 running  ◆ 0 waiting  ✗ 3 failed  ○ 0 pending  ✓ 0 completed" in top_of(app, 200)
        assert "● 12  ◆ 0  ✗ 3  ○ 0  ✓ 0  ◆ 1 approval" in top_of(app, 90)


async def test_what_stands_at_the_top_can_be_clicked(tmp_path: Path) -> None:
    async with asked(tmp_path, (200, 24)) as (app, pilot):

        async def click(text: str, *open_: str) -> None:
            bar = app.screen.query_one(TopBar)
            await until(pilot, lambda: text in bar.render_line(0).text)
            await pilot.click(bar, offset=(bar.render_line(0).text.rindex(text), 0))
            await until(pilot, lambda: [screen.crumb() for screen in app.console_screens()] == [*open_])

        await click("◆ 1 approval", "runs", "approvals")
        await click("today", "runs", "cost")
        await click("◆ 1 waiting", "runs", "cost", "runs status:waiting")
        behind: Any = app.screen
        await until(pilot, lambda: behind.runs is not None and behind.runs.loaded and behind.runs.count == 1)
        await click("cost", "runs", "cost")
        await click("runs", "runs")


async def test_where_there_is_room_the_top_says_which_project_it_is_and_who_acts(tmp_path: Path) -> None:
    app = FleetConsole(
        lambda: open_console(place_at(tmp_path), "attach"), who="ana\x1b[2J", project="shop", read_only=True
    )
    async with app.run_test(size=(130, 24)) as pilot:
        await until(pilot, lambda: app.client is not None and runs_of(app).loaded)
        bar = app.screen.query_one(TopBar)
        assert "shop · ana\\x1b[2J  ○ no engine read-only" in bar.render_line(0).text
        app.fleet.counted = True
        app.fleet.counts = dict.fromkeys(("running", "waiting", "failed", "pending", "completed"), 999_999)
        app.fleet.approvals, app.fleet.spent = 1234, 12_345 * 10**9
        line = bar.render_line(0).text
        assert line.count("999,999") == 5
        assert "◆ 1234 approvals" in line
        assert "shop" not in line
        await pilot.resize_terminal(119, 24)
        app.fleet.counts, app.fleet.approvals = {}, 0
        await until(pilot, lambda: bar.size.width == 119)
        assert "shop" not in bar.render_line(0).text
    await app.door.close()


async def test_what_is_said_while_one_reads_the_messages_is_not_said_beside_them(tmp_path: Path) -> None:
    async with asked(tmp_path) as (app, pilot):
        app.say("warning", "said before")
        await until(pilot, lambda: len(app._notifications) == 1)
        await pilot.press("g", "m")
        await until(pilot, lambda: isinstance(app.screen, MessagesScreen) and not app._notifications)
        app.say("warning", "said meanwhile")
        assert not app._notifications
        lines = app.screen.query_one(Lines)
        assert "said meanwhile" in lines.text(0)
        await pilot.press("colon")
        app.say("warning", "said over it")
        await until(pilot, lambda: len(app._notifications) == 1)
