"""How lines of a log become rows: inert, marked, cut and wrapped; and which rows are on the screen."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import UTC
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from log_kit import NOW, Logged, bodies, line, logged, opened, settle
from rich.cells import cell_len

from fleetprompt.client.wording import Times
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import LEVELS, LogChunk
from fleetprompt.tui.state import log_text
from fleetprompt.tui.state.log_directory import Directory
from fleetprompt.tui.state.log_find import Find
from fleetprompt.tui.state.log_sieve import Sieve
from fleetprompt.tui.state.log_text import Form, Part


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[Logged]:
    async with logged(tmp_path) as made:
        yield made


# ---------------------------------------------------------------- text

TEXTS = st.text(st.sampled_from("abc ABC[]ß日本é\u0301\x1b\u202e\t"), max_size=60)
CUT = ("…", "dim")
PARTS = st.lists(st.tuples(TEXTS.map(inert), st.sampled_from(["", "dim", "match"])), max_size=5)


def whole(parts: tuple[Part, ...] | list[Part]) -> str:
    return "".join(text for text, _ in parts)


@given(parts=PARTS, width=st.integers(8, 30))
def test_wrapping_loses_nothing_and_fits(parts: list[Part], width: int) -> None:
    rows = log_text.wrap(parts, width)
    assert "".join(whole(row) for row, _ in rows) == whole(parts)
    for row, before in rows:
        assert log_text.cells(whole(row)) <= width
        assert whole(parts)[before:].startswith(whole(row))
    for (row, _), (following, _) in pairwise(rows):
        assert log_text.cells(whole(row)) + log_text.cells(whole(following)[:1]) > width


@given(parts=PARTS, start=st.integers(0, 80), width=st.integers(1, 30))
@example(parts=[("ab日\u0301A", "")], start=0, width=4)
def test_cutting_shows_the_cells_that_were_asked_for(parts: list[Part], start: int, width: int) -> None:
    text = whole(parts)
    left, cut = start > 0 and width > 1 and bool(text), log_text.cells(text) > start + width
    seen, before = log_text.crop(parts, start, width)
    assert cell_len(whole(seen)) == max(left, min(width, log_text.cells(text) - start))
    assert not left or seen[0] == CUT
    assert not cut or seen[-1] == CUT
    if seen and text.isascii():
        inner = text[start + left : start + width - cut]
        assert whole(seen) == "…" * left + inner + "…" * cut
        assert before == start or not inner


@given(text=TEXTS, needle=TEXTS.filter(bool))
def test_what_is_marked_is_what_was_found(text: str, needle: str) -> None:
    find = Find(needle, regex=False, origin=1, direction=1)
    body = log_text.body(line(text), find)
    assert whole(body) == inert(text.rstrip("\r\n"))
    marked = any(style == "match" for _, style in body)
    assert marked == (needle.casefold() in text.casefold())
    for begin, end in log_text.spans(find, text):
        assert needle.casefold() in text[begin:end].casefold()


def test_a_regular_expression_marks_every_place() -> None:
    find = Find("b+c?", regex=True, origin=1, direction=1)
    body = log_text.body(line("abbcab"), find)
    assert [text for text, style in body if style == "match"] == ["bbc", "b"]


def test_hostile_text_is_inert() -> None:
    body = log_text.body(line("\x1b[31m\u202e[red]\r\n", data={"\x1b": "[bold]"}))
    assert whole(body) == '\\x1b[31m\\u202e[red]  {"\\u001b":"[bold]"}'
    margin = log_text.margin(line("x", path="\x1b[2J"), Form(Times(UTC), 80, step=10))
    assert "\x1b" not in whole(margin)


def test_the_margin_tells_time_level_step_and_attempt() -> None:
    form = Form(Times(UTC), 80, step=8, within="loop")
    assert whole(log_text.margin(line("x", path="loop[3].a", attempt=2), form)) == "08:00:00 info  [3].a#2  "
    narrow = Form(Times(UTC), 80, step=4, dated=True)
    assert whole(log_text.margin(line("x", level="stderr", path="abcdef"), narrow)) == "01-15 08:00:00 err   …def "
    assert len(whole(log_text.margin(line("x"), narrow))) == narrow.margin


# ---------------------------------------------------------------- numbers


@given(seed=st.integers(0, 100_000))
def test_numbers_lead_to_lines_and_back(seed: int) -> None:
    chance = random.Random(seed)
    directory = Directory()
    positions: list[int] = []
    codes: list[int] = []
    until = 0
    for id_ in range(1, chance.randint(1, 30)):
        size = chance.randint(1, 20)
        until += size + chance.choice((0, 0, 3))
        directory.add([LogChunk(id_ * 3, "a", 1, 1, size, until, float(id_))])
        positions += range(until - size + 1, until + 1)
        levels = [chance.randrange(len(LEVELS)) for _ in range(size)]
        directory.levels[-1] = bytes(levels)
        codes += levels
    assert directory.lines == len(positions)
    assert [directory.position(index) for index in range(len(positions))] == positions
    assert [directory.line_at(position) for position in positions] == list(range(len(positions)))
    chosen = frozenset(chance.sample(LEVELS, chance.randint(0, 3)))
    start = chance.choice((0, chance.randint(0, until + 1)))
    sieve = Sieve(directory)
    sieve.choose(levels=chosen, start=start, find=None)
    expected = [
        index
        for index, position in enumerate(positions)
        if position >= start and (not chosen or LEVELS[codes[index]] in chosen)
    ]
    assert [sieve.line(number) for number in range(sieve.count)] == expected
    assert sieve.unknown(10) == []
    for index in range(len(positions)):
        assert sieve.number(index) == sum(1 for each in expected if each < index)
        assert sieve.shows(index) == (index in expected)


# ---------------------------------------------------------------- the window


async def write_long_lines(source: Logged, count: int, seed: int = 1) -> None:
    chance = random.Random(seed)
    for n in range(count):
        await source.write(line(f"<{n}>" + "x" * chance.choice((0, 10, 100, 300, 2000)), at=NOW + n))


async def test_wrapped_lines_are_walked_through_row_by_row(source: Logged) -> None:
    await write_long_lines(source, 25)
    view = await opened(source, width=60, height=12)
    view.wrap(True)
    await settle(view)
    down: list[tuple[int, int]] = []
    view.go_to(0)
    while True:
        await settle(view)
        rows = [(number, row.before) for number, row in view.rows()]
        assert len(rows) == 12
        assert all(log_text.cells(text) <= 60 for text in bodies(view))
        new = rows if not down else rows[-1:]
        assert down[-11:] == rows[:-1] or not down
        down += new
        top = view.rows()[0]
        view.move(1)
        await settle(view)
        if view.rows()[0] == top:
            break
    assert [before for _, before in down if before == 0] == [0] * 25
    assert down == sorted(set(down))
    up = [(number, row.before) for number, row in view.rows()][::-1]
    for _ in range(len(down) - 12):
        view.move(-1)
        await settle(view)
        number, row = view.rows()[0]
        up.append((number, row.before))
    assert up[::-1] == down


async def test_wrapped_lines_are_followed_to_their_last_row(source: Logged) -> None:
    await write_long_lines(source, 10)
    view = await opened(source, width=60, height=5)
    view.wrap(True)
    await settle(view)
    await source.write(line("y" * 1000 + "end"))
    await view.refresh()
    await settle(view)
    assert bodies(view)[-1].endswith("end")
    assert view.follow
    before = bodies(view)
    view.move(-2)
    assert (view.follow, bodies(view)[2:]) == (False, before[:-2])


async def test_a_narrower_screen_keeps_the_line_at_the_top(source: Logged) -> None:
    await write_long_lines(source, 40)
    view = await opened(source, width=100, height=10)
    view.wrap(True)
    view.go_to(7)
    await settle(view)
    view.resize(40, 6)
    await settle(view)
    assert bodies(view)[0].startswith("<7>")
    view.wrap(False)
    assert [text[:3] for text in bodies(view)[:2]] == ["<7>", "<8>"]
    view.sideways(1)
    assert bodies(view)[0].startswith("…>")


async def test_a_screen_of_one_cell_shows_something(source: Logged) -> None:
    await write_long_lines(source, 5)
    view = await opened(source, width=1, height=1)
    view.wrap(True)
    await settle(view)
    view.page(-1)
    await settle(view)
    assert len(view.rows()) == 1


async def test_days_are_shown_where_there_are_several(source: Logged) -> None:
    await source.write(line("one"))
    view = await opened(source)
    assert view.rows()[0][1].margin[0][0] == "08:00:00 "
    await source.write(line("two", at=NOW + 90_000))
    await view.refresh()
    await settle(view)
    assert [row.margin[0][0] for _, row in view.rows()] == ["01-15 08:00:00 ", "01-16 09:00:00 "]
    assert view.text(1) == "01-16 09:00:00 info  two"
