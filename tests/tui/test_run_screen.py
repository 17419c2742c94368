"""The Run screen at work: a real engine below it, keys above it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from run_project import ME, Project
from textual.pilot import Pilot
from textual.widgets import Input

from fleetprompt.client.database import prune
from fleetprompt.client.protocol import Console
from fleetprompt.engine.core.facts import ApprovalRequested, BudgetRaised
from fleetprompt.engine.ports import Stored
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.screens.base import QUIET, ConsoleScreen
from fleetprompt.tui.screens.dialog import Ask, Confirm, ConfirmWithReason
from fleetprompt.tui.screens.form import FormDialog
from fleetprompt.tui.screens.resolve import Doubts
from fleetprompt.tui.screens.run import RunScreen
from fleetprompt.tui.state.run_lines import FactLines
from fleetprompt.tui.state.run_text import SourceLines, ValueLines
from fleetprompt.tui.widgets.ask_box import AskBox
from fleetprompt.tui.widgets.bars import FootBar
from fleetprompt.tui.widgets.lines import Lines
from fleetprompt.tui.widgets.log_view import LogLines
from fleetprompt.tui.widgets.run_bars import RunBar
from fleetprompt.tui.widgets.run_tree import TreeView
from tests.tui.deciding_kit import holds

DOUBT = """
name: doubt
steps:
  - {id: first, type: transform, output: {n: 1}}
  - {id: pay, type: shell, argv: [sh, -c, "sleep 60"], repeat: never, timeout: 0.05}
  - {id: after, type: transform, output: "${{ steps.pay.output }}"}
"""
GATED = """
name: gated
inputs: {items: {type: array, default: [1, 2]}}
steps:
  - id: each
    type: loop
    over: inputs.items
    steps:
      - {id: one, type: transform, output: "${{ item }}"}
      - {id: two, type: transform, output: "${{ item }}"}
  - {id: gate, type: approval, message: "Pay [red]it[/red]?\\nNow."}
  - {id: after, type: transform, output: done}
"""
BROKEN = """
name: broken
steps:
  - {id: fine, type: transform, output: "x"}
  - {id: bad, type: shell, argv: [sh, -c, "exit 3"], repeat: safe}
"""
FORMED = """
name: formed
steps:
  - {id: gate, type: approval, message: How much?, form: {amount: {type: integer, default: 12}}}
"""
LARGE = """
name: large
steps:
  - {id: big, type: shell, argv: [sh, -c, "seq 40000"], repeat: safe}
"""


LIMITED = """
name: limited
guardrails: {requests: 3, cost_usd: 1}
steps:
  - {id: gate, type: approval, message: ok, guardrails: {tokens: 50}}
"""


@pytest.fixture
async def project(tmp_path: Path) -> AsyncIterator[Project]:
    made = await Project.open(
        tmp_path, doubt=DOUBT, gated=GATED, broken=BROKEN, formed=FORMED, large=LARGE, limited=LIMITED
    )
    yield made
    await made.console.close()


class Seen:
    """A run on a screen, and somebody at the keyboard."""

    def __init__(self, pilot: Pilot[int], app: FleetConsole) -> None:
        self.pilot = pilot
        self.app = app

    @property
    def screen(self) -> RunScreen:
        found = [screen for screen in self.app.screen_stack if isinstance(screen, RunScreen)]
        return found[-1]

    def is_there(self) -> bool:
        """The run is shown, or why it is not."""
        screen = self.app.screen
        if not isinstance(screen, RunScreen):
            return False
        return screen.error is not None or (screen.steps is not None and screen.steps.key is not None)

    @property
    def steps(self) -> TreeView:
        return self.screen.query_one(TreeView)

    async def until(self, test: Callable[[], object]) -> None:
        async with asyncio.timeout(120):
            while not holds(test):
                await self.pilot.pause(0.01)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    def rows(self) -> list[str]:
        """The names of the steps, as they stand."""
        return [self.steps.text(index).split("  ")[0] for index in range(self.steps.source.count)]

    def lines(self, id_: str) -> list[str]:
        lines = self.screen.query_one(id_, Lines)
        return [lines.text(index) for index in range(lines.source.count)]

    def status(self, path: str) -> str:
        view = self.screen.runview
        return view.run.steps[path].status if view is not None and path in view.run.steps else ""

    @property
    def gate(self) -> str:
        view = self.screen.runview
        gate = view.run.steps["gate"].gate if view is not None else None
        return gate.id if gate is not None else ""

    async def asked(self) -> None:
        """Until the run asks for something, and has been seen to for a while."""
        await self.until(lambda: self.screen.query_one(AskBox).has_class("-asks"))
        await self.until(lambda: self.screen.beside.ask_box.steady.settled(self.app.now(), QUIET))

    def said(self) -> list[str]:
        return [message.text for message in self.app.fleet.messages]


@asynccontextmanager
async def shown(project: Project, run: str, path: str = "", size: tuple[int, int] = (150, 40)) -> AsyncIterator[Seen]:
    async def opening() -> Console:
        return project.console

    app = FleetConsole(opening, who=ME, link=f"run {run} {path}")
    async with app.run_test(size=size) as pilot:
        seen = Seen(pilot, app)
        await seen.until(seen.is_there)
        yield seen


def line(screen: ConsoleScreen) -> str:
    return "".join(text for text, _ in screen.query_one(RunBar).parts(140))


async def test_a_run_that_waits_shows_what_it_asks_with_the_cursor_on_it(project: Project) -> None:
    run = await project.start("gated")
    async with shown(project, run) as seen:
        await seen.until(lambda: seen.status("gate") == "waiting")
        await seen.until(lambda: seen.screen.query_one(AskBox).has_class("-asks"))
        assert "waits for 1 approval" in line(seen.screen)
        assert "Pay [red]it[/red]?" in str(seen.screen.query_one(AskBox).render())
        await seen.press("home", "w")
        assert seen.steps.key == "gate"
        assert seen.screen.crumb() == run[-8:]


async def test_how_to_answer_what_a_run_asks_stands_in_the_footer_from_the_first_moment(project: Project) -> None:
    run = await project.start("gated")
    async with asyncio.timeout(20), aclosing(project.console.watch(run)) as told:  # pyright: ignore[reportArgumentType]
        async for each in told:
            if isinstance(each, Stored) and isinstance(each.fact, ApprovalRequested):
                break
    async with shown(project, run, size=(80, 24)) as seen, asyncio.timeout(20):
        foot = seen.screen.query_one(FootBar)
        await seen.until(lambda: "approval.approve" in [id_ for _, _, id_ in foot.offered])


async def test_who_may_decide_about_nothing_is_told_so_and_nothing_counts_as_waiting_for_them(project: Project) -> None:
    run = await project.start("gated")
    why = "deciding takes the role approver or admin"

    async def opening() -> Console:
        return project.console

    app = FleetConsole(opening, who=ME, link=f"run {run}", votes_not_why=why)
    async with app.run_test(size=(150, 40)) as pilot:
        seen = Seen(pilot, app)
        await seen.until(seen.is_there)
        await seen.until(lambda: why in str(seen.screen.query_one(AskBox).render()))
        await seen.until(lambda: run in app.fleet.asking)
        assert (app.fleet.approvals, app.fleet.asking[run].mine) == (0, False)
        assert "approval.approve" not in [action.id for action in seen.screen.footer()]


async def test_a_run_that_retention_has_deleted_says_so_and_nothing_is_offered(project: Project) -> None:
    run = await project.start("broken")
    async with shown(project, run) as seen, asyncio.timeout(60):
        await seen.until(lambda: "run.retry" in [action.id for action in seen.screen.footer()])
        await prune(project.place, before=9e9)
        await seen.until(lambda: "is not in the store any more" in line(seen.screen))
        assert run[-8:] in line(seen.screen)
        assert not {"run.retry", "run.retry_from"} & {action.id for action in seen.screen.footer()}
        assert seen.rows(), "what was there can still be read"


async def test_steps_open_and_close_and_the_screen_follows_the_run(project: Project) -> None:
    run = await project.start("parent")
    async with shown(project, run) as seen:
        await seen.until(lambda: seen.status("below") == "waiting")
        await seen.press("w")
        assert seen.steps.key == "below"
        await seen.press("right")
        await seen.until(lambda: any(row.endswith("deeper") for row in seen.rows()))
        await seen.press("right")
        await seen.until(lambda: seen.screen.runview is not None and seen.screen.runview.current_step is not None)
        await seen.press("enter")
        await seen.until(lambda: any(row.endswith(" w") for row in seen.rows()))
        await project.say("go")
        await seen.until(lambda: seen.screen.runview is not None and seen.screen.runview.run.ended)
        await seen.until(lambda: "completed" in line(seen.screen))
        assert [row.split()[-1] for row in seen.rows()] == ["first", "below", "deeper", "w", "said", "last"]
        await seen.press("left")
        assert [row.split()[-1] for row in seen.rows()] == ["first", "below", "deeper", "last"]
        await seen.press("left")
        assert seen.steps.key == "below"
        await seen.press("left")
        assert len(seen.rows()) == 3


async def test_what_is_beside_the_steps_is_of_the_step_of_the_cursor(project: Project) -> None:
    run = await project.start("gated")
    async with shown(project, run, "each[1].two") as seen:
        assert seen.steps.key == "each[1].two"
        await seen.press("i")
        await seen.until(lambda: "output" in seen.lines("#values"))
        assert "2" in [text.strip() for text in seen.lines("#values")]
        await seen.press("s")
        source = seen.screen.query_one("#source", Lines)
        await seen.until(lambda: isinstance(source.source, SourceLines) and source.source.marked is not None)
        assert [text for text in seen.lines("#source") if text.startswith("▌")] == [
            '▌10       - {id: two, type: transform, output: "${{ item }}"}'
        ]
        await seen.press("E")
        assert seen.screen.beside.tab == "facts"
        facts = seen.screen.query_one("#facts", Lines).source
        assert isinstance(facts, FactLines)
        await seen.press("slash", *"each[0].one")
        assert {facts.facts.fact(key).path for key in facts.positions} == {"each[0].one"}  # type: ignore[union-attr]
        await seen.press("enter")
        assert seen.app.focused is seen.screen.query_one("#facts")
        await seen.until(lambda: any("each[0].one" in text for text in seen.lines("#fact")))
        await seen.press("2")
        assert seen.screen.beside.tab == "values"


async def test_a_text_is_found_in_the_values(project: Project) -> None:
    run = await project.start("large")
    await project.wait(run)
    async with shown(project, run, "big") as seen:
        values = seen.screen.query_one("#values", Lines)
        await seen.press("i")
        await seen.until(lambda: isinstance(values.source, ValueLines))
        await seen.press("slash", *"seq 4")
        await seen.press("enter")
        assert seen.app.focused is values
        assert "seq 40000" in values.text(values.cursor)
        await seen.press("slash")
        seen.screen.query_one("#find", Input).value = "not in there"
        await seen.press("enter", "n")
        assert seen.said()[-1] == "`not in there` is not in there"


async def test_a_value_that_is_kept_apart_is_loaded_by_enter(project: Project) -> None:
    run = await project.start("large")
    await project.wait(run)
    async with shown(project, run, "big") as seen:
        values = seen.screen.query_one("#values", Lines)
        await seen.press("i")
        await seen.until(lambda: any("kept apart" in text for text in seen.lines("#values")))
        at = next(i for i, text in enumerate(seen.lines("#values")) if text.startswith("output"))
        await seen.press("enter")
        assert seen.app.focused is values
        values.go(at)
        await seen.press("enter")
        await seen.until(lambda: values.source.count > 300)
        assert isinstance(values.source, ValueLines)
        assert "39999" in values.source.text(values.source.at(at) or 0)


async def test_what_a_step_has_said_is_shown_first_and_the_whole_run_by_the_key_of_the_log(project: Project) -> None:
    run = await project.start("large")
    await project.wait(run)
    await project.console.store.logs.flush()
    async with shown(project, run, "big") as seen:
        await seen.until(lambda: seen.screen.beside.tab == "log")
        log = seen.screen.query_one(LogLines)
        await seen.until(lambda: log.view.path == "big" and log.view.lines > 0)
        await seen.press("L", "L")
        await seen.until(lambda: log.view.path is None and log.view.lines > 0)


async def test_jumps_and_the_timeline(project: Project) -> None:
    run = await project.start("broken")
    await project.wait(run)
    async with shown(project, run) as seen:
        assert seen.steps.key == "bad"
        await seen.press("home", "f")
        assert seen.steps.key == "bad"
        await seen.press("t")
        assert any("━" in seen.steps.text(index) for index in range(2))
        await seen.press("w")
        assert seen.said() == ["nothing is active"]


async def test_a_run_is_cancelled_with_a_reason_after_a_question(project: Project) -> None:
    run = await project.start("gated")
    async with shown(project, run) as seen:
        await seen.until(lambda: seen.status("gate") == "waiting")
        await seen.press("x")
        assert isinstance(seen.app.screen, ConfirmWithReason)
        await seen.press("r", *"why", "enter")
        await seen.until(lambda: seen.screen.runview is not None and seen.screen.runview.run.ended)
        assert (await project.console.run(run)).status == "cancelled"
        await seen.press("x")
        assert seen.said()[-1] == "cancel: the run is already cancelled"


async def test_what_a_run_asks_is_approved_after_it_was_shown_as_a_whole(project: Project) -> None:
    run = await project.start("gated")
    async with shown(project, run) as seen:
        await seen.asked()
        await seen.press("home", "a")
        await seen.until(lambda: isinstance(seen.app.screen, Confirm))
        assert seen.status("gate") == "waiting"
        await seen.press("y")
        await seen.until(lambda: seen.screen.runview is not None and seen.screen.runview.run.ended)
        assert (await project.console.run(run)).status == "completed"
        await seen.until(lambda: not seen.screen.query_one(AskBox).has_class("-asks"))
        await seen.press("a")
        assert seen.said()[-1] == "approve: the run asks for nothing"


async def test_what_a_run_asks_is_rejected_with_a_reason(project: Project) -> None:
    run = await project.start("gated")
    async with shown(project, run) as seen:
        await seen.asked()
        await seen.press("r")
        await seen.until(lambda: isinstance(seen.app.screen, Ask))
        await seen.press(*"no", "enter")
        await seen.until(lambda: seen.status("gate") in ("failed", "completed"))
        _, votes = await project.console.approval(seen.gate)
        assert [(vote.decision, vote.comment, vote.by) for vote in votes] == [("rejected", "no", ME)]


async def test_nothing_is_approved_by_a_key_that_was_pressed_as_the_question_came(project: Project) -> None:
    run = await project.start("gated")
    async with shown(project, run) as seen:
        await seen.until(lambda: seen.screen.query_one(AskBox).has_class("-asks"))
        at = seen.app.now()
        seen.app.now = lambda: at  # type: ignore[method-assign]
        seen.screen.beside.ask_box.steady.show(b"", at, by_hand=False)
        seen.screen.beside.show_asked(at)
        await seen.press("a")
        assert seen.said()[-1] == "approve: what is shown has just changed; look again"
        assert isinstance(seen.app.screen, RunScreen)


async def test_pause_and_resume(project: Project) -> None:
    run = await project.start("gated")
    async with shown(project, run) as seen:
        await seen.until(lambda: seen.status("gate") == "waiting")
        await seen.press("p")
        await seen.until(lambda: seen.screen.runview is not None and seen.screen.runview.run.paused)
        await seen.press("p")
        assert seen.said()[-1] == "pause: the run is already paused"
        await seen.press("P")
        await seen.until(lambda: seen.screen.runview is not None and not seen.screen.runview.run.paused)


async def test_a_run_is_done_again_from_the_step_of_the_cursor(project: Project) -> None:
    run = await project.start("broken")
    async with shown(project, run, "bad") as seen:
        await seen.until(lambda: seen.screen.runview is not None and seen.screen.runview.run.ended)
        await seen.press("home", "B")
        assert isinstance(seen.app.screen, Confirm)
        await seen.press("n")
        assert await project.console.count("") == 1
        await seen.press("B", "y")
        await seen.until(lambda: any("retried" in text for text in seen.said()))
        assert await project.console.count("") == 2


@pytest.mark.parametrize(
    ("keys", "outcome"),
    [
        (["h", *'{"paid":7}', "enter"], ("completed", {"paid": 7})),
        (["c", *"bank said no", "enter", "s"], ("skipped", None)),
        (["b", "y"], ("failed", None)),
    ],
)
async def test_a_step_in_doubt_is_answered_for(project: Project, keys: list[str], outcome: tuple[str, object]) -> None:
    run = await project.start("doubt")
    async with shown(project, run) as seen:
        await seen.until(lambda: seen.status("pay") == "in_doubt")
        await seen.press("home", "d")
        assert seen.steps.key == "pay", "the step that is in doubt is gone to"
        assert isinstance(seen.app.screen, Doubts)
        await seen.press(*keys)
        await seen.until(lambda: seen.status("pay") == outcome[0])
        view = seen.screen.runview
        assert view is not None
        assert view.run.steps["pay"].output == outcome[1]


async def test_what_is_no_json_is_asked_for_once_more(project: Project) -> None:
    run = await project.start("doubt")
    async with shown(project, run, "pay") as seen:
        await seen.until(lambda: seen.status("pay") == "in_doubt")
        await seen.press("d", "h", *"{no", "enter")
        assert isinstance(seen.app.screen, Ask)
        assert seen.app.screen.query_one(Input).value == "{no"
        await seen.press("escape")
        assert seen.status("pay") == "in_doubt"


@pytest.mark.parametrize(
    ("keys", "scope", "limit", "amount"),
    [
        (("5", "shift+tab", "r", "tab", "tab"), "run/{run}", "requests", 5),
        ((*"0.25", "shift+tab", "u", "tab", "tab"), "run/{run}", "cost_nano", 250_000_000),
        (("7", "shift+tab", "t", "shift+tab", "g", "tab", "tab", "tab"), "step/{run}/gate", "tokens", 7),
    ],
)
async def test_a_run_may_spend_more_and_who_said_so_is_recorded(
    project: Project, keys: tuple[str, ...], scope: str, limit: str, amount: int
) -> None:
    run = await project.start("limited")
    async with shown(project, run, "gate") as seen:
        await seen.until(lambda: seen.status("gate") == "waiting")
        await seen.press("b")
        assert isinstance(seen.app.screen, FormDialog)
        await seen.press(*keys, *"more", "enter")
        await seen.until(lambda: isinstance(seen.app.screen, Confirm))
        await seen.press("y")
        await seen.until(lambda: any(text.startswith("raised: run") for text in seen.said()))
        [raised] = [fact for fact in await project.console.engine.history(run) if isinstance(fact, BudgetRaised)]
        assert (raised.scope, raised.limit, raised.amount) == (scope.format(run=run), limit, amount)
        assert (raised.by, raised.reason) == (ME, "more")


async def test_a_run_without_limits_cannot_be_raised(project: Project) -> None:
    run = await project.start("gated")
    async with shown(project, run, "gate") as seen:
        await seen.until(lambda: seen.status("gate") == "waiting")
        await seen.press("b")
        assert "has no limits" in seen.said()[-1]


async def test_only_what_can_be_done_is_offered(project: Project) -> None:
    run = await project.start("broken")
    async with shown(project, run, "bad") as seen:
        await seen.until(lambda: seen.screen.runview is not None and seen.screen.runview.run.ended)
        offered = {action.id for action in seen.screen.footer()}
        assert {"run.retry", "run.retry_from", "run.timeline"} <= offered
        assert not offered & {"run.cancel", "run.pause", "run.resume", "run.resolve", "approval.approve"}


@pytest.mark.parametrize("size", [(150, 40), (80, 24), (60, 20), (20, 5), (200, 50)])
async def test_there_is_room_for_it_everywhere(project: Project, size: tuple[int, int]) -> None:
    run = await project.start("gated")
    async with shown(project, run, size=size) as seen:
        await seen.until(lambda: seen.status("gate") == "waiting")
        for key in ("enter", "escape", "t", "E", "s", "z", "z", "1"):
            await seen.press(key)
        await seen.pilot.resize_terminal(20, 5)
        await seen.pilot.resize_terminal(*size)
        await seen.press("down", "up")
        assert isinstance(seen.app.screen, RunScreen)
        await seen.press("escape")
        if isinstance(seen.app.screen, RunScreen):
            # The first one went back to the steps.
            assert seen.app.focused is seen.steps
            await seen.press("escape")
        assert not isinstance(seen.app.screen, RunScreen)


async def test_on_a_narrow_screen_enter_shows_what_is_beside_the_steps_and_esc_goes_back(project: Project) -> None:
    run = await project.start("gated")
    async with shown(project, run, "gate", size=(70, 20)) as seen:
        await seen.until(lambda: seen.status("gate") == "waiting")
        values = seen.screen.query_one("#values")
        assert not values.display or not values.size.width
        await seen.press("enter")
        await seen.until(lambda: values.size.width > 60)
        assert seen.app.focused is values
        await seen.press("escape")
        assert seen.app.focused is seen.steps


async def test_there_is_no_such_run(project: Project) -> None:
    async with shown(project, "nothing") as seen:
        assert "there is no run nothing" in "".join(text for text, _ in seen.screen.query_one(RunBar).parts(100))
        assert not any(action.changes for action in seen.screen.footer() if "run" in action.where)
        await seen.press("down", "t", "f", "E", "x", "escape")
        assert not isinstance(seen.app.screen, RunScreen)


@pytest.mark.parametrize(("name", "has_form"), [("gated", False), ("formed", True)])
async def test_values_are_to_be_edited_only_where_there_is_a_form(project: Project, name: str, has_form: bool) -> None:
    run = await project.start(name)
    async with shown(project, run) as seen:
        await seen.asked()
        offered = {action.id for action in seen.screen.footer()}
        assert "approval.comment" in offered
        assert ("approval.edit" in offered) == has_form
        said = str(seen.screen.query_one(AskBox).render())
        assert "c approve + comment" in said
        assert ("e edit" in said) == has_form
