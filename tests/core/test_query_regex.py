"""Which regular expressions a filter admits, and that those are quick and mean what Python says."""

from __future__ import annotations

import re
import time
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetprompt.engine.core import query_regex

REFUSED = [
    r"(a*)*", r"(a|b)+", r"(a?){20}", r"((a{2}){3})", r".*.*.*", r"\d+ \d+ \d+", r"a{101}", r"a{99999999999}",
    r"(a)\1", r"(?=a)", r"(?i)a", r"(?P<n>a)", "[[a]", "[a--b]", "[a&&b]", "a)", "(", "[", "[]", "a**", "*", "\\",
    "a" * 201, "(" * 90 + ")" * 90, "a?" * 30, "(a|b)" * 30, "a{3,2}", "(?",
]  # fmt: skip


@pytest.mark.parametrize("pattern", REFUSED)
def test_a_costly_or_malformed_expression_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        query_regex.check(pattern)


ADMITTED = [
    r"a+", r"^rate .* of \d+$", r"(abc)+", r"(a|b)?", r"(?:a|b){3}", r"[]a^-]+", r"[^\]x]", "a{,3}", "x{}", "a{b",
    r"\d{1,5}-\d{1,5}", "a|b|c|d", r"\.", "a++", "a*?",
]  # fmt: skip


@pytest.mark.parametrize("pattern", ADMITTED)
def test_an_ordinary_expression_is_admitted(pattern: str) -> None:
    query_regex.check(pattern)


@given(st.text(alphabet=r"ab.*+?{}()[]|\^$,12-/", max_size=30), st.text(alphabet="ab1-", max_size=60))
@settings(max_examples=300, deadline=None)
def test_an_admitted_expression_means_what_python_says_and_is_quick(pattern: str, text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            query_regex.check(pattern)
        except ValueError:
            return
        begun = time.perf_counter()
        found = query_regex.found(pattern, text)
        assert time.perf_counter() - begun < 2
        assert found == (bool(text) and re.search(pattern, text, re.IGNORECASE) is not None)
