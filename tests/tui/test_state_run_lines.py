"""The lists of the Run screen: what stands in their cells."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_kit import GOLDEN, START, Telling, act, fan, golden, iterate, loop, telling
from run_project import Project

from fleetprompt.client.definitions import step_lines
from fleetprompt.engine.core.facts import Blob, StepExpanded, StepWaiting
from fleetprompt.engine.core.plan import Retry
from fleetprompt.tui.state.lines import Cell
from fleetprompt.tui.state.run import RunView
from fleetprompt.tui.state.run_lines import FactLines, TreeLines, axis
from fleetprompt.tui.state.run_text import SourceLines, ValueLines, yaml_parts
from fleetprompt.tui.state.run_values import Held
from fleetprompt.tui.state.source import SourceText
from fleetprompt.tui.state.timeline import TimeScale


def plain(cell: Cell) -> str:
    parts = (cell,) if isinstance(cell[0], str) else cell
    return "".join(text for text, _ in parts)  # type: ignore[misc]


def lines_of(run: Telling) -> TreeLines:
    view = RunView.__new__(RunView)
    view.fold, view.tree = run.fold, run.tree
    return TreeLines(view, lambda: run.now)


def texts(lines: TreeLines | FactLines | ValueLines | SourceLines) -> list[list[str]]:
    return [[plain(cell) for cell in lines.cells(index) or ()] for index in range(lines.count)]


# ---------------------------------------------------------------- the tree


def test_a_row_has_its_name_its_duration_and_why_it_is_as_it_is() -> None:
    run = telling(act("a\x1b"), loop("l", act("x")))
    run.start("a\x1b")
    run.now += 75
    run.fail("a\x1b")
    assert texts(lines_of(run)) == [["  ✗ a\\x1b", "1m15s", "TOOL_ERROR: boom"], ["  ○ l", "", ""]]


def test_what_a_run_pays_has_columns_as_soon_as_it_pays() -> None:
    run = telling(act("a"))
    run.start("a")
    lines = lines_of(run)
    assert [column.title for column in lines.columns] == ["STEP", "TOOK", ""]
    run.ok("a", usage={"cost_nano": 1_500_000_000, "tokens": 12_345})
    assert [column.title for column in lines.columns] == ["STEP", "TOOK", "COST", "TOK", ""]
    assert texts(lines)[0][2:4] == ["$1.50", "12.3k"]


def test_a_timeline_shows_attempts_and_waits_and_squeezes_what_is_idle() -> None:
    run = telling(act("a", retry=Retry(3)), act("b"))
    run.start("a")
    run.now += 30
    run.fail("a", retry_at=run.now + 7_200)
    run.now += 7_200
    run.start("a", attempt=2)
    run.now += 30
    run.ok("a", attempt=2)
    run.start("b")
    run.now += 60
    lines = lines_of(run)
    lines.timeline, lines.room = True, 43
    first, second = (row[-1] for row in texts(lines))
    assert re.fullmatch("━{10,11}┄┄┄━{9,10} +", first)
    assert re.fullmatch(" {11,12}┊ +━{19,20}", second)
    assert len(first) == len(second) == 43
    assert lines.columns[-1].title.split() == ["0", "2h00m", "2h02m"]


def test_every_row_of_a_timeline_is_as_wide_as_its_column() -> None:
    run = telling(fan("p", x=(act("a"),), y=(act("b"),)), act("c"))
    run.start("p")
    run.say(StepExpanded(at=START, path="p", branches=("x", "y")))
    run.start("p.a", "p.b")
    run.now += 3
    run.ok("p.a")
    lines = lines_of(run)
    lines.timeline = True
    for width in range(1, 60):
        lines.room = width
        assert {len(row[-1]) for row in texts(lines)} == {width}
        assert len(axis(lines.scale())) == width


@given(st.integers(1, 100), st.floats(0, 1e7), st.floats(0, 1e7))
def test_an_axis_is_as_wide_as_its_scale(width: int, busy: float, idle: float) -> None:
    scale = TimeScale([(0.0, busy), (busy + idle + 1, busy + idle + 2)], width, 0.0, busy + 2 * idle + 3)
    assert len(axis(scale)) == width


def test_only_rows_that_go_on_change_with_every_second() -> None:
    run = telling(act("a"), act("b"), act("c"))
    run.start("a")
    run.ok("a")
    run.start("b")
    lines = lines_of(run)
    assert lines.moving(0, 3) == [1]
    lines.timeline = True
    assert lines.moving(0, 3) == [0, 1, 2]


def test_a_row_is_found_where_it_is_or_in_what_it_is_in() -> None:
    run = telling(loop("l", act("x"), concurrency=60), act("z"))
    run.expand("l", 60)
    lines = lines_of(run)
    run.tree.toggle("l")
    assert lines.find("l[59].x") == 60
    run.tree.toggle("l")
    assert (lines.find("l[59].x"), lines.find("z"), lines.find("nothing")) == (0, 1, None)
    assert (lines.key(1), lines.key(2)) == ("z", None)


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_every_step_of_a_run_can_be_gone_to_by_its_path(file: Path) -> None:
    plan, facts = golden(file)
    for path in Telling(plan, begin=False).fold.run.steps:
        raise AssertionError(path)
    whole = Telling(plan, begin=False)
    whole.say(*facts)
    for path in whole.fold.run.steps:
        run = Telling(plan, begin=False)
        run.say(*facts)
        assert run.tree.reveal_path(path), path
        assert (run.tree.cursor, run.tree.current and run.tree.current.key) == (path, path)
    assert not whole.tree.reveal_path("nothing")


def test_a_step_far_down_in_a_big_loop_can_be_gone_to() -> None:
    run = telling(loop("l", act("x"), act("y"), concurrency=3_000))
    run.expand("l", 3_000)
    iterate(run, "l", "x", range(10), failed={3})
    assert run.tree.reveal_path("l[2500].y")
    assert run.tree.cursor == "l[2500].y"


# ---------------------------------------------------------------- facts


def test_facts_are_listed_with_the_words_that_are_looked_for() -> None:
    run = telling(act("a"), act("b"))
    run.start("a")
    run.say(StepWaiting(at=run.now, path="b", on="signal", ref="go\x07"))
    lines = FactLines(run.fold.facts, lambda at: f"+{at - START:.0f}")
    assert texts(lines)[2:] == [
        ["3", "+0", "StepStarted", "a", "started"],
        ["4", "+0", "StepWaiting", "b", "waits for signal go\\x07"],
    ]
    lines.words = "step"
    assert (lines.count, lines.key(0), lines.find(3), lines.find(0), lines.find(99)) == (2, 2, 1, None, None)


# ---------------------------------------------------------------- texts


def test_values_stand_below_their_names_and_large_ones_wait_to_be_loaded() -> None:
    lines = ValueLines([Held("input", {"a": 1}), Held("output", None, Blob("d", 2_000_000)), Held("said", "x\ny")])
    assert [row[0] for row in texts(lines)] == [
        "input",
        "  {",
        '    "a": 1',
        "  }",
        "",
        "output  1.9 MiB, kept apart: enter loads it",
        "",
        "",
        "said",
        "  x",
        "  y",
    ]
    assert (lines.at(5), lines.is_loaded(1), lines.is_loaded(0)) == (1, False, True)
    lines.set(1, [1])
    assert [row[0] for row in texts(lines)][5:9] == ["output", "  [", "    1", "  ]"]
    assert lines.is_loaded(1)


def test_a_text_is_found_in_every_value_from_the_cursor_on_and_round() -> None:
    lines = ValueLines([Held("a", ["needle"]), Held("b", None, Blob("d", 1)), Held("c", ["x", "Needle"])])
    first, second = 2, 11
    assert plain((lines.cells(second) or [("", "")])[0]).strip() == '"Needle"'
    assert lines.search("needle", 0) == first
    assert lines.search("needle", first + 1) == second
    assert lines.search("needle", second + 1) == first
    assert lines.search("nothing", 0) is None
    assert ValueLines([]).search("x", 0) is None


def test_one_may_look_further_to_the_right() -> None:
    lines = ValueLines([Held("a", {"key": "value"})])
    lines.left = 5
    assert [row[0] for row in texts(lines)] == ["", "", 'key": "value"', ""]


def test_values_are_told_from_others() -> None:
    held = Held("a", {"x": 1})
    lines = ValueLines([held], of="k")
    assert lines.same("k", [Held("a", {"x": 1})])
    assert not lines.same("other", [held])
    assert not lines.same("k", [held, held])
    assert not lines.same("k", [Held("a", {"x": 2})])


def test_the_lines_of_a_step_are_marked_in_the_source() -> None:
    text = "name: t\nsteps:\n  - {id: a, type: transform, output: 1}\n  - {id: b, type: transform, output: 2}\n"
    lines = SourceLines(SourceText(text, step_lines(text)))
    lines.marked = lines.source.lines_of("a")
    assert [row[0][:3] for row in texts(lines)] == [" 1 ", " 2 ", "▌3 ", " 4 "]
    assert (lines.search("ID: B", 0), lines.search("name", 2), lines.search("zzz", 0)) == (3, 0, None)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=60))
def test_the_styles_of_a_line_of_yaml_leave_out_nothing(line: str) -> None:
    assert "".join(text for text, _ in yaml_parts(line)) == line


def test_a_line_of_yaml_says_what_is_what() -> None:
    parts = yaml_parts('  - {id: a, n: 12, on: true, s: "x # y", e: ${{ a.b }}}  # why')
    kinds = {text: kind for text, kind in parts if kind not in ("", "punctuation")}
    assert kinds == {
        "id": "key",
        "n": "key",
        "12": "number",
        "on": "key",
        "true": "literal",
        "s": "key",
        '"x # y"': "string",
        "e": "key",
        "${{ a.b }}": "accent",
        "# why": "comment",
    }


async def test_a_child_run_has_rows_of_its_own(tmp_path: Path) -> None:
    project = await Project.open(tmp_path)
    run = await project.start("child")
    view = await RunView.load(project.console, run)
    while not view.run.steps["deeper"].on:
        await view.catch_up()
    view.toggle()
    await view.catch_up()
    lines = TreeLines(view, lambda: START)
    assert plain((lines.cells(1) or [])[0]).split()[-1] in ("w", view.runs[1][-8:])
    await project.console.close()
