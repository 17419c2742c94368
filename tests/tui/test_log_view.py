"""The log widget in a running app: keys, mouse, following, selecting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC
from pathlib import Path

import pytest
from log_kit import NOW, RUN, Logged, line, logged
from textual.app import App, ComposeResult
from textual.events import MouseScrollDown, MouseScrollUp
from textual.pilot import Pilot

from fleetprompt.client.wording import Times
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.tui.actions import at, method
from fleetprompt.tui.keymap import Keymap
from fleetprompt.tui.state.log import RANGES, LogView
from fleetprompt.tui.state.log_standing import standing
from fleetprompt.tui.widgets.log_view import LogLines
from fleetprompt.tui.widgets.palette import DARK, Palette
from tests.tui.deciding_kit import holds

SCROLL_BAR = 1


class LogApp(App[object]):
    """Nothing but a log."""

    def __init__(self, source: Logged) -> None:
        super().__init__()
        self.register_theme(DARK)
        self.theme = DARK.name
        self.view = LogView(source, RUN, times=Times(UTC))
        self.failures: list[FleetError] = []
        self.changes = 0
        self.asked: list[str] = []

    @property
    def palette(self) -> Palette:
        return Palette(self)

    @property
    def keymap(self) -> Keymap:
        return Keymap({"log.levels": ["V"]})

    def compose(self) -> ComposeResult:
        yield LogLines(self.view)

    def on_log_lines_failed(self, event: LogLines.Failed) -> None:
        self.failures.append(event.error)

    def on_log_lines_changed(self, event: LogLines.Changed) -> None:
        self.changes += 1

    def on_log_lines_asked(self, event: LogLines.Asked) -> None:
        self.asked.append(event.what)

    @property
    def log_lines(self) -> LogLines:
        return self.query_one(LogLines)

    def texts(self) -> list[str]:
        """The rows as they are drawn."""
        return [self.log_lines.render_line(y).text.rstrip() for y in range(self.log_lines.size.height)]


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[Logged]:
    async with logged(tmp_path) as made:
        yield made


async def settled(pilot: Pilot[object]) -> None:
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


async def until(pilot: Pilot[object], test: Callable[[], object]) -> None:
    async with asyncio.timeout(120):
        while not holds(test):
            await pilot.pause(0.01)


async def test_keys_move_it_and_the_scroll_bar_follows(source: Logged) -> None:
    await source.write_many(1000)
    app = LogApp(source)
    async with app.run_test(size=(60, 10)) as pilot:
        await settled(pilot)
        assert app.texts()[-1] == "08:16:39 info  line 999"
        assert app.log_lines.scroll_offset.y == 990
        await pilot.press("pageup", "k", "up")
        await settled(pilot)
        assert app.texts()[0] == "08:16:19 info  line 979"
        assert app.log_lines.scroll_offset.y == 979
        await pilot.press("home")
        await settled(pilot)
        assert app.texts()[0].endswith("line 0")
        app.log_lines.scroll_to(y=500, animate=False, immediate=True)
        await settled(pilot)
        assert app.texts()[0].endswith("line 500"), "the scroll bar was dragged"
        assert not app.view.follow
        await pilot.press("G")
        await settled(pilot)
        assert app.view.follow
        assert app.changes > 3


async def test_what_comes_is_shown_when_it_is_looked_for(source: Logged) -> None:
    await source.write_many(100)
    app = LogApp(source)
    async with app.run_test(size=(60, 10)) as pilot:
        await settled(pilot)
        await source.write(line("new", at=NOW))
        app.log_lines.look()
        await settled(pilot)
        assert app.texts()[-1].endswith("new")
        await pilot.press("up")
        await source.write(line("newer", at=NOW))
        app.log_lines.look()
        await settled(pilot)
        assert app.texts()[-1].endswith("line 99")
        assert standing(app.view)[0] == ("1 new", "accent")


async def test_finding_filtering_and_ranges(source: Logged) -> None:
    await source.write_many(500, level="debug")
    await source.write(line("the needle", level="error", at=NOW + 500))
    await source.write(*(line("later", level="debug", at=NOW + 500 + n) for n in range(500)))
    app = LogApp(source)
    async with app.run_test(size=(60, 10)) as pilot:
        await settled(pilot)
        app.log_lines.search("needle")
        await settled(pilot)
        at = next(y for y, text in enumerate(app.texts()) if "needle" in text)
        strip = app.log_lines.render_line(at)
        marked = app.palette.style("match.current").bgcolor
        assert [each.text for each in strip if each.style and each.style.bgcolor == marked] == ["needle"]
        behind = app.palette.away.bgcolor
        assert all(each.style and each.style.bgcolor == behind for each in strip if each.text != "needle")
        assert ("needle: 1 of 1", "accent") in standing(app.view)
        await pilot.press("v")
        await settled(pilot)
        assert app.texts()[0].endswith("the needle")
        assert app.texts()[1] == ""
        assert ("1 of 1,001 lines", "dim") in standing(app.view)
        await pilot.press("v", "v", "v", "v", "2")
        await settled(pilot)
        assert app.view.count == 61
        assert app.view.follow


async def test_long_lines_are_cut_moved_and_wrapped(source: Logged) -> None:
    await source.write(line("0123456789" * 20))
    app = LogApp(source)
    async with app.run_test(size=(46, 12)) as pilot:
        await settled(pilot)
        width = app.log_lines.size.width - 15 - SCROLL_BAR
        assert app.texts()[0][15:] == ("0123456789" * 20)[: width - 1] + "…"
        await pilot.press("right")
        assert app.texts()[0] == "08:00:00 info  …" + ("0123456789" * 20)[21 : 20 + width - 1] + "…"
        await pilot.press(*["right"] * 8)
        assert app.texts()[0] == "08:00:00 info  …" + ("0123456789" * 20)[181:]
        await pilot.press(*["left"] * 8)
        await pilot.press("left", "w")
        await settled(pilot)
        assert "".join(text[15:] for text in app.texts()) == "0123456789" * 20
        assert app.texts()[1][:15] == " " * 15
        assert all(app.log_lines.render_line(y).cell_length == app.log_lines.size.width for y in range(12))


@pytest.mark.parametrize("wrap", [False, True])
async def test_text_is_selected_by_mouse_in_the_line_it_is_in(source: Logged, wrap: bool) -> None:
    await source.write(line("first line of it"), line("second " + "x" * 60 + " end"), line("third"))
    app = LogApp(source)
    async with app.run_test(size=(46, 12)) as pilot:
        await settled(pilot)
        if wrap:
            await pilot.press("w")
            await settled(pilot)
        log = app.log_lines
        await pilot.mouse_down(log, offset=(21, 0))
        await pilot.hover(log, offset=(20, 1))
        await pilot.mouse_up(log, offset=(20, 1))
        assert app.screen.get_selected_text() == "line of it\n08:00:00 info  second"
        behind = app.screen.get_component_rich_style("screen--selection").bgcolor
        selected = [each.text for each in log.render_line(0) if each.style and each.style.bgcolor == behind]
        assert "".join(selected).rstrip() == "line of it"
        if wrap:
            await pilot.mouse_down(log, offset=(21, 0))
            await pilot.hover(log, offset=(15, 4))
            await pilot.mouse_up(log, offset=(15, 4))
            selection = app.screen.get_selected_text()
            assert selection is not None
            assert selection.startswith("line of it\n08:00:00 info  second x")
            assert selection.endswith(" end\n08:00:00 info  t")
            margin, *_, body = [each for each in log.render_line(3) if each.text.strip() or each.text == " " * 15]
            assert margin.style is not None
            assert margin.style.bgcolor != behind, "what stands in for the margin is not part of the line"
            assert "offset" not in margin.style.meta
            assert body.style is not None
            assert body.style.bgcolor == behind


async def test_hostile_lines_do_not_break_the_screen(source: Logged) -> None:
    await source.write(
        line("\x1b[2J[red]boo[/]"),
        line("日本" * 200),
        line("e" + "\u0301" * 500),
        line("\u202eabc"),
        line("x" * 1_000_000),
    )
    app = LogApp(source)
    async with app.run_test(size=(60, 10)) as pilot:
        for keys in ("w", "right", "w", "pageup"):
            await pilot.press(keys)
            await settled(pilot)
            assert all(app.log_lines.render_line(y).cell_length == app.log_lines.size.width for y in range(10))
        assert not any("\x1b" in text or "\u202e" in text for text in app.texts())
        await pilot.resize_terminal(20, 5)
        await settled(pilot)
        await pilot.resize_terminal(60, 10)
        await settled(pilot)
        assert any("[red]boo[/]" in text for text in app.texts())


async def test_a_store_that_fails_is_reported_and_asked_again(source: Logged) -> None:
    await source.write_many(10)
    app = LogApp(source)
    async with app.run_test(size=(60, 10)) as pilot:
        await settled(pilot)
        await source.store.close()
        app.log_lines.look()
        await settled(pilot)
        assert [type(error).__name__ for error in app.failures] == ["StoreUnavailable"]
        assert app.texts()[-1].endswith("line 9")
        await source.store.open()
        await source.write(line("back"))
        app.log_lines.look()
        await settled(pilot)
        assert app.texts()[-1].endswith("back")


async def test_another_log_takes_its_place(source: Logged) -> None:
    await source.write(line("of a"), line("of b", path="b"))
    app = LogApp(source)
    async with app.run_test(size=(60, 10)) as pilot:
        await settled(pilot)
        app.log_lines.show(LogView(source, RUN, "b", times=Times(UTC)))
        await settled(pilot)
        assert [text for text in app.texts() if text] == ["08:00:00 info  of b"]


def test_a_log_can_do_whatever_the_table_says() -> None:
    assert [action.id for action in at(["log"]) if not hasattr(LogLines, method(action.id))] == []
    ranges = [action for action in at(["log"]) if action.keys[0].isdigit()]
    assert [(action.keys[0], action.label) for action in ranges] == [
        (str(n), name) for n, (name, _) in enumerate(RANGES)
    ]


async def test_what_has_to_be_typed_is_asked_for(source: Logged) -> None:
    await source.write_many(500)
    app = LogApp(source)
    async with app.run_test(size=(60, 10)) as pilot:
        await settled(pilot)
        await pilot.press("slash", "at")
        await settled(pilot)
        assert app.asked == ["find", "time"]
        app.log_lines.search("/line 4?7$/")
        await settled(pilot)
        await pilot.press("ampersand")
        await settled(pilot)
        assert [text[15:] for text in app.texts() if text] == ["line 7", "line 47"]
        app.log_lines.search("")
        await app.log_lines.go_to_time("08:05")
        await settled(pilot)
        assert app.texts()[0] == "08:05:00 info  line 300"
        await pilot.press("F")
        await settled(pilot)
        assert app.texts()[-1].endswith("line 499")
        await pilot.press("F")
        await source.write(line("more"))
        app.log_lines.look()
        await settled(pilot)
        assert app.texts()[-1].endswith("line 499"), "it is held"


async def test_the_wheel_moves_it_and_with_shift_to_the_side(source: Logged) -> None:
    await source.write(*(line(f"{n:03}" + "x" * 100) for n in range(100)))
    app = LogApp(source)
    async with app.run_test(size=(60, 10)) as pilot:
        await settled(pilot)
        where = {"widget": app.log_lines, "x": 1, "y": 1, "delta_x": 0, "button": 0, "meta": False, "ctrl": False}
        app.log_lines.post_message(MouseScrollUp(**where, delta_y=-1, shift=False))
        await settled(pilot)
        assert app.texts()[0][15:18] == "087"
        app.log_lines.post_message(MouseScrollDown(**where, delta_y=1, shift=True))
        await settled(pilot)
        assert app.texts()[0][15:18] == "…xx"


async def test_a_log_of_which_nothing_is_shown_says_what_leaves_it_out_and_which_keys_show_it(source: Logged) -> None:
    await source.write_many(1048)
    app = LogApp(source)
    async with app.run_test(size=(60, 10)) as pilot:
        app.log_lines.empty = ((("it has said nothing", ""),),)
        await settled(pilot)
        await pilot.press("v")
        await settled(pilot)
        # The keys are those that the operator has chosen.
        assert app.texts()[:3] == ["none of 1,048 lines: problems", "V other levels, in the end all", ""]
        await pilot.press("3")
        await settled(pilot)
        assert app.texts()[:4] == [
            "none of 1,048 lines: problems, last 5m",
            "V other levels, in the end all",
            "0 all times",
            "",
        ]
        await pilot.press("0", "v", "v", "v", "v")
        await settled(pilot)
        app.log_lines.search("no such text")
        await settled(pilot)
        await pilot.press("ampersand")
        await settled(pilot)
        assert app.texts()[:3] == ["none of 1,048 lines: matches only", "& also what does not match", ""]
        await pilot.press("ampersand")
        await settled(pilot)
        assert app.texts()[-1].endswith("line 1047")


async def test_a_log_without_lines_says_so_whatever_is_chosen(source: Logged) -> None:
    app = LogApp(source)
    async with app.run_test(size=(60, 10)) as pilot:
        app.log_lines.empty = ((("it has said nothing", ""),), (("L", "accent"), (" shows all of it", "dim")))
        await settled(pilot)
        await pilot.press("v")
        await settled(pilot)
        assert app.texts()[:3] == ["it has said nothing", "L shows all of it", ""]
        await pilot.resize_terminal(12, 10)
        await settled(pilot)
        assert app.texts()[:3] == ["it has said…", "L shows all…", ""]


async def test_nothing_is_said_of_a_log_that_was_not_read_yet(source: Logged) -> None:
    source.reading.clear()
    app = LogApp(source)
    async with app.run_test(size=(60, 10)) as pilot:
        app.log_lines.empty = ((("it has said nothing", ""),),)
        await pilot.pause()
        assert not any(app.texts())
        source.reading.set()
        await settled(pilot)
        assert app.texts()[0] == "it has said nothing"


async def test_lines_are_drawn_when_they_are_there_and_what_was_drawn_stays_until_then(source: Logged) -> None:
    await source.write_many(100)
    app = LogApp(source)
    async with app.run_test(size=(60, 10)) as pilot:
        await settled(pilot)
        for look in (1, 2):
            before = app.texts()
            await source.write(*(line(f"new {look} {n}", at=NOW) for n in range(50)))
            source.reading.clear()
            app.log_lines.look()
            await until(pilot, lambda: source.waiting)
            # The next look, and a key that goes where one is.
            app.log_lines.look()
            await pilot.press("G")
            assert app.texts() == before
            source.reading.set()
            await settled(pilot)
            assert app.texts()[-1].endswith(f"new {look} 49")


async def test_on_the_way_to_the_end_nothing_is_drawn_that_is_not_there(source: Logged) -> None:
    await source.write_many(5000, each=1000)
    app = LogApp(source)
    app.view.hold()
    async with app.run_test(size=(60, 10)) as pilot:
        await settled(pilot)
        before = app.texts()
        assert before[0].endswith("line 0")
        source.reading.clear()
        await pilot.press("G")
        assert app.texts() == before
        source.reading.set()
        await settled(pilot)
        assert app.texts()[-1].endswith("line 4999")
