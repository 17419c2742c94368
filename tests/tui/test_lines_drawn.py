"""What a list draws: every line as it is now, and no line twice that looks as it did."""

from __future__ import annotations

import subprocess
import sys

from rich.segment import Segment
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.strip import Strip

from fleetprompt.tui.state.lines import Cell, Column, Part, Rows
from fleetprompt.tui.widgets.bars import Pill
from fleetprompt.tui.widgets.lines import Lines
from fleetprompt.tui.widgets.palette import DARK, LIGHT, Palette

WIDTH, HEIGHT = 30, 6
BORDERED = "Lines.bordered { border-top: solid red; }"


class Shown(App[None]):
    """A list and a line about it."""

    CSS = BORDERED

    def __init__(self) -> None:
        super().__init__()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = DARK.name
        self.rows = Rows([Column(title="N", width=4), Column(title="TEXT", width=10, grow=1)])
        self.rows.set((n, _row(n, "as it was")) for n in range(50))
        self.said: list[Part] = [("one", "dim")]

    @property
    def palette(self) -> Palette:
        return Palette(self) if self.theme == LIGHT.name else self._dark

    @property
    def frame(self) -> Palette:
        return self.palette

    def compose(self) -> ComposeResult:
        self._dark = Palette(self)
        yield Pill(lambda width: list(self.said))
        yield Lines(self.rows)

    def on_mount(self) -> None:
        self.query_one(Lines).focus()


def _row(n: int, text: str) -> tuple[Cell, ...]:
    return ((str(n), "id"), ((text, ""), (" still", "dim")))


def drawn(app: Shown) -> list[Strip]:
    """The list as the compositor gets it."""
    lines = app.query_one(Lines)
    return lines.render_lines(Region(0, 0, lines.size.width, lines.size.height))


def texts(strips: list[Strip]) -> list[str]:
    return [strip.text.rstrip() for strip in strips]


def ground(strip: Strip) -> set[object]:
    """The colours behind a line."""
    segments: list[Segment] = list(strip)
    return {segment.style.bgcolor for segment in segments if segment.style is not None}


async def test_lines_that_look_as_before_are_drawn_once_wherever_they_stand() -> None:
    app = Shown()
    async with app.run_test(size=(WIDTH, HEIGHT)) as pilot:
        before = drawn(app)
        await pilot.press(*["down"] * len(before))
        after = drawn(app)
        assert texts(after)[0] == texts(before)[1]
        # The cursor stood on the first of them, and stands on the last of these.
        assert all(new is old for new, old in zip(after[:-2], before[1:-1], strict=True))
        assert ground(after[-1]) != ground(after[-2])


async def test_a_line_whose_cells_mark_or_cursor_have_changed_is_drawn_anew() -> None:
    app = Shown()
    async with app.run_test(size=(WIDTH, HEIGHT)) as pilot:
        lines = app.query_one(Lines)
        before = drawn(app)
        app.rows.set((n, _row(n, "changed" if n == 1 else "as it was")) for n in range(50))
        lines.repaint([1])
        assert [line for line in texts(drawn(app)) if "changed" in line] == [texts(drawn(app))[1]]
        await pilot.press("down", "space", "up")
        after = drawn(app)
        assert after[1].text.startswith("▌")
        assert ground(after[1]) == ground(before[0])
        lines.selection.clear()
        assert not drawn(app)[1].text.startswith("▌")


async def test_another_theme_or_width_draws_every_line_anew() -> None:
    app = Shown()
    async with app.run_test(size=(WIDTH, HEIGHT)) as pilot:
        dark = drawn(app)
        app.theme = LIGHT.name
        await pilot.pause()
        light = drawn(app)
        assert all(ground(one) != ground(other) for one, other in zip(dark, light, strict=True))
        await pilot.resize_terminal(WIDTH + 10, HEIGHT)
        await pilot.pause()
        assert {strip.cell_length for strip in drawn(app)} == {app.query_one(Lines).size.width}


async def test_a_part_of_a_line_is_that_part_of_it() -> None:
    app = Shown()
    async with app.run_test(size=(WIDTH, HEIGHT)):
        (whole,) = app.query_one(Lines).render_lines(Region(0, 2, WIDTH, 1))
        (part,) = app.query_one(Lines).render_lines(Region(2, 2, 8, 1))
        assert part.text == whole.text[2:10]


async def test_a_list_with_a_border_keeps_it() -> None:
    app = Shown()
    async with app.run_test(size=(WIDTH, HEIGHT)) as pilot:
        lines = app.query_one(Lines)
        lines.add_class("bordered")
        await pilot.pause()
        strips = lines.render_lines(Region(0, 0, WIDTH, lines.outer_size.height))
        assert set(strips[0].text) == {"─"}
        assert strips[1].text.split()[:2] == ["0", "as"]


async def test_a_line_about_a_list_is_drawn_again_only_when_it_says_something_else() -> None:
    app = Shown()
    async with app.run_test(size=(WIDTH, HEIGHT)) as pilot:
        pill = app.query_one(Pill)
        await pilot.pause()
        asked: list[object] = []
        refresh = pill.refresh
        pill.refresh = lambda *args, **given: asked.append(args) or refresh(*args, **given)  # type: ignore[method-assign, func-returns-value]
        pill.redraw()
        assert not asked
        app.said = [("two", "dim")]
        pill.redraw()
        await pilot.pause()
        assert asked
        assert pill.render_line(0).text.strip() == "two"


def test_the_frame_does_not_wait_for_what_only_runs_need() -> None:
    heavy = ("jinja2", "sqlalchemy", "pydantic", "httpx")
    code = f"import fleetprompt.tui.app, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
