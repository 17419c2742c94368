"""What the console looks like, from recorded journals: a character or a colour that differs fails the test.

Nothing in them depends on the machine: time, zone, colours, names and the width of the terminal are given.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from fleetprompt.tui.screens.runs import RunsScreen
from tests.tui.conftest import SIZES, Looks
from tests.tui.recorded import RecordedProject, Tape
from tests.tui.recorded_console import StillConsole, posed, pressing, still

# ---------------------------------------------------------------- runs


@pytest.mark.parametrize("size", SIZES)
def test_runs(looks: Looks, size: str) -> None:
    looks(size=size)


def test_runs_where_there_are_none(looks: Looks) -> None:
    looks(app=still(RecordedProject(Path("empty"))))


def test_runs_that_are_still_being_read(looks: Looks) -> None:
    async def never() -> Any:
        await asyncio.Event().wait()

    async def act(pilot: Pilot[Any]) -> None:
        await pilot.pause()

    looks(app=StillConsole(never), act=act)


def test_runs_of_a_store_that_cannot_be_opened(looks: Looks) -> None:
    broken = RecordedProject(Path("broken"))
    Path(broken.place.database).write_text("this is no database, but long enough to look like one" * 20)
    looks(app=still(broken))


def test_runs_of_a_filter_that_is_completed_with_what_there_is(looks: Looks) -> None:
    looks("slash", "text:wf:")


def test_runs_of_a_filter_that_matches_nothing(looks: Looks) -> None:
    looks("slash", "text:wf:nightly-eval cost>5", "enter")


def test_a_filter_that_cannot_be_understood_is_underlined_above_the_last_good_list(looks: Looks) -> None:
    looks("slash", "text:wf:nightly-eval", "enter", "slash", "text:statu:x cost>abc")


def test_runs_with_marks_and_a_range(looks: Looks) -> None:
    looks("space", "space", "down", "V", "down", "down")


def test_runs_by_cost(looks: Looks) -> None:
    looks(*["o"] * 5)


def test_runs_that_have_come_while_somebody_reads(looks: Looks, project: RecordedProject) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        await pressing("down", "down")(pilot)
        await project.put(Tape("audit", ago=1).renamed())
        (screen,) = (each for each in pilot.app.screen_stack if isinstance(each, RunsScreen))
        while screen.runs is None or not screen.runs.fresh:
            await pilot.pause(0.05)
        await posed(pilot)

    looks(engine="none", act=act)


def test_runs_with_texts_that_would_do_harm(looks: Looks) -> None:
    looks("slash", "text:wf:hostile", "enter", size="wide")


# ---------------------------------------------------------------- states


def test_a_console_that_may_only_look(looks: Looks) -> None:
    looks(read_only=True)


def test_a_console_without_an_engine(looks: Looks) -> None:
    looks(engine="none")


def test_a_console_beside_an_engine(looks: Looks) -> None:
    looks(engine="attached", size="wide")


def test_light(looks: Looks) -> None:
    looks("space", light=True)


def test_without_colours(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    looks("space")


def test_with_sixteen_colours(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv("TERM", "xterm")
    looks("space", "question_mark")


# ---------------------------------------------------------------- menus, questions, small screens


def test_the_menu_of_keys(looks: Looks) -> None:
    looks("question_mark")


def test_the_palette_with_something_typed(looks: Looks) -> None:
    looks("colon", "text:9af678a4")


def test_the_menu_of_places(looks: Looks) -> None:
    looks("g")


def test_the_question_before_a_run_is_cancelled(looks: Looks) -> None:
    looks("x")


def test_the_reason_why_a_run_is_cancelled(looks: Looks) -> None:
    looks("x", "r", "text:wrong one")


def test_the_question_before_many_are_cancelled(looks: Looks) -> None:
    looks("space", "space", "space", "x")


def test_help(looks: Looks) -> None:
    looks("g", "question_mark")


def test_messages_in_the_zone_of_the_reader(looks: Looks) -> None:
    looks("p", "g", "m", read_only=True, zone=timezone(timedelta(hours=12), "NZST"))


# ---------------------------------------------------------------- one run


def run(name: str, path: str = "") -> str:
    """The link of the run that was recorded under a name."""
    return f"run {Tape(name).run} {path}".strip()


def test_a_run_that_waits_for_somebody(looks: Looks) -> None:
    looks("2", link=run("incident"), size="wide")


@pytest.mark.parametrize("size", ["small", "usual"])
def test_a_run_where_there_is_little_room(looks: Looks, size: str) -> None:
    looks(link=run("incident"), size=size)


def test_a_run_that_is_over_as_a_timeline(looks: Looks) -> None:
    looks("t", link=f"run {Tape('incident').renamed().run}", size="wide")


def test_a_step_that_failed_among_three_hundred(looks: Looks) -> None:
    looks("f", link=run("crawl"), size="wide")


def test_a_step_that_failed_three_times_and_its_facts(looks: Looks) -> None:
    looks("f", "E", link=run("retries"), size="wide")


def test_the_source_with_the_step_marked(looks: Looks) -> None:
    looks("s", link=run("paused"), size="wide")


def test_the_question_what_became_of_a_step_in_doubt(looks: Looks) -> None:
    looks("d", link=run("doubt"))


def test_the_question_before_a_run_is_done_again_from_a_step(looks: Looks) -> None:
    looks("f", "B", link=run("retries"))


def test_a_long_chain_of_runs(looks: Looks) -> None:
    looks(*["right", "down"] * 6, link=run("chain"), size="wide")


def test_a_run_with_texts_that_would_do_harm(looks: Looks) -> None:
    looks(link=run("hostile", "say"), size="wide")


def test_a_run_that_there_is_not(looks: Looks) -> None:
    looks(link="run 00000000")


# ---------------------------------------------------------------- approvals


@pytest.mark.parametrize("size", ["small", "usual", "wide"])
def test_approvals_of_which_the_oldest_has_texts_that_would_do_harm(looks: Looks, size: str) -> None:
    looks("g", "a", size=size)


def test_an_approval_that_one_of_two_has_approved(looks: Looks) -> None:
    looks("g", "a", "down", size="wide")


def test_approvals_where_there_are_none(looks: Looks) -> None:
    looks("g", "a", app=still(RecordedProject(Path("empty"))))


def test_the_form_of_an_approval(looks: Looks) -> None:
    looks("g", "a", "down", "e", size="wide")


def test_the_question_before_an_approval_is_rejected(looks: Looks) -> None:
    looks("g", "a", "r", "text:not on a Friday", size="wide")


def test_the_question_before_many_are_approved(looks: Looks) -> None:
    looks("g", "a", "space", "space", "a", size="wide")


# ---------------------------------------------------------------- workflows


@pytest.mark.parametrize("size", ["usual", "wide"])
def test_workflows(looks: Looks, size: str) -> None:
    looks("g", "w", size=size)


# ---------------------------------------------------------------- signals and cost


@pytest.mark.parametrize("size", ["usual", "wide"])
def test_signals(looks: Looks, size: str) -> None:
    looks("g", "s", size=size)


@pytest.mark.parametrize("size", ["usual", "wide"])
def test_cost(looks: Looks, size: str) -> None:
    looks("g", "c", size=size)
