"""Every error says what is wrong, points at the piece that is, and says what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from fleetprompt.engine.core.expr import ExpressionError, compile_expression

SCOPE: dict[str, Any] = {
    "inputs": {"log": "checkout.log", "count": 3, "ratio": 0.5, "empty": "", "nothing": None},
    "steps": {"a": {"output": {"top": [{"id": 1}, {"id": 2}, {"id": 3}]}}},
    "item": "apple",
    "index": 0,
}


ERRORS: list[tuple[str, str, str]] = [
    # source, the piece the error points at, a part of its message and hint
    ("inptus.log", "inptus", "did you mean 'inputs'"),
    ("inputs.lgo", "lgo", "inputs has no 'lgo' did you mean 'log'"),
    ("inputs['lgo']", "['lgo']", "Available: log, count"),
    ("steps.a.output.top[7].id", "[7]", "steps.a.output.top has 3 items, there is no item 7"),
    ("steps.a.output.top.name", "name", "is a list"),
    ("inputs.log.length", "length", "write `| length`"),
    ("inputs.log[0]", "[0]", "cut it: [0:1]"),
    ("inputs.nothing.x", "x", "inputs.nothing is null"),
    ("inputs[nope]", "nope", "there is no 'nope'"),
    ("(inputs | keys)[9]", "[9]", "there is no item 9"),
    ("inputs.count + item", "inputs.count + item", "cannot add integer and string join text with ~"),
    ("1 - '1'", "1 - '1'", "cannot subtract"),
    ("true + 1", "true + 1", "cannot add boolean and integer"),
    ("1 < 'a'", "1 < 'a'", "cannot order integer and string"),
    ("none > 1", "none > 1", "cannot order"),
    ("1 in 1", "1 in 1", "integer contains nothing"),
    ("1 in 'a'", "1 in 'a'", "a string contains strings"),
    ("1 / 0", "1 / 0", "division by zero"),
    ("0 ** -1", "0 ** -1", "division by zero"),
    ("(-8) ** 0.5", "-8) ** 0.5", "not a finite number"),
    ("1e308 * 10", "1e308 * 10", "not a finite number"),
    ("10.0 ** 400", "10.0 ** 400", "too large"),
    ("2 ** 3 ** 2", "2 ** 3 ** 2", "** needs brackets here"),
    ("-2 ** 2", "-2 ** 2", "** needs brackets here"),
    ("nope | default(nope2)", "nope2", "there is no 'nope2'"),
    ("-item", "-item", "cannot negate string"),
    ("'%s' % item", "'%s' % item", "% does not format text"),
    ("item | lenght", "lenght", "there is no filter 'lenght' did you mean 'length'"),
    ("item | even", "even", "even is a test"),
    ("item is upper", "upper", "upper is a filter"),
    ("item is not evn", "evn", "there is no test 'evn' did you mean 'even'"),
    ("item | map('lenght')", "'lenght'", "did you mean 'length'"),
    ("item | map('map', 'upper')", "'map'", "cannot be applied to each item"),
    ("item | map(item)", "item", "must be written out"),
    ("[1] | select('evn')", "'evn'", "did you mean 'even'"),
    ("item | replace('a')", "replace", "replace needs 'new'"),
    ("item | upper(1)", "1", "too many arguments for upper it is upper, without arguments"),
    ("item | trim(char='a')", "'a'", "trim has no argument 'char' it is trim(chars)"),
    ("item | trim('a', chars='b')", "'b'", "twice"),
    ("item is matches(pattern='a')", "matches", "a test takes no named arguments"),
    ("item is matches('(a')", "'(a'", "the pattern is not valid"),
    ("[item] | select('matches', '(a')", "'(a'", "the pattern is not valid"),
    ("item | join(*inputs)", "item | join(*inputs", "no * or **"),
    ("9" * 5000, "9" * 5000, "the integer would have more than 1,000 bits"),
    ("1 | upper", "upper", "upper works on a string, not on integer"),
    ("item | sort", "sort", "sort works on a list"),
    ("[1, 'a'] | sort", "sort", "cannot order string and integer"),
    ("[{}] | sort", "sort", "cannot order mapping"),
    ("[{'a': 1}, {}] | sum(attribute='a')", "sum", "the item has no 'a'"),
    ("[{}] | max(attribute='a') | default(1)", "max", "the item has no 'a'"),
    ("[{'a': 1}, {}] | selectattr('a')", "selectattr", "has no 'a'"),
    ("[] | first", "first", "the list is empty"),
    ("'x' | int", "int", "is not an integer"),
    ("'yes' | bool", "bool", "is not a boolean"),
    ("'{' | fromjson", "fromjson", "not JSON"),
    ("item | split('')", "split", "not empty"),
    ("inputs.log()", "inputs.log()", "there are no calls"),
    ("length(item)", "length(item)", "write `value | length`"),
    ("item.upper()", "item.upper()", "write `value | upper`"),
    ("item._x", "_x", "private read a key of data as value['_x']"),
    ("_x", "_x", "private"),
    ("[1][0:1:1]", "1", "a slice has no step"),
    ("[1]['a':]", "['a':]", "integers"),
    ("inputs[1.5]", "1.5", "a key is a string or an integer"),
    ("inputs[1, 2]", "inputs[1, 2]", "a key is a string or an integer"),
    ("inputs[[1] | list]", "[[1] | list]", "the keys of the mapping are strings: it has no key that is a list"),
    ("{1: 2}", "1", "a key is a string"),
    ("{index: 2}", "{index: 2}", "a key is a string"),
    ("secrets.TOKEN", "secrets", "a secret is a reference"),
    ("inputs[secrets.TOKEN]", "secrets", "a secret is a reference"),
    ("", "", "empty"),
    ("  ", "  ", "empty"),
    ("item ==", "", "ends too early"),
    ("item item", "item", "unexpected 'item'"),
    ("item = 1", "=", "write == to compare"),
    ("item && 1", "&", "write `and`"),
    ("item || 1", "|", "write `or`"),
    ("!item", "!", "write `not`"),
    ("item ? 1 : 2", "?", "if condition else"),
    ("${{ item }}", "$", "without ${{ }}"),
    ("item # why", "#", "no comments"),
    ("'abc", "'", "never closed"),
    ("(item", "(", "never closed"),
    ("item)", ")", "unexpected ')'"),
    ("[item)", ")", "close '[' first"),
    ("item and and item", "item", "unexpected 'item'"),
    ("1 + and", "and", "unexpected 'and'"),
    ("007", "007", "not a valid integer"),
    (r"'\ud800'", r"'\ud800'", "not a valid string"),
    ("1e999", "1e999", "not a finite number"),
    ("a\n  + nope.x", "a", "there is no 'a'"),
]


@pytest.mark.parametrize(("source", "piece", "expected"), ERRORS, ids=[source for source, _, _ in ERRORS])
def test_errors_say_what_and_point_at_where(source: str, piece: str, expected: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source).evaluate(SCOPE)
    error = caught.value
    assert expected in f"{error.message} {error.hint}"
    assert source[error.offset : error.offset + error.length] == piece
    assert error.code == "VALIDATION_ERROR"
