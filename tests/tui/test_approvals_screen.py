"""Deciding in the console, with a real engine: what is shown is what is decided about, once, and never by accident."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from deciding_kit import (
    FORM,
    GATED,
    TWO,
    approvals,
    asking,
    client_of,
    console,
    dialog,
    ended,
    inbox,
    pending,
    said,
    shown,
    start,
    until,
)

from fleetprompt.client.deciding import brief
from fleetprompt.client.opening import open_console
from fleetprompt.tui import deciding
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.screens.approvals import ApprovalLines, ApprovalsScreen
from fleetprompt.tui.screens.dialog import Ask, Confirm
from fleetprompt.tui.screens.form import FormDialog
from fleetprompt.tui.voting import Vote, send
from fleetprompt.tui.widgets.form import Choice, FieldBox
from tests.client.client_kit import place_at


def read(app: FleetConsole) -> list[str]:
    """What the preview says, row by row."""
    pane = approvals(app).pane
    return ["".join(segment.text for segment in pane.render_line(y)) for y in range(pane.size.height)]


async def test_approving_executes_what_was_shown(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        (run,) = await asking(app, pilot, clock, tmp_path, GATED)
        approval = shown(app)
        for words in ("Touch it?", "argv: $ touch done", approval.digest[:12]):
            await until(pilot, lambda words=words: any(words in line for line in read(app)))  # type: ignore[misc]
        await pilot.press("a")
        assert await ended(client_of(app), run) == ["completed"]
        assert (tmp_path / "done").exists()
        await until(pilot, lambda: said(app, f"approved: gated → touch run {run[-8:]}, digest {approval.digest[:12]}"))
        await until(pilot, lambda: shown(app).status == "approved")
        _, (vote,) = await client_of(app).approval(approval.id)
        assert (vote.by, vote.decision, vote.via) == ("ana", "approved", "console")


async def test_rejecting_asks_for_a_reason(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        (run,) = await asking(app, pilot, clock, tmp_path, GATED)
        await pilot.press("r", "enter")
        assert isinstance(app.screen, Ask), "a reason is needed"
        await pilot.press("escape", "r", *"not today", "enter")
        assert await ended(client_of(app), run) == ["failed"]
        assert not (tmp_path / "done").exists()
        _, (vote,) = await client_of(app).approval((await client_of(app).state(run)).steps["touch"].gate.id)  # type: ignore[union-attr]
        assert (vote.decision, vote.comment) == ("rejected", "not today")


async def test_a_comment_goes_with_the_approval(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        (run,) = await asking(app, pilot, clock, tmp_path, GATED)
        await until(pilot, lambda: approvals(app).pane.ended)
        id_ = shown(app).id
        await pilot.press("c", *"looks right", "enter")
        assert await ended(client_of(app), run) == ["completed"]
        _, (vote,) = await client_of(app).approval(id_)
        assert vote.comment == "looks right"


async def test_values_are_filled_in_and_wrong_ones_never_leave_the_form(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        (run,) = await asking(app, pilot, clock, tmp_path, FORM)
        await until(pilot, lambda: approvals(app).pane.ended)
        await pilot.press("a")
        assert isinstance(app.screen, FormDialog), "a value is needed"
        await pilot.press("escape", "e", "x", "ctrl+s")
        assert isinstance(app.screen, FormDialog)
        assert (await pending(client_of(app)))[0].status == "pending"
        await pilot.press("backspace", "7", "enter")
        assert isinstance(app.focused, Choice)
        await pilot.press("l", "tab", *"ok", "enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert "count: 7\nsize: large\ncomment: ok" in dialog(app)
        await pilot.press("y")
        assert await ended(client_of(app), run) == ["completed"]
        assert (await client_of(app).state(run)).output == {"count": 7, "size": "large"}


async def test_a_form_shows_what_is_wrong_beside_the_field(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, FORM)
        await until(pilot, lambda: approvals(app).pane.ended)
        await pilot.press("e", "ctrl+s")
        box = app.screen.query(FieldBox).first()
        assert "is needed" in box._title().plain
        await pilot.press("0")
        assert "must be at least 1" in box._title().plain
        await pilot.press("backspace", "3")
        assert "must" not in box._title().plain


async def test_marked_approvals_are_decided_together_after_a_question_that_lists_them(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        runs = await asking(app, pilot, clock, tmp_path, GATED, 3)
        (form,) = await asking(app, pilot, clock, tmp_path, FORM)
        await pilot.press("asterisk", "a")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert isinstance(app.screen, Confirm)
        text = "\n".join("".join(part for part, _ in line) for line in app.screen._lines)
        assert text.count("Touch it?") == 3
        assert "its form has to be filled in" in text
        assert len(await pending(client_of(app))) == 4
        await pilot.press("y")
        assert await ended(client_of(app), *runs) == ["completed"] * 3
        await until(pilot, lambda: said(app, "approved: 3 approvals"))
        await until(pilot, lambda: len(approvals(app).query_one(ApprovalLines).selection.marks) <= 2)
        assert (await client_of(app).run(form)).finished_at is None


async def test_of_several_those_that_are_refused_are_named(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, GATED, 2)
        listed = await pending(client_of(app))
        votes = [Vote(brief(each), "approved") for each in listed]
        await client_of(app).vote(listed[0].id, "rejected", by="bo")
        send(app, votes)
        await until(pilot, lambda: said(app, "approved: gated → touch") or said(app, "approved: 1 of 2"))
        assert said(app, "it is already rejected")


async def test_two_people_at_two_consoles_make_a_quorum(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        (run,) = await asking(app, pilot, clock, tmp_path, TWO)
        await pilot.press("a")
        await until(pilot, lambda: said(app, "1 of 2: ana approved"))
        await until(pilot, lambda: bool(approvals(app).look.votes))  # type: ignore[union-attr]
        clock.at += 10
        await pilot.press("a")
        await until(pilot, lambda: said(app, "you have approved it already; it waits for 1 more approval"))
        async with console(tmp_path, who="eve", mode="attach") as (other, second, later):
            await until(second, lambda: bool(approvals(other).look and approvals(other).look.votes))  # type: ignore[union-attr]
            later.at += 10
            await second.press("a")
            await until(second, lambda: said(other, "it is for user:ana, user:bo, not for eve"))
        async with console(tmp_path, who="bo", mode="attach") as (other, second, later):
            await until(second, lambda: bool(approvals(other).look and approvals(other).look.votes))  # type: ignore[union-attr]
            later.at += 10
            assert inbox(other).standing(shown(other)).words == "1 of 2: ana approved"
            await second.press("a")
            await until(second, lambda: said(other, "approved: two → gate"))
            await until(second, lambda: shown(other).status == "approved")
        assert await ended(client_of(app), run) == ["completed"]
        await until(pilot, lambda: shown(app).status == "approved")


async def test_a_vote_is_corrected_until_enough_people_agree(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        run, _ = await asking(app, pilot, clock, tmp_path, TWO, 2)
        screen = approvals(app)
        await pilot.press("a")
        await until(pilot, lambda: said(app, "1 of 2: ana approved"))
        await until(pilot, lambda: bool(screen.look and screen.look.votes))
        offered = {action.id for action in screen.footer()}
        assert "approval.approve" not in offered
        assert {"approval.reject", "approval.comment"} <= offered
        await until(pilot, lambda: any("until enough people agree you can say otherwise" in line for line in read(app)))
        clock.at += 10
        await pilot.press("asterisk", "r")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        assert "1 more cannot be rejected and stays as it is" in dialog(app), "what is marked is not corrected"
        await pilot.press("escape", "U", "r")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        assert "you have approved it: this takes the place of that" in dialog(app)
        await pilot.press(*"no", "enter")
        await until(pilot, lambda: shown(app).status == "rejected")
        assert await ended(client_of(app), run) == ["failed"]
        _, votes = await client_of(app).approval(shown(app).id)
        assert [(vote.by, vote.decision, vote.comment) for vote in votes] == [("ana", "rejected", "no")]


async def test_a_decision_without_an_engine_is_recorded_once_and_told(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        (run,) = await asking(app, pilot, clock, tmp_path, GATED)
    async with console(tmp_path, mode="attach") as (app, pilot, clock):
        await until(pilot, lambda: approvals(app).look is not None)
        clock.at += 10
        await pilot.press("a")
        await until(pilot, lambda: said(app, "recorded; it will be carried out when an engine runs"))
        await until(pilot, lambda: bool(approvals(app).look.votes))  # type: ignore[union-attr]
        clock.at += 10
        await pilot.press("a")
        await until(pilot, lambda: said(app, "you have approved it already"))
        assert (await client_of(app).run(run)).finished_at is None
    client = await open_console(place_at(tmp_path), "engine", recover=True)
    try:
        assert await ended(client, run) == ["completed"]
    finally:
        await client.close()


async def test_what_expires_while_one_looks_stays_and_says_so(tmp_path: Path) -> None:
    brief = GATED.replace('"Touch it?"', '"Touch it?", timeout: 3s')
    async with console(tmp_path) as (app, pilot, clock):
        (run,) = await asking(app, pilot, clock, tmp_path, brief)
        first = shown(app)
        await start(app, tmp_path, TWO)
        assert await ended(client_of(app), run) == ["failed"]
        await until(pilot, lambda: inbox(app).count == 2 and shown(app).status == "rejected")
        assert shown(app).id == first.id
        clock.at += 10
        await pilot.press("a")
        assert said(app, "it is already rejected")
        assert not (tmp_path / "done").exists()
        await pilot.press("j")
        await until(pilot, lambda: inbox(app).count == 1 and shown(app).workflow == "two")


async def test_nothing_is_decided_right_after_it_has_appeared_by_itself(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        await start(app, tmp_path, GATED)
        await until(pilot, lambda: inbox(app).count == 1 and approvals(app).look is not None)
        await pilot.press("a", "r", "e", "c")
        assert app.screen is approvals(app)
        assert len([m for m in app.fleet.messages if "has just changed" in m.text]) == 4
        assert (await pending(client_of(app)))[0].status == "pending"
        clock.at += 0.31
        await pilot.press("a")
        await until(pilot, lambda: said(app, "approved: gated → touch"))


async def test_what_the_operator_chose_can_be_decided_at_once(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, GATED, 2)
        _, second = await pending(client_of(app))
        await pilot.press("j")
        await until(pilot, lambda: shown(app).id == second.id)
        await pilot.press("a")
        await until(pilot, lambda: said(app, "approved: gated → touch"))


async def test_a_reading_that_is_overtaken_does_not_take_the_place_of_what_the_cursor_is_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, GATED, number=2)
        first, second = (str(inbox(app).key(at)) for at in (0, 1))
        assert shown(app).id == first
        held, go, read_one = asyncio.Event(), asyncio.Event(), app.client.approval  # type: ignore[union-attr]

        async def slow(id_: str) -> object:
            found = await read_one(id_)
            if id_ == first:
                held.set()
                await go.wait()
            return found

        monkeypatch.setattr(app.client, "approval", slow)
        again = asyncio.ensure_future(approvals(app).reload())
        await held.wait()
        await pilot.press("down")
        await until(pilot, lambda: shown(app).id == second)
        go.set()
        await again
        assert shown(app).id == second
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, Ask) or said(app, "it is not shown yet"))
        assert isinstance(app.screen, Ask)


async def test_a_vote_about_what_has_changed_is_refused_by_the_console(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, GATED)
        approval = shown(app)
        for changed in (
            {"message": "Touch nothing?"},
            {"digest": "0" * 64},
            {"level": 1},
            {"input": {"argv": ["true"]}},
        ):
            await deciding.approve(app, msgspec.structs.replace(approval, **changed), seen=True)
        assert len([m for m in app.fleet.messages if "has changed since it was shown" in m.text]) == 4
        send(app, [Vote(brief(msgspec.structs.replace(approval, digest="0" * 64)), "approved")])
        await until(pilot, lambda: said(app, "not approved: gated → touch"))
        assert (await client_of(app).approval(approval.id))[1] == []


async def test_a_second_press_while_the_first_is_on_its_way_says_so_and_sends_nothing(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        (run,) = await asking(app, pilot, clock, tmp_path, TWO)
        approval = shown(app)
        send(app, [Vote(brief(approval), "approved")])
        await approvals(app).do_approval_approve()
        send(app, [Vote(brief(approval), "approved")])
        await until(pilot, lambda: said(app, "1 of 2"))
        await until(pilot, lambda: not app.voting)
        told = [message.text for message in app.fleet.messages]
        assert told[:2] == ["approve: a decision about it is on its way already"] * 2
        assert told[2].startswith("approved: two → gate")
        assert len(told) == 3
        assert (await client_of(app).run(run)).finished_at is None


async def test_who_may_only_look_decides_nothing(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, GATED)
        app.read_only = True
        await pilot.press("a", "r", "e", "c")
        assert app.screen is approvals(app)
        assert len([m for m in app.fleet.messages if "read-only" in m.text]) == 4
        assert len(await pending(client_of(app))) == 1


async def test_a_link_leads_to_an_approval_and_to_a_filter(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, GATED, 2)
        await asking(app, pilot, clock, tmp_path, TWO)
        last = (await pending(client_of(app)))[1]
        await app.go_to(f"approvals {last.id}")
        await until(pilot, lambda: shown(app).id == last.id)
        await app.go_to("approvals wf:two")
        await until(pilot, lambda: inbox(app).loaded and inbox(app).count == 1 and shown(app).workflow == "two")
        await client_of(app).vote(last.id, "rejected", by="bo")
        await app.go_to(f"approvals {last.id}")
        await until(pilot, lambda: inbox(app).count == 1 and shown(app).status == "rejected")


@pytest.mark.parametrize("size", [(160, 50), (80, 24), (60, 20), (20, 5)])
async def test_there_is_room_for_it_everywhere(tmp_path: Path, size: tuple[int, int]) -> None:
    hostile = TWO.replace("Both of you?", "a\\u202e\\x1b[2J [red]b[/red] " + "日本語e\u0301" * 300)
    async with console(tmp_path, size=size) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, FORM)
        await asking(app, pilot, clock, tmp_path, hostile)
        for key in ("tab", "G", "right_square_bracket", "left_square_bracket", "tab", "j", "k", "tab", "escape"):
            await pilot.press(key)
        await pilot.resize_terminal(20, 5)
        await pilot.press("e")
        await until(pilot, lambda: not isinstance(app.screen, FormDialog) or bool(app.screen.query(FieldBox)))
        await pilot.press("escape")
        await pilot.resize_terminal(*size)
        assert isinstance(app.screen, ApprovalsScreen)
        beside = size[0] >= 140
        assert app.screen.has_class("-beside") is beside


async def test_only_what_can_be_done_is_offered(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        offered = {action.id for action in approvals(app).footer()}
        assert not offered & {"approval.approve", "approval.reject", "approval.edit", "approval.comment"}
        await asking(app, pilot, clock, tmp_path, GATED)
        offered = {action.id for action in approvals(app).footer()}
        assert {"approval.approve", "approval.reject", "approval.comment"} <= offered
        assert "approval.edit" not in offered


async def test_the_footer_tells_whether_a_decides_at_once_or_asks(tmp_path: Path) -> None:
    def offered(app: FleetConsole) -> str:
        return next((each.label for each in approvals(app).footer() if each.id == "approval.approve"), "")

    async with console(tmp_path) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, GATED)
        await until(pilot, lambda: offered(app) == "approve now")
        await pilot.resize_terminal(60, 8)
        await until(pilot, lambda: offered(app) == "approve")
        await pilot.press("tab", "G")
        await until(pilot, lambda: offered(app) == "approve now")
        await pilot.press("tab", "space")
        await until(pilot, lambda: offered(app) == "approve")
        await pilot.press("space")
        await asking(app, pilot, clock, tmp_path, FORM)
        await pilot.resize_terminal(160, 50)
        await pilot.press("j")
        await until(pilot, lambda: shown(app).workflow != "gated" and offered(app) == "approve")
