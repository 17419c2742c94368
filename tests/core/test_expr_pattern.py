"""Patterns agree with Python's `re` wherever both answer, and answer in linear time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetprompt.engine.core.expr_pattern import compile_pattern, whole_problem
from fleetprompt.engine.core.expr_values import Meter, Refusal
from fleetprompt.engine.core.gate import form_problem
from fleetprompt.engine.core.inputs import value_problem
from fleetprompt.engine.core.plan import Input

ATOMS = ["a", "b", "A", "é", ".", r"\w", r"\W", r"\s", r"\d", "[ab]", "[^a]", "[a-c_]", r"\n", "_", "(?i:a)", "(?-i:b)"]
ANCHORS = ["^", "$", r"\b", r"\B", r"\A", r"\Z"]
REPEATS = ["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?", "+?", "??"]


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("({0[0]}|{0[1]})".format),
        inner.map("({}|)".format),
        inner.map("(?P<n>{})".format),
        st.tuples(inner, st.sampled_from(REPEATS)).map("(?:{0[0]}){0[1]}".format),
        st.tuples(st.sampled_from(ANCHORS), inner).map("".join),
        st.tuples(inner, st.sampled_from(ANCHORS)).map("".join),
    )


patterns = st.tuples(
    st.sampled_from(["", "(?i)", "(?m)", "(?s)", "(?a)", "(?im)"]),
    st.recursive(st.sampled_from(ATOMS), _grow, max_leaves=6),
).map("".join)
subjects = st.text("abcAB é_\n1", min_size=1, max_size=10)


@settings(max_examples=400, deadline=None)
@given(patterns, subjects)
def test_finds_what_re_finds(pattern: str, subject: str) -> None:
    try:
        expected = re.search(pattern, subject) is not None
    except re.error:
        with pytest.raises(Refusal):
            compile_pattern(pattern)
        return
    assert compile_pattern(pattern).search(subject, Meter()) is expected
    whole = re.fullmatch(pattern, subject) is not None
    assert (whole_problem(pattern, subject) == "") is whole


@pytest.mark.parametrize("text", ["a" * 5_000 + "!", "a" * 60_000, "a" * 70_000])
def test_what_people_enter_cannot_hang_the_engine(text: str) -> None:
    """Where `re` would still be searching when the sun has burnt out."""
    spec = Input(type="string", pattern="(a+)+b?$")
    fits = len(text) == 60_000
    assert (value_problem(spec, text) == "") is fits
    assert (form_problem({"f": {"type": "string", "pattern": spec.pattern}}, {"f": text}) == "") is fits


@pytest.mark.parametrize(
    ("pattern", "subject", "found"),
    [
        ("", "", True),
        ("^$", "", True),
        ("a{0}", "", True),
        ("^v\\d+\\.\\d+$", "v1.25", True),
        ("^v\\d+\\.\\d+$", "v1.25-rc", False),
        ("(?i)ERROR", "an error", True),
        ("(?x) a b  # spaced", "ab", True),
        ("a$", "a\n", True),
        ("a\\Z", "a\n", False),
        ("^b", "a\nb", False),
        ("(?m)^b$", "a\nb\nc", True),
        ("a.b", "a\nb", False),
        ("(?s)a.b", "a\nb", True),
        ("[[:alpha:]]", "x", None),
        ("(a)\\1", "aa", None),
        ("(?=a)", "a", None),
        ("(?<!a)b", "b", None),
        ("(?>a)b", "ab", None),
        ("a++", "a", None),
        ("(?(1)a|b)", "b", None),
        ("(", "", None),
        ("a{1000}{1000}", "", None),
        ("((((){999}){999}){999})", "", None),
        ("(" * 300, "", None),
        ("a" * 501, "", None),
        ("a{99999999999999999999}", "", None),
    ],
)
def test_patterns(pattern: str, subject: str, found: bool | None) -> None:
    if found is None:
        with pytest.raises(Refusal):
            compile_pattern(pattern)
    else:
        assert compile_pattern(pattern).search(subject, Meter()) is found


def test_a_long_text_is_refused() -> None:
    with pytest.raises(Refusal, match="at most 65,536 characters"):
        compile_pattern("a").search("a" * 65_537, Meter())


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)*b", ".*.*.*.*x", "(a|c)*a(a|c){300}b", "a?" * 100 + "a{100}x"])
def test_steps_are_paid_for_and_few(pattern: str) -> None:
    started = time.process_time()
    meter = Meter()
    try:
        assert not compile_pattern(pattern).search("ac" * 20_000 + "a" * 20_000 + "!", meter)
    except Refusal:
        assert meter.left < 0
    assert time.process_time() - started < 10, "seconds of the processor; unbounded, it would be hours"
