"""A long text in a pane: laid out bit by bit, all of it in the end, and nothing kept from the reader unsaid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deciding_kit import GATED, approvals, asking, client_of, console, dialog, ended, pending, said, shown, until
from textual.app import App, ComposeResult

from fleetprompt.engine.ports import Approval
from fleetprompt.tui.screens.dialog import Ask
from fleetprompt.tui.screens.shown import ConfirmShown
from fleetprompt.tui.state.approval_preview import Block, bounded, matter
from fleetprompt.tui.state.approval_value import PIECE, Line
from fleetprompt.tui.state.lines import CONTINUED
from fleetprompt.tui.state.look import Look
from fleetprompt.tui.widgets.palette import DARK, Palette
from fleetprompt.tui.widgets.text_pane import FIRST, TextPane, wrapped_lines

MEGABYTE = 1_000_000


class Panes(App[None]):
    """A pane alone."""

    def compose(self) -> ComposeResult:
        self.register_theme(DARK)
        self.theme = DARK.name
        self.palette = Palette(self)
        yield TextPane()


def approval(**fields: Any) -> Approval:
    values: dict[str, Any] = {"id": "ap-1", "tenant": "default", "run": "r", "path": "gate", "workflow": "w"}
    values |= {"status": "pending", "digest": "d" * 64, "message": "Do it?", "requested_at": 0.0}
    return Approval(**(values | fields))


async def test_a_long_block_is_read_on_between_other_things_until_it_is_there_as_a_whole() -> None:
    read = 0

    def lines() -> Iterator[Line]:
        nonlocal read
        for number in range(5_000):
            read += 1
            yield ((f"line {number}", ""),)

    async with Panes().run_test(size=(40, 20)) as pilot:
        pane = pilot.app.query_one(TextPane)
        pane.show([(("first", ""),)], Block(lines), [(("last", ""),)])
        assert read <= FIRST + 1, "the rest waits"
        assert not pane.whole
        assert "still being read" in str(pane.border_subtitle)
        while not pane.whole:
            await pilot.pause(0.01)
        assert read == 5_000
        assert pane.virtual_size.height == 5_002
        assert "still" not in str(pane.border_subtitle)
        pane.action_scroll_to_row(-1)
        await pilot.pause()
        rows = ["".join(part.text for part in pane.render_line(y)).strip() for y in range(pane.size.height)]
        assert [row for row in rows if row][-2:] == ["line 4999", "last"]


@pytest.mark.parametrize("unit", ["x", "ä", "日本x"], ids=["ascii", "narrow", "wide"])
def test_a_text_of_a_megabyte_in_one_line_is_shown_whole_and_without_a_seam(unit: str) -> None:
    text = unit * (MEGABYTE // len(unit))
    look = Look(approval(show={"patch": text}))
    rows = wrapped_lines(matter(look), 70)
    head = [next(rows) for _ in range(3)]
    assert [goes_on for goes_on, _ in head] == [False, False, True], "the title, the text, and its second row"
    found = "".join(part for _, parts in (*head, *rows) for part, style in parts if style in ("code", "string"))
    assert found == text


def test_pieces_of_a_line_are_told_from_lines() -> None:
    two = Look(approval(show={"code": "a" * (PIECE + 1) + "\n" + "b"}))
    lines = list(matter(two))
    assert [line[:1] == (CONTINUED,) for line in lines] == [False, False, False, True, False]
    assert [goes_on for goes_on, _ in wrapped_lines(lines, 1_000)] == [False, False, False, False]


def test_a_question_shows_the_beginning_of_what_is_long_and_says_so() -> None:
    lines = bounded([matter(Look(approval(show={"patch": "line\n" * 1_000})))])
    assert len(lines) < 300
    assert "there is more" in lines[-1][0][0]
    (long,) = [line for line in bounded([matter(Look(approval(show={"patch": "x" * 5_000})))]) if len(line) > 5]
    assert "".join(text for text, _ in long) == "patch: " + "x" * 5_000


async def test_nothing_is_approved_of_which_nothing_can_be_seen(tmp_path: Path) -> None:
    async with console(tmp_path, size=(20, 3)) as (app, pilot, clock):
        (run,) = await asking(app, pilot, clock, tmp_path, GATED)
        await pilot.press("a", "y")
        assert said(app, "make the terminal larger")
        assert isinstance(app.screen, ConfirmShown)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: app.screen.query_one(TextPane).size.height > 1)
        await pilot.press("y")
        assert await ended(client_of(app), run) == ["completed"]


async def test_what_is_not_laid_out_yet_counts_as_not_seen(tmp_path: Path) -> None:
    long = GATED.replace("[touch, done]", "[touch, done, " + ", ".join(["x"] * 20) + ', "' + "y" * 60_000 + '"]')
    async with console(tmp_path) as (app, pilot, clock):
        (run,) = await asking(app, pilot, clock, tmp_path, long)
        pane = approvals(app).pane
        approvals(app)._draw(keep=False)
        await until(pilot, lambda: pane.whole)
        await pilot.press("a")
        assert isinstance(app.screen, ConfirmShown)
        assert "Touch it?" in dialog(app)
        assert len(dialog(app)) > 60_000
        asked = app.screen.query_one(TextPane)
        await until(pilot, lambda: asked.whole)
        assert asked.below
        await pilot.press("pagedown", "n", "r")
        assert isinstance(app.screen, Ask)
        assert "there is more" in dialog(app)
        await pilot.press("escape", "tab", "G")
        await until(pilot, lambda: not pane.below)
        assert len(await pending(client_of(app))) == 1
        identity = approvals(app)._matter
        await client_of(app).vote(shown(app).id, "approved", by="bo")
        await ended(client_of(app), run)
        await until(pilot, lambda: shown(app).status == "approved")
        assert approvals(app)._matter is identity, "it is not laid out again because something else has changed"
        assert not said(app, "error")
