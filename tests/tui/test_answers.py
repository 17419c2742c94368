"""Questions can be answered with the mouse, and left for good with the key that leaves the console."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deciding_kit import FORM, TWO, approvals, asking, client_of, console, shown, until
from textual.pilot import Pilot

from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.screens.dialog import Ask, Confirm
from fleetprompt.tui.screens.form import FormDialog
from fleetprompt.tui.widgets.answers import Answers
from fleetprompt.tui.widgets.form import FieldBox


async def click(app: FleetConsole, pilot: Pilot[Any], words: str) -> None:
    """At the middle of these words among the answers."""
    answers = app.screen.query_one(Answers)
    await until(pilot, lambda: answers.size.height > 0)
    for y in range(answers.size.height):
        row = "".join(segment.text for segment in answers.render_line(y))
        if words in row:
            at = answers.content_region.offset
            await pilot.click(offset=(at.x + row.index(words) + len(words) // 2, at.y + y))
            return
    raise AssertionError(f"{words} is not offered")


async def test_a_question_is_answered_by_a_click(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, TWO)
        await asking(app, pilot, clock, tmp_path, TWO)
        await pilot.press("asterisk", "a")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await click(app, pilot, "leave it")
        await until(pilot, lambda: app.screen is approvals(app))
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await click(app, pilot, "approve all of them")
        approval = shown(app)

        async def voted() -> list[str]:
            _, votes = await client_of(app).approval(approval.id)
            return [vote.decision for vote in votes]

        await until(pilot, lambda: app.screen is approvals(app) and not app.voting)
        assert await voted() == ["approved"]


async def test_a_reason_is_given_by_a_click(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, TWO)
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await click(app, pilot, "reject")
        assert isinstance(app.screen, Ask), "a reason is needed"
        await pilot.press(*"no")
        await click(app, pilot, "reject")
        await until(pilot, lambda: shown(app).status == "rejected")


async def test_a_form_is_gone_through_by_clicks(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, FORM)
        await until(pilot, lambda: approvals(app).pane.ended)
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, FormDialog) and bool(app.screen.query(FieldBox)))
        await pilot.press("7")
        first = app.focused
        await click(app, pilot, "next field")
        await until(pilot, lambda: app.focused is not first)
        await click(app, pilot, "approve")
        await until(pilot, lambda: shown(app).status == "approved")


async def test_ctrl_q_leaves_the_question_and_the_console(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, TWO)
        asked = shown(app).id
        await pilot.press("r", "ctrl+q")
        await until(pilot, lambda: app.return_code == 0)
        _, votes = await client_of(app).approval(asked)
        assert not votes
