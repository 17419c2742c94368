"""Problems: what is shown, what is hidden, and in which order."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.definition.problems import (
    EXCERPT,
    PAGE_WIDTH,
    InvalidWorkflow,
    Problem,
    ProblemCode,
    as_json,
    json_pointer,
    ordered,
    render,
)
from fleetprompt.engine.definition.source import Source
from fleetprompt.engine.definition.syntax import explain_syntax

TEXT = "name: x\nsteps:\n  - id: clustr\n    type: shell\n"


def at(text: str, part: str, message: str = "wrong", hint: str = "", file: str = "flow.yaml") -> Problem:
    start = text.index(part)
    return Source(text, file).problem(start, start + len(part), ProblemCode.UNKNOWN_NEED, message, hint)


def cells(text: str) -> int:
    return sum(
        0 if unicodedata.category(c) in {"Mn", "Me"} else 2 if unicodedata.east_asian_width(c) in {"W", "F"} else 1
        for c in text
    )


def marked(problem: Problem) -> str:
    """What the caret line of a rendering stands under."""
    _, source, caret = render(problem).split("\n")[:3]
    first, last = caret.index("^"), len(caret)
    shown, position = "", 0
    for character in source:
        if first <= position < last:
            shown += character
        position += cells(character)
    return shown


def test_a_problem_is_rendered_with_place_caret_and_hint() -> None:
    problem = at(TEXT, "clustr", "no step `clustr`", did_you_mean("clustr", ["cluster", "git"]))
    assert render(problem) == (
        "flow.yaml:3:9: unknown-need no step `clustr`\n"
        "    |   - id: clustr\n"
        "    |         ^^^^^^\n"
        "    = hint: did you mean `cluster`?"
    )


def test_colour_adds_nothing_but_colour() -> None:
    problem = at(TEXT, "clustr", "no step", "a hint")
    assert re.sub(r"\x1b\[[0-9;]*m", "", render(problem, color=True)) == render(problem)
    assert render(problem, color=True) != render(problem)


def test_a_problem_without_a_place_is_one_line() -> None:
    assert (
        render(Problem(ProblemCode.MISSING_FILE, "no such file", file="a.yaml")) == "a.yaml: missing-file no such file"
    )
    assert render(Problem(ProblemCode.CYCLE, "a waits for b", severity="warning")) == "cycle a waits for b (warning)"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("漢字: 値 bad", "bad"),
        ("e\u0301a\u0301: bad", "bad"),
        ("\tkey:\tbad", "bad"),
        ("\x1b[31mred\x1b[0m: bad", "bad"),
        ("\u202etxt\u2066: bad", "bad"),
        ("👩\u200d🚀 ✈\ufe0f: bad", "bad"),
        ("x: 漢字", "漢字"),
        ("x: " + "y" * 300 + "bad" + "z" * 300, "bad"),
        ("漢" * 200 + "bad" + "字" * 200, "bad"),
        ("x" * 5000 + "bad" + "y" * 5000, "bad"),
        ("x" * 5000 + "bad", "bad"),
    ],
)
def test_the_caret_is_under_the_fault(text: str, part: str) -> None:
    problem = at(text, part)
    assert marked(problem) == part
    assert all(cells(line) <= PAGE_WIDTH for line in render(problem).split("\n"))
    assert len(problem.source_line) <= EXCERPT


@given(st.text(), st.integers(0, 50), st.integers(0, 50), st.text(), st.text())
@settings(max_examples=150)
def test_nothing_rendered_can_steer_a_terminal(text: str, start: int, length: int, message: str, file: str) -> None:
    problem = Source(text, file).problem(start, start + length, ProblemCode.BAD_VALUE, message, message)
    for line in render(problem).split("\n"):
        assert not {unicodedata.category(c) for c in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert inert(message) == inert(inert(message))


def test_control_characters_are_shown_as_escapes() -> None:
    assert inert("a\x1b[2J\u202e\x00\U000e0001b") == r"a\x1b[2J\u202e\x00\U000e0001b"


def test_lines_are_counted_for_all_line_ends() -> None:
    source = Source("a\r\nb\rc\nd", "f")
    assert [source.position(source.text.index(c)) for c in "abcd"] == [(1, 1), (2, 1), (3, 1), (4, 1)]
    assert source.problem(3, 99, ProblemCode.BAD_VALUE, "").source_line == "b"


def test_problems_are_ordered_and_said_once() -> None:
    late, early = at(TEXT, "type"), at(TEXT, "name")
    other = at(TEXT, "type", file="a.yaml")
    assert ordered([late, early, other, late]) == (other, early, late)


def test_the_error_tells_the_first_problem_and_carries_all() -> None:
    warning = Problem(ProblemCode.UNREACHABLE, "never runs", severity="warning", file="a.yaml", line=1, column=1)
    error = InvalidWorkflow([at(TEXT, "type", "late"), at(TEXT, "name", "first", "a hint"), warning])
    assert isinstance(error, FleetError)
    assert (error.code, error.message, error.where) == (
        "VALIDATION_ERROR",
        "first (and 1 more problem)",
        "flow.yaml:1:1",
    )
    assert error.hint == "a hint"
    assert len(error.problems) == 3
    assert InvalidWorkflow([]).message == "The workflow file cannot be used."


def test_json_has_the_pointer_and_the_raw_text() -> None:
    problem = Source("a/b: \x1b", "f").problem(0, 3, ProblemCode.BAD_ID, "a\x1b", pointer=("a/b", 0, "~"))
    assert as_json(problem) == {
        "code": "bad-id",
        "severity": "error",
        "message": "a\x1b",
        "hint": "",
        "file": "f",
        "line": 1,
        "column": 1,
        "end_column": 4,
        "pointer": "/a~1b/0/~0",
    }
    assert json_pointer(()) == ""


@pytest.mark.parametrize(
    ("word", "candidates", "said"),
    [
        ("clustr", ["cluster", "git"], "did you mean `cluster`?"),
        ("fi", ["if", "id", "for"], "did you mean `if`?"),
        ("max-attempts", ["max_attempts", "backoff"], "did you mean `max_attempts`?"),
        ("Prompt", ["prompt"], "did you mean `prompt`?"),
        ("tim", ["time", "tint", "timeout"], "did you mean `time`?"),
        ("step_4", ["step_1", "step_2", "step_3", "zebra"], "did you mean `step_1`, `step_2` or `step_3`?"),
        ("zebra", ["if", "needs"], ""),
        ("", ["if"], ""),
        ("x" * 101, ["x" * 100], ""),
        ("same", ["same"], ""),
    ],
)
def test_did_you_mean(word: str, candidates: list[str], said: str) -> None:
    assert did_you_mean(word, candidates) == said


def test_every_code_is_documented_and_stable() -> None:
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code) and code.doc.endswith(".") for code in ProblemCode)
    assert ProblemCode("cycle") is ProblemCode.CYCLE


def test_unknown_words_of_the_parser_are_passed_on() -> None:
    assert explain_syntax("something new", "a: b", 0) == ("something new", "")
