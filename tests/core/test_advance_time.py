"""Time limits: active time of steps, composites and runs, and the deadline, which is wall-clock time."""

from __future__ import annotations

import pytest
from play import NOW, Play, Stuck, act, ask, calc, delay, each, fan, listen, plan

from fleetprompt.engine.core.facts import RunCancelRequested, Slot, StepCancelled, StepFailed, StepNoted, StepStarted
from fleetprompt.engine.core.plan import Guardrails, Node, Poll, Retry

# ---------------------------------------------------------------- composites


def test_a_composite_that_is_active_for_too_long_ends_with_timeout() -> None:
    play = Play(plan(fan("p", {"x": [act("a")], "y": [act("b")]}, timeout=10), act("after", needs=["p.timeout"])))
    play.tick(9.5)
    assert play.owed == ["p.a", "p.b"]
    play.tick(0.5)
    assert play.statuses == {
        "p": "timeout",
        "after": "running",
        "p.a": "cancelled",
        "p.b": "cancelled",
    }
    assert play.step("p").error.code == "TIMEOUT"


def test_waiting_does_not_count_as_active_time() -> None:
    play = Play(plan(each("l", "[1, 2]", [act("a"), ask("gate"), act("b")], timeout=10)))
    play.tick(4)
    play.ok("l[0].a")
    play.tick(1_000)
    play.vote("l[0].gate")
    play.tick(4)
    play.ok("l[0].b")
    play.tick(1.9)
    assert play.status("l") == "running"
    play.tick(0.2)
    assert play.status("l") == "timeout"


def test_two_steps_at_once_use_active_time_once() -> None:
    play = Play(plan(fan("p", {"x": [act("a")], "y": [act("b")]}, timeout=10)))
    play.tick(6)
    play.ok("p.a")
    play.tick(3.5)
    assert play.status("p") == "running"
    play.ok("p.b")
    assert play.status("p") == "completed"


def test_each_attempt_at_a_composite_has_its_own_time() -> None:
    play = Play(plan(fan("p", {"x": [act("a")]}, timeout=10, retry=Retry(2, jitter=0))))
    play.tick(6)
    play.fail("p.a")
    assert play.status("p") == "waiting"
    play.tick(1)
    play.tick(6)
    assert play.owed == ["p#2.a"]
    play.tick(4)
    assert play.status() == "failed"
    assert play.run.error.code == "TIMEOUT"


def test_limits_of_nested_composites_are_independent() -> None:
    inner = fan("inner", {"y": [act("a", on_error="continue")]}, timeout=5, on_error="continue")
    play = Play(plan(fan("outer", {"x": [inner, act("b")]}, timeout=12)))
    play.tick(5)
    assert play.status("outer.inner") == "timeout"
    assert play.owed == ["outer.b"]
    play.tick(6.9)
    assert play.status("outer") == "running"
    play.tick(0.2)
    assert play.status("outer") == "timeout"


@pytest.mark.parametrize("branch", [{"x": [act("a", repeat="never")]}, {"x": [act("a", repeat="never"), act("b")]}])
def test_the_limit_of_a_composite_is_decided_once_while_work_has_its_grace(branch: dict[str, list[Node]]) -> None:
    play = Play(plan(fan("p", branch, timeout=10), grace=20))
    play.tick(10)
    play.tick(10)
    assert len(play.of(StepNoted)) == 1
    assert play.owed == ["p.a"]
    play.tick(10)
    assert play.status() == "failed"
    assert play.of(StepCancelled, "p.a")[0].unknown


def test_the_limit_of_a_settled_composite_means_nothing_to_branches_that_still_run() -> None:
    play = Play(plan(fan("p", {"x": [act("a")], "y": [act("b")]}, until=1, cancel_rest=False, timeout=10), act("c")))
    play.ok("p.a")
    play.ok("c")
    play.tick(11)
    assert play.status("p") == "completed"
    play.ok("p.b")
    assert play.status() == "completed"


# ---------------------------------------------------------------- the run


def test_a_run_that_is_active_for_too_long_ends_with_timeout() -> None:
    play = Play(plan(act("a"), delay("d", 1_000), act("b"), guardrails=Guardrails(timeout=10)))
    play.tick(6)
    play.ok("a")
    play.tick(1_000)
    play.tick(3)
    assert play.status() == "running"
    play.tick(1)
    assert play.status() == "timeout"
    assert play.status("b") == "cancelled"
    assert play.run.error.code == "TIMEOUT"


def test_the_limit_of_a_run_is_decided_once_while_work_has_its_grace() -> None:
    play = Play(plan(act("a", repeat="never"), guardrails=Guardrails(timeout=10), grace=20))
    play.tick(10)
    play.tick(10)
    assert len(play.of(RunCancelRequested)) == 1
    play.ok("a")
    assert (play.status("a"), play.status()) == ("completed", "timeout")


def test_a_run_that_fails_does_not_reach_its_limit_in_the_grace_of_what_is_in_flight() -> None:
    limits = Guardrails(timeout=10)
    play = Play(plan(act("a"), act("b", needs=[], repeat="never"), guardrails=limits, deadline=11))
    play.tick(9)
    play.fail("a")
    play.tick(5)
    play.ok("b")
    assert play.status() == "failed"


def test_a_deadline_is_wall_clock_time() -> None:
    play = Play(plan(ask("gate"), act("a"), deadline=100))
    assert play.run.wake_at == NOW + 100
    play.tick(99)
    assert play.status() == "waiting"
    play.tick(1)
    assert play.status() == "timeout"
    assert play.status("gate") == "cancelled"
    assert "deadline" in play.run.error.message


def test_a_deadline_also_ends_a_run_that_has_not_started() -> None:
    play = Play(plan(act("a"), deadline=100), slots=(Slot("runs", 1),))
    assert play.status() == "pending"
    play.tick(100)
    assert play.status() == "timeout"
    assert play.started == []


def test_a_deadline_that_passes_while_a_failed_run_is_compensated_changes_nothing() -> None:
    nodes = [act("a", compensate=act("undo")), act("b")]
    play = Play(plan(*nodes, on_failure="compensate", deadline=100))
    play.ok("a")
    play.fail("b")
    assert play.owed == ["a@compensate"]
    play.tick(200)
    play.ok("a@compensate")
    assert play.status() == "failed"
    assert play.run.error.message == "boom"


def test_a_deadline_means_nothing_to_a_run_that_completed_in_time() -> None:
    play = Play(plan(calc("a", 1), deadline=100))
    assert play.status() == "completed"
    assert play.tick(1_000) == []


# ---------------------------------------------------------------- steps


def test_the_time_limit_of_an_attempt_is_an_outcome_that_is_retried() -> None:
    play = Play(plan(act("a", timeout=5, retry=Retry(2, backoff=1, jitter=0))))
    play.unknown("a", "took too long", code="TIMEOUT")
    failed = play.of(StepFailed)[0]
    assert (failed.error.code, failed.retry_at) == ("TIMEOUT", NOW + 1)
    play.tick(1)
    play.unknown("a", "took too long", code="TIMEOUT")
    assert (play.status("a"), play.status()) == ("timeout", "failed")


def test_a_clock_that_goes_back_never_makes_facts_go_back() -> None:
    play = Play(plan(act("a"), delay("d", 60), act("b")))
    play.now = NOW + 100
    play.ok("a")
    play.now = NOW - 10_000
    play.settle()
    play.cancel()
    times = [fact.at for fact in play.facts]
    assert times == sorted(times)
    assert play.status() == "cancelled"


def test_delays_of_all_kinds() -> None:
    play = Play(plan(delay("a", "1m30s"), delay("b", config={"until": NOW + 200}), delay("c", config={"until": NOW})))
    play.tick(89)
    assert play.run.waiting_on == "timer"
    play.tick(1)
    assert (play.status("a"), play.status("b")) == ("completed", "waiting")
    play.tick(110)
    assert play.status() == "completed"


@pytest.mark.parametrize("config", [{"for": "soon"}, {"until": "tomorrow"}, {"for": "${{ 'x' }}"}, {"for": -1}])
def test_a_delay_that_cannot_be_read_fails_the_step(config: dict[str, object]) -> None:
    play = Play(plan(delay("a", config=config)))
    assert play.status() == "failed"
    assert play.run.error.code == "VALIDATION_ERROR"
    assert not play.of(StepStarted)


def test_play_notices_a_run_that_nothing_can_move() -> None:
    """The instrument itself: what every test here relies on."""
    play = Play(plan(listen("w")))
    play.run.waiting.clear()
    play.run.steps["w"].on = None
    assert play.is_stuck()
    assert issubclass(Stuck, AssertionError)


@pytest.mark.parametrize(("every", "said"), [(4.0, "8s"), (5.0, "10s"), (60.0, "0s")])
def test_a_poll_ends_with_its_last_try_and_says_when_that_was(every: float, said: str) -> None:
    play = Play(plan(act("a", poll=Poll("result == 1", every, timeout=10))))
    while play.owed:
        play.ok("a", 0)
        play.tick(every)
    error = play.run.error
    assert (error.code, error.message) == (
        "TIMEOUT",
        f"the condition did not hold after {said}; another try would begin after 10s, the limit",
    )
