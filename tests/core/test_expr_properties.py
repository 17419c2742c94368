"""Whatever the expression and the data: a value, an ExpressionError or a NeedsValue, and the data untouched."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetprompt.engine.core import expr
from fleetprompt.engine.core.expr import ExpressionError, NeedsValue, NotLoaded, compile_expression, truthy
from fleetprompt.engine.core.template import compile_template, compile_value

NAMES = ["a", "b", "steps", "item"]

texts = st.one_of(
    st.text(max_size=8), st.sampled_from(["${{ secrets.X }}", "${{ a }}", "a.b", "12", "true", "[1]", "b"])
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | texts, inner, max_size=4),
    max_leaves=8,
)
scopes = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, values | st.just(NotLoaded("d", 9))))

FILTERS = st.sampled_from(
    [name for name in expr.filters_reference() if name not in ("map", "select", "reject", "selectattr", "rejectattr")]
)
TESTS = st.sampled_from(list(expr.tests_reference()))
OPERATORS = [
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "**",
    "~",
    "==",
    "!=",
    "<",
    ">=",
    "in",
    "not in",
    "and",
    "or",
    "|default",
    ".a +",
]


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def form(pattern: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.tuples(*parts).map(lambda given: pattern.format(*given))

    return st.one_of(
        form("({0}) {1} ({2})", inner, st.sampled_from(OPERATORS), inner),
        form("({0}).{1}", inner, st.sampled_from(NAMES)),
        form("({0})[{1}]", inner, inner),
        form("({0})[{1}:{2}]", inner, inner, inner),
        form("({0}) | {1}", inner, FILTERS),
        form("({0}) | {1}({2})", inner, FILTERS, inner),
        form("({0}) | default({1})", inner, inner),
        form("({0}) | map('{1}')", inner, FILTERS),
        form("({0}) | map(attribute={1}, default={2})", inner, inner, inner),
        form("({0}) | {1}('{2}', {3})", inner, st.sampled_from(["select", "reject"]), TESTS, inner),
        form("({0}) | {1}({2}, '{3}')", inner, st.sampled_from(["selectattr", "rejectattr"]), inner, TESTS),
        form("({0}) is {1}", inner, TESTS),
        form("({0}) is not {1}({2})", inner, TESTS, inner),
        form("[{0}, {1}]", inner, inner),
        form("{{{0}: {1}, 'a': 1}}", inner, inner),
        form("({0} if {1} else {2})", inner, inner, inner),
        form("not {0}", inner),
        form("-{0}", inner),
    )


leaves = st.one_of(
    st.sampled_from(
        [
            *NAMES,
            "a.b",
            "a[0]",
            "b['a']",
            "nope",
            "none",
            "true",
            "0",
            "1",
            "-1",
            "2.5",
            "'a'",
            "''",
            "[]",
            "{}",
            "1e300",
        ]
    ),
    st.integers(0, 10**6).map(str),
)
expressions = st.recursive(leaves, _grow, max_leaves=8)
noise = st.text("ab.[](){}'\"|,:=<>!+-*/%~ \n0123456789_isnotdefault$#\\", max_size=40)


def outcome(call: Callable[[], Any]) -> Any:
    """What came of it; anything else that is raised fails the test."""
    try:
        return call()
    except (ExpressionError, NeedsValue) as error:
        return error


@settings(max_examples=600, deadline=None)
@given(expressions, scopes)
def test_an_expression_yields_json_or_says_why_not(source: str, scope: dict[str, Any]) -> None:
    before = copy.deepcopy(scope)
    result = outcome(lambda: compile_expression(source).evaluate(scope))
    again = outcome(lambda: compile_expression(source).evaluate(scope))
    if isinstance(result, ExpressionError):
        assert result.message == again.message != ""
        assert 0 <= result.offset <= result.offset + result.length <= len(source)
    elif isinstance(result, NeedsValue):
        assert result.digest == "d"
    else:
        assert result == again
        truthy(result)
        msgspec.json.encode(result)
        assert compile_expression(source).names <= {*NAMES, "nope"}
    assert scope == before


@settings(max_examples=400, deadline=None)
@given(noise)
def test_noise_is_an_expression_or_an_error_in_place(source: str) -> None:
    for text, compiled in (
        (source, outcome(lambda: compile_expression(source))),
        (source, outcome(lambda: compile_template(source))),
        (f"${{{{{source}}}}}", outcome(lambda: compile_template(f"${{{{{source}}}}}"))),
    ):
        if isinstance(compiled, ExpressionError):
            assert 0 <= compiled.offset <= compiled.offset + compiled.length <= len(text)


@settings(max_examples=200, deadline=None)
@given(values, scopes)
def test_without_an_expression_a_value_is_itself(value: Any, scope: dict[str, Any]) -> None:
    if "${{" in str(value):
        return
    compiled = compile_value(value)
    assert compiled.constant
    assert compiled.render(scope).value is value
    assert not compiled.render(scope).secrets


@settings(max_examples=200, deadline=None)
@given(values)
def test_data_is_never_parsed(data: Any) -> None:
    scope = {"data": data, "text": "${{ secrets.X }}"}
    rendered = compile_value({"x": "${{ data }}", "y": ["-${{ text }}-", "${{ data | tojson }}"]}).render(scope)
    assert rendered.value["x"] == data
    assert rendered.value["y"][0] == "-${{ secrets.X }}-"
    assert msgspec.json.decode(rendered.value["y"][1]) == data
    assert rendered.secrets == {}


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_text_around_an_expression_stays(before: str, after: str) -> None:
    if "$" in before or "${{" in after:
        return
    template = compile_template(before + "${{ x }}" + after)
    assert not isinstance(template, str)
    expected = before + "1" + after if before or after else 1
    assert template.render({"x": 1}).value == expected
