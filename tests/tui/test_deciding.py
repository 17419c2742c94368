"""Deciding from the list of runs and from a run: what runs ask, and what nobody knows of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from deciding_kit import (
    FORM,
    GATED,
    Desk,
    client_of,
    console,
    dialog,
    ended,
    in_doubt,
    locked,
    pending,
    said,
    start,
    until,
)

from fleetprompt.engine.core.facts import StepResolved
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.screens.dialog import Ask, Confirm
from fleetprompt.tui.screens.form import FormDialog
from fleetprompt.tui.screens.resolve import Doubts
from fleetprompt.tui.screens.run import RunScreen
from fleetprompt.tui.screens.runs import RunsScreen
from fleetprompt.tui.screens.shown import ConfirmShown
from fleetprompt.tui.widgets.ask_box import AskBox


def asks(screen: RunScreen) -> bool:
    """Whether what a run asks for is shown."""
    return any(box.has_class("-asks") for box in screen.query(AskBox))


async def listed(app: FleetConsole, pilot: Any, number: int) -> None:
    screen = app.console_screens()[0]
    assert isinstance(screen, RunsScreen)
    await until(pilot, lambda: screen.runs is not None and screen.runs.count == number and screen.head() is not None)


async def test_a_run_is_approved_from_the_list_after_all_of_it_was_shown(tmp_path: Path) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        run = await start(app, tmp_path, GATED)
        await listed(app, pilot, 1)
        while not await pending(client_of(app)):
            await pilot.pause(0.02)
        clock.at += 10
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert "$ touch done" in dialog(app)
        assert len(await pending(client_of(app))) == 1, "nothing is done before the answer"
        await pilot.press("y")
        assert await ended(client_of(app), run) == ["completed"]


async def test_marked_runs_are_rejected_together_with_one_reason(tmp_path: Path) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        runs = [await start(app, tmp_path, GATED) for _ in range(3)]
        await listed(app, pilot, 3)
        while len(await pending(client_of(app))) < 3:
            await pilot.pause(0.02)
        clock.at += 10
        await pilot.press("asterisk", "r")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        assert dialog(app).count("touch") >= 3
        await pilot.press(*"frozen", "enter")
        assert await ended(client_of(app), *runs) == ["failed"] * 3
        await until(pilot, lambda: said(app, "rejected: 3 approvals"))


async def test_a_run_that_asks_for_nothing_has_nothing_to_approve(tmp_path: Path) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        run = await start(app, tmp_path, "name: plain\nsteps:\n  - {id: a, type: transform, output: 1}\n")
        await ended(client_of(app), run)
        await listed(app, pilot, 1)
        clock.at += 10
        await pilot.press("a", "d")
        await until(pilot, lambda: said(app, "there is nothing to approve") and said(app, "no step of this run"))


async def test_what_a_run_asks_is_decided_on_its_screen_too(tmp_path: Path) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        run = await start(app, tmp_path, FORM)
        while not await pending(client_of(app)):
            await pilot.pause(0.02)
        await app.go_to(f"run {run}")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and asks(app.screen))
        clock.at += 10
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, ConfirmShown))
        assert "How many?" in dialog(app)
        assert "edits it" not in dialog(app)
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        await pilot.press("4", "ctrl+s")
        assert await ended(client_of(app), run) == ["completed"]
        assert (await client_of(app).state(run)).output == {"count": 4, "size": "small"}


async def test_a_decision_on_its_way_is_seen_on_the_screen_of_its_run(tmp_path: Path) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        run = await start(app, tmp_path, GATED)
        while not await pending(client_of(app)):
            await pilot.pause(0.02)
        await app.go_to(f"run {run}")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and asks(app.screen))
        clock.at += 10
        box = app.screen.query(AskBox).first()

        def text() -> str:
            return str(box.render())

        assert "approve" in text()
        with locked(tmp_path):
            await pilot.press("a", "y")
            await until(pilot, lambda: "deciding…" in text())
            await pilot.press("r")
            await until(pilot, lambda: said(app, "reject: a decision about it is on its way already"))
        assert await ended(client_of(app), run) == ["completed"]


@pytest.mark.parametrize(
    ("keys", "status", "output", "paid"),
    [
        (("h", *'{"id":7}', "enter"), "completed", {"id": 7}, 2),
        (("u", "y"), "completed", None, 4),
        (("s", "y"), "completed", None, 2),
        (("b", "y"), "failed", None, 2),
    ],
    ids=["happened", "run", "skip", "abort"],
)
async def test_every_step_in_doubt_of_the_marked_runs_is_answered_for(
    tmp_path: Path, desk: Desk, keys: tuple[str, ...], status: str, output: Any, paid: int
) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        runs = await in_doubt(app, pilot, tmp_path, desk, 2)
        desk.answers = True
        clock.at += 10
        await pilot.press("asterisk", "d")
        await until(pilot, lambda: isinstance(app.screen, Doubts))
        assert [doubt.path for doubt in app.screen._doubts] == ["pay", "pay"]  # type: ignore[attr-defined]
        await pilot.press("c", *"looked", "enter", *keys)
        assert await ended(client_of(app), *runs) == [status] * 2
        assert desk.paid == paid
        for run in runs:
            (resolved,) = [
                stored.fact for stored in await client_of(app).facts(run) if isinstance(stored.fact, StepResolved)
            ]
            assert (resolved.by, resolved.comment) == ("ana", "looked")
            if output is not None:
                assert (await client_of(app).state(run)).output == output


async def test_an_answer_about_an_attempt_that_is_over_is_refused(tmp_path: Path, desk: Desk) -> None:
    async with console(tmp_path, link="runs") as (app, pilot, clock):
        (run,) = await in_doubt(app, pilot, tmp_path, desk, 1)
        clock.at += 10
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, Doubts))
        await client_of(app).command("fleet.step.resolve", run, by="bo", data={"path": "pay", "answer": "run"})
        while (await client_of(app).state(run)).steps["pay"].attempt == 1:
            await pilot.pause(0.02)
        await pilot.press("s")
        await until(pilot, lambda: said(app, "not answered: pay"))
        assert (await client_of(app).state(run)).steps["pay"].status != "skipped"
