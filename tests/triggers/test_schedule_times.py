"""When schedules come: held against every minute of the calendar, around the nights in which clocks are set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetprompt.engine.core.cron import parse_cron
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.firing import After, Occurrence, times
from fleetprompt.engine.triggers.schedule import calendar, interval, local_minute


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def first(after: After, start: str, count: int) -> list[Occurrence]:
    return list(islice(times(after, moment(start), moment("2200-01-01")), count))


def utc(found: list[Occurrence]) -> list[str]:
    return [f"{datetime.fromtimestamp(each.at, UTC):%Y-%m-%d %H:%M}" for each in found]


# ---------------------------------------------------------------- what cron means


def test_sunday_is_sunday() -> None:
    for sunday in ("0", "7", "sun"):
        assert utc(first(calendar(f"0 0 * * {sunday}", "UTC"), "2026-01-01", 2)) == [
            "2026-01-04 00:00",
            "2026-01-11 00:00",
        ]


def test_day_or_weekday() -> None:
    found = utc(first(calendar("0 0 13 * fri", "UTC"), "2026-01-05", 3))
    assert found == ["2026-01-09 00:00", "2026-01-13 00:00", "2026-01-16 00:00"]


def test_day_and_weekday_where_one_begins_with_a_star() -> None:
    found = utc(first(calendar("0 0 */2 * fri", "UTC"), "2026-01-01", 3))
    assert found == ["2026-01-09 00:00", "2026-01-23 00:00", "2026-02-13 00:00"]


def test_a_day_that_comes_every_eight_years() -> None:
    assert utc(first(calendar("0 0 29 2 *", "UTC"), "2096-03-01", 1)) == ["2104-02-29 00:00"]


def test_a_time_is_later_than_the_moment_that_is_asked_about() -> None:
    after = calendar("0 * * * *", "UTC")
    assert after(moment("2026-01-01T12:00")) == Occurrence("2026-01-01T13:00", moment("2026-01-01T13:00"))
    assert after(moment("2026-01-01T12:00") - 0.001) == Occurrence("2026-01-01T12:00", moment("2026-01-01T12:00"))


@pytest.mark.parametrize(("cron", "zone"), [("* * * *", "UTC"), ("* * * * *", "Mars/Olympus"), ("* * * * *", "../x")])
def test_what_cannot_be_read_is_refused(cron: str, zone: str) -> None:
    with pytest.raises(InvalidInput):
        calendar(cron, zone)


def test_the_end_of_the_calendar_is_the_end() -> None:
    assert calendar("0 0 1 1 *", "UTC")(datetime(9999, 6, 1, tzinfo=UTC).timestamp()) is None


# ---------------------------------------------------------------- clocks that are set


def test_a_minute_that_does_not_exist_comes_once_after_the_gap() -> None:
    found = first(calendar("30 2 * * *", "Europe/Berlin"), "2026-03-28T12:00", 2)
    assert utc(found) == ["2026-03-29 01:30", "2026-03-30 00:30"]
    assert found[0].scheduled == "2026-03-29T03:30"
    assert "02:30 does not exist" in found[0].note


def test_a_minute_that_exists_twice_counts_once_and_the_second_is_told_of() -> None:
    found = first(calendar("30 2 * * *", "Europe/Berlin"), "2026-10-24T12:00", 3)
    assert utc(found) == ["2026-10-25 00:30", "2026-10-25 01:30", "2026-10-26 01:30"]
    assert [each.again for each in found] == [False, True, False]
    assert found[0].scheduled == found[1].scheduled == "2026-10-25T02:30"


def test_the_quarters_of_the_hour_neither_pile_up_nor_pause_where_an_hour_is_left_out() -> None:
    found = first(calendar("*/15 * * * *", "Europe/Berlin"), "2026-03-29T00:00", 12)
    assert {b.at - a.at for a, b in pairwise(found)} == {900.0}
    assert len({each.scheduled for each in found}) == 12
    assert not any(each.note for each in found)


def test_a_day_that_an_island_has_skipped() -> None:
    found = first(calendar("0 9 * * *", "Pacific/Apia"), "2011-12-29T12:00", 3)
    assert [each.scheduled for each in found] == ["2011-12-29T09:00", "2011-12-31T09:00", "2012-01-01T09:00"]


NIGHTS = {
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),
    "Pacific/Apia": ("2011-12-29", "2011-04-02"),
    "America/St_Johns": ("2006-04-02", "2006-10-29"),
    "Africa/Casablanca": ("2026-02-15", "2026-03-22"),
    "Asia/Kolkata": ("2026-03-29", "2026-10-25"),
}
_numbers = st.integers(0, 59).map(str)
_field = st.one_of(
    st.just("*"),
    st.sampled_from(["*/5", "*/7", "*/15", "*/30"]),
    st.lists(st.integers(0, 59), min_size=1, max_size=3).map(lambda found: ",".join(map(str, found))),
)
_hour = st.one_of(
    st.just("*"),
    st.sampled_from(["1-4", "*/2", "0,2", "2", "3", "1", "23"]),
)
_weekday = st.sampled_from(["*", "0", "7", "sat,sun", "1-5", "mon"])
_day = st.sampled_from(["*", "29", "25", "1-7", "*/2", "30"])


def expected(cron: str, zone: str, begin: float, end: float) -> list[Occurrence]:
    """By going through all minutes of the period: those that are on the wall, and those that should have been."""
    known, place = parse_cron(cron), ZoneInfo(zone)

    def fits(wall: datetime) -> bool:
        day, weekday = wall.day in known.days, (wall.weekday() + 1) % 7 in known.weekdays
        fitting = day or weekday if known.either else day and weekday
        clock = wall.minute in known.minutes and wall.hour in known.hours
        return fitting and wall.month in known.months and clock

    found: dict[float, tuple[str, bool]] = {}
    seen: set[str] = set()
    at = begin - begin % 60 - 90_000
    before: datetime | None = None
    while at <= end:
        local = datetime.fromtimestamp(at, place)
        wall = local.replace(tzinfo=None, fold=0)
        text = wall.isoformat(timespec="minutes")
        if fits(wall):
            found[at] = (text, text in seen)
        if before is not None and wall - before > timedelta(minutes=1):
            gone = before + timedelta(minutes=1)
            while gone < wall:
                moved = at + (gone - before - timedelta(minutes=1)).total_seconds()
                if fits(gone):
                    shown = datetime.fromtimestamp(moved, place).replace(tzinfo=None, fold=0)
                    found.setdefault(moved, (shown.isoformat(timespec="minutes"), False))
                gone += timedelta(minutes=1)
        seen.add(text)
        before = wall
        at += 60
    return [Occurrence(text, at, "", again) for at, (text, again) in sorted(found.items()) if begin < at <= end]


@settings(max_examples=120, deadline=None)
@given(
    zone=st.sampled_from(sorted(NIGHTS)),
    night=st.integers(0, 1),
    start=st.integers(-1500, 600),
    fields=st.tuples(_field, _hour, _day, st.just("*"), _weekday),
)
def test_every_minute_that_fits_comes_once(zone: str, night: int, start: int, fields: tuple[str, ...]) -> None:
    cron = " ".join(fields)
    begin = moment(NIGHTS[zone][night]) + start * 60
    end = begin + 30 * 3600
    found = list(times(calendar(cron, zone), begin, end))
    assert [(each.scheduled, each.at, each.again) for each in found] == [
        (each.scheduled, each.at, each.again) for each in expected(cron, zone, begin, end)
    ]
    counted = [each.scheduled for each in found if not each.again]
    assert len(counted) == len(set(counted))


@settings(max_examples=100, deadline=None)
@given(
    at=st.floats(0, 4e9),
    seconds=st.sampled_from([1.0, 1.5, 7.0, 90.0, 3600.0, 86_400.0, 604_800.0]),
)
def test_intervals_are_the_same_wherever_they_are_counted_from(at: float, seconds: float) -> None:
    after = interval(seconds)
    found = list(islice(times(after, at, at + 10 * seconds), 5))
    assert found[0].at - at <= seconds
    assert [round((each.at * 1000) % (seconds * 1000)) for each in found] == [0] * 5
    assert after((found[0].at + found[1].at) / 2) == found[1]
    assert len({each.scheduled for each in found}) == 5


def test_an_interval_is_known_by_its_moment_in_utc() -> None:
    assert interval(90)(moment("2026-03-29T00:00")) == Occurrence("2026-03-29T00:01:30Z", moment("2026-03-29T00:01:30"))


def test_the_minute_on_the_wall() -> None:
    assert local_minute(moment("2026-07-01T12:34:56"), "Europe/Berlin") == "2026-07-01T14:34"
