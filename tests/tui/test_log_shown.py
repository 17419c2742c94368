"""The log beside the steps and below the list of runs: that it is whole, how to come to it, what is said of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from run_project import Project
from test_run_screen import Seen, shown

from fleetprompt.engine.ports import LogLine
from fleetprompt.tui.screens.run import RunScreen
from fleetprompt.tui.screens.runs import RunsScreen
from fleetprompt.tui.widgets.bars import Bar
from fleetprompt.tui.widgets.log_view import LogLines
from fleetprompt.tui.widgets.run_bars import Tabs
from fleetprompt.tui.widgets.run_preview import RunPreview

TALKS = """
name: talks
steps:
  - {id: quiet, type: transform, output: 1}
  - {id: one, type: shell, argv: [sh, -c, "seq -f 'line %g of one' 1000 1099; echo line 10030"], repeat: safe}
  - {id: two, type: shell, argv: [sh, -c, "echo two"], repeat: safe}
"""
NARROW = (100, 30)


@pytest.fixture
async def project(tmp_path: Path) -> AsyncIterator[Project]:
    made = await Project.open(tmp_path, talks=TALKS)
    yield made
    await made.console.close()


@pytest.fixture
async def run(project: Project) -> str:
    """A run that is over, and whose lines are stored."""
    run = await project.start("talks")
    await project.wait(run)
    await project.console.store.logs.flush()
    return run


async def say(project: Project, run: str, text: str) -> None:
    """A line reaches the store after the fact that ended its run."""
    project.console.store.logs.write(run, [LogLine(at=1.0, level="stderr", text=text, path="one")])
    await project.console.store.logs.flush()


async def opened(seen: Seen, *keys: str) -> LogLines:
    """The log, when its lines are there, and the keys after that."""
    await seen.until(lambda: seen.screen.beside.shown_log is not None)
    log = seen.screen.query_one(LogLines)
    await seen.until(lambda: log.view.opened and log.view.complete)
    await seen.press(*keys)
    await seen.until(lambda: log.view.opened and log.view.complete)
    return log


def last(log: LogLines) -> str:
    rows = [log.render_line(y).text.rstrip() for y in range(log.size.height)]
    return next((row for row in reversed(rows) if row), "")


def told(bar: Bar) -> str:
    return "".join(text for text, _ in bar.parts(bar.size.width - 2)) if bar.size.width else ""


# ------------------------------------------------------------ the whole of it


async def test_lines_that_are_stored_after_the_end_of_the_run_are_shown(project: Project, run: str) -> None:
    async with shown(project, run, "one") as seen:
        log = await opened(seen)
        assert seen.screen.runview is not None
        assert seen.screen.runview.run.ended
        await say(project, run, "LAST")
        await seen.until(lambda: last(log).endswith("LAST"))


@pytest.mark.parametrize("key", ["ctrl+r", "G"])
async def test_a_key_looks_for_more_lines_at_any_time(
    project: Project, run: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleetprompt.tui.screens.run.LOOK", 3600.0)
    async with shown(project, run, "one") as seen:
        log = await opened(seen, "enter")
        await say(project, run, "LAST")
        await seen.press(key)
        await seen.until(lambda: last(log).endswith("LAST"))


async def test_below_the_list_of_runs_too(project: Project, run: str) -> None:
    async with shown(project, run, size=(150, 40)) as seen:
        await seen.press("escape")
        await seen.until(lambda: isinstance(seen.app.screen, RunsScreen))
        preview = seen.app.screen.query_one(RunPreview)
        await seen.until(lambda: preview.query(LogLines) and preview.query_one(LogLines).view.lines)
        log = preview.query_one(LogLines)
        # The first may be there because the run has just been shown.
        for text in ("first", "next", "LAST"):
            await say(project, run, text)
            await seen.until(lambda text=text: last(log).endswith(text))


# ------------------------------------------------------------ the way to it


async def test_the_log_of_a_step_is_gone_to_and_that_of_the_run_from_there(project: Project, run: str) -> None:
    async with shown(project, run, "one") as seen:
        log = await opened(seen, "L")
        assert seen.app.focused is log
        assert log.view.path == "one"
        await seen.press("up")
        assert seen.steps.key == "one"
        assert not log.view.follow
        await opened(seen, "L")
        assert log.view.path is None
        await opened(seen, "L")
        assert log.view.path == "one"
        await seen.press("escape")
        assert seen.app.focused is seen.steps


async def test_where_a_step_has_said_nothing_the_log_is_that_of_the_run_at_once(project: Project, run: str) -> None:
    async with shown(project, run, "quiet") as seen:
        log = await opened(seen, "1")
        await seen.until(lambda: last(log).endswith("L shows the whole run's log"))
        await opened(seen, "L")
        assert log.view.path is None
        assert seen.app.focused is log


@pytest.mark.parametrize("size", [(150, 40), (70, 24)])
async def test_from_the_list_of_runs_it_is_that_of_the_whole_run(
    project: Project, run: str, size: tuple[int, int]
) -> None:
    async with shown(project, run, size=size) as seen:
        await seen.press("escape")
        await seen.until(lambda: isinstance(seen.app.screen, RunsScreen))
        await seen.until(lambda: seen.app.screen.query_one(RunPreview).is_mounted)
        await seen.press("L")
        await seen.until(lambda: isinstance(seen.app.screen, RunScreen) and seen.is_there())
        await seen.until(lambda: isinstance(seen.app.focused, LogLines))
        log = seen.screen.query_one(LogLines)
        await seen.until(lambda: log.view.lines > 100)
        assert log.view.path is None


# ------------------------------------------------------------ what is said of it


async def find(seen: Seen, text: str) -> None:
    await seen.press("slash", *("space" if letter == " " else letter for letter in text), "enter")


@pytest.mark.parametrize("size", [(80, 24), NARROW, (150, 40), (220, 50)])
async def test_what_was_found_and_whether_the_end_is_followed_is_told_at_any_width(
    project: Project, run: str, size: tuple[int, int]
) -> None:
    async with shown(project, run, "one", size=size) as seen:
        log = await opened(seen, "L")

        def said() -> str:
            beside = seen.screen.beside
            return told(beside.query_one("#told", Bar)) + told(beside.query_one(Tabs))

        assert "following" in said()
        await find(seen, "nowhere")
        await seen.until(lambda: "nowhere: no match" in said())
        await find(seen, "line 1003 ")
        assert log.view.find is not None
        assert log.view.find.needle == "line 1003 "
        await seen.until(lambda: "line 1003 : 1 of 1" in said())
        await seen.press("home")
        await seen.until(lambda: "following" not in said())
        await find(seen, "")
        await seen.until(lambda: "1003" not in said())


async def test_the_titles_name_the_keys_that_choose_them_now(project: Project, run: str) -> None:
    async with shown(project, run, "one") as seen:
        await opened(seen)
        tabs = seen.screen.query_one(Tabs)
        assert told(tabs).split() == ["1", "Log", "2", "Values", "3", "Facts", "4", "Source"]
        await seen.press("L")
        assert told(tabs).split() == ["L", "Log", "i", "Values", "E", "Facts", "s", "Source"]
        await seen.press("i")
        assert seen.screen.beside.tab == "values"
        await seen.press("escape")
        assert told(tabs).startswith("1 Log")


async def test_a_line_that_goes_on_says_so_before_the_scroll_bar(project: Project, run: str) -> None:
    async with shown(project, run, "one", size=NARROW) as seen:
        log = await opened(seen)
        await say(project, run, "x" * 200)
        await seen.until(lambda: "xxx" in last(log))
        assert log.show_vertical_scrollbar
        assert last(log).endswith("x…")
        assert len(last(log)) == log.scrollable_content_region.width < log.size.width + 1
