"""Going from screen to screen: back, to the place before, to what is open already, and to what does not exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from fleetprompt.client.opening import open_console
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.links import MOST_OPEN
from fleetprompt.tui.screens.picker import PickerInput
from fleetprompt.tui.screens.run import RunScreen
from fleetprompt.tui.state.views import View, Views
from fleetprompt.tui.widgets.filter_bar import FilterBar
from fleetprompt.tui.widgets.lines import Lines
from tests.client.client_kit import place_at, start_of
from tests.tui.test_runs_screen import SLEEPER, console, runs_of, until


async def started(app: FleetConsole, folder: Path, name: str = "sleeper") -> str:
    file = folder / f"{name}.yaml"
    file.write_text(SLEEPER.replace("sleeper", name))
    assert app.client is not None
    return await app.client.start(start_of(file))


def names(app: FleetConsole) -> list[str]:
    """The screens that are open, the runs among them by their ids."""
    return [screen.run if isinstance(screen, RunScreen) else screen.NAME for screen in app.console_screens()]


async def went(app: FleetConsole, pilot: Pilot[Any], link: str, *open_: str) -> None:
    """Follow a link, until these screens are open above the home."""
    await app.go_to(link)
    await until(pilot, lambda: names(app) == ["runs", *open_])


async def test_the_place_before_is_gone_back_to_also_after_esc(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        run = await started(app, tmp_path)
        await went(app, pilot, f"run {run}", run)
        await pilot.press("escape")
        await until(pilot, lambda: names(app) == ["runs"])
        await pilot.press("minus")
        await until(pilot, lambda: names(app) == ["runs", run])
        await pilot.press("minus")
        await until(pilot, lambda: names(app) == ["runs"])


async def test_a_run_that_is_open_is_gone_back_to_and_what_is_above_it_is_closed(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        run, other = await started(app, tmp_path), await started(app, tmp_path)
        await went(app, pilot, f"run {run}", run)
        screen = app.screen
        await went(app, pilot, f"run {other}", run, other)
        await pilot.press("minus")
        await until(pilot, lambda: names(app) == ["runs", run])
        assert app.screen is screen
        await pilot.press("minus")
        await until(pilot, lambda: names(app) == ["runs", run, other])
        await went(app, pilot, "approvals", run, other, "approvals")
        await went(app, pilot, f"run {run[-8:]} nap", run)
        assert app.screen is screen


async def test_a_screen_that_was_closed_is_opened_with_its_filter(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        await went(app, pilot, "signals type:order.*", "signals")
        await until(pilot, lambda: app.screen.query_one(FilterBar).text == "type:order.*")
        await went(app, pilot, "runs")
        await pilot.press("minus")
        await until(pilot, lambda: names(app) == ["runs", "signals"])
        await until(pilot, lambda: app.screen.query_one(FilterBar).text == "type:order.*")


async def test_keys_that_are_pressed_at_once_are_done_one_after_the_other(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        await went(app, pilot, "cost", "cost")
        await went(app, pilot, "health", "cost", "health")
        await pilot.press(*["minus"] * 4)
        await until(pilot, lambda: names(app) == ["runs", "cost", "health"])


async def test_esc_leads_back_from_the_runs_behind_a_line_and_to_the_filter_that_was_there(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        await started(app, tmp_path)
        await until(pilot, lambda: runs_of(app).count == 1)
        await pilot.press("slash", *"status:waiting,running", "enter")
        await pilot.press("g", "w")
        await until(pilot, lambda: names(app) == ["runs", "workflows"])
        workflows: Any = app.screen
        await until(pilot, lambda: workflows.entry() is not None)
        await pilot.press("enter")
        await until(pilot, lambda: names(app) == ["runs", "workflows", "runs"])
        behind: Any = app.screen
        await until(pilot, lambda: behind.runs is not None and behind.runs.loaded)
        assert behind.query_one(FilterBar).text == behind.runs.filter == "wf:sleeper"
        await pilot.press("slash", *"status:failed", "enter")
        await until(pilot, lambda: behind.runs.filter == "wf:sleeper status:failed" and behind.runs.loaded)
        await pilot.press("escape")
        await until(pilot, lambda: behind.runs.filter == "wf:sleeper" and behind.runs.count == 1)
        await pilot.press("enter")
        await until(pilot, lambda: len(names(app)) == 4)
        await pilot.press("escape", "escape")
        await until(pilot, lambda: app.screen is workflows)
        await pilot.press("minus")
        await until(pilot, lambda: names(app) == ["runs", "workflows", "runs"])
        await pilot.press("escape", "escape")
        await until(pilot, lambda: names(app) == ["runs"])
        assert app.screen.query_one(FilterBar).text == runs_of(app).filter == "status:waiting,running"


async def test_a_place_that_is_jumped_to_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        run = await started(app, tmp_path)
        for letter, name in zip("wchsa", ("workflows", "cost", "health", "signals", "approvals"), strict=True):
            await pilot.press("g", letter)
            await until(pilot, lambda name=name: names(app) == ["runs", name])
        await pilot.press("minus")
        await until(pilot, lambda: names(app) == ["runs", "signals"])
        await pilot.press("escape")
        await until(pilot, lambda: names(app) == ["runs"])
        await went(app, pilot, f"run {run}", run)
        screen = app.screen
        await pilot.press("g", "m", "g", "c")
        await until(pilot, lambda: names(app) == ["runs", run, "cost"])
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)


async def test_the_pile_of_screens_does_not_grow_for_ever(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        for _ in range(MOST_OPEN + 2):
            run = await started(app, tmp_path)
            await app.go_to(f"run {run}")
            await until(pilot, lambda run=run: names(app)[-1] == run)
        assert len(app.screen_stack) == MOST_OPEN


async def test_where_there_was_nothing_before_that_is_told(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        await pilot.press("minus")
        await until(pilot, lambda: any("no place before" in message.text for message in app.fleet.messages))


# ---------------------------------------------------------------- the palette


async def commanded(pilot: Pilot[Any], text: str) -> None:
    await pilot.press("colon", *text, "enter")


async def test_enter_means_what_was_typed_and_not_what_was_shown_before(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        await pilot.press("colon")
        box = app.screen.query_one(PickerInput)
        box.value = "runs status:failed"
        await box.action_submit()
        await until(pilot, lambda: len(app.screen_stack) == 1)
        await until(pilot, lambda: app.screen.query_one(FilterBar).text == "status:failed")


async def test_a_command_that_does_not_exist_is_told_with_what_may_be_meant(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        for typed, meant in (
            ("aprovals wf:x", "did you mean `approvals`?"),
            (":cancle", "did you mean `cancel`?"),
            ("froget bad", "did you mean `forget`?"),
            ("zzzz", "? lists what can be done here"),
        ):
            await commanded(pilot, typed)
            lines = app.screen.query_one(Lines)
            await until(pilot, lambda lines=lines, meant=meant: meant in lines.empty[0][0])
            assert app.screen.query_one(PickerInput).value == typed, "it can be mended"
            await pilot.press("backspace")
            await until(pilot, lambda lines=lines: lines.empty[0][0] == "nothing fits")
            await pilot.press("escape")


async def test_a_run_is_found_by_its_workflow(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        run = await started(app, tmp_path, "nightly-audit")
        await until(pilot, lambda: runs_of(app).count == 1)
        await commanded(pilot, "run audit")
        await until(pilot, lambda: names(app) == ["runs", run])


async def test_a_view_is_found_by_its_name_and_a_name_is_completed(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        bar = app.screen.query_one(FilterBar)
        app.views.save(View("bad ones", "status:failed", "cost"))
        await commanded(pilot, "bad on")
        await until(pilot, lambda: bar.text == "status:failed" and runs_of(app).loaded)
        assert runs_of(app).order.by == "cost"
        await app.go_to("view active")
        await until(pilot, lambda: bar.text == "status:running,pending,waiting")
        await app.go_to("view activ")
        await until(pilot, lambda: any("did you mean `active`?" in message.text for message in app.fleet.messages))
        await pilot.press("colon", *"forget bad", "down", "enter")
        await until(pilot, lambda: app.views.named("bad ones") is None)


async def test_a_filter_that_cannot_be_understood_says_why_wherever_it_comes_from(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        app.views.save(View("odd", "cost>abc", "cost"))
        bar = app.screen.query_one(FilterBar)
        order = runs_of(app).order
        await pilot.press("1")
        await until(pilot, lambda: bar.editing)
        assert "abc" in app.fleet.messages[-1].text
        assert runs_of(app).order == order
        await pilot.press("escape")
        await commanded(pilot, "runs cost>def")
        await until(pilot, lambda: "def" in app.fleet.messages[-1].text)
        await pilot.press("escape")
        await commanded(pilot, "signals tpye:x")
        await until(pilot, lambda: names(app) == ["runs", "signals"])
        await until(pilot, lambda: "tpye" in app.fleet.messages[-1].text)


async def test_saved_views_that_cannot_be_read_are_told_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "views.json"
    path.write_text("{")
    app = FleetConsole(lambda: open_console(place_at(tmp_path), "none"), who="ana", views=Views(path))
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: app.client is not None and runs_of(app).loaded)
        assert "the saved views cannot be read" in app.fleet.messages[0].text
        await commanded(pilot, "save mine")
        await until(pilot, lambda: "views.json.broken-1 now" in app.fleet.messages[-1].text)
        assert path.with_name("views.json.broken-1").read_text() == "{"
    if app.client is not None:
        await app.client.close()
