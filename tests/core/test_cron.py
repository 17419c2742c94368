"""Cron expressions are read as Vixie's cron reads them, and what can never come is refused."""

from __future__ import annotations

import pytest

from fleetprompt.engine.core.cron import MACROS, parse_cron
from fleetprompt.engine.core.errors import InvalidInput


def test_sunday_is_0_and_7_and_sun() -> None:
    for text in ("0", "7", "sun", "SUN", "0,7", "7-7"):
        assert parse_cron(f"0 0 * * {text}").weekdays == (0,)


@pytest.mark.parametrize(
    ("field", "days"),
    [
        ("5-7", (0, 5, 6)),
        ("fri-sun", (0, 5, 6)),
        ("mon-fri", (1, 2, 3, 4, 5)),
        ("*/2", (0, 2, 4, 6)),
        ("*/7", (0,)),
        ("1/3", (0, 1, 4)),
        ("*", (0, 1, 2, 3, 4, 5, 6)),
    ],
)
def test_weekdays(field: str, days: tuple[int, ...]) -> None:
    assert parse_cron(f"0 0 * * {field}").weekdays == days


def test_lists_ranges_steps_and_names() -> None:
    cron = parse_cron("0-10/5,59 */8 1,15 jan,3-4 *")
    assert (cron.minutes, cron.hours, cron.days, cron.months) == ((0, 5, 10, 59), (0, 8, 16), (1, 15), (1, 3, 4))
    assert parse_cron("*/90 * * * *").minutes == (0,)


@pytest.mark.parametrize(
    ("text", "either"),
    [
        ("0 0 13 * fri", True),
        ("0 0 * * fri", False),
        ("0 0 13 * *", False),
        ("0 0 */2 * fri", False),
        ("0 0 13 * */2", False),
    ],
)
def test_either_of_day_and_weekday_is_enough_where_both_are_restricted(text: str, either: bool) -> None:
    assert parse_cron(text).either is either


def test_every_macro_can_be_read() -> None:
    assert {name: parse_cron(name) for name in MACROS} == {name: parse_cron(text) for name, text in MACROS.items()}


@pytest.mark.parametrize(
    "text",
    [
        "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *", "* * * 0 *",
        "* * * * 8", "-1 * * * *", "5-1 * * * *", "*/0 * * * *", "*/x * * * *", "* * * * funday", "1,,2 * * * *",
        "@every 5m", "@never", "L * * * *", "* * * * 1#2", "٣ * * * *", "* * * foo *", "1- * * * *",
    ],
)  # fmt: skip
def test_what_is_no_cron_expression_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_cron(text)


@pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 31 feb */2", "0 0 30,31 2 *"])
def test_a_day_that_no_month_has_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="never comes"):
        parse_cron(text)


@pytest.mark.parametrize("text", ["0 0 29 2 *", "0 0 31 1,2 *", "0 0 31 2 mon", "0 0 28-31 2 *"])
def test_a_day_that_comes_now_and_then_is_not(text: str) -> None:
    parse_cron(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("@reboot", "@hourly"),
        ("0 0 * * * *", "every: 10s"),
        ("0 0 * * fri-mon", "`fri-sat,sun-mon`"),
        ("30-10 * * * *", "`30-59,0-10`"),
        ("0 0 ? * 1", "dialects"),
        ("0 0 L * *", "dialects"),
        ("0 0 15W * *", "dialects"),
        ("0 0 * * mon#1", "dialects"),
    ],
)
def test_what_others_write_is_refused_with_what_to_write_here(text: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_cron(text)
    assert hint in refused.value.hint
