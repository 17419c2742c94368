"""Attacks: what would read objects, exhaust memory or time is refused, at once and as an ExpressionError."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from fleetprompt.engine.core.expr import ExpressionError, compile_expression

BIG = {"text": "a" * 1_000_000, "list": list(range(100_000)), "words": ["ab"] * 1_000, "spaces": " " * 60_000 + "x"}


def refused(source: str, scope: dict[str, Any] | None = None, within: float = 10.0) -> ExpressionError:
    """It is refused before it has cost so many seconds of the processor: unbounded, it would cost hours."""
    started = time.process_time()
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source).evaluate(BIG if scope is None else scope)
    assert time.process_time() - started < within
    return caught.value


@pytest.mark.parametrize(
    "source",
    [
        "().__class__.__bases__[0].__subclasses__()",
        "''.__class__.__mro__",
        "text.__class__",
        "text | attr('__class__')",
        "text.format",
        "'{0.__class__}'.format(text)",
        "'{0.__class__}' | format(text)",
        "'%s' % text",
        "text['__class__']",
        "{}.get",
        "{}['__class__']",
        "[].append",
        "[1].append(2)",
        "words.pop",
        "[text] | map(attribute='__class__')",
        "[text] | map(attribute='__class__.__mro__')",
        "[text] | selectattr('__class__')",
        "[text] | sort(attribute='__len__')",
        "self",
        "self._TemplateReference__context",
        "cycler.__init__.__globals__",
        "lipsum.__globals__['os'].popen('id')",
        "range(1000000000)",
        "namespace(a=1)",
        "dict(a=1)",
        "loop.cycle(1)",
        "varargs",
        "caller()",
        "true.real",
        "1 .real",
        "none.__class__",
        "text | pprint",
        "text | safe",
        "text | xmlattr",
        "__import__('os')",
        "\uff3f\uff3fimport\uff3f\uff3f",
        "(1).__class__",
        "a if b for c in d",
        "lambda: 1",
        "a := 1",
        "{% set x = 1 %}",
        "{{ text }}",
        "{# x #}",
        "text }} {{ text",
    ],
)
def test_nothing_but_data_can_be_reached(source: str) -> None:
    refused(source)


@pytest.mark.parametrize(
    "source",
    [
        "'a' * 300000000",
        "300000000 * 'a'",
        "('a' * 1000) * 1000 * 1000",
        "7 ** 2000000",
        "7 ** (7 ** (7 ** (7 ** 7)))",
        "2 ** 1001",
        "(2 ** 999) * (2 ** 999)",
        "1e308 * 1e308",
        "10 ** 400 / 3.5",
        "[0] * 1000000",
        "[[0] * 1000] * 1000 * 1000",
        "[[[0] * 1000] * 1000] * 1000",
        "([[[0] * 1000] * 1000] * 1000) | tojson",
        "([[[0] * 1000] * 1000] * 1000) ~ ''",
        "([[[0] * 1000] * 1000] * 1000) == ([[[0] * 1000] * 1000] * 1000)",
        "([[[0] * 1000] * 1000] * 1000) | unique",
        "[([[[0] * 1000] * 1000] * 1000)] | join",
        "([[[0] * 1000] * 1000] * 1000) is in [1, [[[0] * 1000] * 1000] * 1000]",
        "{'a': [text] * 1000}",
        "[text] * 10",
        "text ~ text",
        "text + text",
        "text | replace('a', 'aaaa')",
        "text | replace('', 'aaaa')",
        "text | split('a')",
        "text | list",
        "('ŉ' * 1000000) | upper",
        "([text] * 1000) | map('upper')",
        "([text] * 1000) | map('reverse')",
        "([text] * 1000) | map('replace', 'a', 'b')",
        "([text] * 1000) | map('split', 'b')",
        "([text] * 1000) | map('tojson')",
        "([text] * 1000) | join",
        "(['a'] * 2000) | join(text)",
        "([text] * 1000) | sort",
        "([text] * 1000) | select('le', text)",
        "([text] * 1000) | select('eq', text | replace('b', 'c'))",
        "([text] * 1000) | select('contains', 'b')",
        "list | select('in', list)",
        "list | reject('in', list)",
        "list + list",
        "list | sort | sort | sort",
        "(list | map('string') | list) | unique",
        "text | list | length",
        "('9' * 5000) | int",
        "'[' * 5000 | fromjson",
        "('[' * 5000 ~ ']' * 5000) | fromjson",
        "'1e999' | float",
        "('9' * 400) | int",
        "5 | round(99999999999999999999)",
        "5 | round(-99999999999999999999)",
        "1.5 | round(400)",
        "1.7e308 | round(-308)",
        "text is matches('b')",
        "text | trim(text)",
        "(['a ' * 500000] * 100) | map('title')",
        "([' ' * 1000000] * 50000) | map('int')",
        "[1] | map(attribute=text, default=0)",
        "('[' * 900 ~ '1,' * 100000 ~ '1' ~ ']' * 900) | fromjson | tojson(indent=8)",
        "'a' is matches(text)",
        "spaces is matches('((((x{50}){50}){50}){50})')",
        "spaces is matches('((((){999}){999}){999})')",
        "spaces is matches('(?<=a)b')",
        r"spaces is matches('(a)\\1')",
        "spaces is matches('(?:a|b)*+c')",
    ],
)
def test_nothing_grows_without_bounds(source: str) -> None:
    refused(source)


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+$", "(a|a)*$", "(a*)*b", r"\\s+$", ".*.*.*.*y", "(.+)+[^x]$", "(x+x+)+y", "([a-z ]+)*$", "(a|aa)+$"],
)
def test_no_pattern_takes_long(pattern: str) -> None:
    started = time.process_time()
    for subject in ("' ' * 60000", "'a' * 60000 ~ '!'", "'x' * 60000"):
        compile_expression(f"({subject}) is matches('{pattern}')").evaluate({})
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "source",
    [
        "(" * 5_000,
        "(" * 500 + "1" + ")" * 500,
        "[" * 41 + "]" * 41,
        "{'a':" * 41 + "1" + "}" * 41,
        "not " * 900 + "a",
        "-" * 900 + "1",
        "+ " * 1_900 + "1",
        "1" + "+1" * 1_900,
        "a" + ".b" * 1_900,
        "a" + "[0]" * 1_000,
        "a" + " | upper" * 400,
        "1 if 1 else " * 300 + "1",
        "1" + " if 1" * 600,
        "a" + " and a" * 600,
        "a ~ " * 900 + "a",
        "a < " * 900 + "a",
        "[" + "1," * 400 + "]",
        "1 " * 3_000,
        "a" * 4_001,
        "'" + "a" * 4_000 + "'",
        "9" * 3_999,
        "a is defined" + " is defined" * 100,
        "a[a" * 40 + "]" * 40,
        "a|default(" * 40 + "1" + ")" * 40,
    ],
    ids=lambda source: source[:12] + str(len(source)),
)
def test_the_source_is_bounded(source: str) -> None:
    refused(source, {"a": 1})


def test_what_is_within_the_bounds_works() -> None:
    scope = {"a": 1, "x": {"x": {"x": 2}}}
    for source, value in [
        ("(" * 39 + "a" + ")" * 39, 1),
        ("1" + " + a" * 38, 39),
        ("a" + " and a" * 149, 1),
        ("x.x['x']", 2),
        ("not " * 38 + "a", True),
        ("2 ** 999", 2**999),
        ("1 ** 99999999", 1),
        ("('a' * 1048576) | length", 1_048_576),
        ("([0] * 100000) | length", 100_000),
    ]:
        assert compile_expression(source).evaluate(scope) == value


def test_a_deep_stack_is_an_expression_error_too() -> None:
    compile_expression.cache_clear()

    def nested(depth: int) -> None:
        if depth:
            nested(depth - 1)
        else:
            with pytest.raises(ExpressionError, match="deep"):
                compile_expression("(" * 39 + "a" + ")" * 39)

    here = 0
    frame = sys._getframe()
    while frame is not None:
        here, frame = here + 1, frame.f_back
    nested(sys.getrecursionlimit() - here - 150)
    assert compile_expression("(" * 39 + "a" + ")" * 39).evaluate({"a": 1}) == 1


def test_deeply_nested_data() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    for source in ("x ~ ''", "x | tojson", "[x] | unique", "x == [x]"):
        refused(source, {"x": deep})
    assert compile_expression("x").evaluate({"x": deep}) is deep
    while isinstance(deep, list):  # taken apart by hand: the garbage collector would do it by recursion
        deep = deep.pop()


def test_a_value_that_is_only_passed_on_is_not_bounded() -> None:
    scope = {"big": ["x" * 1_000_000] * 10}
    assert compile_expression("big").evaluate(scope) is scope["big"]
    refused("[big]", scope)


def test_the_same_call_takes_the_same_steps() -> None:
    source = compile_expression("(text[0:60000]) is matches('(a|b)*c$') or list | map('string') | length > 0")
    assert {source.evaluate(BIG) for _ in range(3)} == {True}


def test_control_characters_of_data_stay_out_of_messages() -> None:
    error = refused("x.y", {"x": {"\x1b[2J": 1, "ok": 2}})
    assert "\x1b" not in error.message + error.hint
    assert "\x1b" not in refused("x | int", {"x": "\x1b[2J"}).message
    assert len(refused("x | int", {"x": "a" * 10_000}).message) < 200
