"""The home screen in Textual's test driver, on a real store with a real engine."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import OptionList

from fleetprompt.client.opening import open_console
from fleetprompt.engine.ports import Page
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.screens.dialog import Confirm
from fleetprompt.tui.screens.messages import MessagesScreen
from fleetprompt.tui.screens.runs import RunLines, RunsScreen
from fleetprompt.tui.sending import stop_sending
from fleetprompt.tui.state.runs import tokens
from fleetprompt.tui.widgets.ask_box import AskBox
from fleetprompt.tui.widgets.bars import FootBar, TopBar
from fleetprompt.tui.widgets.filter_bar import FilterBar, FilterInput
from fleetprompt.tui.widgets.heading import Heading
from fleetprompt.tui.widgets.lines import Lines
from fleetprompt.tui.widgets.run_preview import RunPreview
from fleetprompt.tui.widgets.text_pane import TextPane
from tests.client.client_kit import place_at, start_of
from tests.tui.deciding_kit import until

SLEEPER = "name: sleeper\nsteps:\n  - {id: nap, type: delay, for: 1h}\n"


@asynccontextmanager
async def console(root: Path, size: tuple[int, int] = (120, 30)) -> AsyncIterator[tuple[FleetConsole, Pilot[Any]]]:
    """A console over the project in a folder, opened."""
    app = FleetConsole(lambda: open_console(place_at(root), "prefer"), who="ana")
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.client is not None and runs_of(app).loaded)
        yield app, pilot
    if app.client is not None:
        await app.client.close()


def runs_of(app: FleetConsole) -> Any:
    screen = app.console_screens()[0]
    assert isinstance(screen, RunsScreen)
    return screen.runs or _Nothing


class _Nothing:
    loaded = False


async def test_a_run_that_is_started_appears_and_can_be_cancelled_with_a_reason(tmp_path: Path) -> None:
    file = tmp_path / "sleeper.yaml"
    file.write_text(SLEEPER)
    async with console(tmp_path) as (app, pilot):
        assert app.client is not None
        run = await app.client.start(start_of(file))
        await until(pilot, lambda: runs_of(app).count == 1)
        await pilot.press("x")
        assert app.screen is not app.console_screens()[0]
        await pilot.press("enter")
        assert app.screen is app.console_screens()[0]
        assert (await app.client.run(run)).status != "cancelled"
        await pilot.press("x", "r", *"wrong one", "enter")
        await until(pilot, lambda: any("cancelled" in message.text for message in app.fleet.messages))
        head = await app.client.run(run)
        assert head.status == "cancelled"


async def test_leaving_the_question_cancels_nothing(tmp_path: Path) -> None:
    file = tmp_path / "sleeper.yaml"
    file.write_text(SLEEPER)
    async with console(tmp_path) as (app, pilot):
        assert app.client is not None
        run = await app.client.start(start_of(file))
        await until(pilot, lambda: runs_of(app).count == 1)
        await pilot.press("x", "escape")
        assert (await app.client.run(run)).status in ("running", "waiting")


async def test_a_filter_that_cannot_be_understood_keeps_the_last_good_list(tmp_path: Path) -> None:
    file = tmp_path / "sleeper.yaml"
    file.write_text(SLEEPER)
    async with console(tmp_path) as (app, pilot):
        assert app.client is not None
        await app.client.start(start_of(file))
        await until(pilot, lambda: runs_of(app).count == 1)
        await pilot.press("slash", *"wf:sleeper", "enter")
        bar = app.screen.query_one(FilterBar)
        await until(pilot, lambda: bar.text == "wf:sleeper" and runs_of(app).loaded)
        assert runs_of(app).count == 1
        await pilot.press("slash")
        app.screen.query_one(FilterInput).value = "statu:x"
        await pilot.pause(0.2)
        assert bar.text == "wf:sleeper"
        assert runs_of(app).count == 1
        await pilot.press("escape")
        assert not bar.editing
        await pilot.press("escape")
        await until(pilot, lambda: bar.text == "")


async def test_what_is_wrong_with_a_filter_is_said_where_it_is_typed(tmp_path: Path) -> None:
    file = tmp_path / "sleeper.yaml"
    file.write_text(SLEEPER)
    async with console(tmp_path) as (app, pilot):
        assert app.client is not None
        await app.client.start(start_of(file))
        await until(pilot, lambda: runs_of(app).count == 1)
        offers = app.screen.query_one(OptionList)

        def offered() -> list[str]:
            return [str(option.prompt) for option in offers.options] if offers.display else []

        await pilot.press("slash", *"status:")
        await until(pilot, lambda: "waiting  1" in offered())
        assert "failed  " in offered()
        assert offers.border_subtitle == "1 run · follow"
        await pilot.press(*"fialed")
        await until(pilot, lambda: len(offered()) == 1 and "did you mean failed?" in offered()[0])
        await pilot.press(*["backspace"] * 6, *"failed ")
        await until(pilot, lambda: offers.border_subtitle == "no run matches")
        assert not any("did you mean" in offer for offer in offered())
        await pilot.press(*["backspace"] * 7, *"fialed", "escape")
        assert not app.screen.query_one(FilterBar).editing


async def test_marked_runs_are_paused_together_after_a_question(tmp_path: Path) -> None:
    file = tmp_path / "sleeper.yaml"
    file.write_text(SLEEPER)
    async with console(tmp_path) as (app, pilot):
        client = app.client
        assert client is not None
        ids = [await client.start(start_of(file)) for _ in range(3)]
        await until(pilot, lambda: runs_of(app).count == 3)
        await pilot.press("space", "space", "p")
        await pilot.press("y")
        await until(pilot, lambda: any("paused: 2 runs" in message.text for message in app.fleet.messages))
        heads = [await client.run(id_) for id_ in ids]
        assert sorted(head.waiting_on or "" for head in heads).count("paused") == 2


async def test_a_single_command_that_is_not_answered_says_that_it_is_on_its_way(tmp_path: Path) -> None:
    file = tmp_path / "sleeper.yaml"
    file.write_text(SLEEPER)
    async with console(tmp_path) as (app, pilot):
        assert app.client is not None
        run = await app.client.start(start_of(file))
        await until(pilot, lambda: runs_of(app).count == 1)
        busy = sqlite3.connect(tmp_path / ".fleet" / "fleet.db", isolation_level=None)
        busy.execute("BEGIN IMMEDIATE")
        try:
            await pilot.press("p")
            top = app.screen.query_one(TopBar)

            def said() -> str:
                return "".join(text for text, _ in top.parts(118))

            await until(pilot, lambda: f"pausing run {run[-8:]}…" in said())
            assert not stop_sending(app), "what is sent cannot be stopped, and esc is for something else"
        finally:
            busy.close()
        await until(pilot, lambda: any("paused: run" in message.text for message in app.fleet.messages))
        assert "pausing" not in said()


async def test_who_may_only_look_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "sleeper.yaml"
    file.write_text(SLEEPER)
    async with console(tmp_path) as (app, pilot):
        assert app.client is not None
        run = await app.client.start(start_of(file))
        await until(pilot, lambda: runs_of(app).count == 1)
        app.read_only = True
        await pilot.press("p", "x")
        assert [message.text for message in app.fleet.messages] == [
            "pause: this console is read-only",
            "cancel: this console is read-only",
        ]
        assert (await app.client.run(run)).waiting_on != "paused"


async def test_only_the_newest_first_is_followed(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):

        def about() -> str:
            return "".join(text for text, _ in app.screen.query_one(FilterBar)._parts(100))  # pyright: ignore[reportPrivateUsage]

        assert "follow" in about()
        await pilot.press("F")
        assert "held" in about()
        await pilot.press("F", "o")
        await until(pilot, lambda: "by updated" in about())
        assert "follow" not in about()
        await pilot.press("F")
        assert app.fleet.messages[-1].text.startswith("follow: only the newest first")
        assert runs_of(app).follow


async def test_one_title_says_what_the_list_is_sorted_by(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        heading = app.screen.query_one(Heading)
        await pilot.press("o")
        await until(pilot, lambda: runs_of(app).order.by == "updated")
        await pilot.press("0")
        await until(pilot, lambda: runs_of(app).order.by == "created" and "▼" in heading.render_line(0).text)
        assert heading.render_line(0).text.count("▼") == 1
        assert "RUN▼" in heading.render_line(0).text
        await pilot.press("O")
        await until(pilot, lambda: "RUN▲" in heading.render_line(0).text)
        assert "AGE▲" not in heading.render_line(0).text


async def test_a_preview_for_which_there_is_no_room_is_left_out_with_a_word(tmp_path: Path) -> None:
    async with console(tmp_path, (100, 24)) as (app, pilot):
        await pilot.press("v")
        assert app.fleet.messages[-1].text.startswith("preview: there is no room for it")


async def test_a_store_that_cannot_be_opened_is_told_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / ".fleet").mkdir()
    broken = tmp_path / ".fleet" / "fleet.db"
    broken.write_text("this is no database, but long enough to look like one" * 20)
    app = FleetConsole(lambda: open_console(place_at(tmp_path), "prefer"), who="ana")
    async with app.run_test(size=(100, 24)) as pilot:
        await until(pilot, lambda: app.fleet.engine == "failed")
        assert app.client is None
        broken.unlink()
        await pilot.press("ctrl+r")
        await until(pilot, lambda: app.client is not None)
    assert app.client is not None
    await app.client.close()


async def test_the_run_at_the_cursor_is_shown_below_the_list_and_kept_up_to_date(tmp_path: Path) -> None:
    file = tmp_path / "gated.yaml"
    file.write_text("name: gated\nsteps:\n  - {id: gate, type: approval, message: 'Deploy [red]it[/red]?'}\n")
    async with console(tmp_path, (140, 44)) as (app, pilot):
        client = app.client
        assert client is not None
        run = await client.start(start_of(file))
        preview = app.screen.query_one(RunPreview)
        await until(pilot, lambda: preview.runview is not None and preview.runview.id == run)
        box = preview.query_one(AskBox)
        await until(pilot, lambda: box.has_class("-asks"))
        assert "Deploy [red]it[/red]?" in str(box.render())
        assert isinstance(app.focused, RunLines)
        approval = (await client.approvals("", Page()))[0][0]
        await client.vote(approval.id, "approved", by="ben")
        await until(pilot, lambda: not box.has_class("-asks"))
        await pilot.press("v")
        await until(pilot, lambda: not preview.shown)


async def test_a_low_terminal_leaves_the_room_to_the_list(tmp_path: Path) -> None:
    async with console(tmp_path, (80, 24)) as (app, _):
        assert not app.screen.query_one(RunPreview).shown


async def test_the_beginning_of_a_field_is_no_text_to_search_for_until_enter(tmp_path: Path) -> None:
    file = tmp_path / "sleeper.yaml"
    file.write_text(SLEEPER)
    async with console(tmp_path) as (app, pilot):
        assert app.client is not None
        await app.client.start(start_of(file))
        await until(pilot, lambda: runs_of(app).count == 1)
        bar = app.screen.query_one(FilterBar)
        await pilot.press("slash", *"statu")
        await pilot.pause(0.3)
        assert bar.text == ""
        await pilot.press("enter")
        await until(pilot, lambda: bar.text == "statu" and runs_of(app).loaded)
        assert runs_of(app).count == 0


async def test_a_view_is_saved_by_the_palette_and_called_up_by_its_digit(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        bar = app.screen.query_one(FilterBar)
        bar.set("status:failed")
        await until(pilot, lambda: runs_of(app).filter == "status:failed" and runs_of(app).loaded)
        await pilot.press("colon", *"save bad ones")
        await pilot.pause(0.3)
        await pilot.press("enter")
        await until(pilot, lambda: app.views.named("bad ones") is not None)
        await pilot.press("0")
        await until(pilot, lambda: bar.text == "")
        await pilot.press("1")
        await until(pilot, lambda: bar.text == "status:failed")
        await pilot.press("colon", *"forget bad ones")
        await pilot.pause(0.3)
        await pilot.press("enter")
        await until(pilot, lambda: app.views.named("bad ones") is None)


async def test_nothing_is_changed_by_a_word_that_is_only_in_its_description(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        await pilot.press("colon", *"run early")
        await pilot.pause(0.3)
        values = [item.value for item in app.screen._shown]  # type: ignore[attr-defined]
        assert "do run.cancel" not in values


async def test_a_filter_that_cannot_be_understood_is_not_thrown_away_and_says_why(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        await pilot.press("slash")
        bar = app.screen.query_one(FilterBar)
        app.screen.query_one(FilterInput).value = "cost>abc"
        await pilot.press("enter")
        assert bar.editing
        assert "abc" in app.fleet.messages[-1].text
        assert "esc leaves it" in app.fleet.messages[-1].text


async def test_a_key_that_has_nothing_to_do_says_so(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, _):
        await app.perform("cost.by")
        assert app.fleet.messages[-1].text == "by: there is nothing to do that with here"


async def test_a_screen_that_is_open_is_gone_back_to_and_not_opened_twice(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        for letter, name in (("c", "cost"), ("h", "health"), ("c", "cost")):
            await pilot.press("g", letter)
            await until(pilot, lambda name=name: getattr(app.screen, "NAME", "") == name)
        assert [screen.NAME for screen in app.console_screens()] == ["runs", "cost"]


async def test_a_message_that_is_longer_than_its_line_can_be_read_as_a_whole(tmp_path: Path) -> None:
    async with console(tmp_path, size=(60, 20)) as (app, pilot):
        app.say("info", "a short one")
        app.say("error", "word " * 25 + "and the end")
        await pilot.press("g", "m")
        await until(pilot, lambda: isinstance(app.screen, MessagesScreen))
        pane = app.screen.query_one(TextPane)

        def read() -> str:
            return " ".join(pane.render_line(y).text for y in range(pane.size.height))

        await until(pilot, lambda: "and the end" in read())
        await pilot.press("down")
        await until(pilot, lambda: "a short one" in read())


def foot_of(app: FleetConsole, width: int) -> str:
    """What the footer says in so many columns."""
    return "".join(text for text, _ in app.screen.query_one(FootBar).parts(width - 2)).strip()


async def test_the_footer_offers_what_can_be_done_to_the_run_at_the_cursor_and_always_the_filter(
    tmp_path: Path,
) -> None:
    file = tmp_path / "sleeper.yaml"
    file.write_text(SLEEPER)
    async with console(tmp_path, (100, 30)) as (app, pilot):
        assert app.client is not None
        await app.client.start(start_of(file))
        bar = app.screen.query_one(FootBar)
        await until(pilot, lambda: "p pause" in bar.render_line(0).text)
        assert foot_of(app, 100).startswith("↵ open  x cancel  L log  p pause  ")
        assert all(f" {other}" not in foot_of(app, 200) for other in ("a approve", "R retry", "d answer", "P resume"))
        assert foot_of(app, 60) == "↵ open  x cancel  / filter  : command  ? keys  q quit"
        await pilot.press("p")
        await until(pilot, lambda: "P resume" in bar.render_line(0).text)
        assert "p pause" not in foot_of(app, 200)
        await pilot.press("x", "y")
        await until(pilot, lambda: "R retry" in bar.render_line(0).text)
        assert "x cancel" not in foot_of(app, 200)
        await pilot.press("space")
        assert "x cancel" in foot_of(app, 200), "who has marked may do anything to what is marked"


async def test_marks_go_when_what_they_were_for_is_done_and_those_refused_stay(tmp_path: Path) -> None:
    file = tmp_path / "sleeper.yaml"
    file.write_text(SLEEPER)
    async with console(tmp_path) as (app, pilot):
        client = app.client
        assert client is not None
        for _ in range(3):
            await client.start(start_of(file))
        await until(pilot, lambda: runs_of(app).count == 3)
        lines = app.screen.query_one(RunLines)
        await pilot.press("asterisk")
        while not isinstance(app.screen, Confirm):
            # What has just come under the cursor is not meant, and who is told so presses again.
            await pilot.press("p")
            await pilot.pause(0.1)
        ids = {seq: head.id for seq in lines.selection.marks if (head := runs_of(app).head(seq)) is not None}
        refused, *_ = ids
        # Somebody else is faster with one of them.
        await client.command("fleet.run.cancel", ids[refused], by="bo")
        await pilot.press("y")
        await until(pilot, lambda: any("not paused" in message.text for message in app.fleet.messages))
        assert list(lines.selection.marks) == [refused]


async def test_marks_that_do_not_match_the_filter_any_more_are_counted(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(SLEEPER.replace("sleeper", name))
    async with console(tmp_path) as (app, pilot):
        assert app.client is not None
        for name in ("one", "one", "two"):
            await app.client.start(start_of(tmp_path / f"{name}.yaml"))
        await until(pilot, lambda: runs_of(app).count == 3)
        screen = app.screen
        assert isinstance(screen, RunsScreen)

        def about() -> str:
            return "".join(text for text, _ in screen.about(118))

        await pilot.press("asterisk", "slash", *"wf:one", "enter")
        await until(pilot, lambda: "3 marked, 1 of them not in this list  2 runs" in about())
        await pilot.press("slash", *"status:failed", "enter")
        await until(pilot, lambda: "3 marked, 3 of them not in this list  0 runs" in about())
        await pilot.press("U")
        await until(pilot, lambda: "marked" not in about())
        await pilot.press("escape")
        await until(pilot, lambda: "3 runs" in about())
        await pilot.press("asterisk")
        assert "3 marked  3 runs" in about()


async def test_ctrl_c_says_once_how_one_leaves(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        await pilot.press("ctrl+c", "ctrl+c")
        await pilot.press("colon", "ctrl+c")
        await until(pilot, lambda: [message.text for message in app.fleet.messages] == ["q quits"])


async def test_the_menu_finds_keys_by_what_people_call_them(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot):
        await pilot.press("question_mark", *"ctrl+u")
        lines = app.screen.query_one(Lines)
        await until(pilot, lambda: lines.source.count and "a page up" in lines.text(0))
        await pilot.press(*["backspace"] * 2)
        await until(pilot, lambda: lines.source.count > 3)


def test_tokens_have_a_unit_in_which_they_are_short() -> None:
    given = (0, 842, 12_345, 999_949, 999_950, 4_100_000, 999_960_000, 2_861_600_000, 3 * 10**15)
    assert [tokens(each) for each in given] == [
        "-",
        "842",
        "12.3k",
        "999.9k",
        "1.0M",
        "4.1M",
        "1.0G",
        "2.9G",
        "3,000.0T",
    ]
