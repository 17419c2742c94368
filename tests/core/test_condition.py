"""Conditions: the bare and the structured form, and what a missing field means."""

from __future__ import annotations

from typing import Any

import pytest

from fleetprompt.engine.core.condition import compile_condition
from fleetprompt.engine.core.expr import ExpressionError, NeedsValue, NotLoaded

SCOPE: dict[str, Any] = {
    "steps": {"a": {"output": {"n": 3, "s": "v1.2", "l": ["x", {"y": 1}], "none": None, "m": {"k": 1}}}},
    "inputs": {"limit": 2, "env": "prod"},
    "big": NotLoaded("d", 9),
}


def holds(condition: Any) -> bool:
    return compile_condition(condition).evaluate(SCOPE)


def term(field: str, operator: str, *value: Any) -> dict[str, Any]:
    return {"field": f"steps.a.output.{field}", "operator": operator, **({"value": value[0]} if value else {})}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (True, True),
        (False, False),
        ("inputs.env == 'prod'", True),
        ("steps.a.output.none", False),
        ("steps.a.output.l", True),
        (term("n", "eq", 3), True),
        (term("n", "eq", 3.0), True),
        (term("n", "eq", "3"), False),
        (term("n", "ne", 4), True),
        (term("n", "gt", 2), True),
        (term("n", "lt", 3), False),
        (term("n", "gte", 3), True),
        (term("n", "lte", 2), False),
        (term("n", "gt", "${{ inputs.limit }}"), True),
        (term("n", "in", [1, "${{ inputs.limit + 1 }}"]), True),
        (term("s", "in", "v1.2.3"), True),
        (term("l", "contains", {"y": 1}), True),
        (term("l[1].y", "eq", 1), True),
        (term("s", "contains", "1."), True),
        (term("m", "contains", "k"), True),
        (term("l", "not_contains", "z"), True),
        (term("l", "not_contains", "x"), False),
        (term("s", "matches", r"^v\d+\.\d+$"), True),
        (term("s", "matches", "${{ inputs.env }}"), False),
        (term("n", "exists"), True),
        (term("none", "exists"), False),
        (term("nope", "exists"), False),
        (term("n.x.y", "exists"), False),
        (term("none", "eq", None), True),
        (term("none", "ne", None), False),
        ({"field": "nope", "operator": "exists"}, False),
        ({"field": "big", "operator": "exists"}, True),
        ({"all": [term("n", "eq", 3), "inputs.env == 'prod'", True]}, True),
        ({"all": [term("n", "eq", 3), False]}, False),
        ({"any": [term("n", "eq", 4), term("n", "eq", 3)]}, True),
        ({"any": []}, False),
        ({"all": []}, True),
        ({"not": term("n", "eq", 3)}, False),
        ({"not": {"any": [False, {"all": [True, {"not": True}]}]}}, True),
        ({"any": [True, term("n", "gt", "text")]}, True),
    ],
)
def test_conditions(condition: Any, expected: bool) -> None:
    assert holds(condition) is expected


@pytest.mark.parametrize(
    "operator", ["eq", "ne", "gt", "lt", "gte", "lte", "contains", "not_contains", "in", "matches"]
)
@pytest.mark.parametrize("field", ["nope", "n.deeper", "l[9]"])
def test_a_missing_field_is_unlike_everything(operator: str, field: str) -> None:
    value: Any = [1] if operator == "in" else "a"
    assert holds(term(field, operator, value)) is (operator in ("ne", "not_contains"))


@pytest.mark.parametrize(
    ("condition", "where", "expected"),
    [
        (None, "", "an expression, a boolean or a mapping"),
        ([], "", "an expression, a boolean or a mapping"),
        ({}, "/operator", "an operator is needed"),
        ("${{ inputs.env }}", "", "without ${{ }}"),
        ("secrets.X == 'a'", "", "a secret is a reference"),
        ({"all": "x"}, "/all", "a list of conditions"),
        ({"all": [], "any": []}, "", "stands alone"),
        ({"any": [{"not": term("n", "equals", 3)}]}, "/any/0/not/operator", "there is no operator 'equals'"),
        ({"all": [True, {"field": "a b", "operator": "exists"}]}, "/all/1/field", "unexpected 'b'"),
        ({"field": "a | upper", "operator": "exists"}, "/field", "a name and its members"),
        ({"field": "a[b]", "operator": "exists"}, "/field", "a name and its members"),
        ({"field": 3, "operator": "exists"}, "/field", "needs a field"),
        ({"field": "secrets.X", "operator": "exists"}, "/field", "secret"),
        ({"operator": "exists"}, "/field", "needs a field"),
        ({"field": "a", "operator": ["eq"], "value": 1}, "/operator", "an operator is needed"),
        ({"field": "a", "operator": "eq"}, "", "needs a value"),
        ({"field": "a", "operator": "exists", "value": 1}, "/value", "takes no value"),
        ({"field": "a", "op": "eq", "value": 1}, "", "has no 'op'"),
        ({"field": "a", "operator": "eq", "value": "${{ secrets.X }}"}, "/value", "cannot read a secret"),
        ({"field": "a", "operator": "in", "value": ["${{ b | uper }}"]}, "/value/0", "did you mean 'upper'"),
        ({"field": "a", "operator": "matches", "value": "(a"}, "/value", "the pattern is not valid"),
    ],
)
def test_mistakes_are_found_before_anything_runs(condition: Any, where: str, expected: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_condition(condition)
    assert expected in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("condition", "where", "expected"),
    [
        (term("n", "gt", "a"), "", "cannot order"),
        (term("n", "contains", 1), "", "contains nothing"),
        (term("n", "matches", "a"), "", "two strings"),
        ({"not": term("n", "eq", "${{ nope }}")}, "/not/value", "there is no 'nope'"),
        ({"all": ["nope"]}, "/all/0", "there is no 'nope'"),
    ],
)
def test_mistakes_of_the_data(condition: Any, where: str, expected: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        holds(condition)
    assert expected in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.where == where


def test_what_it_reads() -> None:
    condition = compile_condition(
        {"any": [term("n", "gt", "${{ inputs.limit }}"), {"field": "vars.x", "operator": "exists"}, "item > index"]}
    )
    assert condition.names == {"steps", "inputs", "vars", "item", "index"}
    assert [(ref.path, ref.optional) for ref in condition.references] == [
        (("steps", "a", "output", "n"), False),
        (("inputs", "limit"), False),
        (("vars", "x"), True),
        (("item",), False),
        (("index",), False),
    ]


def test_what_is_not_loaded_is_asked_for() -> None:
    for condition in (
        "big",
        "big == 1",
        {"field": "big", "operator": "eq", "value": 1},
        {"field": "big.x", "operator": "exists"},
    ):
        with pytest.raises(NeedsValue):
            holds(condition)


def test_bounds() -> None:
    deep: Any = True
    for _ in range(5_000):
        deep = {"not": deep}
    for condition in (deep, {"all": [True] * 301}):
        with pytest.raises(ExpressionError, match="at most 300 terms, nested 40 deep"):
            compile_condition(condition)
