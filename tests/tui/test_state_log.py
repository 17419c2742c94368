"""The log view over real chunks: paging, following, finding, filtering, pruning."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from log_kit import NOW, RUN, Logged, all_texts, bodies, line, logged, opened, settle

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.facts import RunCreated, RunFinished
from fleetprompt.engine.ports import LEVELS, Append, Level, LogLine, RunHead
from fleetprompt.tui.state.log_ending import LONG_OVER, LOOKS, Ending


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[Logged]:
    async with logged(tmp_path) as made:
        yield made


# ---------------------------------------------------------------- paging


async def test_it_opens_at_the_end_and_reads_what_is_there(source: Logged) -> None:
    await source.write_many(1000)
    view = await opened(source)
    assert (view.lines, view.count, view.follow) == (1000, 1000, True)
    assert bodies(view) == [f"line {n}" for n in range(990, 1000)]
    assert len(source.read) <= 6


async def test_any_place_is_read_when_it_is_looked_at(source: Logged) -> None:
    await source.write_many(1000)
    view = await opened(source)
    view.go_to(500)
    assert bodies(view) == ["…"] * 10
    await settle(view)
    assert bodies(view) == [f"line {n}" for n in range(500, 510)]
    view.page(1)
    assert bodies(view) == [f"line {n}" for n in range(509, 519)], "the next screen was there already"
    view.page(-1)
    view.move(-1)
    assert bodies(view)[0] == "line 499"
    view.go_to(10_000)
    assert view.top == 990


async def test_nothing_is_read_twice(source: Logged) -> None:
    await source.write_many(300)
    view = await opened(source)
    assert await all_texts(view) == [f"line {n}" for n in range(300)]
    assert len(source.read) == len(set(source.read))


async def test_lines_that_are_held_are_bounded(tmp_path: Path) -> None:
    async with logged(tmp_path, log_cap=1 << 30) as source:
        for n in range(1200):
            await source.write(line(f"{n:05}" + "x" * 16_000))
        view = await opened(source)
        texts = await all_texts(view)
        assert [text[:5] for text in texts] == [f"{n:05}" for n in range(1200)]
        assert view.held_bytes <= 8 * 1024 * 1024
        assert len(bodies(view)[0]) < 80


async def test_a_screen_of_lines_from_more_chunks_than_are_held(tmp_path: Path) -> None:
    async with logged(tmp_path, log_cap=1 << 30) as source:
        for n in range(160):
            await source.write(line(f"error {n}", level="error"), *(line("x" * 16_000) for _ in range(4)))
        view = await opened(source, height=150)
        view.show_levels({"error"})
        for _ in range(200):
            if not (await view.load() or await view.work()):
                break
        assert view.wanted() == []
        assert bodies(view) == [f"error {n}" for n in range(10, 160)]
        assert view.held_bytes <= 8 * 1024 * 1024


async def test_an_empty_log(source: Logged) -> None:
    view = await opened(source)
    assert (view.rows(), view.count, view.new) == ([], 0, 0)
    view.page(-1)
    view.search("x")
    view.show_levels({"error"})
    await view.show_range(2)
    await view.go_to_time("14:02")
    await settle(view)
    await source.write(line("first", level="error"))
    await view.refresh()
    await settle(view)
    assert bodies(view) == ["first"]


# ---------------------------------------------------------------- following


async def test_following_reads_only_what_is_new(source: Logged) -> None:
    await source.write_many(100)
    view = await opened(source)
    await settle(view)
    before = list(source.read)
    source.directories.clear()
    await source.write(*(line(f"new {n}") for n in range(5)))
    assert await view.refresh() == 5
    await settle(view)
    assert bodies(view) == [f"line {n}" for n in range(95, 100)] + [f"new {n}" for n in range(5)]
    assert source.directories == [100]
    assert len(source.read) == len(before) + 1
    assert await view.refresh() == 0


async def test_two_that_look_at_once_see_every_line_once(source: Logged) -> None:
    await source.write_many(30)
    view = await opened(source)
    await source.write_many(30)
    await asyncio.gather(view.refresh(), view.refresh())
    assert view.lines == 60


async def test_going_up_lets_go_of_the_end(source: Logged) -> None:
    await source.write_many(100)
    view = await opened(source)
    view.move(1)
    assert view.follow, "one cannot go down from the end"
    view.move(-3)
    await settle(view)
    assert (view.follow, view.new) == (False, 0)
    before = bodies(view)
    await source.write(*(line(f"new {n}") for n in range(20)))
    await view.refresh()
    assert (view.new, bodies(view)) == (20, before)
    view.page(1)
    await settle(view)
    bodies(view)
    assert view.new == 14, "those that were seen are not new"
    view.end()
    await settle(view)
    assert (view.new, view.follow, bodies(view)[-1]) == (0, True, "new 19")


async def test_a_log_that_fits_on_the_screen_is_followed_whatever_one_does(source: Logged) -> None:
    await source.write_many(3)
    view = await opened(source)
    view.page(-1)
    assert view.follow
    await source.write_many(20)
    await view.refresh()
    await settle(view)
    assert bodies(view)[-1] == "line 19"


async def test_the_count_of_dropped_lines_goes_on(tmp_path: Path) -> None:
    async with logged(tmp_path, log_cap=2000) as source:
        await source.write(*(line("x" * 100) for _ in range(30)))
        view = await opened(source)
        assert bodies(view)[-1] == "… 16 lines dropped"
        await source.write(line("y"), line("y"))
        assert await view.refresh() == 0
        await settle(view)
        assert bodies(view)[-1] == "… 18 lines dropped"


# ---------------------------------------------------------------- several steps


async def test_a_subtree_is_shown_with_its_steps(source: Logged) -> None:
    for n in range(40):
        await source.write(line(f"in {n}", path=f"loop[{n % 3}].fetch"), line("out", path="looped"))
    view = await opened(source, path="loop", within=True)
    assert view.count == 40
    assert await all_texts(view) == [f"in {n}" for n in range(40)]
    margins = {row.margin[2][0].strip() for _, row in view.rows()}
    assert margins == {"[0].fetch", "[1].fetch", "[2].fetch"}
    one = await opened(source, path="loop[1].fetch")
    assert one.count == 13
    assert [style for _, style in one.rows()[0][1].margin] == ["dim", "info"]


# ---------------------------------------------------------------- pruning


async def finish_run(source: Logged) -> None:
    head = RunHead(
        id=RUN,
        tenant="default",
        workflow="w",
        plan="p",
        status="completed",
        n=2,
        created_at=0,
        updated_at=0,
        finished_at=NOW,
    )
    created = RunCreated(run=RUN, plan="p", workflow="w", inputs={}, at=NOW)
    await source.store.journal.append(
        Append(run=RUN, tenant="default", after=0, facts=(created, RunFinished(status="completed", at=NOW)), head=head)
    )


async def test_chunks_that_vanish_shorten_the_log(source: Logged) -> None:
    await source.write_many(1000)
    await finish_run(source)
    view = await opened(source)
    view.go_to(800)
    await settle(view)
    view.search("line 1")
    await settle(view)
    view.go_to(800)
    await settle(view)
    before = bodies(view)
    await source.store.prune(before=0, logs_before=NOW + 700)
    view.move(-60)
    await settle(view)
    view.move(60)
    await settle(view)
    assert bodies(view) == before
    view.go_to(3)
    await settle(view)
    assert view.lines == 300
    assert await all_texts(view) == [f"line {n}" for n in range(700, 1000)]
    view.go_to_match(1)
    await settle(view)
    assert view.find is not None
    assert view.find.count == 0


# ---------------------------------------------------------------- finding


async def found(view: Any, count: int, direction: Any) -> list[str | None]:
    """The lines one comes to in so many steps."""
    lines: list[str | None] = []
    for _ in range(count):
        view.go_to_match(direction)
        await settle(view)
        marked = [row for _, row in view.rows() if any(style == "match.current" for _, style in row.body)]
        assert len(marked) == 1
        lines.append("".join(text for text, _ in marked[0].body))
    return lines


async def test_finding_from_the_end_goes_up_and_around(source: Logged) -> None:
    await source.write_many(1000)
    view = await opened(source)
    view.search("LINE 33")
    await settle(view)
    assert view.find is not None
    assert (view.find.count, view.find.rank(), view.follow) == (11, 11, False)
    assert "line 339" in bodies(view)
    assert await found(view, 2, -1) == ["line 338", "line 337"]
    assert view.find.rank() == 9
    assert await found(view, 3, 1) == ["line 338", "line 339", "line 33"]
    assert await found(view, 1, -1) == ["line 339"]


async def test_finding_from_the_middle_goes_down_and_around(source: Logged) -> None:
    await source.write_many(1000)
    view = await opened(source)
    view.go_to(335)
    view.search(r"^line 33\d?$", regex=True)
    await settle(view)
    assert view.find is not None
    assert view.find.rank() == 7
    assert await found(view, 5, 1) == ["line 336", "line 337", "line 338", "line 339", "line 33"]
    assert view.find.rank() == 1


async def test_what_comes_is_searched_too(source: Logged) -> None:
    await source.write_many(100)
    view = await opened(source)
    view.search("needle")
    await settle(view)
    assert view.find is not None
    assert view.find.count == 0
    assert view.follow
    await source.write(line("a needle"))
    await view.refresh()
    await settle(view)
    assert view.find.count == 1
    assert bodies(view)[-1] == "a needle"


async def test_a_match_to_the_right_of_the_screen_is_brought_into_sight(source: Logged) -> None:
    await source.write(line("x" * 900 + "needle" + "y" * 900))
    view = await opened(source)
    view.search("needle")
    await settle(view)
    assert "needle" in bodies(view)[0]
    assert view.left > 800
    view.search("")
    view.sideways(-10_000)
    assert view.left == 0


@pytest.mark.parametrize("room", range(3))
async def test_a_match_is_not_hidden_behind_the_sign_that_the_line_goes_on(source: Logged, room: int) -> None:
    await source.write(line("x" * (65 - len("needle") - room) + "needle" + "y" * 900))
    view = await opened(source)
    view.search("needle")
    await settle(view)
    assert "needle" in bodies(view)[0]
    assert (view.left == 0) == (room > 0)


def test_a_log_is_looked_at_until_nothing_has_come_for_a_while_after_the_end_of_its_run() -> None:
    ending = Ending()
    assert not any(ending.has_come(over=None, lines=2) for _ in range(3 * LOOKS))
    assert not any(ending.has_come(over=1.0, lines=2) for _ in range(LOOKS))
    assert not any(ending.has_come(over=8.0, lines=300) for _ in range(LOOKS + 1)), "more has come"
    assert all(ending.has_come(over=20.0, lines=300) for _ in range(3))
    assert not ending.has_come(over=20.0, lines=301)


def test_a_log_of_a_run_that_has_been_over_for_long_is_looked_at_once() -> None:
    ending = Ending()
    assert [ending.has_come(over=LONG_OVER + 1, lines=7) for _ in range(3)] == [False, True, True]


async def test_a_regular_expression_that_is_no_good_is_said_so_at_once(source: Logged) -> None:
    view = await opened(source)
    with pytest.raises(InvalidInput):
        view.search("(a+)+", regex=True)
    assert view.find is None


# ---------------------------------------------------------------- filtering


def some_lines(seed: int, count: int = 400) -> list[LogLine]:
    """Lines of several steps and levels, in an order that is that of none."""
    chance = random.Random(seed)
    return [
        line(
            f"{chance.choice(('GET', 'PUT'))} item {n}",
            level=chance.choice(LEVELS),
            path=chance.choice(("a", "b[0].c", "b[1].c")),
            at=NOW + n + chance.random() * 5,
        )
        for n in range(count)
    ]


async def write_in_batches(source: Logged, lines: list[LogLine], seed: int) -> list[LogLine]:
    """The lines as they were stored."""
    chance = random.Random(seed)
    at = 0
    while at < len(lines):
        size = chance.randint(1, 40)
        await source.write(*lines[at : at + size])
        at += size
    stored, _ = await source.store.logs.read(RUN, limit=100_000)
    return stored


@pytest.mark.parametrize("seed", range(6))
async def test_what_is_shown_is_what_was_asked_for(source: Logged, seed: int) -> None:
    stored = await write_in_batches(source, some_lines(seed), seed)
    chance = random.Random(seed)
    view = await opened(source, height=chance.randint(3, 60))
    chosen: frozenset[Level] = frozenset()
    only = False
    for _ in range(12):
        match chance.randrange(4):
            case 0:
                chosen = frozenset(chance.sample(LEVELS, chance.randint(0, 4)))
                view.show_levels(chosen)
            case 1:
                only = not only
                view.search("put")
                view.show_only_matches(only)
            case 2:
                view.move(chance.randint(-200, 200))
            case _:
                await source.write(line("PUT last", level=chance.choice(LEVELS), at=NOW + 1000))
                stored, _ = await source.store.logs.read(RUN, limit=100_000)
                await view.refresh()
        await settle(view)
        expected = [
            each.text
            for each in stored
            if (not chosen or each.level in chosen) and (not only or view.find is None or "PUT" in each.text)
        ]
        assert view.count == len(expected)
        assert view.progress == 1.0
        top = view.top
        assert bodies(view) == expected[top : top + len(bodies(view))]
    assert await all_texts(view) == expected


async def test_a_filter_keeps_the_place(source: Logged) -> None:
    await source.write_many(300, level="debug")
    await source.write(line("here", level="error"))
    await source.write_many(300, level="debug")
    view = await opened(source)
    view.go_to(295)
    await settle(view)
    view.show_levels({"error"})
    await settle(view)
    assert (bodies(view), view.follow) == (["here"], False)
    view.show_levels(())
    await settle(view)
    assert "here" in bodies(view)


async def test_while_a_filter_is_being_worked_out_the_end_is_there_first(source: Logged) -> None:
    await source.write_many(2000, level="error")
    view = await opened(source)
    view.show_levels({"error"})
    assert (view.count, view.progress) == (0, 0.0)
    assert await view.work()
    assert 0 < view.progress < 1
    await view.load()
    assert bodies(view)[-1] == "line 1999"


async def test_matches_in_lines_that_are_not_shown_are_passed_by(source: Logged) -> None:
    for n in range(50):
        await source.write(line(f"needle {n}", level="error" if n % 10 == 0 else "info"))
    view = await opened(source)
    view.show_levels({"error"})
    view.search("needle")
    await settle(view)
    assert await found(view, 5, -1) == ["needle 30", "needle 20", "needle 10", "needle 0", "needle 40"]
    view.show_levels({"warning"})
    view.go_to_match(1)
    await settle(view)
    assert view.rows() == []


async def test_ranges_count_back_from_the_last_line(source: Logged) -> None:
    await source.write_many(1000, each=7)
    view = await opened(source)
    await view.show_range(2)
    await settle(view)
    assert (view.count, view.follow) == (61, True)
    assert (await all_texts(view))[0] == "line 939"
    await view.show_range(1)
    await settle(view)
    assert (view.count, view.follow, bodies(view)[0]) == (1000, False, "line 0")
    await view.show_range(3)
    assert view.count == 301
    view.show_levels({"info"})
    await settle(view)
    assert view.count == 301
    await view.show_range(0)
    await settle(view)
    assert (view.count, view.follow) == (1000, True)


async def test_going_to_a_time(source: Logged) -> None:
    await source.write_many(1000, each=7)
    view = await opened(source)
    for text, expected in (("08:05", 300), ("08:05:11", 311), ("1m", 939), ("2027-01-15T08:10", 600), ("23:00", 999)):
        await view.go_to_time(text)
        await settle(view)
        assert f"line {expected}" in bodies(view), text
        assert view.top == min(expected, 990)
    with pytest.raises(InvalidInput):
        await view.go_to_time("noon")
