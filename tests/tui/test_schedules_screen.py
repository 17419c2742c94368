"""Schedules: when they come, why a time has started nothing, and what an operator does about them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from fleetprompt.client.opening import open_console
from fleetprompt.engine.ports import Page
from fleetprompt.tui.screens.dialog import Confirm
from fleetprompt.tui.screens.run import RunScreen
from fleetprompt.tui.screens.runs import RunsScreen
from fleetprompt.tui.screens.schedules import SchedulesScreen
from fleetprompt.tui.state.schedule_details import details
from fleetprompt.tui.state.schedules import ScheduleList
from tests.tui.conftest import HOW, SIZES
from tests.tui.recorded import NOW, RecordedProject, Tape
from tests.tui.recorded_console import Still, StillConsole, pressing, settled, still
from tests.tui.schedule_kit import put, put_watch

TAPE = Tape("crawl", ago=600)
ALL_SIZES = SIZES | {"large": (160, 50)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RecordedProject:
    """A project with four schedules, and a run that one of them has started."""
    project = RecordedProject(tmp_path_factory.mktemp("schedules"))

    async def make() -> None:
        await project.put(TAPE)
        await put(project, TAPE.run)

    asyncio.run(make())
    return project


@pytest.fixture
def project(made: RecordedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordedProject:
    monkeypatch.chdir(tmp_path)
    return made.copy(Path("shop"))


def text(line: Any) -> str:
    return "".join(part for part, _ in line)


def told(app: StillConsole, said: str) -> bool:
    return any(said in message.text for message in app.fleet.messages)


async def test_schedules_are_listed_with_what_comes_and_why_it_does_not(project: RecordedProject) -> None:
    console = await open_console(project.place, "attach")
    console.clock = Still()
    try:
        found = ScheduleList(console, lambda: NOW)
        await found.load()
        rows = {entry.name: list(found.cells(at) or []) for at, entry in enumerate(found.entries)}
        assert [*rows] == [
            "crawl-shop/hourly", "nightly-audit/nightly", "nightly-audit/weekly", "watch-prices/often"
        ]  # fmt: skip
        hourly = rows["crawl-shop/hourly"]
        assert (hourly[5], text(hourly[7])) == (("in 5s", "strong"), "✓✓✓✓✓✓✓⊘✓–")
        assert text(hourly[8]).startswith("skipped: run 019c2f60")
        assert rows["nightly-audit/weekly"][8] == ("paused by ben: the warehouse is closed", "warning")
        assert rows["nightly-audit/weekly"][5] == ("-", "faint")
        assert rows["watch-prices/often"][8] == ("its workflow is paused", "dim")
        assert not found.fires
        firings, _ = await console.firings("wf:crawl-shop", Page())
        lines = [text(line) for line in details(found.entries[0], firings, NOW, app_times())]
        assert any(line.startswith("overlap  skip") for line in lines)
        assert lines[4:6] == ["next     Fri 2027-01-15 08:00:05 UTC  in 5s", "then     Fri 09:00:02, Fri 10:00:38"]
        assert any("missed" in line and "7h late" in line for line in lines)
        found.filter = "status:paused"
        found.arrange()
        assert [entry.name for entry in found.entries] == ["nightly-audit/weekly"]
    finally:
        await console.close()


def app_times() -> Any:
    from datetime import UTC

    from fleetprompt.client.wording import Times

    return Times(UTC)


async def test_from_a_schedule_to_its_last_run_and_to_all_of_them(project: RecordedProject) -> None:
    app = still(project)
    async with app.run_test(size=(132, 36)) as pilot:
        await pressing("g", "t", "enter")(pilot)
        assert isinstance(app.screen, RunScreen)
        assert app.screen.run == TAPE.run
        await pressing("escape", "v")(pilot)
        assert isinstance(app.screen, RunsScreen)
        assert app.screen.bar.text == "wf:crawl-shop trigger:schedule"
        await pressing("escape", "end", "enter")(pilot)
        assert isinstance(app.screen, SchedulesScreen)
        assert told(app, "watch-prices/often has started no run yet")


async def test_a_schedule_is_paused_resumed_and_fired(project: RecordedProject) -> None:
    app = still(project, link="schedules crawl-shop")
    async with app.run_test(size=(132, 36)) as pilot:
        await pressing("p")(pilot)
        screen = app.screen
        assert isinstance(screen, SchedulesScreen)
        await until(pilot, lambda: told(app, "paused: crawl-shop/hourly"))
        assert app.client is not None
        states = {state.name: state for state in await app.client.schedules()}
        assert (states["crawl-shop/hourly"].status, states["crawl-shop/hourly"].by) == ("paused", "ana")
        await screen.load()
        await pressing("p")(pilot)
        assert told(app, "crawl-shop/hourly is paused already")
        await pressing("P")(pilot)
        await until(pilot, lambda: told(app, "resumed: crawl-shop/hourly"))
        await pressing("S")(pilot)
        await until(pilot, lambda: told(app, "fired: crawl-shop/hourly, run "))
        [firing], _ = await app.client.firings("wf:crawl-shop by:ana outcome:fired", Page())
        assert firing.reason == "asked for by ana"


async def test_several_are_asked_about(project: RecordedProject) -> None:
    app = still(project, link="schedules")
    async with app.run_test(size=(132, 36)) as pilot:
        await pressing("home", "space", "space", "space", "p")(pilot)
        assert isinstance(app.screen, Confirm)
        await pressing("y")(pilot)
        await until(pilot, lambda: told(app, "paused: 2 schedules"))
        assert app.client is not None
        assert [state.name for state in await app.client.schedules() if state.status == "active"] == []


async def test_a_watch_is_paused_like_a_schedule_and_not_offered_to_be_fired(project: RecordedProject) -> None:
    await put_watch(project)
    app = still(project, link="schedules intake")
    async with app.run_test(size=(132, 36)) as pilot:
        await settled(pilot)
        screen = app.screen
        assert isinstance(screen, SchedulesScreen)
        assert "".join(text for text, _ in screen.said() or ()).endswith("4 schedules, 1 file watch")
        assert "schedule.fire" not in [action.id for action in screen.footer()]
        await pressing("p")(pilot)
        await until(pilot, lambda: told(app, "paused: intake/files"))
        await pressing("home")(pilot)
        assert "schedule.fire" in [action.id for action in screen.footer()]


async def test_who_may_only_look_changes_nothing(project: RecordedProject) -> None:
    app = still(project, link="schedules crawl-shop", read_only=True)
    async with app.run_test(size=(132, 36)) as pilot:
        await pressing("p", "S")(pilot)
        assert app.client is not None
        assert {state.paused for state in await app.client.schedules() if state.name == "crawl-shop/hourly"} == {False}


async def until(pilot: Pilot[Any], test: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not test():
            await pilot.pause(0.02)


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("size", ["small", "usual", "wide", "large", "huge"])
def test_schedules_look(
    same_everywhere: None, project: RecordedProject, snap_compare: Callable[..., bool], size: str
) -> None:
    del same_everywhere
    app = still(project, link="schedules crawl-shop")

    async def act(pilot: Pilot[Any]) -> None:
        await settled(pilot)
        engine: Any = app.client
        getattr(engine, "behind", engine).engine.fires = True
        await pressing("ctrl+r")(pilot)

    assert snap_compare(app, terminal_size=ALL_SIZES[size], run_before=act), HOW


def test_no_schedules_look(
    same_everywhere: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snap_compare: Callable[..., bool]
) -> None:
    del same_everywhere
    monkeypatch.chdir(tmp_path)
    app = still(RecordedProject(Path("empty")), link="schedules")
    assert snap_compare(app, terminal_size=SIZES["usual"], run_before=pressing()), HOW
