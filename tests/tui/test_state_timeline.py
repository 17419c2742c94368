"""The timeline: which columns a time has, and what is squeezed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_kit import GOLDEN, START, Telling, act, golden, telling

from fleetprompt.engine.core.facts import RunFinished, StepWaiting
from fleetprompt.engine.core.plan import Retry
from fleetprompt.tui.state.timeline import GAP_COLUMNS, Busy, Intervals, TimeScale

LENGTHS = st.one_of(st.sampled_from([0.0, 0.001, 1.0, 3_600.0, 1e6]), st.floats(0, 1e5))


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[tuple[float, float]], float, float]:
    """Busy intervals, and the time before the first and after the last."""
    at = start = draw(st.sampled_from([0.0, 1_000.0, 1.8e9]))
    at += draw(LENGTHS)
    busy: list[tuple[float, float]] = []
    for length, idle in draw(st.lists(st.tuples(LENGTHS, LENGTHS.filter(lambda idle: idle > 1e-3)), max_size=30)):
        busy.append((at, at + length))
        at += length + idle
    return busy, start, at if draw(st.booleans()) or not busy else busy[-1][1]


@given(stories(), st.integers(1, 200))
def test_every_column_belongs_to_one_stretch_and_time_never_goes_back(
    story: tuple[list[tuple[float, float]], float, float], width: int
) -> None:
    busy, start, end = story
    scale = TimeScale(busy, width, start, end)
    assert sum(part.columns for part in scale._parts) == width
    assert [part.column for part in scale._parts] == [
        sum(part.columns for part in scale._parts[:i]) for i in range(len(scale._parts))
    ]
    moments = sorted({start, end, *(edge for each in busy for edge in each), *(scale.at(i) for i in range(width))})
    columns = [scale.column(moment) for moment in moments]
    assert columns == sorted(columns)
    assert all(0 <= column < width for column in columns)
    assert [scale.at(i) for i in range(width)] == sorted(scale.at(i) for i in range(width))


@given(stories(), st.integers(1, 200))
def test_every_activity_is_to_be_seen_and_none_is_in_a_gap(
    story: tuple[list[tuple[float, float]], float, float], width: int
) -> None:
    busy, start, end = story
    scale = TimeScale(busy, width, start, end)
    squeezed = {gap.column + i for gap in scale.gaps for i in range(gap.columns)}
    for each in busy:
        first, last = scale.cells(*each)
        assert 0 <= first < last <= width
        assert not squeezed & set(range(first, last))
    for gap in scale.gaps:
        assert gap.columns == GAP_COLUMNS
    assert len(squeezed) <= width / 2


def test_hours_of_waiting_take_three_columns_and_minutes_of_work_the_rest() -> None:
    busy = [(0.0, 60.0), (36_060.0, 36_120.0)]
    scale = TimeScale(busy, 63, 0.0, 36_120.0)
    assert scale.cells(*busy[0]) == (0, 30)
    (gap,) = scale.gaps
    assert (gap.column, gap.columns, gap.seconds) == (30, 3, 36_000.0)
    assert scale.cells(*busy[1]) == (33, 63)
    assert scale.cells(0.0, 36_120.0) == (0, 63)


def test_what_is_not_idle_for_long_is_not_squeezed() -> None:
    scale = TimeScale([(0.0, 10.0), (11.0, 20.0)], 40, 0.0, 20.0)
    assert scale.gaps == []
    assert scale.column(10.0) == 20


def test_a_run_that_waits_now_has_its_gap_at_the_end_and_one_in_which_nothing_happened_has_none() -> None:
    scale = TimeScale([(0.0, 10.0)], 20, 0.0, 10_000.0)
    assert [(gap.column, gap.seconds) for gap in scale.gaps] == [(17, 9_990.0)]
    assert TimeScale([], 20, 5.0, 5.0).gaps == []
    with pytest.raises(ValueError, match="at least one column"):
        TimeScale([], 0, 0.0, 1.0)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 10)), max_size=20))
def test_busy_is_the_union_of_what_was_active(intervals: list[tuple[float, float]]) -> None:
    edges = sorted([(at, 0, 1) for at, length in intervals] + [(at + length, 1, -1) for at, length in intervals])
    busy = Busy()
    for at, _, step in edges:
        (busy.begin if step > 0 else busy.end)(at)
    found = busy.until(1_000.0)
    assert all(left[1] < right[0] for left, right in pairwise(found))
    for at, length in intervals:
        assert any(first <= at and at + length <= last for first, last in found)


def test_attempts_and_waits_of_a_step_are_intervals_of_their_own() -> None:
    run = telling(act("a", retry=Retry(3)), act("b"))
    run.start("a")
    run.now += 2
    run.fail("a", retry_at=run.now + 5)
    run.now += 5
    run.start("a", attempt=2)
    run.now += 1
    run.ok("a", attempt=2)
    run.say(StepWaiting(at=run.now, path="b", on="signal", ref="go"))
    (found, waits) = (run.fold.index.tracks[path].intervals.found for path in "ab")
    assert [(each.start - START, each.end and each.end - START, each.doing, each.attempt) for each in found] == [
        (0, 2, "active", 1),
        (2, 7, "waiting", 1),
        (7, 8, "active", 2),
    ]
    assert [(each.doing, each.on, each.end) for each in waits] == [("waiting", "signal", None)]
    assert run.fold.busy.until(run.now + 100) == [(START, START + 2), (START + 7, START + 8)]
    assert [gap.seconds for gap in run.fold.scale(60, run.now + 1_000).gaps] == [5.0, 1_000.0]


def test_many_intervals_of_one_step_become_one() -> None:
    intervals = Intervals()
    for i in range(3_000):
        intervals.move(float(i), "active", "", i)
        intervals.move(i + 0.5, None, "", i)
    assert len(intervals.found) == 500
    assert (intervals.found[0].start, intervals.found[-1].end) == (0.0, 2_999.5)


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_when_a_run_is_over_nothing_goes_on_in_it(file: object) -> None:
    plan, facts = golden(file)  # type: ignore[arg-type]
    run = Telling(plan, begin=False)
    run.say(*facts)
    open_ = [path for path, track in run.fold.index.tracks.items() if track.intervals.doing is not None]
    assert bool(open_) == (not isinstance(facts[-1], RunFinished))
    run.fold.scale(80, run.now)
