"""The engine's time follows the clock on the wall wherever that goes, except back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprompt.engine.runtime.clock import SLOWER, WORTH_TELLING, SteadyClock

HOUR = 3_600.0


class Wall:
    """Two clocks in our hands."""

    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.elapsed = 50.0
        self.told: list[float] = []
        self.steady = SteadyClock(self, lambda: self.elapsed, self.told.append)

    def now(self) -> float:
        return self.wall

    def after(self, seconds: float, jump: float = 0.0) -> float:
        """What the steady clock says when the wall clock jumps, and so many seconds pass."""
        self.wall += jump + seconds
        self.elapsed += seconds
        return self.steady.now()


def test_it_says_what_the_wall_clock_says() -> None:
    wall = Wall()
    assert wall.after(0) == wall.wall
    assert wall.after(HOUR) == wall.wall
    assert wall.after(HOUR, jump=0.01 * HOUR) == wall.wall
    assert wall.after(HOUR, jump=-0.01 * HOUR) == wall.wall, "a time server makes it run slower"
    assert wall.after(1, jump=24 * HOUR) == wall.wall, "the machine slept"


def test_an_hour_back_is_caught_up_with_in_sixteen() -> None:
    wall = Wall()
    before = wall.after(1)
    assert wall.after(0, jump=-HOUR) == before
    assert wall.after(0) == before
    assert wall.told == [HOUR]
    assert wall.after(HOUR) == before + HOUR * (1 - SLOWER)
    assert wall.after(14.9 * HOUR) > wall.wall
    assert wall.after(0.2 * HOUR) == wall.wall
    assert wall.after(1, jump=-HOUR) > wall.wall
    assert len(wall.told) == 2, "once each time"


def test_what_is_corrected_every_day_is_not_worth_telling() -> None:
    wall = Wall()
    wall.after(10, jump=-WORTH_TELLING / 2)
    assert wall.told == []


@given(st.lists(st.tuples(st.floats(0, 1e5), st.one_of(st.just(0.0), st.floats(-1e6, 1e6))), max_size=50))
def test_it_never_goes_back_never_stands_still_and_is_never_behind(steps: list[tuple[float, float]]) -> None:
    wall = Wall()
    before = wall.after(0)
    for seconds, jump in steps:
        now = wall.after(seconds, jump)
        assert now >= before + seconds * (1 - SLOWER) - 1e-6
        assert now >= wall.wall
        assert now <= max(wall.wall, before + seconds) + 1e-6
        before = now


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_forward_after_back_is_no_gain(jump: float) -> None:
    wall = Wall()
    wall.after(1, jump=jump)
    wall.after(1, jump=-jump)
    assert wall.after(10 * HOUR * abs(jump)) == wall.wall
