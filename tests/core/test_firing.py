"""What becomes of the times of a schedule: each is decided about once, whatever dies, returns or decides beside it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fleetprompt.engine.core.firing import (
    GRACE,
    MOST_MADE_UP_FOR,
    MOST_QUEUED,
    After,
    Decision,
    Firing,
    Occurrence,
    Schedule,
    Standing,
    cancel_of,
    decide,
    fire_now,
    resumed,
    schedules_of,
    signal_of,
)
from fleetprompt.engine.core.plan import Block, Plan, Trigger, trigger_ids
from fleetprompt.engine.triggers.schedule import calendar, interval

HOUR = 3600.0
START = 1_800_000_000.0 - 1_800_000_000.0 % 86_400.0


def schedule(**fields: Any) -> Schedule:
    return Schedule(**{"workflow": "nightly", "trigger": "t", "every": HOUR, **fields})


def standing(upto: float = START, **fields: Any) -> Standing:
    return Standing(workflow="nightly", trigger="t", since=upto, upto=upto, **fields)


def outcomes(decision: Decision) -> list[str]:
    return [firing.outcome for firing in decision.firings]


# ---------------------------------------------------------------- in time


def test_a_time_fires_when_it_has_come_and_says_when_the_next_one_does() -> None:
    before = decide(schedule(), standing(), START + HOUR - 1, interval(HOUR))
    assert before == Decision(START, wake=START + HOUR)
    at = decide(schedule(), standing(), START + HOUR, interval(HOUR))
    assert outcomes(at) == ["fired"]
    assert (at.upto, at.wake) == (START + HOUR, START + 2 * HOUR)
    assert decide(schedule(), standing(at.upto), START + HOUR + 1, interval(HOUR)).firings == ()


def test_what_is_known_from_now_on_makes_up_for_nothing_before() -> None:
    for catchup in ("none", "latest", "all"):
        found = decide(schedule(catchup=catchup), standing(START + 1), START + 2, interval(HOUR))
        assert found.firings == ()


def test_times_before_the_workflow_was_made_active_do_not_count() -> None:
    found = decide(
        schedule(catchup="all"), standing(), START + 10 * HOUR + 5, interval(HOUR), active=START + 9.5 * HOUR
    )
    assert [firing.scheduled[-9:-4] for firing in found.firings] == ["10:00"]


def test_nothing_comes_of_a_schedule_that_is_paused() -> None:
    found = decide(schedule(catchup="all"), standing(paused=True), START + 10 * HOUR, interval(HOUR))
    assert found == Decision(START)


def test_jitter_delays_each_time_by_its_own_and_every_engine_by_the_same() -> None:
    jittered = schedule(jitter=600.0)
    delays = [jittered.due(Occurrence(str(n), 0.0)) for n in range(200)]
    assert all(0 <= delay < 600 for delay in delays)
    assert len({*delays}) == 200
    assert max(delays) > 500
    assert delays == [schedule(jitter=600.0).due(Occurrence(str(n), 0.0)) for n in range(200)]
    assert delays[0] != schedule(jitter=600.0, trigger="u").due(Occurrence("0", 0.0))


def test_a_time_whose_jitter_is_not_over_waits_and_is_not_missed() -> None:
    jittered = schedule(every=60.0, jitter=30_000.0, catchup="all", overlap="allow")
    held, fired, now = standing(), list[Firing](), START
    while now < START + 60_000:
        found = decide(jittered, held, now, interval(60.0))
        fired += found.firings
        held = replace(held, upto=found.upto)
        assert found.wake is not None
        now = max(found.wake, now + 10)
    assert {firing.outcome for firing in fired} == {"fired"}
    assert len(fired) > 400
    assert all(firing.at - firing.due <= 30_010 for firing in fired)


# ---------------------------------------------------------------- after downtime


@pytest.mark.parametrize(
    ("catchup", "late", "expected"),
    [
        ("none", 1.0, ["missed", "missed", "fired"]),
        ("none", GRACE + 1, ["missed", "missed", "missed"]),
        ("latest", 1.0, ["missed", "missed", "fired"]),
        ("latest", GRACE + 1, ["missed", "missed", "fired"]),
        ("all", GRACE + 1, ["fired", "fired", "fired"]),
    ],
)
def test_which_missed_times_are_made_up_for(catchup: str, late: float, expected: list[str]) -> None:
    one = schedule(catchup=catchup, overlap="allow")
    found = decide(one, standing(), START + 3 * HOUR + late, interval(HOUR))
    assert outcomes(found) == expected
    assert all(firing.reason for firing in found.firings if firing.outcome == "missed")
    assert found.upto == START + 3 * HOUR


def test_a_short_interval_is_not_said_to_have_missed_an_engine_that_was_there() -> None:
    """Several of its times come where the engine is held up for a moment: the latest fires."""
    found = decide(schedule(every=1.0), standing(), START + 3.5, interval(1.0))
    assert outcomes(found) == ["missed", "missed", "fired"]
    assert "no engine" not in found.firings[0].reason


def test_of_a_long_absence_the_latest_times_are_looked_at_and_the_others_recorded_together() -> None:
    one = schedule(every=60.0, catchup="all", overlap="allow")
    found = decide(one, standing(), START + 30 * 86_400.0, interval(60.0))
    first, *others = found.firings
    assert (first.outcome, first.due) == ("missed", START + 60.0)
    begin, _, end = first.scheduled.partition("…")
    assert begin == interval(60.0)(START).scheduled  # type: ignore[union-attr]
    assert end == interval(60.0)(others[0].due - 120.0).scheduled  # type: ignore[union-attr]
    assert [firing.outcome for firing in others] == ["fired"] * MOST_MADE_UP_FOR
    assert others[-1].due == START + 30 * 86_400.0


def test_a_long_absence_takes_no_longer_than_a_short_one() -> None:
    asked = 0

    def after(at: float) -> Occurrence | None:
        nonlocal asked
        asked += 1
        return interval(1.0)(at)

    decide(schedule(every=1.0, catchup="all"), standing(), START + 5 * 365 * 86_400.0, after)
    assert asked < 6 * MOST_MADE_UP_FOR


def test_a_clock_that_was_a_year_ahead_silences_nothing() -> None:
    ahead = standing(START + 365 * 86_400.0)
    found = decide(schedule(), ahead, START, interval(HOUR))
    assert found.wake == START + HOUR
    assert outcomes(decide(schedule(), replace(ahead, upto=found.upto), START + HOUR, interval(HOUR))) == ["fired"]


def test_a_clock_that_was_set_back_a_little_fires_nothing_again() -> None:
    found = decide(schedule(), standing(START + HOUR), START + HOUR - 30, interval(HOUR))
    assert (found.firings, found.wake) == ((), START + 2 * HOUR)


# ---------------------------------------------------------------- overlap


def test_the_run_before_has_not_ended() -> None:
    def found(overlap: str, *going: str) -> Decision:
        return decide(schedule(overlap=overlap), standing(), START + HOUR, interval(HOUR), going=going)

    skipped = found("skip", "r1")
    assert outcomes(skipped) == ["skipped"]
    assert "r1" in skipped.firings[0].reason
    assert skipped.upto == START + HOUR
    assert outcomes(found("queue", "r1")) == outcomes(found("allow", "r1")) == ["fired"]
    assert found("allow", "r1").cancels == ()
    newest = found("cancel_running", "r1", "r2")
    assert (outcomes(newest), newest.cancels) == (["fired"], ("r1", "r2"))
    assert outcomes(found("queue", *map(str, range(MOST_QUEUED)))) == ["skipped"]


def test_of_times_that_are_made_up_for_at_once_the_policy_holds_as_well() -> None:
    def found(overlap: str) -> Decision:
        one = schedule(overlap=overlap, catchup="all")
        return decide(one, standing(), START + 3 * HOUR + 5, interval(HOUR), going=())

    assert outcomes(found("skip")) == ["fired", "skipped", "skipped"]
    assert outcomes(found("queue")) == ["fired"] * 3
    assert outcomes(found("cancel_running")) == ["missed", "missed", "fired"]


# ---------------------------------------------------------------- clocks


def test_a_minute_that_comes_twice_fires_once_and_the_second_is_recorded() -> None:
    berlin = calendar("30 2 * * *", "Europe/Berlin")
    one = schedule(every=0.0, cron="30 2 * * *", timezone="Europe/Berlin")
    first = decide(one, standing(1792886400.0), 1792888200.0, berlin)
    assert [(f.outcome, f.scheduled) for f in first.firings] == [("fired", "2026-10-25T02:30")]
    assert first.wake == 1792891800.0
    second = decide(one, standing(first.upto), 1792891800.0, berlin)
    assert [(f.outcome, f.scheduled) for f in second.firings] == [("duplicate", "2026-10-25T02:30#2")]


def test_the_second_of_a_minute_never_takes_the_place_of_one_that_was_missed() -> None:
    berlin = calendar("30 2 * * *", "Europe/Berlin")
    for catchup, expected in (("none", ["missed", "duplicate"]), ("latest", ["fired", "duplicate"])):
        one = schedule(every=0.0, cron="30 2 * * *", timezone="Europe/Berlin", catchup=catchup)
        found = decide(one, standing(1792886400.0), 1792891801.0, berlin)
        assert outcomes(found) == expected


def test_a_minute_that_does_not_exist_fires_once_and_says_so() -> None:
    berlin = calendar("30 2 * * *", "Europe/Berlin")
    one = schedule(every=0.0, cron="30 2 * * *", timezone="Europe/Berlin")
    found = decide(one, standing(1774738800.0), 1774747800.0, berlin)
    assert outcomes(found) == ["fired"]
    assert "02:30 does not exist" in found.firings[0].reason


# ---------------------------------------------------------------- what it is known by


def test_a_trigger_is_known_by_what_makes_it_go_off_wherever_it_stands() -> None:
    hourly = Trigger("schedule", {"every": HOUR})
    daily = Trigger("schedule", {"cron": "@daily", "timezone": "Europe/Berlin"})
    named = Trigger("schedule", {"cron": "@daily", "id": "mine"})
    assert trigger_ids([hourly, daily, named]) == [*reversed(trigger_ids([named, daily, hourly]))]
    assert named.id == replace(named, config={"every": 1.0, "id": "mine"}).id == "mine"
    changed = replace(hourly, config={"every": HOUR, "overlap": "queue", "inputs": {"a": 1}, "if": "false"})
    assert changed.id == hourly.id
    assert len({hourly.id, daily.id, replace(daily, config={"cron": "@daily"}).id}) == 3


def test_triggers_that_go_off_alike_are_told_apart_by_all_they_say() -> None:
    one, two = (Trigger("schedule", {"every": HOUR, "inputs": {"region": name}}) for name in ("eu", "us"))
    ids = trigger_ids([one, two])
    assert len({*ids}) == 2
    assert trigger_ids([two, one]) == [*reversed(ids)]


def test_a_plan_s_schedules_and_two_that_say_the_same_are_one() -> None:
    trigger = Trigger("schedule", {"every": HOUR, "overlap": "queue", "jitter": 5.0})
    plan = Plan(name="nightly", root=Block("", ()), triggers=(Trigger("manual"), trigger, trigger))
    (one,) = schedules_of(plan, "acme")
    assert (one.every, one.overlap, one.catchup, one.jitter, one.tenant) == (HOUR, "queue", "none", 5.0, "acme")


def test_the_signal_of_a_firing_is_named_by_its_time() -> None:
    one = schedule(every=0.0, cron="@hourly", timezone="Europe/Berlin")
    (firing,) = decide(one, standing(), START + HOUR, calendar("@hourly", "Europe/Berlin")).firings
    signal = signal_of(one, firing)
    assert signal.id == firing.signal
    assert signal.subject == "nightly/t"
    assert signal.key == f"schedule/nightly/t/{firing.scheduled}"
    assert signal.data == {"scheduled": firing.scheduled, "timezone": "Europe/Berlin", "due": "2027-01-15T01:00:00Z"}
    (again,) = decide(one, standing(), START + HOUR + 9, calendar("@hourly", "Europe/Berlin")).firings
    assert (again.signal, again.run) == (firing.signal, firing.run)
    (other,) = decide(replace(one, tenant="b"), standing(), START + HOUR, calendar("@hourly", "Europe/Berlin")).firings
    assert other.signal != firing.signal


def test_a_run_that_makes_room_is_told_so_once() -> None:
    assert cancel_of(schedule(), "r1", START) == cancel_of(schedule(), "r1", START)
    assert cancel_of(schedule(), "r1", START).subject == "r1"


# ---------------------------------------------------------------- by hand


def test_firing_by_hand_is_another_firing_than_that_of_the_minute() -> None:
    first = fire_now(schedule(), START + HOUR, by="ana", command="c1")
    second = fire_now(schedule(), START + HOUR, by="ana", command="c2")
    assert first.outcome == second.outcome == "fired"
    assert len({first.scheduled, second.scheduled, "2027-01-15T01:00"}) == 3
    assert first.signal != second.signal
    assert first == fire_now(schedule(), START + HOUR, by="ana", command="c1")
    sent = signal_of(schedule(), first, local="2027-01-15T01:00", command="c1")
    assert (sent.data["scheduled"], sent.causation, sent.by) == ("2027-01-15T01:00", "c1", "ana")


def test_firing_by_hand_skips_what_would_overlap() -> None:
    found = fire_now(schedule(), START, by="ana", command="c", going=["r1"])
    assert (found.outcome, found.signal, found.by) == ("skipped", "", "ana")
    assert "r1" in found.reason
    allowed = fire_now(schedule(overlap="allow"), START, by="ana", command="c", going=["r1"])
    assert allowed.outcome == "fired"


def test_what_a_paused_schedule_let_go_by_is_recorded_when_it_goes_on() -> None:
    paused = standing(paused=True, by="ana", reason="incident")
    assert resumed(schedule(), paused, START + HOUR - 1, interval(HOUR)) is None
    found = resumed(schedule(), paused, START + 5 * HOUR, interval(HOUR))
    assert found is not None
    assert (found.outcome, found.reason) == ("skipped", "paused by ana: incident")
    assert resumed(schedule(), standing(), START + 5 * HOUR, interval(HOUR)) is None


# ---------------------------------------------------------------- whatever happens


class Disk:
    """What a store keeps: how far the schedule has come, and each firing once."""

    def __init__(self, held: Standing) -> None:
        self.held = held
        self.firings: dict[str, Firing] = {}
        self.sent: list[str] = []

    def record(self, known: Standing, decision: Decision) -> bool:
        """All at once, unless somebody else has recorded something meanwhile."""
        if known.n != self.held.n:
            return False
        if decision.upto == known.upto and not decision.firings:
            return True
        for firing in decision.firings:
            if firing.scheduled not in self.firings:
                self.firings[firing.scheduled] = firing
                if firing.outcome == "fired":
                    self.sent.append(firing.scheduled)
        self.held = replace(self.held, n=known.n + 1, upto=decision.upto)
        return True


_acts = st.lists(
    st.tuples(
        st.sampled_from(["tick", "sleep", "late", "die", "beside", "back", "pause", "resume"]),
        st.floats(0.0, 1.0),
    ),
    min_size=1,
    max_size=60,
)
_RHYTHMS: list[tuple[dict[str, Any], After]] = [
    ({"every": 60.0}, interval(60.0)),
    ({"every": 90.0, "jitter": 200.0}, interval(90.0)),
    ({"every": 0.0, "cron": "*/7 * * * *", "timezone": "Europe/Berlin"}, calendar("*/7 * * * *", "Europe/Berlin")),
    ({"every": 0.0, "cron": "0,30 2 * * *", "jitter": 900.0}, calendar("0,30 2 * * *", "Europe/Berlin")),
]


@settings(max_examples=250, deadline=None)
@given(
    acts=_acts,
    rhythm=st.integers(0, len(_RHYTHMS) - 1),
    catchup=st.sampled_from(["none", "latest", "all"]),
    start=st.sampled_from([START, 1774744200.0, 1792884600.0]),
)
def test_no_time_fires_twice_and_none_is_forgotten(
    acts: list[tuple[str, float]], rhythm: int, catchup: str, start: float
) -> None:
    fields, after = _RHYTHMS[rhythm]
    one = schedule(**fields, catchup=catchup, overlap="allow")
    disk, now = Disk(standing(start)), start
    stale = disk.held
    let_go: list[tuple[float, float]] = []
    for act, amount in acts:
        match act:
            case "tick":
                wake = decide(one, disk.held, now, after).wake
                now = wake if wake is not None else now + 60
                disk.record(disk.held, decide(one, disk.held, now, after))
            case "sleep":
                now += amount * 600
            case "late":
                now += amount * 40_000
                disk.record(disk.held, decide(one, disk.held, now, after))
            case "die":
                # Decided, and dead before it was recorded.
                decide(one, disk.held, now, after)
            case "beside":
                # Another engine, which may not have heard of what this one has recorded.
                disk.record(stale, decide(one, stale, now, after))
                stale = disk.held
            case "back":
                now -= amount * 5_000
            case "pause":
                disk.held = replace(disk.held, n=disk.held.n + 1, paused=True)
            case _ if disk.held.paused:
                upto = max(now, disk.held.upto)
                let_go.append((disk.held.upto, upto))
                disk.held = replace(disk.held, n=disk.held.n + 1, paused=False, upto=upto)
    assert len(disk.sent) == len({*disk.sent})
    at = start
    together = [firing.scheduled.partition("…")[::2] for firing in disk.firings.values() if "…" in firing.scheduled]
    while (found := after(at)) is not None and found.at <= disk.held.upto:
        key = f"{found.scheduled}#2" if found.again else found.scheduled
        known = key in disk.firings or any(first <= found.scheduled <= last for first, last in together)
        assert known or any(begin < found.at <= end for begin, end in let_go), found
        at = found.at


@settings(max_examples=100, deadline=None)
@given(gaps=st.lists(st.tuples(st.floats(0.1, 2_400.0), st.booleans()), min_size=1, max_size=40))
def test_each_minute_fires_exactly_once_where_all_are_made_up_for(gaps: list[tuple[float, bool]]) -> None:
    one = schedule(every=60.0, catchup="all", overlap="allow")
    disk, now = Disk(standing()), START
    for gap, dies in gaps:
        now += gap
        decision = decide(one, disk.held, now, interval(60.0))
        if not dies or now - disk.held.upto > 60.0 * (MOST_MADE_UP_FOR - 41):
            disk.record(disk.held, decision)
    disk.record(disk.held, decide(one, disk.held, now, interval(60.0)))
    count = int((now - START) // 60)
    assert [disk.firings[key].due for key in disk.sent] == [START + 60 * n for n in range(1, count + 1)]
