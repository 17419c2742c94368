"""A pause: nothing new starts, what is in flight finishes, expiries still run."""

from __future__ import annotations

import pytest
from play import NOW, Play, act, ask, calc, delay, each, fan, listen, plan

from fleetprompt.engine.core import command
from fleetprompt.engine.core.command import Refusal
from fleetprompt.engine.core.facts import Slot, StepWaiting
from fleetprompt.engine.core.plan import Concurrency, Guardrails, Retry


def test_what_is_in_flight_finishes_and_nothing_new_starts() -> None:
    play = Play(plan(act("a"), act("b")))
    play.pause()
    assert (play.status(), play.owed) == ("running", ["a"])
    play.ok("a")
    assert (play.status(), play.run.waiting_on, play.owed) == ("waiting", "paused", [])
    play.resume()
    assert (play.status(), play.owed) == ("running", ["b"])


def test_a_run_that_is_paused_and_has_nothing_left_to_start_ends() -> None:
    play = Play(plan(fan("p", {"x": [act("a")]})))
    play.pause()
    play.ok("p.a", 1)
    assert (play.status(), play.run.output) == ("completed", {"x": 1})


def test_dead_paths_are_decided_during_a_pause() -> None:
    play = Play(plan(act("a"), act("b", needs=["a.failed"]), act("c", needs=["b"])))
    play.pause()
    play.ok("a")
    assert play.status() == "completed"


def test_a_retry_that_is_due_waits_for_the_end_of_the_pause() -> None:
    play = Play(plan(act("a", retry=Retry(3, backoff=10, jitter=0))))
    play.fail("a")
    play.pause()
    play.tick(10)
    assert (play.owed, play.run.wake_at) == ([], None)
    assert [fact.on for fact in play.of(StepWaiting)] == ["paused"]
    assert play.tick(1_000) == []
    play.crash()
    play.resume()
    assert (play.owed, play.step("a").attempt, play.step("a").tries) == (["a"], 2, 2)


def test_a_retry_that_is_not_due_yet_waits_for_its_time_after_the_pause() -> None:
    play = Play(plan(act("a", retry=Retry(3, backoff=10, jitter=0))))
    play.fail("a")
    play.pause()
    play.tick(5)
    play.resume()
    assert play.owed == []
    play.tick(5)
    assert play.owed == ["a"]


def test_expiries_run_during_a_pause() -> None:
    branches = {
        "x": [ask("g", timeout=10, on_timeout="approve")],
        "y": [listen("w", timeout=10, on_error="continue")],
        "z": [delay("d", 10)],
    }
    play = Play(plan(fan("p", branches), act("b")))
    play.pause()
    play.tick(10)
    assert [play.status(f"p.{name}") for name in "gwd"] == ["completed", "timeout", "completed"]
    assert (play.status("p"), play.owed) == ("completed", [])
    play.resume()
    assert play.owed == ["b"]


@pytest.mark.parametrize("limit", ["deadline", "timeout"])
def test_limits_hold_during_a_pause(limit: str) -> None:
    fields = {"deadline": 60.0} if limit == "deadline" else {"guardrails": Guardrails(timeout=60)}
    play = Play(plan(act("a"), **fields))
    play.pause()
    play.tick(60)
    assert play.status() == "timeout"


@pytest.mark.parametrize("how", ["cancelled", "timeout"])
def test_a_paused_run_that_is_ended_is_compensated(how: str) -> None:
    undo = act("undo", retry=Retry(2, backoff=10, jitter=0))
    play = Play(plan(act("a", compensate=undo), act("b"), on_failure="compensate", deadline=60.0))
    play.pause()
    play.ok("a")
    play.cancel() if how == "cancelled" else play.tick(60)
    play.fail("a@compensate")
    play.tick(10)
    play.ok("a@compensate")
    assert play.status() == how


def test_what_fails_during_a_pause_is_undone_after_it() -> None:
    play = Play(plan(act("a", compensate=act("undo")), act("b"), on_failure="compensate"), slots=(Slot("runs", 1),))
    play.grant()
    play.ok("a")
    play.pause()
    play.fail("b")
    assert (play.owed, play.status(), play.run.waiting_on, play.claims) == ([], "waiting", "paused", {})
    play.crash()
    play.resume()
    play.grant()
    assert play.owed == ["a@compensate"]


def test_undoing_can_be_paused() -> None:
    nodes = [act("a", compensate=act("undo")), act("b", compensate=act("undo")), act("c")]
    play = Play(plan(*nodes, on_failure="compensate"))
    play.ok("a")
    play.ok("b")
    play.fail("c")
    play.pause()
    play.ok("b@compensate")
    assert (play.owed, play.run.waiting_on) == ([], "paused")
    play.resume()
    assert play.owed == ["a@compensate"]


def test_a_pause_before_the_start() -> None:
    play = Play(plan(act("a")), slots=(Slot("runs", 1),))
    play.pause()
    assert (play.run.wants_slot, play.grant()) == (False, [])
    play.resume()
    play.grant()
    assert play.owed == ["a"]


def test_a_paused_run_holds_no_slots_once_nothing_is_in_flight() -> None:
    play = Play(plan(act("a"), act("b")), slots=(Slot("runs", 1),))
    play.grant()
    play.pause()
    assert play.claims
    play.ok("a")
    assert (play.claims, play.run.wants_slot) == ({}, False)
    play.resume()
    assert (play.owed, play.run.wants_slot, play.run.waiting_on) == ([], True, "slot")
    play.grant()
    assert play.owed == ["b"]


def test_a_paused_step_does_not_take_its_group() -> None:
    play = Play(plan(act("a", concurrency=Concurrency("g"))))
    play.pause()
    assert play.grant("a") == []
    play.resume()
    play.grant("a")
    assert play.owed == ["a"]


def test_iterations_go_on_after_a_pause() -> None:
    play = Play(plan(each("l", [1, 2, 3], [act("a")], at_once=2)))
    play.pause()
    play.ok("l[0].a")
    assert play.owed == ["l[1].a"]
    play.resume()
    assert play.owed == ["l[1].a", "l[2].a"]


def test_commands_that_do_not_fit() -> None:
    play = Play(plan(act("a")))
    assert command.resume(play.run, NOW, by="ana") == Refusal("the run is not paused")
    play.pause()
    assert command.pause(play.run, NOW, by="ana") == Refusal("the run is already paused")
    play.ok("a")
    for verb in (command.pause, command.resume, command.cancel):
        assert verb(play.run, NOW, by="ana") == Refusal("the run is already completed")


def test_a_pause_survives_a_crash() -> None:
    play = Play(plan(calc("a", 1, needs=[]), act("b", needs=[], repeat="never"), act("c")))
    play.pause()
    play.crash()
    assert (play.run.paused, play.status("b")) == (True, "in_doubt")
    play.resolve("b", "happened")
    assert play.owed == []
