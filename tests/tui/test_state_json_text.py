"""Values as lines: what they say, where their tokens are, and what hostile and huge ones become."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.state import json_text
from fleetprompt.tui.state.json_text import LONGEST, JsonText

TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
).filter(lambda value: not isinstance(value, str))


def shown(text: JsonText) -> list[str]:
    return [line.text for line in text.lines(0, len(text))]


def marked(text: JsonText, number: int) -> list[tuple[str, str]]:
    line = text.line(number)
    return [(line.text[start:end], kind) for start, end, kind in line.spans]


def test_tokens_are_where_they_are_said_to_be() -> None:
    text = JsonText({"a:b": [1, -2.5e3, True, None], "c": 'say "hi": {x}', "d": {}})
    assert shown(text)[:3] == ["{", '  "a:b": [', "    1,"]
    assert marked(text, 1) == [('"a:b"', "key"), (":", "punctuation"), ("[", "punctuation")]
    assert marked(text, 3) == [("-2500.0", "number"), (",", "punctuation")]
    assert marked(text, 4) == [("true", "literal"), (",", "punctuation")]
    assert marked(text, 7) == [
        ('"c"', "key"),
        (":", "punctuation"),
        ('"say \\"hi\\": {x}"', "string"),
        (",", "punctuation"),
    ]


@given(VALUES)
def test_the_lines_are_the_value_inert_and_its_tokens_are_all_there_is_but_space(value: Any) -> None:
    text = JsonText(value)
    assert json.loads(text.text) == value
    assert shown(text) == [inert(line) for line in text.text.split("\n")]
    for line in text.lines(0, len(text)):
        rest = list(line.text)
        last = 0
        for start, end, _ in line.spans:
            assert last <= start < end <= len(line.text)
            rest[start:end] = " " * (end - start)
            last = end
        assert not "".join(rest).strip()


@given(VALUES, st.integers(1, 9))
def test_a_line_that_is_cut_says_the_same(value: Any, longest: int) -> None:
    whole = JsonText(value)
    lines = whole.lines(0, len(whole))
    said = [line.text for line in lines]
    expected = [kind for line in lines for start, end, kind in line.spans for _ in range(end - start)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "LONGEST", longest)
        cut = JsonText(value)
        lines = cut.lines(0, len(cut))
        joined = [line.text if not line.continued else "\0" + line.text for line in lines]
        assert "\n".join(joined).replace("\n\0", "") == "\n".join(said)
        kinds = [kind for line in lines for start, end, kind in line.spans for _ in range(end - start)]
    assert kinds == expected


def test_a_text_is_shown_as_its_own_lines() -> None:
    text = JsonText("one\n\x1b[2Jtwo\u202e\n")
    assert (shown(text), text.is_json) == (["one", "\\x1b[2Jtwo\\u202e"], False)
    assert shown(JsonText("")) == [""]


def test_what_is_not_json_is_still_shown() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(JsonText(deep)) == [json_text.TOO_DEEP]
    assert shown(JsonText({"x": object}))[0].startswith("{")


def test_of_a_hundred_thousand_lines_only_those_are_made_that_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    text = JsonText([{"k": i, "s": "é" * 20} for i in range(25_000)])
    assert len(text) == 100_002
    made: list[str] = []
    monkeypatch.setattr(json_text, "inert", lambda part: (made.append(part), inert(part))[1])
    assert len(text.lines(60_000, 60_050)) == 50
    assert sum(map(len, made)) < 3_000


def test_a_text_of_a_megabyte_is_many_lines_of_which_few_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    text = JsonText({"long": "é\x1b" * 500_000, "b": 1})
    made: list[str] = []
    monkeypatch.setattr(json_text, "inert", lambda part: (made.append(part), inert(part))[1])
    lines = text.lines(500, 550)
    assert all(line.continued and line.spans == ((0, len(line.text), "string"),) for line in lines)
    assert sum(map(len, made)) <= 50 * LONGEST
    assert text.line(len(text) - 2).text == '  "b": 1'


def test_a_text_is_found_from_a_line_on() -> None:
    text = JsonText({"a": "needle", "b": "x" * 3 * LONGEST + "Needle", "c": 0})
    assert text.find("NEEDLE") == 1
    assert text.find("needle", 2) == 5
    assert text.find("needle", 6) is None
    assert text.find("needle", 10**6) is None
    assert text.find("nothing") is None
    assert text.find("") is None


def test_there_is_no_such_line() -> None:
    with pytest.raises(IndexError):
        JsonText(1).line(1)
