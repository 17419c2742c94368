"""The console of a daemon elsewhere: live, dim while it cannot be reached, and as it is again. Over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fleetprompt.client.http import link
from fleetprompt.client.http.address import address_of
from fleetprompt.client.http.console import connect
from fleetprompt.client.protocol import Console
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.widgets.bars import TopBar
from fleetprompt.tui.widgets.log_view import LogLines
from fleetprompt.tui.widgets.run_preview import RunPreview
from tests.client import far
from tests.client.client_kit import ME, place_at, start_of
from tests.client.cut import Cut
from tests.tui.test_engine_choice import said
from tests.tui.test_runs_screen import until
from tests.tui.test_store_lost_shown import frame

SAYS = """
name: says
steps:
  - {id: talk, type: shell, argv: [sh, -c, "echo one; until test -e GO; do sleep 0.02; done; echo two"], repeat: safe}
"""
GATED = 'name: gated\nsteps: [{id: gate, type: approval, message: "Pay the bill?"}]\n'


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(link, "MOST_SECONDS", 0.05)


@asynccontextmanager
async def daemon(root: Path) -> AsyncGenerator[tuple[far.Far, Cut]]:
    """One that has a run which asks, and the line to it."""
    from fleetprompt.client.opening import open_console

    (root / "gated.yaml").write_text(GATED)
    place = place_at(root)
    served = await far.serve(await open_console(place, "engine"), place)  # type: ignore[arg-type]
    try:
        await served.start(start_of(root / "gated.yaml"))
        async with Cut.before(far.url(place)) as cut:
            yield served, cut
    finally:
        await served.close()


async def shown(cut: Cut, **options: Any) -> FleetConsole:
    console = await connect(address_of(cut.url))

    async def open_() -> Console:
        return console.as_console

    return FleetConsole(open_, who=ME, project="shop", elsewhere="ops.example.com", **options)


def rows(app: FleetConsole) -> int:
    """How many runs are listed; those that wait to be shown count."""
    runs = app.screen.runs  # type: ignore[attr-defined]
    return runs.count + runs.fresh if runs is not None else 0


def style_of(app: FleetConsole, word: str) -> str:
    """How a part of the top is shown."""
    return next(style for text, style in app.screen.query_one(TopBar).parts(130) if word in text)


def offered(app: FleetConsole) -> list[str]:
    return [action.id for action in app.screen.footer()]  # type: ignore[attr-defined]


async def test_what_is_shown_is_dim_and_still_while_it_cannot_be_reached(tmp_path: Path) -> None:
    async with daemon(tmp_path) as (served, cut):
        app = await shown(cut)
        async with app.run_test(size=(132, 40)) as pilot:
            await until(pilot, lambda: rows(app) == 1 and app.fleet.approvals == 1)
            assert "at ops.example.com" in frame(app)
            assert "run.cancel" in offered(app)
            bright = app.palette.style("strong")
            assert style_of(app, "approval") == "accent"
            cut.stay()
            await until(pilot, lambda: "not connected" in frame(app))
            assert app.palette.style("strong") != bright
            assert app.frame.style("strong") == bright
            assert style_of(app, "approval") == "dim", "numbers are as they were, too"
            assert rows(app) == 1
            assert "run.cancel" not in offered(app)
            await pilot.press("x")
            await until(pilot, lambda: said(app, "cancel: not while the daemon cannot be reached"))
            assert [head.status for head in (await served.near.runs("", _page()))[0]] == ["waiting"]
            # It happens while nobody looks.
            await served.near.start(start_of(tmp_path / "gated.yaml"))
            cut.heal()
            await until(pilot, lambda: rows(app) == 2 and app.fleet.approvals == 2)
            assert "at ops.example.com" in frame(app)
            assert app.palette.style("strong") == bright
            await until(pilot, lambda: said(app, "the engine is back"))
            preview = app.screen.query_one(RunPreview)
            await until(pilot, lambda: preview.runview is not None)


async def test_a_log_that_cannot_be_followed_is_told_of_once_and_followed_again(tmp_path: Path) -> None:
    """It is looked at four times in a second: as many messages would be all that anybody sees."""
    async with daemon(tmp_path) as (served, cut):
        (tmp_path / "says.yaml").write_text(SAYS.replace("GO", str(tmp_path / "go")))
        run = await served.start(start_of(tmp_path / "says.yaml"))
        app = await shown(cut, link=f"run {run}")
        async with app.run_test(size=(132, 40)) as pilot:
            await until(pilot, lambda: app.screen.query(LogLines) and app.screen.query_one(LogLines).view.count)
            log = app.screen.query_one(LogLines)
            cut.stay()
            for _ in range(4):
                log.look()
                await until(pilot, lambda: not log._reading)  # pyright: ignore[reportPrivateUsage]
            await until(pilot, lambda: "not connected" in frame(app))
            for _ in range(4):
                log.look()
                await until(pilot, lambda: not log._reading)  # pyright: ignore[reportPrivateUsage]
            await pilot.pause()
            assert [each.level for each in app.fleet.messages if "cannot be reached" in each.text].count("error") == 0
            (tmp_path / "go").touch()
            cut.heal()
            await until(pilot, lambda: any("two" in (log.view.text(at) or "") for at in range(log.view.count)))


def _page() -> Any:
    from fleetprompt.engine.ports import Page

    return Page(limit=9)


async def test_a_viewers_console_changes_nothing_and_says_why(tmp_path: Path) -> None:
    async with daemon(tmp_path) as (_, cut):
        app = await shown(cut, read_only=True, read_only_why=": ana is a viewer there")
        async with app.run_test(size=(132, 40)) as pilot:
            await until(pilot, lambda: rows(app) == 1)
            assert "read-only" in frame(app)
            await pilot.press("x")
            await until(pilot, lambda: said(app, "ana is a viewer there"))


async def test_several_consoles_are_each_told_what_one_of_them_has_done(tmp_path: Path) -> None:
    async with daemon(tmp_path) as (served, cut):
        first, second = await shown(cut), await shown(cut)
        async with first.run_test(size=(132, 40)) as one, second.run_test(size=(132, 40)) as other:
            await until(one, lambda: rows(first) == 1 and first.fleet.approvals == 1)
            await until(other, lambda: rows(second) == 1 and second.fleet.approvals == 1)
            assert first.client is not None
            [asked], _ = await first.client.approvals("status:pending", _page())
            await first.client.vote(asked.id, "approved", by=ME, digest=asked.digest, level=asked.level)
            await until(other, lambda: second.fleet.counts.get("completed") == 1)
            await until(other, lambda: second.fleet.approvals == 0)
            await served.near.start(start_of(tmp_path / "gated.yaml"))
            await until(one, lambda: rows(first) == 2)
            await until(other, lambda: rows(second) == 2)
