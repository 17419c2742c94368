"""Decisions about many at once: all that is marked and nothing else, seen while it is sent, and stopped."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from deciding_kit import (
    FORM,
    GATED,
    approvals,
    asking,
    client_of,
    console,
    dialog,
    ended,
    inbox,
    locked,
    pending,
    said,
    shown,
    start,
    title,
    until,
)

from fleetprompt.engine.ports import Page
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.deciding_many import pending_of
from fleetprompt.tui.screens.approvals import ApprovalLines, ApprovalsScreen
from fleetprompt.tui.screens.dialog import Ask, Confirm
from fleetprompt.tui.screens.form import FormDialog
from fleetprompt.tui.screens.runs import RunsScreen
from fleetprompt.tui.state.approvals import PAGE

MANY = """
name: many
steps:
  - id: each
    type: loop
    over: "${{ range(NUMBER) }}"
    concurrency: 1000
    steps: [{id: gate, type: approval, message: "Number ${{ item }}?"}]
"""
OTHER_FORM = """
name: other
steps:
  - {id: gate, type: approval, message: "Why?", form: {why: {type: string, required: true}}}
output: "${{ steps.gate.output.values }}"
"""


def many(number: int) -> str:
    """A workflow that asks so often."""
    return MANY.replace('"${{ range(NUMBER) }}"', str(list(range(number))))


def marks(app: FleetConsole) -> list[Any]:
    """What is marked."""
    return list(approvals(app).query_one(ApprovalLines).selection.marks)


async def asked(app: FleetConsole, pilot: Any, clock: Any, root: Path, number: int) -> str:
    """A run that asks so often, listed as far as it was read."""
    run = await start(app, root, many(number))
    while len(await client_of(app).approval_ids("status:pending")) < number:
        await pilot.pause(0.02)
    await approvals(app).reload()
    await until(pilot, lambda: approvals(app).look is not None)
    clock.at += 10
    return run


async def test_all_that_match_are_marked_and_decided_also_what_was_not_read_yet(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        run = await asked(app, pilot, clock, tmp_path, PAGE + 50)
        await start(app, tmp_path, GATED)
        await until(pilot, lambda: inbox(app).count < PAGE + 50)
        await approvals(app).apply_filter("wf:many")
        clock.at += 10
        await pilot.press("asterisk")
        assert len(marks(app)) == PAGE + 50
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert title(app) == f"approve {PAGE + 50} approvals?"
        assert dialog(app).count("Number ") == 50
        assert f"… and {PAGE} more approvals" in dialog(app)
        await pilot.press("y")
        await until(pilot, lambda: said(app, f"approved: {PAGE + 50} approvals"))
        assert await ended(client_of(app), run) == ["completed"]
        assert [approval.workflow for approval in await pending(client_of(app))] == ["gated"]
        await until(pilot, lambda: not marks(app))


async def test_what_is_being_sent_can_be_stopped_and_what_was_not_sent_is_told(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        await asked(app, pilot, clock, tmp_path, 60)
        await pilot.press("asterisk", "a")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        with locked(tmp_path):
            await pilot.press("y")
            await until(pilot, lambda: bool(app.work.words))
            assert app.work.words == "approving 0 of 60 approvals"
            await pilot.press("q")
            await until(pilot, lambda: isinstance(app.screen, Confirm))
            assert "This console is approving 0 of 60 approvals." in dialog(app)
            await pilot.press("n", "escape")
            assert app.work.words.startswith("stopping")
            assert app.screen is approvals(app)
        await until(pilot, lambda: not app.work.batches)
        assert said(app, "8 of 60 approvals; stopped: 52 approvals not sent")
        assert len(await client_of(app).approval_ids("status:pending")) == 52
        assert len(marks(app)) >= 52


async def test_marks_go_with_what_is_decided_elsewhere_and_the_cursor_is_not_meant_instead(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        runs = await asking(app, pilot, clock, tmp_path, GATED, 3)
        first, second, third = await pending(client_of(app))
        await pilot.press("space", "space")
        assert marks(app) == [first.id, second.id]
        await client_of(app).vote(second.id, "rejected", by="bo")
        await until(pilot, lambda: marks(app) == [first.id])
        await client_of(app).vote(first.id, "rejected", by="bo")
        await until(pilot, lambda: not marks(app))
        # The same, when the console has not heard of it yet.
        clock.at += 10
        await until(pilot, lambda: shown(app).id == third.id)
        approvals(app).query_one(ApprovalLines).mark([first.id, second.id])
        await pilot.press("a")
        assert said(app, "nothing that was marked waits any more")
        assert app.screen is approvals(app)
        assert (await client_of(app).run(runs[2])).finished_at is None


async def test_what_was_decided_meanwhile_is_not_counted(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, GATED, 3)
        first, *_ = await pending(client_of(app))
        await pilot.press("asterisk")
        await client_of(app).vote(first.id, "rejected", by="bo")
        clock.at += 10
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        assert title(app) == "reject 2 approvals?"
        assert first.run[-8:] not in dialog(app)


async def test_everything_that_many_runs_ask_is_found(tmp_path: Path) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        runs = [await start(app, tmp_path, many(110))]
        runs += await asyncio.gather(*(start(app, tmp_path, GATED) for _ in range(60)))
        while len(await client_of(app).approval_ids("status:pending")) < 170:
            await pilot.pause(0.02)
        assert len(await pending_of(client_of(app), runs)) == 170
        home = app.console_screens()[0]
        assert isinstance(home, RunsScreen)
        await until(pilot, lambda: home.runs is not None and home.runs.count == 61 and home.head() is not None)
        clock.at += 10
        await pilot.press("asterisk", "r")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        assert title(app) == "reject 170 approvals?"


async def test_a_form_is_filled_in_once_for_all_that_have_the_same(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        runs = await asking(app, pilot, clock, tmp_path, FORM, 3)
        await asking(app, pilot, clock, tmp_path, GATED)
        asked = [await client_of(app).approval(approval.id) for approval in await pending(client_of(app))]
        await pilot.press("asterisk", "e")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        assert title(app) == "values for 3 approvals"
        assert "it has no form" in dialog(app)
        await pilot.press("5", "ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert title(app) == "approve 3 approvals with these values?"
        assert dialog(app).startswith("count: 5\nsize: small\n")
        for run in runs:
            assert f"{run[-8:]}  form gate  How many?" in dialog(app), "it names what they are for"
        assert len(await pending(client_of(app))) == 4, "nothing is done before the answer"
        await pilot.press("y")
        assert await ended(client_of(app), *runs) == ["completed"] * 3
        for run in runs:
            assert (await client_of(app).state(run)).output == {"count": 5, "size": "small"}
        digests = {approval.run: approval.digest for approval, _ in asked}
        signals, _ = await client_of(app).signals("type:fleet.approval.vote", Page(limit=10))
        assert {signal.data["run"]: signal.data["digest"] for signal in signals} == {run: digests[run] for run in runs}
        assert [approval.workflow for approval in await pending(client_of(app))] == ["gated"]


async def test_different_forms_are_filled_in_one_after_another(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        runs = await asking(app, pilot, clock, tmp_path, FORM, 2)
        others = await asking(app, pilot, clock, tmp_path, OTHER_FORM, 2)
        await pilot.press("asterisk", "e")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert "4 approvals have 2 different forms" in dialog(app)
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        assert title(app) == "values for 2 approvals (form 1 of 2)"
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FormDialog) and "2 of 2" in title(app))
        assert said(app, "left as they are: 2 approvals")
        await pilot.press(*"so", "ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        assert await ended(client_of(app), *others) == ["completed"] * 2
        assert (await client_of(app).state(others[0])).output == {"why": "so"}
        assert {approval.run for approval in await pending(client_of(app))} == set(runs)


async def test_a_comment_goes_to_all_that_are_marked(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        runs = await asking(app, pilot, clock, tmp_path, GATED, 2)
        ids = [approval.id for approval in await pending(client_of(app))]
        await pilot.press("asterisk", "c")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press(*"fine", "enter")
        assert await ended(client_of(app), *runs) == ["completed"] * 2
        for _, votes in await client_of(app).approvals_of(ids):
            assert [vote.comment for vote in votes] == ["fine"]


async def test_a_decision_on_its_way_is_seen_until_the_answer_is_there(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, clock):
        (run,) = await asking(app, pilot, clock, tmp_path, GATED)

        def row() -> str:
            return approvals(app).query_one(ApprovalLines).text(0)

        def preview() -> str:
            pane = approvals(app).pane
            return "\n".join("".join(part.text for part in pane.render_line(y)) for y in range(pane.size.height))

        with locked(tmp_path):
            await pilot.press("a")
            assert "deciding…" in row()
            assert "deciding…" in preview()
            await pilot.press("r")
            assert said(app, "reject: a decision about it is on its way already")
            await pilot.press("q")
            await until(pilot, lambda: isinstance(app.screen, Confirm))
            assert "This console is approving gated → touch run" in dialog(app)
            await pilot.press("n")
        assert await ended(client_of(app), run) == ["completed"]
        await until(pilot, lambda: "deciding…" not in row() and "deciding…" not in preview())
        assert isinstance(app.screen, ApprovalsScreen)
