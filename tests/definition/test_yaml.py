"""The loader: YAML 1.2 values, every problem placed, and nothing that a file can do to the process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fleetprompt.engine.definition.document import Document
from fleetprompt.engine.definition.problems import ProblemCode, render
from fleetprompt.engine.definition.source import Span
from fleetprompt.engine.definition.yaml import MAX_BYTES, MAX_DEPTH, MAX_PROBLEMS, load_document


def load(text: str | bytes) -> Document:
    return load_document(text, "flow.yaml")


def found(text: str | bytes) -> list[str]:
    return [f"{problem.line}:{problem.column} {problem.code}" for problem in load(text).problems]


def said(text: str | bytes) -> str:
    """Messages and hints of all problems."""
    return "\n".join(f"{problem.message} | {problem.hint}" for problem in load(text).problems)


# Values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None), ("Null", None), ("NULL", None), ("~", None), ("", None), ("nULL", "nULL"),
        ("true", True), ("True", True), ("FALSE", False), ("tRUE", "tRUE"),
        ("on", "on"), ("off", "off"), ("yes", "yes"), ("No", "No"), ("y", "y"),
        ("0", 0), ("-7", -7), ("+7", 7), ("007", 7), ("0o17", 15), ("0x1F", 31), ("0b11", "0b11"), ("-0x1", "-0x1"),
        ("200_000", 200_000), ("-1_000_000", -1_000_000), ("2024_01_05", "2024_01_05"), ("1_0", "1_0"), ("_1", "_1"),
        ("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("-1.5E-2", -0.015), ("1.10", 1.1), ("1.2.3", "1.2.3"),
        ("22:22", "22:22"), ("2024-01-01", "2024-01-01"), ("+", "+"), (".", "."), ("1.5_0", "1.5_0"),
        ("18446744073709551615", 2**64 - 1), ("-9223372036854775808", -(2**63)),
        ("'1'", "1"), ('"true"', "true"), ("! 5", "5"), ("!!str 5", "5"), ("!!str", ""), ('!!int "5"', 5),
        ("!!float 5", 5.0),
        ("!!bool true", True), ("!!null ''", None), ("!!seq [1]", [1]), ("!!map {a: 1}", {"a": 1}),
        ("|\n  a\n  b\n", "a\nb\n"), (">-\n  a\n  b\n", "a b"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    document = load(f"a: {text}")
    assert not [problem for problem in document.problems if problem.severity == "error"]
    assert document.data == {"a": value}
    assert type(document.data["a"]) is type(value)


@pytest.mark.parametrize(
    "text", [".inf", "-.INF", ".nan", "1e999", "18446744073709551616", "9" * 5000, "0x" + "f" * 17]
)
def test_numbers_that_json_cannot_hold_are_refused(text: str) -> None:
    assert found(f"a: {text}") == ["1:4 bad-value"]


def test_the_example_of_the_design_loads() -> None:
    document = load(EXAMPLE)
    assert not document.problems
    assert document.data["guardrails"]["tokens"] == 200_000
    assert document.data["on"] == {"yes": "22:22"}
    assert document.data["steps"][1]["prompt"] == "Errors:\n  ${{ steps.cluster.output }}\n"


EXAMPLE = """\
name: triage
on: {yes: 22:22}
guardrails: {tokens: 200_000, cost_usd: 0.40}
steps:
  - id: cluster
    with: {path: "${{ inputs.log }}"}
  - id: diagnose
    prompt: |
      Errors:
        ${{ steps.cluster.output }}
"""


def test_a_byte_order_mark_is_not_content() -> None:
    assert load("\ufeffa: 1").data == {"a": 1}
    assert load(b"\xef\xbb\xbfa: 1").data == {"a": 1}


texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


class _Quoting(yaml.SafeDumper):
    """Texts in double quotes, so that no 1.1 resolver has a say in what they are; no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


@given(json_values, st.booleans())
@settings(max_examples=150)
def test_what_is_dumped_is_loaded(data: Any, flow: bool) -> None:
    text = yaml.dump(data, Dumper=_Quoting, default_flow_style=flow, allow_unicode=True, sort_keys=False)
    document = load(text)
    assert not document.problems
    assert json.dumps(document.data) == json.dumps(data)


# Anything at all

yaml_soup = st.lists(
    st.sampled_from(
        [*"{}[]:,-?&*!|>'\"%@`#~ \n\t\r\\$<a1.", "\n  ", ": ", "- ", "&a ", "*a", "<<: ", "${{ ", " }}", "{{"]
    )
).map("".join)


@given(st.text() | yaml_soup | st.binary() | yaml_soup.map(lambda text: text.encode("utf-16")))
@settings(max_examples=300)
@example("\ud800")
@example('a: "\\UFFFFFFFF"')
@example("? {{ a\n: b")
def test_nothing_raises_and_every_problem_can_be_shown(text: str | bytes) -> None:
    document = load(text)
    for problem in document.problems:
        assert render(problem)
        assert problem.line >= 1
        assert 1 <= problem.column < problem.end_column
    assert document.complete or document.problems
    if document.complete:
        json.dumps(document.data, allow_nan=False)


# Problems


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["1:1 empty-file"]),
        ("# nothing\n", ["1:1 empty-file"]),
        ("a: 1\n---\nb: 2\n", ["2:1 many-documents"]),
        ("a: 1\nb: 2\na: 3\n", ["3:1 duplicate-key"]),
        ("a: {b: 1, b: 2}\nc: 1\nc: 1\n", ["1:11 duplicate-key", "3:1 duplicate-key"]),
        ("1: x\ntrue: y\n~: z\n", ["1:1 bad-key", "2:1 bad-key", "3:1 bad-key"]),
        ("? [a]\n: 1\n", ["1:3 bad-key"]),
        ("{ {a: 1}: 2 }", ["1:3 bad-key"]),
        ("a: !secret x\nb: !!set {x}\nc: !!int x\n", ["1:4 unknown-tag", "2:4 unknown-tag", "3:10 bad-value"]),
        ("%TAG !e! tag:e\n---\na: 1\n", ["1:1 unknown-tag"]),
        ("a: *b\n", ["1:4 unknown-alias"]),
        ("a: &b [*b]\n", ["1:8 cyclic-alias"]),
        ("a: &b {c: {d: *b}}\n", ["1:15 cyclic-alias"]),
        ("a: {<<: 1}\n", ["1:5 bad-merge"]),
        ("a: \x07b\nc: \x7f\n", ["1:4 control-character", "2:4 control-character"]),
        ("a: ${{ b #c }}\n", ["1:4 cut-expression"]),
        ("a: x ${{ b }} ${{ c\t# d }}\n", ["1:15 cut-expression"]),
        ("a: {{ x }}\nb: [{{ y }}]\n", ["1:4 bare-braces", "2:5 bare-braces"]),
        ("a: 1\na: 2\nb: 'c\n", ["2:1 duplicate-key", "3:4 yaml-syntax"]),
        (b"a: b\nc: \xff\n", ["2:4 not-utf8"]),
        ("a: é".encode("utf-16"), ["1:1 not-utf8"]),
        (b"a: \xed\xa0\x80", ["1:4 not-utf8"]),
    ],
)
def test_problems_are_found_and_placed(text: str | bytes, problems: list[str]) -> None:
    assert found(text) == problems


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", "already set on line 1"),
        ("8080: x\n", 'quote it: "8080"'),
        ("a: ${{ b #c }}\n", "` #` started a YAML comment; quote this value"),
        ("url: {{ inputs.url }}\n", 'write "${{ inputs.url }}"'),
        ("url: {{ inputs.url }}/x\n", 'write the expression as "${{ … }}"'),
        ("a: {b: ${{ x }}}\n", "needs quotes"),
        ("a: [${{ x }}]\n", 'write "${{ … }}"'),
        ("a:\n\tb: 1\n", "use spaces"),
        ("a: 1\n\tb: 1\n", "use spaces"),
        ("a: |\n\tb\n", "use spaces"),
        ("cron: */15 * * * *\n", "`*` starts a YAML alias"),
        ("a: @b\n", "quote the value"),
        ("a: b: c\n", "quote the value if it contains `: `"),
        ("a: 'b\nc: d\n", "this quote is never closed"),
        ("a: [1,\n  2\nb: 3\n", "the list is not closed before here, and begins on line 1"),
        ("a: {b: 1\nc: 3\n", "the mapping is not closed before here, and begins on line 1"),
        ('a: "\\d+"\n', "use single quotes"),
        ("a: !e!x 1\n", "`!` starts a YAML tag"),
        ("if: !steps.a.ok\n", "quote the value if it starts with `!`"),
        ("a: &anchor 1\nb: *ancor\n", "did you mean `anchor`?"),
        ("a: .nan\n", "JSON cannot hold"),
        ("mode: 0755\n", "`0755` is the number 755: its zeros are lost"),
        ("zip: [-01]\n", 'quote it if it is text: "-01"'),
        ("", "begin with `name:` and `steps:`"),
        ("a: &x [*x]\n", "write the value out"),
        ("? [a]\n: 1\n", "write `key: value`"),
        ("a: " + "[" * 100 + "]" * 100, "nest less"),
        (b"a: \xff", "byte 3 (0xff) is not UTF-8"),
    ],
)
def test_problems_say_what_to_do(text: str | bytes, words: str) -> None:
    assert words in said(text)


@pytest.mark.parametrize("text", ["0", "0.5", "-0", "00.5", "0e1", "0o17", "'007'", "!!str 007", "0x00"])
def test_a_zero_in_front_is_only_suspicious_where_it_is_lost(text: str) -> None:
    assert not load(f"a: {text}").problems


def test_text_that_looks_like_a_cut_expression_is_not_one() -> None:
    assert not load("a: ${{ b }} # comment\nb: '${{ c #d }}'\nc: |\n  ${{ e #f\nd: no # comment\n").problems


def test_braces_are_taken_for_the_expression_that_was_meant() -> None:
    assert load("url: {{ inputs.url }}").data == {"url": "${{ inputs.url }}"}


def test_a_problem_has_the_pointer_of_its_value() -> None:
    assert [problem.pointer for problem in load("a/b:\n- 1\n- {c: .nan}\n- c: 1\n  c: 2\n").problems] == [
        "/a~1b/1/c",
        "/a~1b/2/c",
    ]


def test_problems_before_a_syntax_error_are_kept_but_the_data_is_not() -> None:
    document = load("a: .nan\nb: [\n")
    assert [str(problem.code) for problem in document.problems] == ["bad-value", "yaml-syntax"]
    assert document.data is None
    assert not document.complete


# Aliases and merge keys


def test_aliases_give_equal_values_that_are_not_shared() -> None:
    document = load("a: &x {b: [1]}\nc: *x\n")
    assert document.data == {"a": {"b": [1]}, "c": {"b": [1]}}
    assert document.data["a"]["b"] is not document.data["c"]["b"]


def test_an_alias_can_be_a_key_and_an_anchor_can_be_defined_again() -> None:
    assert load("- &a x\n- {*a : 1}\n- &a y\n- *a\n").data == ["x", {"x": 1}, "y", "y"]


def test_merge_keys_never_replace_what_is_set() -> None:
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nm: {a: 0, <<: [*x, *y], d: 0}\nn: {<<: *x, b: 3}\n"
    document = load(text)
    assert not document.problems
    assert document.data["m"] == {"a": 0, "d": 0, "b": 1, "c": 2}
    assert document.data["n"] == {"b": 3, "a": 1}
    assert document.value(("m", "c")).line == 2
    assert found("a: &a {b: 1}\nc: {<<: *a, <<: *a}\n") == ["2:13 duplicate-key"]
    assert load('"<<": 1').data == {"<<": 1}


def test_an_alias_is_placed_where_it_stands_and_its_inside_where_it_is_written() -> None:
    document = load("a: &x\n  b: text\nc: *x\n")
    assert document.value(("c",)) == Span(3, 4, 3, 6, "alias")
    assert document.value(("c", "b")) == Span(2, 6, 2, 10, "plain")
    assert document.offset(("c", "b"), 2).column == 8


# Places


def test_keys_and_values_have_places() -> None:
    document = load(EXAMPLE)
    assert document.key(("steps", 1, "prompt")) == Span(8, 5, 8, 11, "plain")
    assert document.value(("steps", 1, "prompt")) == Span(8, 13, 10, 36, "literal")
    assert document.value(("on",)) == Span(2, 5, 2, 17, "flow")
    assert document.value(("steps", 0)) == Span(5, 5, 6, 38, "block")
    assert document.key(("steps", 0)) == document.value(("steps", 0))
    assert document.value(()) == Span(1, 1, 10, 36, "block")


def test_a_pointer_that_leads_nowhere_stands_for_its_parent() -> None:
    document = load(EXAMPLE)
    assert document.value(("steps", 0, "with", "nope", 3)) == document.value(("steps", 0, "with"))
    assert document.key(("guardrails", "nope")) == document.key(("guardrails",))
    assert document.value(("steps", 7)) == document.value(("steps",))
    assert load("").value(("a",)) == Span(1, 1, 1, 1, "plain")


def test_tags_and_anchors_are_not_part_of_the_value() -> None:
    document = load("a: &x !!str text\nb: !!str &y 'q'\n")
    assert document.value(("a",)) == Span(1, 13, 1, 17, "plain")
    assert document.offset(("b",), 0).column == 14


def test_a_problem_marks_the_value_the_key_or_a_part() -> None:
    document = load(EXAMPLE)
    prompt: str = document.data["steps"][1]["prompt"]
    part = document.problem(
        ("steps", 1, "prompt"), ProblemCode.UNKNOWN_REFERENCE, "no step", offset=prompt.index("cluster"), length=7
    )
    assert render(part).split("\n")[1:] == [
        "    |         ${{ steps.cluster.output }}",
        "    |                   ^^^^^^^",
    ]
    assert part.pointer == "/steps/1/prompt"
    key = document.problem(("steps", 0, "with"), ProblemCode.UNKNOWN_KEY, "", on="key")
    assert (key.line, key.column, key.end_column) == (6, 5, 9)
    step = document.problem(("steps", 0), ProblemCode.MISSING_KEY, "", severity="warning")
    assert (step.line, step.column, step.end_column, step.severity) == (5, 5, 7, "warning")
    first = document.problem(("guardrails",), ProblemCode.MISSING_KEY, "", on="first")
    assert (first.line, first.column, first.end_column) == (3, 14, 20)
    assert render(load("a:\nb: 1\n").problem(("a",), ProblemCode.WRONG_TYPE, "")).endswith("    | a:\n    | ^")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: one X two", "X"),
        ("a: 'one X two'", "X"),
        ("a: 'it''s ''X'' two'", "X"),
        ('a: "one \\"\\x41\\u00e9\\n\\t X two"', "X"),
        ('a: "one\\\n   X two"', "X"),
        ('a: "one\n\n\n   two\n  X"', "X"),
        ("a: one\n  two\n\n  X three", "X"),
        ("a: 'one\n  it''s\n\n  X three'", "X"),
        ("a: |\n  one\n    X two\n\n  three", "X"),
        ("a: |2-\n    one\n  X two\n", "X"),
        ("a: |+ # comment X\n\n\n  one\n   X two\n\n", "X"),
        ("a: >\n  one\n  two\n\n    more X\n  three", "X"),
        ("a: |\r\n  one\r\n  two X\r\n", "X"),
        ("- [{a: [one, 漢字 X]}]", "X"),
        ("a: é漢😀 X", "X"),
        ("a: &anchor X", "X"),
        ('a: "😀\\U0001F600X"', "X"),
    ],
)
def test_a_character_of_a_value_is_found_in_the_file(text: str, part: str) -> None:
    document = load(text)
    assert not document.problems
    pointer: tuple[str | int, ...] = (0, 0, "a", 1) if text.startswith("-") else ("a",)
    value = document.data
    for step in pointer:
        value = value[step]
    span = document.offset(pointer, value.index(part))
    assert text.splitlines()[span.line - 1][span.column - 1] == part


words = st.text(st.sampled_from("ab é漢\t'\"\\#:{}$\n"), min_size=1)


@given(words, st.sampled_from(["", "'", '"', "|", ">"]), st.integers(10, 40))
@settings(max_examples=300)
def test_every_character_of_a_value_is_found(value: str, style: str, width: int) -> None:
    text = yaml.safe_dump({"key": value}, default_style=style or None, width=width, allow_unicode=True)
    # PyYAML folds a line that begins with a blank, which no reader unfolds.
    assume(yaml.safe_load(text) == {"key": value})
    document = load(text)
    assert not document.problems
    assert document.data == {"key": value}
    lines = text.split("\n")
    exact = document.offset(("key",), 0).style != "folded"
    for index, character in enumerate(value):
        span = document.offset(("key",), index)
        there = lines[span.line - 1][span.column - 1 :][:1]
        if character.strip():
            assert there in (character, "\\")
        elif exact:
            assert there in (character, "\\", "", " ", "\t")
    assert document.offset(("key",), len(value) + 5).end_line <= len(lines)


def test_the_place_in_a_number_is_a_place_in_its_text() -> None:
    assert load("a: 1_000").offset(("a",), 2).column == 6


# Hostile files


def test_too_large_a_file_is_not_parsed() -> None:
    for text in (b"a" * (MAX_BYTES + 1), "a" * (MAX_BYTES + 1), "é" * (MAX_BYTES // 2 + 1)):
        document = load_document(text, "f")
        assert [problem.code for problem in document.problems] == [ProblemCode.TOO_LARGE]
        assert document.text == ""


def test_many_problems_are_cut_off() -> None:
    document = load("a: 1\n" * 500)
    assert len(document.problems) == MAX_PROBLEMS + 1
    assert document.problems[-1].code == ProblemCode.TOO_MANY


def test_depth_has_a_limit() -> None:
    assert not load("[" * MAX_DEPTH + "]" * MAX_DEPTH).problems
    assert found("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)) == [f"1:{MAX_DEPTH + 1} too-deep"]
    chain = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 100))
    assert [problem.code for problem in load(chain).problems] == [ProblemCode.TOO_DEEP]


HOSTILE = {
    "brackets": "'[' * 100_000",
    "braces": "'{' * 100_000",
    "dashes": "'- ' * 100_000",
    "questions": "'? ' * 100_000",
    "nested mappings": "''.join(' ' * i + 'a:\\n' for i in range(3000))",
    "laughs": "'a0: &a0 [x, x]\\n' + ''.join(f'a{i}: &a{i} [' + f'*a{i-1}, ' * 9 + ']\\n' for i in range(1, 40))",
    "merged laughs": "'a0: &a0 {x: 1, y: 1}\\n' + ''.join("
    "f'a{i}: &a{i} {{b: *a{i-1}, c: *a{i-1}, <<: *a{i-1}}}\\n' for i in range(1, 40))",
    "tag directives": "''.join(f'%TAG !a{i}! x\\n' for i in range(100_000)) + '---\\na: 1'",
    "items": "'- 1\\n' * 2_400_000",
    "unknown aliases": "'[' + ', '.join(f'&a{i} x' for i in range(90_000)) + ', ' + '*b, ' * 200 + ']'",
    "control characters": "'\\x00' * 9_000_000",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_give_a_problem(case: str) -> None:
    """In a process of its own: the failure this guards against is a dead interpreter."""
    code = (
        "from fleetprompt.engine.definition.yaml import load_document\n"
        f"document = load_document({HOSTILE[case]}, 'f')\n"
        "assert document.problems\n"
        "assert not document.complete or document.problems[0].code == 'control-character'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


def test_the_loader_works_without_libyaml() -> None:
    code = (
        "import yaml; del yaml.CSafeLoader\n"
        "from fleetprompt.engine.definition.yaml import load_document, _LOADER\n"
        "assert _LOADER is yaml.SafeLoader\n"
        "document = load_document('a: &x [1, yes, \"q\"]\\nb: {c: *x}\\nd: |\\n  t\\n', 'f')\n"
        "assert document.data == {'a': [1, 'yes', 'q'], 'b': {'c': [1, 'yes', 'q']}, 'd': 't\\n'}, document.data\n"
        "assert not document.problems\n"
        "for text in ('a: \"\\\\UFFFFFFFF\"', 'a: [', 'a:\\n\\tb', '[' * 5000, '- ' * 5000, 'a: *b', '\\ud800'):\n"
        "    assert load_document(text, 'f').problems, text\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_reading_yaml_imports_no_models() -> None:
    code = (
        "import sys\n"
        "from fleetprompt.engine.definition.yaml import load_document\n"
        "assert 'pydantic' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=Path(__file__).parents[2])


@given(yaml_soup)
@settings(max_examples=200)
def test_syntax_errors_are_said_in_our_words(text: str) -> None:
    assert not re.search(r"while |did not find|<[a-z]|^:", said(text))
