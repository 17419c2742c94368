"""Templates keep types, secrets stay references, and errors point into the string they stand in."""

from __future__ import annotations

from typing import Any

import pytest

from fleetprompt.engine.core.expr import ExpressionError, NeedsValue, NotLoaded
from fleetprompt.engine.core.template import Rendered, SecretRef, Template, compile_template, compile_value

SCOPE: dict[str, Any] = {
    "inputs": {
        "n": 3,
        "f": 0.5,
        "s": "text",
        "l": [1, {"a": "é"}],
        "none": None,
        "yes": True,
        "big": NotLoaded("d", 9),
    },
    "evil": "${{ secrets.TOKEN }}",
}


def render(value: Any) -> Rendered:
    return compile_value(value).render(SCOPE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${{ inputs.n }}", 3),
        ("${{inputs.l}}", [1, {"a": "é"}]),
        ("${{ inputs.none }}", None),
        ("${{\n  inputs.n\n  + 1 }}", 4),
        (" ${{ inputs.n }}", " 3"),
        ("${{ inputs.n }}\n", "3\n"),
        ("${{ inputs.n }}${{ inputs.n }}", "33"),
        ("a ${{ inputs.s }} b", "a text b"),
        ("-${{ inputs.none }}-${{ inputs.yes }}-${{ inputs.f }}-", "--true-0.5-"),
        ("-${{ inputs.l }}", '-[1,{"a":"é"}]'),
        ("${{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
        ("${{ {'a': {'b': 1}}}}", {"a": {"b": 1}}),
        ("${{ {'a': {}}.a }}", {}),
        ("${{ '}}' }}", "}}"),
        ("${{ '${{ x }}' }}", "${{ x }}"),
        ('${{ "}}" ~ inputs.s }}!', "}}text!"),
        ("$${{ inputs.n }}", "${{ inputs.n }}"),
        ("a $${{ b }} ${{ inputs.n }} $${{", "a ${{ b }} 3 ${{"),
        ("{{ inputs.n }}", "{{ inputs.n }}"),
        ("$ {{ }}", "$ {{ }}"),
        ("${ inputs.n }", "${ inputs.n }"),
        ("}} ${{ inputs.n }} }}", "}} 3 }}"),
        ("", ""),
    ],
)
def test_rendering(text: str, expected: Any) -> None:
    value = render(text).value
    assert value == expected
    assert type(value) is type(expected)


def test_values_of_any_shape() -> None:
    source = {
        "a": "${{ inputs.n }}",
        "b": ["x", "${{ inputs.s }}", {"c": "-${{ inputs.n }}-"}],
        "d": {"e": 1},
        "$${{": 0,
    }
    source.pop("$${{")
    compiled = compile_value(source)
    value = compiled.render(SCOPE).value
    assert value == {"a": 3, "b": ["x", "text", {"c": "-3-"}], "d": {"e": 1}}
    assert list(value) == ["a", "b", "d"]
    assert value["d"] is source["d"]
    assert source["a"] == "${{ inputs.n }}"
    assert not compiled.constant
    assert compiled.names == {"inputs"}
    assert list(compiled.templates) == ["/a", "/b/1", "/b/2/c"]
    assert [ref.path for ref in compiled.references] == [("inputs", "n"), ("inputs", "s"), ("inputs", "n")]


@pytest.mark.parametrize("value", [{"a": [1, "x", None]}, [], "text", 3, None, True, {"a": {"b": [{}]}}])
def test_a_constant_is_returned_as_it_is(value: Any) -> None:
    compiled = compile_value(value)
    assert compiled.constant
    assert compiled.render(SCOPE).value is value
    assert compiled.names == compiled.secret_names == frozenset()


def test_an_escape_is_undone_once() -> None:
    source = {"a": ["$${{ x }}"], "b": 1}
    compiled = compile_value(source)
    assert compiled.constant
    assert compiled.render(SCOPE).value == {"a": ["${{ x }}"], "b": 1}
    assert compiled.render(SCOPE).value is compiled.render(SCOPE).value
    assert source == {"a": ["$${{ x }}"], "b": 1}


def test_secrets_are_references_beside_the_value() -> None:
    compiled = compile_value(
        {
            "headers": {"Authorization": "Bearer ${{ secrets.API_KEY }}", "X/~": "${{secrets.B}}"},
            "env": ["${{ inputs.s }}:${{ secrets.C }}@${{ inputs.n }}${{ secrets.D }}", "plain"],
        }
    )
    rendered = compiled.render(SCOPE)
    assert rendered.value == {"headers": {"Authorization": "", "X/~": ""}, "env": ["", "plain"]}
    assert rendered.secrets == {
        "/headers/Authorization": ["Bearer ", SecretRef("API_KEY")],
        "/headers/X~1~0": [SecretRef("B")],
        "/env/0": ["text:", SecretRef("C"), "@3", SecretRef("D")],
    }
    assert compiled.secret_names == {"API_KEY", "B", "C", "D"}
    assert compiled.names == {"inputs"}
    assert compile_value("${{ secrets.X }}").render({}) == Rendered("", {"": [SecretRef("X")]})


def test_no_data_can_ask_for_a_secret() -> None:
    rendered = render(
        {"a": "${{ evil }}", "b": "x ${{ evil }}", "c": "${{ [evil] }}", "d": "${{ evil }}${{ secrets.A }}"}
    )
    assert rendered.value["a"] == "${{ secrets.TOKEN }}"
    assert rendered.value["b"] == "x ${{ secrets.TOKEN }}"
    assert rendered.secrets == {"/d": ["${{ secrets.TOKEN }}", SecretRef("A")]}


@pytest.mark.parametrize(
    "content",
    [
        "secrets",
        "secrets.A.b",
        "secrets['A']",
        "(secrets.A)",
        "secrets.A | upper",
        "secrets.A ~ ''",
        "secrets.A == 'x'",
        "secrets.A | default('')",
        "secrets.A is defined",
        "[secrets.A]",
        "secrets | items",
        "'a' if secrets.A else 'b'",
        "inputs[secrets.A]",
        "secrets._A",
    ],
)
def test_a_secret_is_used_plainly_or_not_at_all(content: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_template("${{ " + content + " }}")
    assert "secret" in caught.value.message + caught.value.hint or "private" in caught.value.message


ERRORS = [
    ("ab ${{ nope }} c", "nope", "there is no 'nope'"),
    ("ab ${{ inputs.nn }} c", "nn", "did you mean"),
    ("${{ inputs.n }} ${{ inputs.n + 'a' }}", "inputs.n + 'a'", "cannot add"),
    ("ab ${{ inputs.n", "${{", "never closed by }}"),
    ("ab ${{ inputs.n #}", "${{", "never closed by }}"),
    ("ab ${{ 'x }}", "'", "the string is never closed"),
    ("ab ${{ (1 }}", "}", "unexpected '}'"),
    ("ab ${{ 1 ) }}", ")", "unexpected ')'"),
    ("ab ${{ }}", " ", "empty"),
    ("ab ${{ 1 # why }}", "#", "no comments"),
    ("ab ${{ ${{ 1 }} }}", "$", "without ${{ }}"),
    ("ab ${{ {'a': 1 }}", "}", "unexpected '}'"),
]


@pytest.mark.parametrize(("text", "piece", "expected"), ERRORS, ids=[text for text, _, _ in ERRORS])
def test_errors_point_into_the_text(text: str, piece: str, expected: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_value([{"k/": text}]).render(SCOPE)
    error = caught.value
    assert expected in f"{error.message} {error.hint}"
    assert text[error.offset : error.offset + error.length] == piece
    assert error.where == "/0/k~1"


def test_a_cut_template_hints_at_the_comment() -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_template("${{ inputs.a")
    assert caught.value.hint == "a ' #' started a YAML comment? Quote the value"


def test_keys_are_not_templates() -> None:
    with pytest.raises(ExpressionError, match="a key cannot hold an expression") as caught:
        compile_value({"a": {"${{ x }}": 1}})
    assert caught.value.where == "/a/${{ x }}"


def test_references_are_placed_in_the_text() -> None:
    text = "ab ${{ inputs.n }} c ${{ steps.a.output | default(1) }}"
    template = compile_template(text)
    assert isinstance(template, Template)
    assert [text[ref.offset : ref.offset + ref.length] for ref in template.references] == ["inputs.n", "steps.a.output"]
    assert [ref.optional for ref in template.references] == [False, True]
    assert template.names == {"inputs", "steps"}


def test_what_is_not_loaded_is_asked_for() -> None:
    for value in ("${{ inputs.big }}", "a ${{ inputs.big }}", ["${{ inputs }}"], "${{ [inputs.big] }}"):
        with pytest.raises(NeedsValue):
            render(value)


def test_bounds() -> None:
    for value, scope in [
        ("${{ a }}${{ a }}", {"a": "x" * 1_000_000}),
        ("x${{ a }}", {"a": "x" * 2_000_000}),
        ("x${{ a }}", {"a": ["x" * 2_000_000]}),
        ("${{ " + "a + " * 1_500 + "a }}", {"a": 1}),
    ]:
        with pytest.raises(ExpressionError):
            compile_value(value).render(scope)
    deep: Any = "${{ a }}"
    for _ in range(5_000):
        deep = [deep]
    with pytest.raises(ExpressionError, match="nested too deeply"):
        compile_value(deep)
