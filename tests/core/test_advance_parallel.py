"""`parallel`: all, any or some of the branches, and what becomes of the others."""

from __future__ import annotations

import pytest
from play import Play, act, ask, calc, delay, fan, plan

from fleetprompt.engine.core.facts import StepCancelled, StepFailed
from fleetprompt.engine.core.plan import Poll, Retry


def three(**fields: object) -> Play:
    branches = {name: [act(name)] for name in "abc"}
    return Play(plan(fan("p", branches, **fields), act("after", needs=["p"]), act("fix", needs=["p.failed"])))


def test_all_branches_run_at_once_and_the_output_is_by_name() -> None:
    play = three()
    assert play.owed == ["p.a", "p.b", "p.c"]
    for name in "cab":
        play.ok(f"p.{name}", name.upper())
    assert play.step("p").output == {"a": "A", "b": "B", "c": "C"}
    assert list(play.step("p").output) == ["a", "b", "c"]
    assert play.owed == ["after"]


def test_the_output_of_a_branch_is_that_of_its_last_listed_completed_step() -> None:
    play = Play(plan(fan("p", {"x": [calc("a", 1), calc("b", 2), calc("c", 3, when=False)], "y": [act("d")]})))
    play.ok("p.d")
    assert play.run.output == {"x": 2, "y": None}


def test_branches_have_steps_in_sequence() -> None:
    play = Play(plan(fan("p", {"x": [act("a"), act("b")], "y": [act("c"), act("d")]})))
    assert play.owed == ["p.a", "p.c"]
    play.ok("p.c")
    assert play.owed == ["p.a", "p.d"]


def test_one_failed_branch_fails_all_and_cancels_the_rest() -> None:
    play = three()
    play.ok("p.a", 1)
    play.fail("p.b", message="no")
    assert (play.status("p"), play.step("p").error.message, play.step("p").error.path) == ("failed", "no", "p.b")
    assert (play.status("p.c"), play.step("p.c").reason) == ("cancelled", "failed")
    assert play.owed == ["fix"]
    play.ok("fix")
    assert play.status() == "completed"


@pytest.mark.parametrize("until", [1, 2])
def test_enough_branches_complete_it_and_the_rest_is_cancelled(until: int) -> None:
    play = three(until=until)
    for name in "cb"[:until]:
        assert play.status("p") == "running"
        play.ok(f"p.{name}", name)
    assert play.status("p") == "completed"
    assert [fact.path for fact in play.of(StepCancelled)] == ["p.a", "p.b"][: 3 - until]
    assert {fact.reason for fact in play.of(StepCancelled)} == {"enough"}
    assert play.step("p").output == {"a": None, "b": "b" if until == 2 else None, "c": "c"}
    assert play.owed == ["after"]


def test_failed_branches_do_not_matter_while_enough_can_still_complete() -> None:
    play = three(until=1)
    play.fail("p.a")
    play.fail("p.b", message="second")
    assert play.status("p") == "running"
    play.ok("p.c", 1)
    assert play.status("p") == "completed"
    output = play.step("p").output
    assert output["a"]["error"] == {"code": "TOOL_ERROR", "message": "boom", "path": "p.a"}
    assert output["c"] == 1


def test_it_fails_as_soon_as_not_enough_can_complete_any_more() -> None:
    play = three(until=2)
    play.fail("p.a", message="first")
    assert play.status("p") == "running"
    play.fail("p.b")
    assert (play.status("p"), play.step("p").error.message) == ("failed", "first")
    assert play.status("p.c") == "cancelled"


def test_the_rest_may_go_on_while_what_comes_next_starts() -> None:
    play = three(until=1, cancel_rest=False)
    play.ok("p.b", 1)
    assert (play.status("p"), play.owed) == ("completed", ["p.a", "p.c", "after"])
    play.ok("after")
    assert (play.status(), play.status("fix")) == ("running", "skipped")
    play.ok("p.a")
    play.fail("p.c")
    assert play.status() == "completed"
    assert play.step("p").output == {"a": None, "b": 1, "c": None}, "what is settled stays as it was"


def test_branches_that_go_on_start_their_next_steps_after_the_composite_has_settled() -> None:
    play = Play(plan(fan("p", {"x": [act("a")], "y": [act("b"), act("c")]}, until=1, cancel_rest=False)))
    play.ok("p.a")
    assert (play.status("p"), play.status()) == ("completed", "running")
    play.ok("p.b")
    assert play.owed == ["p.c"]
    play.ok("p.c")
    assert play.status() == "completed"


def test_a_run_that_fails_cancels_branches_that_go_on() -> None:
    play = Play(plan(fan("p", {"x": [act("a")], "y": [act("b")]}, until=1, cancel_rest=False), act("c")))
    play.ok("p.a")
    play.fail("c")
    assert (play.status(), play.status("p.b"), play.status("p")) == ("failed", "cancelled", "completed")


def test_a_cancelled_run_ends_branches_that_go_on_after_their_grace() -> None:
    rest = [act("b", repeat="never")]
    play = Play(plan(fan("p", {"x": [act("a")], "y": rest}, until=1, cancel_rest=False), act("c"), grace=5))
    play.ok("p.a")
    play.cancel()
    assert (play.status("c"), play.owed) == ("cancelled", ["p.b"])
    play.tick(5)
    assert (play.status(), play.step("p.b").error.code) == ("cancelled", "IN_DOUBT")


def test_the_rest_that_must_not_be_interrupted_has_its_grace_before_the_composite_ends() -> None:
    branches = {"x": [act("a")], "y": [act("b", repeat="never"), act("c")]}
    play = Play(plan(fan("p", branches, until=1), act("d"), grace=5))
    play.ok("p.a", 1)
    assert (play.status("p"), play.owed) == ("running", ["p.b"])
    play.ok("p.b", 2)
    assert (play.status("p"), play.status("p.c"), play.owed) == ("completed", "pending", ["d"])
    assert play.step("p").output == {"x": 1, "y": None}


def test_waiting_branches_are_cancelled_too() -> None:
    branches = {"x": [act("a")], "y": [ask("g")], "z": [delay("d"), act("e")]}
    play = Play(plan(fan("p", branches, until=1)))
    play.ok("p.a")
    assert play.status() == "completed"
    assert (play.status("p.g"), play.status("p.d"), play.run.wake_at) == ("cancelled", "cancelled", None)


def test_a_branch_may_settle_in_the_moment_it_is_opened() -> None:
    play = Play(plan(fan("p", {"x": [calc("a", 1)], "y": [calc("b", 2)]}, until=1)))
    assert play.run.output in ({"x": 1, "y": None}, {"x": 1, "y": 2})
    assert play.status() == "completed"


def test_a_composite_whose_assertion_fails_while_branches_go_on_is_not_tried_again() -> None:
    """A new attempt beside the old one's branches would mix up what is theirs."""
    checked = fan(
        "p",
        {"x": [act("a")], "y": [act("b")]},
        until=1,
        cancel_rest=False,
        asserts=("result.x == 2",),
        retry=Retry(3),
        on_error="continue",
    )
    play = Play(plan(checked, act("c")))
    play.ok("p.a", 1)
    assert (play.of(StepFailed)[0].retry_at, play.status("p")) == (None, "failed")
    assert play.owed == ["p.b", "c"]
    play.ok("c")
    assert play.status() == "running"
    play.ok("p.b")
    assert play.status() == "completed"


def test_a_composite_that_is_polled_while_branches_go_on_fails_instead() -> None:
    polled = fan("p", {"x": [act("a")], "y": [act("b")]}, until=1, cancel_rest=False, poll=Poll("result.x == 2", 10))
    play = Play(plan(polled))
    play.ok("p.a", 1)
    assert (play.status("p"), play.status("p.b"), play.status()) == ("failed", "cancelled", "failed")


def test_a_composite_is_polled_as_a_whole() -> None:
    play = Play(plan(fan("p", {"x": [act("a")]}, poll=Poll("result.x == 2", 10))))
    play.ok("p.a", 1)
    assert (play.status("p"), play.owed) == ("waiting", [])
    play.tick(10)
    assert play.owed == ["p#2.a"]
    play.ok("p#2.a", 2)
    assert play.status() == "completed"


def test_a_new_attempt_at_a_composite_has_paths_of_its_own() -> None:
    play = Play(plan(fan("p", {"x": [act("a"), act("b")], "y": [act("c")]}, retry=Retry(3, backoff=5, jitter=0))))
    play.ok("p.a")
    play.fail("p.b")
    assert (play.status("p"), play.run.waiting_on) == ("waiting", "timer")
    play.tick(5)
    assert play.owed == ["p#2.a", "p#2.c"]
    play.fail("p#2.a")
    play.tick(10)
    assert play.owed == ["p#3.a", "p#3.c"]
    for name in ("p#3.a", "p#3.b", "p#3.c"):
        play.ok(name)
    assert (play.status(), play.step("p").attempt) == ("completed", 3)


def test_a_new_attempt_waits_until_everything_of_the_old_one_has_ended() -> None:
    branches = {"x": [act("a")], "y": [act("b", repeat="never")]}
    play = Play(plan(fan("p", branches, retry=Retry(2, backoff=5, jitter=0)), grace=20))
    play.fail("p.a")
    play.tick(6)
    assert (play.status("p"), play.owed) == ("running", ["p.b"])
    play.ok("p.b")
    assert play.status("p") == "waiting"
    play.tick(5)
    assert play.owed == ["p#2.a", "p#2.b"]
