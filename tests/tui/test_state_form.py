"""Forms while they are filled in: what is typed is read, and refused, as it is everywhere else."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from fleetprompt.client.forms import form_fields, input_fields
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.gate import form_problem
from fleetprompt.engine.core.inputs import bind_inputs
from fleetprompt.engine.core.plan import Block, Input, Plan
from fleetprompt.tui.state.form import Form

SPECS: dict[str, Any] = {
    "text": {"type": "string", "min_length": 2, "max_length": 5},
    "word": {"type": "string", "pattern": "[a-z]+"},
    "count": {"type": "integer", "minimum": 1, "maximum": 9},
    "share": "number",
    "sure": {"type": "boolean", "default": True},
    "kind": {"type": "string", "enum": ["small", "large"]},
    "size": {"type": "integer", "enum": [1, 2]},
    "list": {"type": "array"},
    "map": {"type": "object", "default": {"a": 1}},
    "free": "any",
    "must": {"type": "string", "required": True},
}


def form(values: dict[str, Any] | None = None, **specs: Any) -> Form:
    return Form(form_fields(specs), values)


@pytest.mark.parametrize(
    ("spec", "text", "value"),
    [
        ("string", "12", "12"),
        ("string", " a ", " a "),
        ("integer", "12", 12),
        ("number", "1.5", 1.5),
        ("boolean", "Yes", True),
        ("boolean", "n", False),
        ("array", '[1, "a"]', [1, "a"]),
        ("object", '{"a": [null]}', {"a": [None]}),
        ("any", "12", 12),
        ("any", "twelve", "twelve"),
        ("any", '"12"', "12"),
        ({"type": "any", "enum": ["1", "2"]}, "1", "1"),
        ({"type": "integer", "enum": [1, 2]}, "2", 2),
        ("string", "", UNSET),
        ("any", "  ", UNSET),
    ],
    ids=str,
)
def test_what_is_typed_is_read_by_the_type_of_its_field(spec: Any, text: str, value: Any) -> None:
    it = form(f=spec)
    it.type("f", text)
    assert it.value("f") == value
    assert type(it.value("f")) is type(value)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "0",
        "2",
        "7",
        "12",
        "1.5",
        "true",
        "yes",
        "small",
        "SMALL",
        "abc",
        "abcdef",
        "[1]",
        "{}",
        "null",
        "{",
        '"x"',
    ],
)
def test_a_form_takes_what_the_engine_takes_and_nothing_else(name: str, text: str) -> None:
    it = form(**{name: SPECS[name]})
    it.type(name, text)
    value = it.value(name)
    given = {} if value is UNSET else {name: value}
    refused = form_problem({name: SPECS[name]}, given)
    problem = it.problem(name)
    if value is UNSET:
        assert bool(problem) == bool(refused)
    else:
        assert refused == (f"`{name}` {problem}" if problem else "")
    if problem:
        with pytest.raises(InvalidInput, match=name):
            it.values()
    else:
        assert it.values() == given


def test_fields_hold_their_values_or_their_defaults() -> None:
    it = form({"sure": False, "count": 4}, **SPECS)
    assert (it.text("sure"), it.text("count"), it.text("map"), it.text("text")) == ("false", "4", '{"a": 1}', "")
    it.type("must", "ok")
    assert it.values() == {"sure": False, "count": 4, "map": {"a": 1}, "must": "ok"}


def test_every_value_reads_back_as_itself() -> None:
    values: list[Any] = ["", "a", "1", "true", "null", '"', "[", 1, -2.5, True, None, [1], {"a": "b"}, "ä ↵\t"]
    for value in values:
        it = form({"f": value}, f="any")
        read = it.value("f")
        assert read == value or (value == "" and read is UNSET)


def test_an_empty_text_is_no_value_unless_there_was_one() -> None:
    it = form(a={"type": "string", "default": "x"}, b="string", c={"type": "string", "required": True})
    it.type("a", "")
    assert (it.value("a"), it.value("b")) == ("", UNSET)
    assert it.problem("c") == "is needed"
    assert it.wrong == "c"
    number = form({"n": 3}, n={"type": "integer", "default": 1})
    number.type("n", "")
    assert number.value("n") is UNSET
    assert number.hint("n") == "integer; empty: 1"


def test_choices_go_round() -> None:
    it = form(kind={"type": "string", "enum": ["a", "b"], "required": True}, sure="boolean", free="any")
    assert (it.choices("kind"), it.choices("sure"), it.choices("free")) == (("a", "b"), ("", "true", "false"), ())
    seen = []
    for _ in range(3):
        it.step("kind", 1)
        seen.append(it.text("kind"))
    it.step("sure", -1)
    assert (seen, it.value("sure")) == (["a", "b", "a"], False)
    it.step("free", 1)
    assert it.text("free") == ""


def test_the_inputs_of_a_workflow_are_a_form_too() -> None:
    inputs = {
        "target": Input(type="string", required=True, description="where to"),
        "count": Input(type="integer", default=2, minimum=1),
        "note": Input(type="string"),
    }
    plan = Plan(name="w", root=Block("steps", ()), inputs=inputs)
    it = Form(input_fields(inputs))
    assert it.problem("target") == "is needed"
    it.type("target", "prod")
    it.type("count", "0")
    assert it.problem("count") == "must be at least 1"
    it.type("count", "3")
    assert bind_inputs(plan, it.values()) == ({"target": "prod", "count": 3, "note": None}, {})
