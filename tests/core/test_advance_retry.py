"""Attempts: how many, when, and after what; `assert`, `poll`, `set` and `on_error`."""

from __future__ import annotations

from typing import Any

import pytest
from play import NOW, Play, act, ask, calc, call, cond, each, emit, fan, halt, plan

from fleetprompt.engine.core.facts import StepFailed, StepStarted, StepWaiting
from fleetprompt.engine.core.keys import effect_key
from fleetprompt.engine.core.plan import Node, Poll, Retry

# ---------------------------------------------------------------- retry


def test_a_failed_attempt_says_when_the_next_is_due() -> None:
    play = Play(plan(act("a", retry=Retry(3, backoff=10, jitter=0), config={"x": 1})))
    play.fail("a")
    assert (play.status("a"), play.of(StepFailed)[0].retry_at, play.run.waiting_on) == ("waiting", NOW + 10, "timer")
    assert play.run.wake_at == NOW + 10
    play.tick(9.9)
    assert play.owed == []
    play.tick(0.1)
    assert play.owed == ["a"]
    again = play.of(StepStarted)[1]
    assert (again.attempt, again.input) == (2, None), "the first attempt's input stands"
    assert play.step("a").input == {"x": 1}
    play.ok("a", "done")
    assert (play.status(), play.step("a").attempt, play.run.output) == ("completed", 2, "done")


def test_what_went_well_at_last_has_no_error() -> None:
    play = Play(plan(act("a", retry=Retry(2)), calc("b", "${{ steps.a.error }}"), calc("c", "${{ steps.a.attempt }}")))
    play.fail("a")
    play.wake()
    play.ok("a")
    assert (play.step("b").output, play.step("c").output) == (None, 2)


def test_the_last_attempt_is_final() -> None:
    play = Play(plan(act("a", retry=Retry(3, backoff=1, jitter=0))))
    for _ in range(3):
        play.fail("a")
        play.tick(1_000)
    assert (play.status(), play.step("a").attempt) == ("failed", 3)
    assert [fact.retry_at is None for fact in play.of(StepFailed)] == [False, False, True]


@pytest.mark.parametrize("node", [act("a"), fan("a", {"x": [act("b")]}), act("a", retry=Retry(1))])
def test_nothing_is_retried_unless_the_file_says_so(node: Node) -> None:
    play = Play(plan(node))
    play.fail(play.owed[0])
    assert play.status() == "failed"


def delays(retry: Retry, run: str = "r1") -> list[float]:
    play = Play(plan(act("a", retry=retry)), run=run)
    found: list[float] = []
    for _ in range(retry.max_attempts - 1):
        play.fail("a")
        due = play.of(StepFailed)[-1].retry_at
        found.append(round(due - play.now, 6))
        play.now = due
        play.settle()
    return found


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        (Retry(5, backoff=1, jitter=0), [1, 2, 4, 8]),
        (Retry(4, backoff=3, factor=1, jitter=0), [3, 3, 3]),
        (Retry(6, backoff=10, factor=10, max_backoff=500, jitter=0), [10, 100, 500, 500, 500]),
        (Retry(3, backoff=0, jitter=0), [0, 0]),
        (Retry(100, backoff=1, factor=100, max_backoff=300, jitter=0), [1, 100, *[300] * 97]),
    ],
)
def test_delays_grow_to_their_limit(retry: Retry, expected: list[float]) -> None:
    if 0 in expected:
        play = Play(plan(act("a", retry=retry)))
        play.fail("a")
        assert play.owed == ["a"], "no delay, no wait"
        return
    assert delays(retry) == expected


def test_jitter_spreads_within_its_share_and_is_the_same_after_a_crash() -> None:
    retry = Retry(6, backoff=100, factor=1, jitter=0.2)
    first, other = delays(retry), delays(retry, "r2")
    assert first == delays(retry)
    assert first != other
    assert len(set(first)) > 1
    assert all(80 <= delay <= 120 for delay in first + other)


def test_the_other_side_may_ask_for_more_time_but_not_for_less() -> None:
    play = Play(plan(act("a", retry=Retry(3, backoff=10, factor=1, jitter=0))))
    play.fail("a", "RATE_LIMIT", retry_after=42.0)
    assert play.of(StepFailed)[0].retry_at == NOW + 42
    play.tick(42)
    play.fail("a", "RATE_LIMIT", retry_after=1.0)
    assert play.of(StepFailed)[1].retry_at == NOW + 52


@pytest.mark.parametrize(
    ("on", "code", "retried"),
    [((), "TOOL_ERROR", True), (("TIMEOUT",), "TOOL_ERROR", False), (("TIMEOUT", "RATE_LIMIT"), "RATE_LIMIT", True)],
)
def test_only_the_codes_that_are_named_are_retried(on: tuple[str, ...], code: Any, retried: bool) -> None:
    play = Play(plan(act("a", retry=Retry(2, on=on))))
    play.fail("a", code)
    assert play.status("a") == ("waiting" if retried else "failed")


def test_what_another_attempt_cannot_help_is_not_retried() -> None:
    play = Play(plan(act("a", retry=Retry(3))))
    play.fail("a", "VALIDATION_ERROR", retryable=False)
    assert play.status("a") == "failed"


def test_attempts_of_one_piece_of_work_share_their_key() -> None:
    play = Play(plan(fan("p", {"x": [act("a", retry=Retry(2)), act("b")]}, retry=Retry(2)), act("c")))
    keys = {effect_key(play.run, play.step("p.a"))}
    play.fail("p.a")
    play.wake()
    keys.add(effect_key(play.run, play.step("p.a")))
    play.fail("p.a")
    play.wake()
    keys.add(effect_key(play.run, play.step("p#2.a")))
    assert len(keys) == 1
    play.ok("p#2.a")
    assert effect_key(play.run, play.step("p#2.b")) not in keys


SYNC = [calc("x", 1), emit("x"), halt("x"), call("x", wait=False), fan("x", {"b": [calc("y", 1)]})]


@pytest.mark.parametrize("node", SYNC, ids=lambda n: n.kind)
@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_what_starts_and_ends_in_one_decision_has_as_many_attempts_as_any_other(node: Node, attempts: int) -> None:
    import msgspec

    retry = Retry(attempts, backoff=1, jitter=0)
    play = Play(plan(msgspec.structs.replace(node, asserts=(False,), retry=retry)))
    play.tick(1)
    play.tick(2)
    play.tick(4)
    assert (play.status(), len(play.of(StepStarted, "x"))) == ("failed", attempts)
    assert [fact.retry_at for fact in play.of(StepFailed)] == [*[NOW + 1, NOW + 3][: attempts - 1], None]


def test_a_composite_is_retried_with_paths_of_its_own() -> None:
    inner = each("l", "[1, 2]", [act("a")])
    play = Play(plan(cond("c", "true", [inner], retry=Retry(2))))
    play.ok("c.l[0].a")
    play.fail("c.l[1].a")
    play.wake()
    assert play.owed == ["c#2.l[0].a"]
    play.ok("c#2.l[0].a", "x")
    play.ok("c#2.l[1].a", "y")
    assert (play.status(), play.run.output) == ("completed", ["x", "y"])
    assert play.status("c.l[1].a") == "failed", "what happened stays visible"


def test_attempts_at_nested_composites_show_in_the_path() -> None:
    inner = fan("i", {"x": [act("a")]}, retry=Retry(2))
    play = Play(plan(each("l", "[1]", [inner], retry=Retry(2))))
    for path in ("l[0].i.a", "l[0].i#2.a", "l#2[0].i.a", "l#2[0].i#2.a"):
        assert play.owed == [path]
        play.fail(path)
        if not play.run.ended:
            play.wake()
    assert play.status() == "failed"


def test_a_step_that_waits_for_its_next_attempt_is_cancelled_at_once() -> None:
    play = Play(plan(act("a", retry=Retry(2), repeat="never")))
    play.fail("a")
    play.cancel()
    assert (play.status(), play.status("a"), play.run.wake_at) == ("cancelled", "cancelled", None)


def test_an_attempt_that_fails_while_the_run_ends_is_the_last() -> None:
    play = Play(plan(act("a", retry=Retry(5), repeat="never")))
    play.cancel()
    play.fail("a")
    assert (play.status("a"), play.status()) == ("failed", "cancelled")


# ---------------------------------------------------------------- assert, set


@pytest.mark.parametrize(
    ("test", "output", "status"),
    [
        ("result.n > 1", {"n": 2}, "completed"),
        ("result.n > 1", {"n": 1}, "failed"),
        ({"field": "result.n", "operator": "eq", "value": 2}, {"n": 2}, "completed"),
        ({"field": "result.n", "operator": "eq", "value": 3}, {"n": 2}, "failed"),
        ("result.missing", {"n": 2}, "failed"),
        ("result.n == vars.wanted", {"n": 7}, "completed"),
    ],
)
def test_a_result_must_be_what_is_asserted(test: Any, output: Any, status: str) -> None:
    play = Play(plan(act("a", asserts=(True, test)), vars={"wanted": 7}))
    play.ok("a", output)
    assert play.status() == status


def test_a_failed_assertion_is_an_attempt_that_failed_and_is_counted_with_what_it_cost() -> None:
    play = Play(plan(act("a", asserts=("result == 2",), retry=Retry(2))))
    play.ok("a", 1, usage={"cost_nano": 5, "tokens": 7})
    assert "result == 2" in play.of(StepFailed)[0].error.message
    play.wake()
    play.ok("a", 2, usage={"cost_nano": 6})
    assert (play.status(), play.run.cost_nano, play.run.tokens) == ("completed", 11, 7)


def test_an_assertion_that_cannot_be_read_is_not_retried() -> None:
    play = Play(plan(act("a", asserts=("result.x.y",), retry=Retry(9))))
    play.ok("a", {})
    assert (play.status(), play.run.error.code) == ("failed", "VALIDATION_ERROR")


def test_variables_are_declared_and_set_by_steps() -> None:
    play = Play(
        plan(
            act("a", set={"n": "vars.n + result.more", "last": "result"}),
            each("l", "[10, 20]", [calc("x", "${{ item }}", set={"n": "vars.n + item"})]),
            calc("out", "${{ vars }}"),
            vars={"n": 1, "last": None},
        )
    )
    play.ok("a", {"more": 2})
    assert play.run.output == {"n": 33, "last": {"more": 2}}


def test_a_variable_that_cannot_be_computed_fails_the_step_and_sets_nothing() -> None:
    play = Play(plan(act("a", set={"ok": "1", "bad": "result.nothing"}, on_error="continue"), act("b"), vars={"ok": 0}))
    play.ok("a", {})
    assert (play.status("a"), play.run.vars) == ("failed", {"ok": 0})


# ---------------------------------------------------------------- poll


def test_a_step_is_performed_again_until_its_result_is_right() -> None:
    play = Play(plan(act("a", poll=Poll("result.done", 10), config={"x": 1})))
    for i in range(3):
        play.ok("a", {"done": False})
        assert (play.status("a"), play.run.waiting_on, play.step("a").attempt) == ("waiting", "timer", i + 1)
        play.tick(10)
    play.ok("a", {"done": True})
    assert (play.status(), play.step("a").attempt, play.step("a").tries) == ("completed", 4, 1)
    assert play.step("a").input == {"x": 1}


def test_what_is_asserted_is_looked_at_when_polling_is_over() -> None:
    play = Play(plan(act("a", poll=Poll("result.over", 10), asserts=("result.good",))))
    play.ok("a", {"over": False})
    play.tick(10)
    play.ok("a", {"over": True, "good": False})
    assert (play.status(), "result.good" in play.run.error.message) == ("failed", True)


def test_polling_is_not_retrying() -> None:
    play = Play(plan(act("a", poll=Poll("result", 10), retry=Retry(2, backoff=1, jitter=0))))
    for _ in range(5):
        play.ok("a", False)
        play.tick(10)
    play.fail("a")
    play.tick(1)
    play.ok("a", False)
    play.tick(10)
    play.fail("a")
    assert play.status() == "failed"


def test_polling_ends_in_time() -> None:
    play = Play(plan(act("a", poll=Poll("result", 10, timeout=25)), act("b", needs=["a.timeout"])))
    play.ok("a", False)
    play.tick(10)
    play.ok("a", False)
    play.tick(10)
    play.ok("a", False)
    assert (play.status("a"), play.owed) == ("timeout", ["b"])


def test_anything_can_be_polled() -> None:
    later = calc("t", "${{ vars.n }}", needs=[], poll=Poll("result > 1", 10))
    play = Play(plan(later, act("a", needs=[], set={"n": "result"}), vars={"n": 0}))
    play.tick(10)
    assert (play.status("t"), play.step("t").attempt) == ("waiting", 2)
    play.ok("a", 5)
    play.tick(10)
    assert (play.status(), play.step("t").output) == ("completed", 5)


def test_an_approval_that_is_polled_asks_again() -> None:
    import msgspec

    play = Play(plan(msgspec.structs.replace(ask("g", form={"n": {}}), poll=Poll("result.values.n == 2", 10))))
    first = play.step("g").gate.id
    play.vote("g", values={"n": 1})
    assert play.run.waiting_on == "timer"
    play.tick(10)
    assert play.step("g").gate.id != first
    play.vote("g", values={"n": 2})
    assert play.status() == "completed"


def test_a_child_that_is_polled_is_a_new_run_each_time() -> None:
    play = Play(plan(call("w", poll=Poll("result > 1", 10))))
    first = play.step("w").ref
    play.child("w", output=1)
    play.tick(10)
    assert play.step("w").ref != first
    play.child("w", output=2)
    assert (play.status(), play.run.output) == ("completed", 2)


def test_a_poll_waits_for_the_end_of_a_pause_and_is_still_no_retry() -> None:
    play = Play(plan(act("a", poll=Poll("result", 10))))
    play.ok("a", False)
    play.pause()
    play.tick(10)
    assert [fact.on for fact in play.of(StepWaiting)] == ["timer", "paused"]
    play.resume()
    assert (play.owed, play.step("a").tries, play.step("a").attempt) == (["a"], 1, 2)
