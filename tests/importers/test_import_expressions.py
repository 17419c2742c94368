"""Expressions of other systems, one by one: what they are here, and that nothing is translated on a guess."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprompt.engine.core.expr import compile_expression
from fleetprompt.engine.definition.importers._expression import pieces_of, translate
from fleetprompt.engine.definition.importers._paths import chain
from fleetprompt.engine.definition.importers._terms import Operand, Path, Unknown, Untranslatable


class Steps:
    """Two steps, and one whose name is none here."""

    roots = ("step-1",)

    def __init__(self) -> None:
        self.words: list[str] = []

    def knows(self, root: str) -> bool:
        return root in ("a", "b", *self.roots)

    def resolve(self, path: Path) -> Operand:
        if not self.knows(str(path[0])):
            raise Unknown(f"nothing is called `{path[0]}`")
        return chain(f"steps.{str(path[0]).replace('-', '_')}.output", path[1:])

    def word(self, text: str) -> None:
        self.words.append(text)


def told(source: str) -> str:
    return translate(source, Steps()).text.replace("steps.a.output", "A").replace("steps.b.output", "B")


@pytest.mark.parametrize(
    ("there", "here"),
    [
        # Members with hyphens, where nothing can be meant to be subtracted.
        ("$.a.lead-time.c", "A['lead-time'].c"),
        ("$.step-1.lead-time", "steps.step_1.output['lead-time']"),
        ("a.lead-time > 3", "A['lead-time'] > 3"),
        ("{a.lead-time} > 3", "A['lead-time'] > 3"),
        ("{{ a.lead-time }}", "A['lead-time']"),
        ("a.x-request-id.first", "A['x-request-id'].first"),
        ("a.items[0].lead-time", "A.items[0]['lead-time']"),
        ("a.lead-time.lower()", "A['lead-time'] | lower"),
        ("a.x-b", "A.x - B"),
        ("a.x-step-1.y", "A.x - steps.step_1.output.y"),
        ("a.x - b", "A.x - B"),
        ("a.x-1", "A.x - 1"),
        ("a.x-len(b)", "A.x - (B | length)"),
        # What is negated.
        ("!a", "(not A)"),
        ("!!a", "(not (not A))"),
        ("! ! !a.x", "(not A.x)"),
        ("!!a.x && b", "(not (not A.x)) and B"),
        ("!!(a && b)", "(not (not (A and B)))"),
        ("a == !b", "A == (not B)"),
        ("a != b", "A != B"),
        ("![1, 2]", "(not [1, 2])"),
        ("![a.x, !b]", "(not [A.x, (not B)])"),
        ("![1, 2].includes(a)", "(not ([1, 2] is contains(A)))"),
        ("[1, 2].includes(a)", "[1, 2] is contains(A)"),
        ("!{'x': a}", "(not {'x': A})"),
        ("!-1", "(not (-1))"),
        ("![]", "(not [])"),
        ("a in ['x-y', b.c-d]", "A in ['x-y', B['c-d']]"),
    ],
)
def test_what_it_is_here(there: str, here: str) -> None:
    assert told(there) == here
    compile_expression(translate(there, Steps()).text)


@pytest.mark.parametrize(
    "source",
    [
        "!",
        "!!",
        "![",
        "![1",
        "![...a]",
        "![x for x in a]",
        "a == out of stock",
        "a.x-y(1)",
        "[" * 1500 + "]" * 1500,
        "$.c-d.e",
        "-",
    ],
)
def test_what_there_is_no_expression_for(source: str) -> None:
    with pytest.raises((Untranslatable, Unknown)):
        translate(source, Steps())


def test_long_negations_are_short_here() -> None:
    assert told("!" * 3_001 + "a") == "(not A)"


def test_members_with_hyphens_in_texts() -> None:
    text = "Hi {a.lead-time}, {{ a.lead-time }}, $.a.lead-time - {nobody.lead-time}"
    parts = pieces_of(text, Steps())
    found = Operand("steps.a.output['lead-time']")
    assert parts == ["Hi ", found, ", ", found, ", ", found, " - {nobody.lead-time}"]


PIECES: Sequence[str] = ("!", "[", "]", "{", "}", "-", "a", "b", ".x", ".x-y", "'k'", ":", ",", "(", ")", " ", "1", "$")


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_whatever_is_translated_is_an_expression(source: str) -> None:
    try:
        found = translate(source, Steps())
    except (Untranslatable, Unknown):
        return
    compile_expression(found.text)
