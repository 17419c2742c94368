"""Durations, sizes, names and signal patterns as people write them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from fleetprompt.engine.core.duration import MAX_DURATION, format_duration, parse_duration
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.definition.scalars import (
    DurationField,
    SignalPattern,
    SizeField,
    StepId,
    WorkflowName,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("250ms", 0.25),
        ("2s", 2.0),
        ("24h", 86400.0),
        ("7d", 604800.0),
        ("1w", 604800.0),
        ("1.5h", 5400.0),
        ("1m30s500ms", 90.5),
        ("0s", 0.0),
        (0, 0.0),
        (90, 90.0),
        (0.5, 0.5),
    ],
)
def test_a_duration_is_read(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        "", "5", "m", "5 m", "-5m", "30m1h", "1m1m", "5min", "5M", "٥m", "1e3s", ".5s", "5m ", "1" * 200 + "s",
        -1, -0.001, math.nan, math.inf, -math.inf, 10**400, "521w7d", "3651d", True, None, [], {},
    ],
)  # fmt: skip
def test_what_is_no_duration_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput):
        parse_duration(value)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("30", "write `30s` for seconds"),
        ("5 min", "write `5m`"),
        ("2 hours 30 minutes", "write `2h30m`"),
        ("100 milliseconds", "write `100ms`"),
        ("soon", "write it like `250ms`, `90s`, `5m`, `1h30m` or `7d`"),
    ],
)
def test_the_hint_says_how_to_write_a_duration(value: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_duration(value)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (0.25, "250ms"), (0.9996, "1s"), (1.5, "1.5s"), (59.9999, "1m"), (90, "1m30s"), (5400, "1h30m"),
        (86400, "1d"), (694861.5, "8d1h1m1.5s"), (-90, "-1m30s"), (math.inf, "∞"), (math.nan, "?"),
        (12.3456, "12.346s"),
    ],
)  # fmt: skip
def test_a_duration_is_shown(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(0, MAX_DURATION))
def test_what_is_shown_can_be_read(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=0.0006)


@pytest.mark.parametrize(
    ("text", "size"),
    [("64KiB", 65536), ("10MB", 10_000_000), ("512B", 512), ("1.5KiB", 1536), ("2GiB", 2 << 30), (0, 0), (7, 7)],
)
def test_a_size_is_read(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("value", ["", "10", "10 MB", "10mb", "1.0001B", "-1B", "9" * 90 + "TB", -1, 2**63, 1.5, True])
def test_what_is_no_size_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput):
        parse_size(value)


@pytest.mark.parametrize(
    ("value", "hint"), [("64 kib", "write `64KiB`"), ("10", "write `10B`"), ("5mb", "write `5MB`")]
)
def test_the_hint_says_how_to_write_a_size(value: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_size(value)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        (StepId, ["a", "fetch_logs2", "a" * 64], ["", "A", "1a", "_a", "a-b", "a" * 65, "a\n", "é", 5, None]),
        (WorkflowName, ["nightly-audit", "a_b", "a" * 100], ["", "-a", "My Flow", "a" * 101, "a\n", 5]),
        (
            SignalPattern,
            ["deploy.*", "**", "a.**.b", "com.github-x.push_1"],
            ["", ".", "a.", ".a", "dep*", "a..b", "***", "a b", "x" * 201, 5, None],
        ),
        (DurationField, ["5m", 3, 0.5], ["x", -1, None]),
        (SizeField, ["5MB", 3], ["x", -1, None, 0.5]),
    ],
)
def test_fields_take_what_is_right_and_refuse_the_rest(field: Any, good: list[Any], bad: list[Any]) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(field)
    for value in good:
        adapter.validate_python(value)
    for value in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


@pytest.mark.parametrize(
    ("field", "value", "hint"),
    [
        (StepId, "Fetch-Logs", "for example `fetch_logs`"),
        (StepId, "fetchLogs", "for example `fetch_logs`"),
        (StepId, "2nd step!", "for example `nd_step`"),
        (WorkflowName, "My Flow", "for example `my-flow`"),
        (StepId, "!!", ""),
    ],
)
def test_a_bad_name_comes_with_a_good_one(field: Any, value: str, hint: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(field).validate_python(value)
    error = caught.value.errors()[0]
    assert error["type"] == "bad-id"
    assert error.get("ctx", {})["hint"] == hint


def test_editors_get_a_schema() -> None:
    assert TypeAdapter(StepId).json_schema() == {
        "type": "string",
        "pattern": "^[a-z][a-z0-9_]*$",
        "maxLength": 64,
        "description": "Name of a step, unique in the file.",
    }
    for field in (DurationField, SizeField):
        schema = TypeAdapter(field).json_schema()
        assert schema["anyOf"][0]["type"] == "string"
        assert schema["description"]
