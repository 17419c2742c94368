"""What a filter parses to, its canonical text, what a user is told about mistakes, and the page that describes it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetprompt.engine.core import query
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.query import Compare, Match, OneOf, Regex, parse
from fleetprompt.engine.core.query_fields import (
    AGENT_FIELDS,
    APPROVAL_FIELDS,
    APPROVAL_STATUS,
    DEAD_LETTER_FIELDS,
    DELIVERY_FIELDS,
    FIRING_FIELDS,
    RUN_FIELDS,
    SCHEDULE_FIELDS,
    SIGNAL_FIELDS,
    WORKFLOW_FIELDS,
    Field,
    FieldSet,
)
from fleetprompt.engine.core.query_values import Amount, Moment, Text
from fleetprompt.engine.ports import Approval

_SETS = (
    RUN_FIELDS,
    APPROVAL_FIELDS,
    SIGNAL_FIELDS,
    DEAD_LETTER_FIELDS,
    DELIVERY_FIELDS,
    WORKFLOW_FIELDS,
    AGENT_FIELDS,
    FIRING_FIELDS,
    SCHEDULE_FIELDS,
)
FIELD_SETS = {s.name: s for s in _SETS}
PAGE = (Path(__file__).parents[2] / "docs" / "filters.md").read_text()


def understood(text: str, fields: FieldSet = RUN_FIELDS) -> query.Query:
    parsed = parse(text, fields)
    assert parsed.problems == ()
    return parsed


def field(name: str) -> Field:
    found = RUN_FIELDS.find(name)
    assert found is not None
    return found


def unplaced(terms: Iterable[query.Term]) -> list[query.Term]:
    return [msgspec.structs.replace(term, start=0, end=0) for term in terms]


def test_terms_carry_fields_values_and_places() -> None:
    text = 'status:failed,Waiting -wf:crawl* cost>0.5 since:2h label.env=prod "rate limit" !/a b/ attempt:2'
    terms = understood(text).terms
    failed, waiting = Text(("failed",)), Text(("waiting",))
    assert unplaced(terms) == [
        OneOf(field=field("status"), values=(failed, waiting), start=0, end=0),
        OneOf(field=field("wf"), values=(Text(("crawl", "")),), negated=True, start=0, end=0),
        Compare(field=field("cost"), op=">", value=Amount(500_000_000), start=0, end=0),
        Compare(field=field("since"), op=">=", value=Moment("2h", -7200.0), start=0, end=0),
        OneOf(field=field("label"), key="env", values=(Text(("prod",)),), start=0, end=0),
        Match(text=Text(("", "rate limit", "")), columns=RUN_FIELDS.search, start=0, end=0),
        Regex(pattern="a b", columns=RUN_FIELDS.search, negated=True, start=0, end=0),
        Compare(field=field("attempt"), op="=", value=Amount(2), start=0, end=0),
    ]
    places = [text[term.start : term.end] for term in terms]
    assert places[1] == "-wf:crawl*"
    assert places[5:7] == ['"rate limit"', "!/a b/"]


CANONICAL = [
    ("", ""),
    ("  status:FAILED   ", "status:failed"),
    ("STATUS=failed", "status:failed"),
    ("status==failed", "status:failed"),
    ("status!=failed", "-status:failed"),
    ("-status!=failed", "status:failed"),
    ("workflow:a", "wf:a"),
    ("owner:ada", "by:ada"),
    ("waiting_on:timer", "waiting:timer"),
    ("labels.env:prod", "label.env:prod"),
    ('wf:"a b"', 'wf:"a b"'),
    ('wf:"plain"', "wf:plain"),
    ('wf:"a*b"*', 'wf:"a*b"*'),
    ("wf:a**b", "wf:a*b"),
    (r'"say \"hi\" \\ \n"', r'"say \"hi\" \\ \\n"'),
    ("error:timeout", "error:timeout"),
    ("error:*timeout*", "error:timeout"),
    ("error:*", "error:*"),
    ("dep*prod", "dep*prod"),
    ('"OR"', '"OR"'),
    ("or", "or"),
    ("cost:>0.50", "cost>0.5"),
    ("cost>$1k", "cost>1000"),
    ("cost>.000000001", "cost>0.000000001"),
    ("cost>0", "cost>0"),
    ("tok>10_000", "tok>10k"),
    ("tok>1.5K", "tok>1500"),
    ("tok>=2000000", "tok>=2m"),
    ("tok>1.25", "tok>1.25"),
    ("attempt:0,3", "attempt:0,3"),
    ("dur>90m", "dur>1h30m"),
    ("dur<1.5s", "dur<1s500ms"),
    ("age>2w", "age>14d"),
    ("age>0", "age>0s"),
    ("started>TODAY", "started>today"),
    ('started:"2026-11-20 10:30"', "started:2026-11-20T10:30"),
    ("started:2026-11-20t10:30:05.25z", "started:2026-11-20T10:30:05.25Z"),
    ("started!=14:30", "-started:14:30"),
    ("since=1w", "since:7d"),
    ("/var/log/", r"/var\/log/"),
    (r"/a\/b\\/", r"/a\/b\\/"),
    ("!word", "-word"),
    ("--x", '-"-x"'),
]


@pytest.mark.parametrize(("text", "canonical"), CANONICAL)
def test_format_is_canonical(text: str, canonical: str) -> None:
    terms = understood(text).terms
    assert query.format(parse(text, RUN_FIELDS)) == canonical
    assert unplaced(understood(canonical).terms) == unplaced(terms)


PIECES = st.sampled_from(
    ["status", "wf", "label.a", "cost", "started", "since", "age", "tool", ":", "=", "!=", ">", "<=", ",", "-", "!",
     '"', "/", "*", " ", "  ", "\\", "failed", "0.5", "10k", "2h", "2026-11-20", "today", "14:30", "a", "Ä", "\0",
     "\ud800", "(", ")", ".", "+", "OR", "\t"]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=40)
FIELDS = st.sampled_from(list(FIELD_SETS.values()))


@given(TEXTS, FIELDS)
@settings(max_examples=500, deadline=None)
def test_parse_never_raises_and_formats_stably(text: str, fields: FieldSet) -> None:
    parsed = parse(text, fields)
    for place in (*parsed.problems, *parsed.terms):
        assert 0 <= place.start < place.end <= len(text)
    canonical = query.format(parsed)
    again = parse(canonical, fields)
    assert again.problems == ()
    assert unplaced(again.terms) == unplaced(parsed.terms)
    assert query.format(again) == canonical
    if parsed.problems:
        with pytest.raises(InvalidInput):
            parsed.require()


PROBLEMS = [
    ("status:faild", "faild", "is not a status", "did you mean failed?"),
    ("status:zzz", "zzz", "is not a status", "one of pending"),
    ("status:failed,runing", "runing", "is not a status", "running"),
    ("wfl:x", "wfl", 'runs have no field "wfl"', "did you mean wf?"),
    ("-https://x", "https", "no field", "quote it"),
    ("status.x:failed", "status.x", "no field", ""),
    ("label:env", "label", "needs a key", "label.env:prod"),
    ("wf:", "wf:", "needs a value", "space"),
    ("wf:a,", ",", "missing beside the comma", ""),
    ("wf:,a", ",", "missing beside the comma", ""),
    ('session:""', '""', "empty value", "-session:*"),
    ("wf>3", "wf>3", "cannot be compared with >", ""),
    ("since<2h", "since<2h", "cannot be compared with <", "since:"),
    ("cost>1,2", ",2", "only one value", ""),
    ("since:1h,2h", ",2h", "only one value", ""),
    ("dur:5m", "dur:5m", "never exactly", "dur>10m"),
    ("dur>90", "90", "not a duration", ""),
    ("dur>5x", "5x", "not a duration", ""),
    ("dur>99999d", "99999d", "hundred years", ""),
    ("cost>abc", "abc", "not a number", ""),
    ("cost>-1", "-1", "not a number", ""),
    ("tok>$5", "$5", "not a number", ""),
    ("cost>0.0000000001", "0.0000000001", "nine decimals", ""),
    ("tok>99999999999g", "99999999999g", "too large", ""),
    ("tok>" + "9" * 40, "9" * 40, "too many digits", ""),
    ("started:soon", "soon", "not a time", ""),
    ("started:2026-02-30", "2026-02-30", "not a time", ""),
    ("started:2026-13", "2026-13", "not a time", ""),
    ("started:25:00", "25:00", "not a time", ""),
    ('x "open quote', '"open quote', "not closed", ""),
    ('wf:"open', '"open', "not closed", ""),
    ("/var/log", "/var/log", "not closed", '"/var/log"'),
    ("//", "//", "empty", ""),
    ("/(a+)+/", "/(a+)+/", "nested", ""),
    ("/a(/", "/a(/", "malformed", ""),
    ("OR", "OR", "not part", "a,b"),
    (">", ">", "stands alone", "cost>0.5"),
    ("(a", "(a", "parentheses", ""),
    ("-", "-", "nothing to search for", "right after"),
    ('""', '""', "nothing to search for", ""),
    ("*", "*", "nothing to search for", ""),
    ("a\0b", "a\0b", "character", ""),
    ("wf:\ud800", "wf:\ud800", "character", ""),
]


@pytest.mark.parametrize(("text", "place", "message", "hint"), PROBLEMS)
def test_a_problem_has_a_place_and_a_hint(text: str, place: str, message: str, hint: str) -> None:
    parsed = parse(text, RUN_FIELDS)
    assert len(parsed.problems) == 1
    (problem,) = parsed.problems
    assert text[problem.start : problem.end] == place
    assert message in problem.message
    assert hint in problem.hint


def test_the_other_terms_still_work() -> None:
    parsed = parse("status:faild,x wf:crawl cost>", RUN_FIELDS)
    assert query.format(parsed) == "wf:crawl"
    assert [problem.start for problem in parsed.problems] == [7, 13, 24]


def test_limits_are_problems() -> None:
    assert parse("a" * (query.MAX_QUERY + 1), RUN_FIELDS).problems[0].end == query.MAX_QUERY + 1
    many = parse("a " * (query.MAX_TERMS + 5), RUN_FIELDS)
    assert (len(many.terms), len(many.problems)) == (query.MAX_TERMS, 1)
    assert parse("wf:" + ",".join("a" * (query.MAX_VALUES + 1)), RUN_FIELDS).problems


def test_require_shows_problems_under_their_places() -> None:
    good = understood("status:failed")
    assert good.require() is good
    with pytest.raises(InvalidInput) as caught:
        parse("wf:a\tstatus:faild", RUN_FIELDS).require()
    assert caught.value.message.splitlines() == [
        "the filter cannot be understood",
        "  wf:a status:faild",
        '              ^^^^^ "faild" is not a status',
        "              did you mean failed?",
    ]


@pytest.mark.parametrize("fields", FIELD_SETS.values(), ids=FIELD_SETS)
def test_a_table_is_sound(fields: FieldSet) -> None:
    names = fields.names()
    assert len(set(names)) == len(names)
    for field in fields.fields:
        assert (field.kind == "enum") == bool(field.values)
        assert (field.kind == "duration") == bool(field.until_column)
        for example in field.examples:
            op = ">" if field.kind in ("duration", "age", "time") else ":"
            understood(f"{field.name}{op}{example}", fields)


def test_every_status_of_an_approval_can_be_asked_for() -> None:
    assert get_args(get_type_hints(Approval)["status"]) == APPROVAL_STATUS


@pytest.mark.parametrize("fields", FIELD_SETS.values(), ids=FIELD_SETS)
def test_the_page_has_every_field_and_value(fields: FieldSet) -> None:
    section = PAGE.split(f"## Fields of {fields.name}")[1].split("\n## ")[0]
    for field in fields.fields:
        (row,) = [line for line in section.splitlines() if re.match(rf"\| [^|]*`{field.name}`", line)]
        assert f"| {field.kind} |" in row
        for word in (*field.aliases, *field.values):
            assert f"`{word}`" in row


EXAMPLES = [
    (name, line)
    for name, block in re.findall(r"```filter ([\w ]+)\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize(("name", "line"), EXAMPLES)
def test_the_examples_of_the_page_parse(name: str, line: str) -> None:
    understood(line, FIELD_SETS[name])
