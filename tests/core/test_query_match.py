"""What a filter means: which rows it finds, with null, letter case, units and time zones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetprompt.engine.core.query import Compare, Query, parse
from fleetprompt.engine.core.query_fields import (
    APPROVAL_FIELDS,
    FIRING_FIELDS,
    RUN_FIELDS,
    SIGNAL_FIELDS,
    WORKFLOW_FIELDS,
    FieldSet,
)
from fleetprompt.engine.core.query_match import bounds, matches
from fleetprompt.engine.core.query_values import Moment


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


NOW = at("2026-11-20T15:00:00Z")
HOUR = 3600.0

ROW: dict[str, Any] = {
    "id": "01K9ABCD",
    "workflow": "Incident-Triage",
    "status": "failed",
    "waiting_on": None,
    "owner": "ada",
    "project": "",
    "session": None,
    "tenant": "acme",
    "labels": {"env": "prod", "Team": "Core", "app.kubernetes.io/name": "shop"},
    "step": "audit[3].deps",
    "error": "RATE_LIMIT Rate limit of 20/min exceeded audit[3].deps",
    "cost_nano": 500_000_000,
    "tokens": 12_000,
    "created_at": NOW - 2 * HOUR,
    "started_at": NOW - 2 * HOUR + 1,
    "finished_at": NOW - HOUR + 1,
    "attempt": 2,
    "host": None,
    "root": "01K9ABCD",
    "parent": None,
    "retry_of": None,
    "plan": "sha256:abc*def",
    "trigger": "webhook",
    "tool": ["shell", "http.get"],
}


def understood(text: str, fields: FieldSet = RUN_FIELDS) -> Query:
    parsed = parse(text, fields)
    assert parsed.problems == ()
    return parsed


def hits(text: str, row: dict[str, Any] = ROW, fields: FieldSet = RUN_FIELDS) -> bool:
    return matches(understood(text, fields), row, NOW)


MEANING = [
    ("", True),
    ("status:failed", True),
    ("status:completed,failed", True),
    ("status:completed", False),
    ("status:fail*", True),
    ("wf:incident-triage", True),
    ("wf:incident", False),
    ("wf:inc*age", True),
    ("wf:*", True),
    ("wf:incident-triage*incident-triage", False),
    ("run:01k9*", True),
    ("plan:*c*d*", True),
    ('plan:"sha256:abc*def"', True),
    ('plan:"sha256:abc*"', False),
    ("label.env:prod", True),
    ("label.Env:prod", False),
    ("label.Team:core", True),
    ("label.app.kubernetes.io/name:shop", True),
    ("label.gone:*", False),
    ("-label.gone:*", True),
    ("step:deps", True),
    ("step:a*deps", True),
    ("step:deps*audit", False),
    ("error:rate_limit", True),
    ('"rate limit"', True),
    ("rate*min", True),
    ('"rate*min"', False),
    ("triage", True),
    ("01k9", True),
    ("acme", False),
    ("/rate.limit of [0-9]+/", True),
    ("/^rate/", True),
    ("/deps$/", True),
    ("-/nothing/", True),
    ("tool:SHELL", True),
    ("tool:http.*", True),
    ("-tool:shell", False),
    ("tool:python", False),
    ("model:*", False),
    ("-model:x", True),
    ("session:*", False),
    ("-session:x", True),
    ("project:*", False),
    ("host!=a", True),
    ("waiting:timer", False),
    ("cost>0.4", True),
    ("cost>0.5", False),
    ("cost>=0.5", True),
    ("cost:0.5", True),
    ("cost!=0.5", False),
    ("cost<=$0.499999999", False),
    ("tok:12k", True),
    ("tok:1,2,12k", True),
    ("tok<12000", False),
    ("attempt>1", True),
    ("dur>=1h", True),
    ("dur>1h", False),
    ("dur<61m", True),
    ("age>119m", True),
    ("age<=2h", True),
    ("age<2h", False),
    ("since:2h", True),
    ("since:119m", False),
    ("since:today", True),
    ("-since:today", False),
    ("started:2h", True),
    ("started:1h", False),
    ("started>2h", True),
    ("started<1h", True),
    ("started:today", True),
    ("started:yesterday", False),
    ("started>yesterday", True),
    ("started>today", False),
    ("started>=today", True),
    ("started<=today", True),
    ("started<today", False),
    ("started:2026-11", True),
    ("started:2026-11-20T13:00", True),
    ("started:2026-11-20T13:00:01Z", True),
    ("started:2026-11-20T13:00:01.5Z", False),
    ("started:2026-11-20T14:00+01:00", True),
    ("started:13:00", True),
    ("started:13:01", False),
    ("started:2026-11-19,2026-11-20", True),
    ("started<now", True),
    ("status:failed tool:python", False),
]


@pytest.mark.parametrize(("text", "expected"), MEANING)
def test_matches(text: str, expected: bool) -> None:
    assert hits(text) is expected


EVERY_FIELD = ["cost>0", "tok>=0", "dur<1h", "age>1s", "started<now", "since:7d", "attempt:1,2", "wf:a", "step:*"]


@pytest.mark.parametrize("text", [*EVERY_FIELD, "label.a:*", "tool:*", "status:*", "word", "/x*/"])
@pytest.mark.parametrize("row", [{}, dict.fromkeys(ROW), {"step": "", "status": "", "labels": {"a": ""}, "tool": []}])
def test_null_is_false_and_its_negation_true(text: str, row: dict[str, Any]) -> None:
    assert not hits(text, row)
    assert hits("-" + text, row)


def test_letters_beyond_ascii_keep_their_case() -> None:
    row = {"workflow": "Über-ITEM"}
    assert hits("wf:Über-item", row)
    assert not hits("wf:über-item", row)


def test_a_running_run_lasts_until_now() -> None:
    row = {"started_at": NOW - 90, "finished_at": None}
    assert hits("dur>89s", row)
    assert not hits("dur>90s", row)


def test_the_other_lists_have_their_own_fields() -> None:
    approval = {"status": "pending", "approvers": ["group:oncall"], "expires_at": NOW + 300, "message": "Restart?"}
    assert hits('approver:"group:oncall" expires<10m expires:10m restart', approval, APPROVAL_FIELDS)
    assert not hits("expires<1m", approval, APPROVAL_FIELDS)
    signal = {"type": "deploy.done", "run": ["r1", "r2"], "created_at": NOW - 60, "correlation": "c"}
    assert hits("type:deploy.* run:r2 since:2m age<2m correlation:c", signal, SIGNAL_FIELDS)
    assert hits("status:active name:night*", {"name": "nightly", "status": "active"}, WORKFLOW_FIELDS)
    assert parse("cost>1", WORKFLOW_FIELDS).problems


def test_days_are_those_of_the_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    started = next(field for field in RUN_FIELDS.fields if field.name == "started")
    # The day on which the clocks went back has 25 hours.
    day = bounds(started, "=", Moment("2026-10-25"), NOW, berlin)
    assert day == ((">=", at("2026-10-25T00:00+02:00")), ("<", at("2026-10-26T00:00+01:00")))
    late = at("2026-11-20T23:30Z")
    assert bounds(started, ">=", Moment("today"), late, berlin) == ((">=", at("2026-11-21T00:00+01:00")),)
    assert bounds(started, "<", Moment("14:30"), late, berlin) == (("<", at("2026-11-21T14:30+01:00")),)
    assert bounds(started, "=", Moment("2026-12"), NOW, UTC) == (
        (">=", at("2026-12-01T00:00Z")),
        ("<", at("2027-01-01T00:00Z")),
    )


def test_bounds_are_in_the_unit_of_the_column() -> None:
    cases = {
        "cost>0.5": ((">", 500_000_000),),
        "age>10m": (("<", NOW - 600),),
        "age<=10m": ((">=", NOW - 600),),
        "dur<2m": (("<", 120.0),),
        "since:1h": ((">=", NOW - 3600),),
        "started:1h": ((">=", NOW - 3600), ("<=", NOW)),
    }
    for text, expected in cases.items():
        (term,) = understood(text).terms
        assert isinstance(term, Compare)
        assert bounds(term.field, term.op, term.value, NOW) == expected


FIELDS = st.sampled_from([RUN_FIELDS, APPROVAL_FIELDS, SIGNAL_FIELDS, WORKFLOW_FIELDS, FIRING_FIELDS])
NAMES = sorted({name for fields in (RUN_FIELDS, APPROVAL_FIELDS, SIGNAL_FIELDS) for name in fields.names()})
TERMS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-", "!"]),
    st.sampled_from([*NAMES, "label.a"]),
    st.sampled_from([":", "=", "!=", ">", ">=", "<", "<="]),
    st.sampled_from(
        ["a", "A*", "*", "a,b", "failed", "0.5", "1,2", "10m", "2h", "today", "1970-01", "2026-11-20", "14:30"]
    ),
) | st.sampled_from(["a", "-a", "/a./", "-/^a/", '"a.b"', "*a*b"])
TEXTS = st.lists(TERMS, max_size=4).map(" ".join)
STRINGS = st.sampled_from([None, "", "a", "A", "Ä", "failed", "a.b", "0.5"])
ROWS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("id", "workflow", "status", "error", "step", "name", "type"), STRINGS),
        **{name: st.none() | st.integers(0, 2**40) for name in ("cost_nano", "tokens", "attempt")},
        **{name: st.none() | st.floats(0, 3e9) for name in ("created_at", "started_at", "finished_at", "expires_at")},
        "tool": st.none() | st.lists(st.sampled_from(["a", "b", ""]), max_size=2),
        "labels": st.none() | st.dictionaries(st.just("a"), st.sampled_from(["", "a", "2h"])),
    },
)


@given(TEXTS, FIELDS, ROWS, st.floats(0, 3e9))
@settings(max_examples=500, deadline=None)
def test_negation_is_the_complement(text: str, fields: FieldSet, row: dict[str, Any], now: float) -> None:
    parsed = parse(text, fields)
    answers: list[bool] = []
    for term in parsed.terms:
        one = Query(terms=(term,), problems=(), text="")
        opposite = msgspec.structs.replace(one, terms=(msgspec.structs.replace(term, negated=not term.negated),))
        answers.append(matches(one, row, now))
        assert matches(opposite, row, now) is not answers[-1]
    assert matches(parsed, row, now) is all(answers)
