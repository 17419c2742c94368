"""Effects that may or may not have happened: crashes, unknown outcomes, four answers, and reconcile checks."""

from __future__ import annotations

from typing import Any

import pytest
from play import NOW, Play, act, ask, each, fan, halt, plan

from fleetprompt.engine.core import command
from fleetprompt.engine.core.command import Refusal
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import StepCancelled, StepFailed, StepInDoubt, StepNoted, StepResolved, StepStarted
from fleetprompt.engine.core.keys import effect_key
from fleetprompt.engine.core.outcome import MAX_RECONCILED_RUNS, recovered
from fleetprompt.engine.core.plan import Reconcile, Retry

# ---------------------------------------------------------------- after a crash


def test_safe_work_is_simply_performed_again() -> None:
    play = Play(plan(act("a")))
    assert play.crash() == []
    assert (play.owed, play.step("a").attempt) == (["a"], 1)
    play.ok("a")
    assert play.status() == "completed"


def test_work_that_must_not_be_repeated_is_in_doubt() -> None:
    play = Play(plan(act("a", repeat="never"), act("b")))
    play.crash()
    assert (play.status("a"), play.run.waiting_on, play.owed) == ("in_doubt", "in_doubt", [])
    [fact] = play.of(StepInDoubt)
    assert (fact.attempt, fact.reason) == (1, "the engine stopped")


def test_a_program_that_was_left_running_and_killed_is_told() -> None:
    play = Play(plan(act("a", repeat="never"), act("b")))
    who = {"pid": 4711, "argv0": "deploy"}
    play.tell(recovered(play.run, play.now, "the engine stopped", [("a", "", who)]))
    [noted], [doubt] = play.of(StepNoted), play.of(StepInDoubt)
    assert (noted.kind, noted.value) == ("process.killed", who)
    assert doubt.reason == "the engine stopped; its program `deploy` (pid 4711) still ran, and was killed"


def test_a_second_crash_asks_nothing_twice() -> None:
    play = Play(plan(act("a", repeat="never")))
    play.crash()
    assert play.crash() == []
    play.resolve("a", "run")
    play.crash()
    assert len(play.of(StepInDoubt)) == 2


def test_only_what_was_in_flight_is_in_doubt() -> None:
    play = Play(plan(fan("p", {"x": [act("a", repeat="never")], "y": [ask("g")], "z": [act("c")]})))
    play.crash()
    assert play.statuses == {"p": "running", "p.a": "in_doubt", "p.g": "waiting", "p.c": "running"}


# ---------------------------------------------------------------- unknown outcomes


def test_an_unknown_outcome_of_safe_work_is_a_failed_attempt() -> None:
    play = Play(plan(act("a", retry=Retry(2))))
    play.unknown("a", "the connection broke")
    assert (play.of(StepFailed)[0].error.code, play.status("a")) == ("INTERNAL", "waiting")
    play.wake()
    play.unknown("a")
    assert play.status() == "failed"


@pytest.mark.parametrize("code", ["INTERNAL", "TIMEOUT"])
def test_an_unknown_outcome_of_other_work_is_in_doubt_and_never_retried(code: str) -> None:
    play = Play(plan(act("a", repeat="never", retry=Retry(5))))
    play.unknown("a", "the connection broke", code=code)
    assert (play.status("a"), play.step("a").error.code) == ("in_doubt", "IN_DOUBT")
    assert play.tick(100_000) == []


def test_a_definite_failure_of_such_work_is_retried() -> None:
    play = Play(plan(act("a", repeat="never", retry=Retry(2))))
    play.fail("a")
    play.wake()
    assert play.owed == ["a"]


@pytest.mark.parametrize("again", [0, 5])
def test_a_composite_in_which_something_may_have_happened_is_not_tried_again(again: float) -> None:
    inside = fan("p", {"x": [act("a", repeat="never")], "y": [act("b")]}, timeout=3, retry=Retry(2))
    play = Play(plan(fan("q", {"z": [inside]}, retry=Retry(2)), grace=5))
    play.tick(3)
    if again:
        play.tick(again)
        assert (play.status(), "p.a" in play.step("q.p").error.hint) == ("failed", True)
    else:
        play.fail("q.p.a")
        assert play.status("q.p") == "waiting"


# ---------------------------------------------------------------- four answers


def doubtful(**fields: Any) -> Play:
    play = Play(plan(act("a", repeat="never", **fields), act("b"), act("c", needs=["a.failed"])))
    play.unknown("a")
    return play


def test_it_happened() -> None:
    play = doubtful()
    play.resolve("a", "happened", {"id": 7})
    assert (play.status("a"), play.step("a").output, play.owed) == ("completed", {"id": 7}, ["b"])
    [fact] = play.of(StepResolved)
    assert (fact.answer, fact.by) == ("happened", "ana")


def test_what_happened_sets_what_the_step_would_have_set() -> None:
    play = Play(plan(act("a", repeat="never", set={"n": "result.id"}), act("b"), vars={"n": 0}))
    play.unknown("a")
    refused = command.resolve(play.run, NOW, path="a", answer="happened", output={}, by="ana")
    assert isinstance(refused, Refusal)
    assert "`set` of a" in refused.reason
    play.resolve("a", "happened", {"id": 7})
    assert (play.run.vars, play.owed) == ({"n": 7}, ["b"])


@pytest.mark.parametrize(("found", "status"), [({"found": True, "id": 7}, "completed"), ({"found": True}, "in_doubt")])
def test_what_a_check_finds_sets_it_too(found: dict[str, Any], status: str) -> None:
    check = Reconcile("look", {}, "result.found")
    play = Play(plan(act("a", repeat="never", set={"n": "result.id"}, reconcile=check), act("b"), vars={"n": 0}))
    play.crash()
    play.reconciled("a", found)
    assert (play.status("a"), play.run.vars) == (status, {"n": 7 if status == "completed" else 0})


def test_it_did_not_so_run_it() -> None:
    play = doubtful(retry=Retry(2))
    key = effect_key(play.run, play.step("a"))
    play.resolve("a", "run")
    assert (play.owed, play.step("a").attempt, play.step("a").tries) == (["a"], 2, 1)
    assert play.of(StepStarted)[1].input is None
    assert effect_key(play.run, play.step("a")) == key, "the other side can still tell that it is the same"
    play.fail("a")
    assert play.status("a") == "waiting", "an operator's order comes with all attempts"


@pytest.mark.parametrize("answer", ["run", "skip", "abort", "happened"])
def test_an_answer_that_comes_late_says_nothing_of_what_was_tried_since(answer: str) -> None:
    play = doubtful()
    play.resolve("a", "run", attempt=1)
    for status in ("running", "in_doubt"):
        refused = command.resolve(play.run, NOW, path="a", answer=answer, attempt=1, by="ana")
        assert isinstance(refused, Refusal)
        assert f"attempt 1 of a, which is now {status} in attempt 2" in refused.reason
        assert refused.hint
        play.crash()
    play.resolve("a", "skip", attempt=2)
    assert play.status("a") == "skipped"


def test_skip() -> None:
    play = doubtful()
    play.resolve("a", "skip")
    assert (play.status("a"), play.step("a").reason, play.owed) == ("skipped", "operator", ["b"])
    assert play.status("c") == "skipped"


def test_abort_ends_the_run_whoever_would_have_handled_the_failure() -> None:
    play = doubtful()
    play.resolve("a", "abort")
    assert (play.status(), play.status("a"), play.status("c")) == ("failed", "failed", "pending")
    assert (play.run.error.code, play.run.error.path) == ("IN_DOUBT", "a")


TOLERANT = {
    "on_error": lambda inner: fan("p", {"x": [inner]}, on_error="continue"),
    "any": lambda inner: fan("p", {"x": [inner], "y": [act("y")]}, until=1),
    "loop": lambda inner: each("p", "[1, 2]", [inner], on_item_error="continue"),
    "retry": lambda inner: fan("p", {"x": [inner]}, retry=Retry(3)),
    "handled": lambda inner: fan("p", {"x": [inner, act("h", needs=["a.failed"])]}),
    "beside": lambda inner: fan("p", {"x": [inner], "y": [act("y")]}, until=1, cancel_rest=False),
}


@pytest.mark.parametrize("how", TOLERANT)
def test_abort_ends_the_run_from_anywhere_and_compensates_although_the_file_does_not_say_so(how: str) -> None:
    inner = act("a", repeat="never", on_error="continue" if how == "on_error" else "fail")
    play = Play(plan(act("first", compensate=act("undo")), TOLERANT[how](inner), act("z", on_error="continue")))
    play.ok("first")
    path = "p[0].a" if how == "loop" else "p.a"
    if how == "beside":
        play.ok("p.y")
    play.unknown(path)
    play.resolve(path, "abort")
    assert play.owed == ["first@compensate"]
    play.ok("first@compensate")
    assert (play.status(), play.run.error.code, play.run.error.path) == ("failed", "IN_DOUBT", path)


def test_abort_after_a_stop_that_says_all_is_well() -> None:
    branches = {"x": [act("a", repeat="never")], "y": [act("b"), halt("s")]}
    play = Play(plan(act("first", compensate=act("undo")), fan("p", branches), grace=60))
    play.ok("first")
    play.ok("p.b")
    play.crash()
    play.resolve("p.a", "abort")
    play.ok("first@compensate")
    assert (play.status(), play.run.error.path) == ("failed", "p.a")


def test_answers_need_a_doubt() -> None:
    play = Play(plan(act("a", repeat="never"), act("b")))
    refused = command.resolve(play.run, NOW, path="a", answer="run", by="ana")
    assert refused == Refusal("a is running, not in doubt")
    assert command.resolve(play.run, NOW, path="z", answer="run", by="ana") == Refusal("the run has no step z")
    play.unknown("a")
    assert isinstance(command.resolve(play.run, NOW, path="a", answer="maybe", by="ana"), Refusal)
    play.resolve("a", "skip")
    assert command.resolve(play.run, NOW, path="a", answer="run", by="bo") == Refusal("a is skipped, not in doubt")


def test_an_answer_during_a_pause_is_acted_on_afterwards() -> None:
    play = doubtful()
    play.pause()
    play.resolve("a", "run")
    assert (play.owed, play.run.waiting_on) == ([], "paused")
    play.resume()
    assert play.owed == ["a"]


def test_a_doubt_in_a_run_that_ends_is_not_run_again() -> None:
    """What crashed in its grace is in doubt; nothing new starts in a run that ends, whatever the answer."""
    play = Play(plan(act("a", repeat="never"), grace=60))
    play.cancel()
    play.crash()
    assert (play.status("a"), play.run.waiting_on) == ("in_doubt", "in_doubt")
    play.resolve("a", "run")
    assert (play.status(), play.status("a")) == ("cancelled", "cancelled")
    assert len(play.of(StepStarted)) == 1


@pytest.mark.parametrize(("answer", "status"), [("happened", "completed"), ("skip", "skipped"), ("abort", "failed")])
def test_other_answers_in_a_run_that_ends(answer: str, status: str) -> None:
    undo = act("undo")
    play = Play(plan(act("a", repeat="never", compensate=undo), on_failure="compensate", grace=60))
    play.cancel("enough")
    play.crash()
    play.resolve("a", answer)
    if answer == "happened":
        play.ok("a@compensate")
    assert (play.status("a"), play.status()) == (status, "cancelled")
    assert play.run.error.message == "enough"


# ---------------------------------------------------------------- reconcile


def checked(**fields: Any) -> Play:
    check = Reconcile("look", {"id": 1}, "result.found", **fields)
    play = Play(plan(act("a", repeat="never", reconcile=check), act("b")))
    play.crash()
    return play


def test_a_check_is_owed_instead_of_the_effect() -> None:
    play = checked()
    assert (play.owed, play.status("a"), play.status()) == (["a"], "in_doubt", "running")
    assert play.crash() == []
    assert play.owed == ["a"]


def test_the_check_finds_that_it_happened() -> None:
    play = checked(output={"id": "${{ result.id }}"})
    play.reconciled("a", {"found": True, "id": 5})
    assert (play.status("a"), play.step("a").output, play.owed) == ("completed", {"id": 5}, ["b"])
    assert play.of(StepResolved)[0].by == "reconcile"


def test_without_an_output_of_its_own_the_result_of_the_check_is_the_output() -> None:
    play = checked()
    play.reconciled("a", {"found": True})
    assert play.step("a").output == {"found": True}


def test_the_check_finds_that_it_did_not_happen() -> None:
    play = checked()
    play.reconciled("a", {"found": False})
    assert (play.status("a"), play.owed, play.step("a").attempt) == ("running", ["a"], 2)


@pytest.mark.parametrize("how", ["failed", "unreadable"])
def test_a_check_that_cannot_tell_leaves_it_to_a_person(how: str) -> None:
    play = checked()
    if how == "failed":
        play.reconciled("a", None, Failure("TOOL_ERROR", "down"))
    else:
        play.reconciled("a", {"nothing": 1})
    [note] = play.of(StepNoted)
    why = "the reconcile check failed: down" if how == "failed" else "the reconcile check could not be read: "
    assert note.kind == "reconcile"
    assert note.value.startswith(why)
    assert (play.status("a"), play.owed, play.run.waiting_on) == ("in_doubt", [], "in_doubt")
    play.crash()
    assert play.owed == [], "the check is not made again"
    play.resolve("a", "happened")
    assert play.owed == ["b"]


def test_a_check_may_read_its_own_failure() -> None:
    check = Reconcile("look", {}, "error.message == 'exists' if error else result.found")
    play = Play(plan(act("a", repeat="never", reconcile=check)))
    play.crash()
    play.reconciled("a", None, Failure("TOOL_ERROR", "exists"))
    assert play.status() == "completed"


def test_a_check_does_not_order_the_work_for_ever() -> None:
    play = checked()
    for _ in range(MAX_RECONCILED_RUNS - 1):
        play.reconciled("a", {"found": False})
        play.crash()
    play.reconciled("a", {"found": False})
    assert (play.owed, play.run.waiting_on) == ([], "in_doubt")
    assert str(MAX_RECONCILED_RUNS) in play.of(StepNoted)[0].value


@pytest.mark.parametrize(("found", "status"), [(True, "completed"), (False, "cancelled")])
def test_a_check_is_made_although_the_run_ends(found: bool, status: str) -> None:
    """Whether it has to be undone depends on the answer, and no person is needed for it."""
    check = Reconcile("look", {}, "result.found")
    nodes = [act("a", repeat="never", reconcile=check, compensate=act("undo"))]
    play = Play(plan(*nodes, on_failure="compensate", grace=60))
    play.cancel()
    play.crash()
    play.reconciled("a", {"found": found})
    assert (play.status("a"), play.owed) == (status, ["a@compensate"] if found else [])
    assert len(play.of(StepStarted, "a")) == 1


def test_a_check_is_called_off_with_its_run() -> None:
    play = checked()
    play.cancel()
    assert (play.status(), play.of(StepCancelled)[0].unknown) == ("cancelled", True)


def test_an_operator_may_answer_before_the_check_does() -> None:
    play = checked()
    play.resolve("a", "skip")
    assert play.owed == ["b"]


def test_abort_does_not_hide_the_failure_that_came_first() -> None:
    play = Play(plan(act("a", needs=[], repeat="never"), act("bad", needs=[]), grace=60))
    play.fail("bad", message="first")
    play.unknown("a")
    play.resolve("a", "abort")
    assert (play.status(), play.run.error.message) == ("failed", "first")
