"""The log of a run while it has the keys: what the frame, the menu and the palette offer is what the keys do then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from run_project import Project
from test_run_screen import LARGE, Seen, shown
from textual.widgets import Input

from fleetprompt.tui.actions import BY_ID, at
from fleetprompt.tui.screens.picker import Picker
from fleetprompt.tui.widgets.bars import FootBar
from fleetprompt.tui.widgets.lines import Lines
from fleetprompt.tui.widgets.log_view import LogLines


@pytest.fixture
async def project(tmp_path: Path) -> AsyncIterator[Project]:
    made = await Project.open(tmp_path, large=LARGE)
    yield made
    await made.console.close()


@asynccontextmanager
async def in_log(project: Project) -> AsyncIterator[tuple[Seen, LogLines]]:
    """A long log, which has the keys."""
    run = await project.start("large")
    await project.wait(run)
    await project.console.store.logs.flush()
    async with shown(project, run, "big") as seen:
        await seen.until(lambda: seen.screen.beside.tab == "log")
        log = seen.screen.query_one(LogLines)
        await seen.until(lambda: log.view.path == "big" and log.view.count > 0)
        await seen.press("enter")
        assert seen.app.focused is log
        yield seen, log


async def menu(seen: Seen, key: str, typed: str = "") -> list[str]:
    """The lines of a menu for what was typed, as they are shown."""
    await seen.press(key)
    await seen.until(lambda: isinstance(seen.app.screen, Picker))
    seen.app.screen.query_one(Input).value = typed
    await seen.pilot.pause()
    lines = seen.app.screen.query_one(Lines)
    await seen.until(lambda: lines.source.count)
    return [" ".join(lines.text(index).split()) for index in range(lines.source.count)]


def offered(seen: Seen) -> dict[str, str]:
    """What the footer says of each key."""
    bar = seen.screen.query_one(FootBar)
    parts = bar.parts(1000)
    return {key: word.strip() for (key, style), (word, _) in pairwise(parts) if style == "accent"}


async def test_every_action_of_the_log_is_offered_while_it_has_the_keys(project: Project) -> None:
    async with in_log(project) as (seen, log):
        assert {action.id for action in at(["log"])} <= {action.id for action in seen.screen.actions()}
        lines = await menu(seen, "question_mark")
        for action in at(["log"]):
            assert any(action.doc in line for line in lines), action.id
        await seen.press("escape")
        lines = await menu(seen, "colon", "wrap")
        assert lines[0].startswith("w wrap")
        await seen.press("enter")
        assert log.view.wraps


async def test_the_footer_says_what_a_key_does_to_the_log_and_a_click_does_the_same(project: Project) -> None:
    async with in_log(project) as (seen, log):
        assert offered(seen)["w"] == "wrap"
        assert offered(seen)["v"] == "levels"
        bar = seen.screen.query_one(FootBar)
        words = "".join(text for text, _ in bar.parts(bar.size.width - 2))
        await seen.pilot.click(bar, offset=(words.index("w wrap") + 3, 0))
        assert log.view.wraps
        await seen.press("w")
        assert not log.view.wraps
        await seen.press("escape")
        assert seen.app.focused is seen.steps
        assert offered(seen)["w"] == "active"
        assert "v" not in offered(seen)


async def test_no_key_is_shown_twice_and_what_the_log_takes_can_still_be_chosen(project: Project) -> None:
    async with in_log(project) as (seen, _):
        keys = [key for action in seen.screen.actions() for key in seen.screen.keymap.keys(action)]
        assert sorted(keys) == sorted({*keys})
        assert seen.screen.keymap.shown(BY_ID["run.active"]) == ""
        assert seen.app.keymap.shown(BY_ID["run.active"]) == "w"
        lines = await menu(seen, "question_mark", "what is active now")
        assert [line for line in lines if line.startswith("active")]
        await seen.press("enter")
        assert seen.said() == ["nothing is active"]


async def test_what_only_lists_can_do_is_not_offered_for_a_log(project: Project) -> None:
    async with in_log(project) as (seen, _):
        done = {action.id for action in seen.screen.actions()}
        assert not done & {"list.mark", "list.jump", "list.copy", "list.open"}


async def test_digits_are_ranges_in_the_log_and_parts_beside_the_steps(project: Project) -> None:
    async with in_log(project) as (seen, log):
        await seen.press("1")
        assert not log.view.follow
        assert log.view.top == 0
        assert seen.screen.beside.tab == "log"
        await seen.press("escape", "2")
        assert seen.screen.beside.tab == "values"
