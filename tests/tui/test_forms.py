"""Forms and questions: keys keep their order, nothing is approved by an Enter too many, or without having been read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deciding_kit import (
    GATED,
    TWO,
    Desk,
    approvals,
    asking,
    client_of,
    console,
    dialog,
    ended,
    in_doubt,
    pending,
    said,
    shown,
    start,
    until,
)
from test_answers import click
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.screens.dialog import Ask, Confirm
from fleetprompt.tui.screens.form import FormDialog
from fleetprompt.tui.screens.publish import PublishDialog
from fleetprompt.tui.screens.resolve import Doubts
from fleetprompt.tui.screens.run import RunScreen
from fleetprompt.tui.screens.shown import ConfirmShown
from fleetprompt.tui.widgets.answers import Answers
from fleetprompt.tui.widgets.ask_box import AskBox
from fleetprompt.tui.widgets.bars import TopBar
from fleetprompt.tui.widgets.lines import Lines
from fleetprompt.tui.widgets.text_pane import TextPane

FIELDS = """
name: fields
steps:
  - id: gate
    type: approval
    message: Why, and how many?
    form: {why: {type: string, required: true}, n: {type: integer, default: 2}}
output: "${{ steps.gate.output.values }}"
"""
OPTIONAL = """
name: optional
steps:
  - {id: gate, type: approval, message: How many?, form: {n: {type: integer, default: 2}}}
output: "${{ steps.gate.output.values }}"
"""
LONG = GATED.replace("[touch, done]", "[touch, done, " + ", ".join(f"file{n:04}" for n in range(400)) + "]")


def press(app: FleetConsole, *keys: str) -> None:
    """All of them are there before the first one is looked at."""
    for key in keys:
        app.post_message(Key(key, " " if key == "space" else key if len(key) == 1 else None))


def keys_of(app: FleetConsole) -> str:
    """What answers, as it can be read."""
    return str(app.screen.query_one(Answers).render())


async def asks(app: FleetConsole, pilot: Pilot[Any], kind: type) -> None:
    """Until a question of this kind stands there."""
    await until(pilot, lambda: isinstance(app.screen, kind) and bool(keys_of(app)))


async def test_what_is_typed_after_enter_is_for_the_next_field(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        runs = await asking(app, pilot, clock, tmp_path, FIELDS, 2)
        await pilot.press("asterisk", "e")
        await asks(app, pilot, FormDialog)
        press(app, *"bulk", "space", *"why", "enter", "7", "enter", *"my", "space", *"comment", "enter")
        await asks(app, pilot, Confirm)
        assert "why: bulk why\nn: 27\ncomment: my comment" in dialog(app)
        await pilot.press("y")
        assert await ended(client_of(app), *runs) == ["completed"] * 2
        assert (await client_of(app).state(runs[1])).output == {"why": "bulk why", "n": 27}


async def test_what_is_typed_after_enter_is_no_part_of_a_reason(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, GATED)
        await pilot.press("r")
        await asks(app, pilot, Ask)
        press(app, *"no", "enter", *"jk")
        await until(pilot, lambda: shown(app).status == "rejected")
        _, (vote,) = await client_of(app).approval(shown(app).id)
        assert vote.comment == "no"


async def test_enter_in_the_last_field_asks_before_it_approves(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        (run,) = await asking(app, pilot, clock, tmp_path, FIELDS)
        await until(pilot, lambda: approvals(app).pane.ended)
        await pilot.press("e")
        await asks(app, pilot, FormDialog)
        await pilot.press(*"so")
        assert "↵ next field" in keys_of(app)
        await pilot.press("enter", "enter")
        assert "^s approve" in keys_of(app)
        assert "↵ approve, after a question" in keys_of(app)
        await pilot.press("enter")
        await asks(app, pilot, Confirm)
        assert "why: so\nn: 2" in dialog(app)
        await pilot.press("enter")
        await asks(app, pilot, FormDialog)
        assert app.screen.query(Input).first().value == "so", "what was filled in is still there"
        assert len(await pending(client_of(app))) == 1
        await pilot.press("ctrl+s")
        assert await ended(client_of(app), run) == ["completed"]


async def test_enter_in_the_last_field_does_what_the_key_line_says(tmp_path: Path) -> None:
    async with console(tmp_path, link="signals") as (app, pilot, _):
        await pilot.press("n")
        await asks(app, pilot, PublishDialog)
        assert "↵ next field" in keys_of(app)
        await pilot.press(*"deploy.done", "enter")
        assert isinstance(app.focused, TextArea)
        assert "↵" not in keys_of(app), "there it is a character"
        await pilot.press("enter", "tab", "enter")
        assert "↵ publish" in keys_of(app)
        await pilot.press("enter")
        await until(pilot, lambda: said(app, "published"))


async def test_an_approval_whose_end_was_not_in_sight_is_read_on_first(tmp_path: Path) -> None:
    async with console(tmp_path, size=(60, 20)) as (app, pilot, clock):
        (run,) = await asking(app, pilot, clock, tmp_path, LONG)
        await pilot.press("a")
        await asks(app, pilot, ConfirmShown)
        pane = app.screen.query_one(TextPane)
        await until(pilot, lambda: pane.whole and pane.below)
        assert "y read on" in keys_of(app)
        assert "approve" not in keys_of(app)
        pages = 0
        while "y read on" in keys_of(app):
            clock.at += 1
            await pilot.press("y")
            pages += 1
            await pilot.pause()
        assert pages > 2
        assert not pane.below
        # The key that has brought the end into sight is held, or was meant for one more page.
        await pilot.press("y", "y")
        assert isinstance(app.screen, ConfirmShown)
        assert len(await pending(client_of(app))) == 1
        await pilot.press("pageup")
        clock.at += 1
        assert "y approve" in keys_of(app), "it has been read"
        await pilot.press("y")
        assert await ended(client_of(app), run) == ["completed"]


async def test_a_comment_is_written_once_the_whole_was_in_sight(tmp_path: Path) -> None:
    async with console(tmp_path, size=(60, 20)) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, LONG)
        await pilot.press("c")
        await asks(app, pilot, ConfirmShown)
        await until(pilot, lambda: app.screen.query_one(TextPane).whole)
        for _ in range(100):
            await pilot.press("pagedown")
        await until(pilot, lambda: "y write a comment" in keys_of(app))
        await pilot.press("y")
        await asks(app, pilot, Ask)
        await pilot.press(*"fine", "enter")
        await until(pilot, lambda: shown(app).status == "approved")


async def test_the_values_of_a_form_are_edited_from_the_question(tmp_path: Path) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        run = await start(app, tmp_path, OPTIONAL)
        while not await pending(client_of(app)):
            await pilot.pause(0.02)
        await app.go_to(f"run {run}")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and "approve" in asked(app))
        clock.at += 10
        await pilot.press("a")
        await asks(app, pilot, ConfirmShown)
        await until(pilot, lambda: "e edit the values" in keys_of(app))
        await pilot.press("e")
        await asks(app, pilot, FormDialog)
        await pilot.press("7", "ctrl+s")
        assert await ended(client_of(app), run) == ["completed"]
        assert (await client_of(app).state(run)).output == {"n": 27}


async def test_the_times_of_a_question_go_on(tmp_path: Path) -> None:
    async with console(tmp_path, size=(60, 20)) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, LONG)
        await pilot.press("a")
        await asks(app, pilot, ConfirmShown)
        before = dialog(app)
        await pilot.press("pagedown")
        at = app.screen.query_one(TextPane).scroll_offset
        clock.at += 100
        await until(pilot, lambda: dialog(app) != before)
        assert "1m ago" in dialog(app)
        assert app.screen.query_one(TextPane).scroll_offset == at


async def test_a_list_that_is_longer_than_the_question_says_so(tmp_path: Path) -> None:
    async with console(tmp_path, size=(80, 24)) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, GATED, 12)
        for size in ((80, 24), (60, 14), (20, 5)):
            await pilot.resize_terminal(*size)
            await pilot.press("asterisk", "r")
            await asks(app, pilot, Ask)
            await until(pilot, lambda: "more lines" in keys_of(app))
            for part in (app.screen.query_one(Input), app.screen.query_one(Answers)):
                await until(pilot, lambda part=part: app.screen.region.contains_region(part.region))  # type: ignore[misc]
            await pilot.press("escape", "U")
            await until(pilot, lambda: app.screen is approvals(app))
        await pilot.resize_terminal(80, 24)
        await pilot.press("space", "space", "a")
        await asks(app, pilot, Confirm)
        assert "more lines" not in keys_of(app)


async def test_nothing_has_happened_because_of_an_enter_too_many(tmp_path: Path, desk: Desk) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        (run,) = await in_doubt(app, pilot, tmp_path, desk, 1)
        clock.at += 10
        await pilot.press("d")
        await asks(app, pilot, Doubts)
        await pilot.press("h", "enter")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        assert (await client_of(app).run(run)).waiting_on == "in_doubt"
        await pilot.press(*"null", "enter")
        assert await ended(client_of(app), run) == ["completed"]


def asked(app: FleetConsole) -> str:
    """What the box of the run's question says."""
    return "".join(str(box.render()) for box in app.screen.query(AskBox))


async def test_what_i_have_voted_on_does_not_need_me_any_more(tmp_path: Path) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        run = await start(app, tmp_path, TWO)
        await until(pilot, lambda: app.fleet.approvals == 1)
        lines: Any = app.screen.query(Lines).first()

        def row() -> str:
            return "".join(part.text for part in lines.render_line(0))

        await until(pilot, lambda: "needs you: Both of you?" in row())
        await app.go_to(f"run {run}")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and "approve" in asked(app))
        clock.at += 10
        await pilot.press("a")
        await asks(app, pilot, ConfirmShown)
        await until(pilot, lambda: "y approve" in keys_of(app))
        await pilot.press("y")
        await until(pilot, lambda: "you have approved it already" in asked(app))
        screen = app.screen
        assert isinstance(screen, RunScreen)
        offered = {each.id for each in screen.footer()}
        assert "approval.approve" not in offered
        assert {"approval.reject", "approval.comment"} <= offered, "it can still be corrected"
        assert "r reject   c approve + comment" in asked(app)
        await until(pilot, lambda: app.fleet.approvals == 0)
        assert "approval" not in "".join(text for text, _ in app.screen.query_one(TopBar).parts(200))
        await pilot.press("escape")
        await until(pilot, lambda: "needs others: Both of you?" in row())
        await app.go_to(f"run {run}")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and "c approve + comment" in asked(app))
        clock.at += 10
        await pilot.press("c")
        await asks(app, pilot, ConfirmShown)
        await until(pilot, lambda: "y write a comment" in keys_of(app))
        await pilot.press("y")
        await asks(app, pilot, Ask)
        assert "you have approved it: this takes the place of that" in dialog(app)
        await pilot.press(*"yes", "enter")
        await until(pilot, lambda: said(app, "approved: two → gate"))
        approval, votes = await client_of(app).approval((await pending(client_of(app)))[0].id)
        while [vote.comment for vote in votes] != ["yes"]:
            await pilot.pause(0.02)
            approval, votes = await client_of(app).approval(approval.id)
        assert approval.status == "pending"


async def test_what_a_run_asks_is_answered_by_a_click(tmp_path: Path) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        run = await start(app, tmp_path, GATED)
        while not await pending(client_of(app)):
            await pilot.pause(0.02)
        await app.go_to(f"run {run}")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and "c approve + comment" in asked(app))
        await until(pilot, lambda: "$ touch done" in asked(app))
        box = app.screen.query_one(AskBox)
        await until(pilot, lambda: box.content_region.height == len(asked(app).splitlines()))
        clock.at += 10
        at = box.content_region
        line = asked(app).splitlines()[-1]
        await pilot.click(offset=(at.x + line.index("reject") + 2, at.bottom - 1))
        await asks(app, pilot, Ask)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await pilot.click(offset=(at.x, at.bottom - 1))
        await asks(app, pilot, ConfirmShown)
        await until(pilot, lambda: "y approve" in keys_of(app))
        await click(app, pilot, "approve")
        assert await ended(client_of(app), run) == ["completed"]
