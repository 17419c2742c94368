"""Slots and concurrency groups: asked for before anything is active, held by nothing that waits, given back always."""

from __future__ import annotations

from typing import Any

import pytest
from play import Play, act, ask, calc, call, delay, each, emit, fan, halt, listen, plan

from fleetprompt.engine.core.facts import RunStarted, Slot, StepStarted, StepWaiting
from fleetprompt.engine.core.plan import Concurrency, Node, Reconcile, Retry

RUNS = (Slot("runs", 1),)
GROUP = Concurrency("deploy")

# ---------------------------------------------------------------- the run's own slots


def test_a_run_is_pending_until_it_has_its_slots() -> None:
    play = Play(plan(act("a")), slots=(Slot("runs", 2), Slot("workflow:flow", 1)))
    assert (play.status(), play.run.wants_slot, play.owed) == ("pending", True, [])
    play.grant()
    assert set(play.claims) == {("runs", ""), ("workflow:flow", "")}
    assert (play.status(), play.run.wants_slot, play.owed) == ("running", False, ["a"])
    play.ok("a")
    assert play.status() == "completed"
    assert play.claims == {}


def test_a_run_without_slots_starts_at_once() -> None:
    assert Play(plan(act("a"))).owed == ["a"]


@pytest.mark.parametrize("waiting", [ask("x"), delay("x"), listen("x"), call("x")], ids=lambda n: n.kind)
def test_a_run_in_which_everything_waits_gives_its_slots_back_and_wants_them_again(waiting: Node) -> None:
    play = Play(plan(act("a"), waiting, act("b")), slots=RUNS)
    play.grant()
    play.ok("a")
    assert (play.status(), play.claims, play.run.wants_slot) == ("waiting", {}, False)
    _let_go_on(play, waiting.kind)
    assert (play.status(), play.run.waiting_on, play.run.wants_slot) == ("waiting", "slot", True)
    assert play.owed == []
    play.grant()
    assert (play.owed, list(play.claims)) == (["b"], [("runs", "")])
    assert len(play.of(RunStarted)) == 2
    play.ok("b")
    assert play.status() == "completed"


def _let_go_on(play: Play, kind: str) -> None:
    match kind:
        case "approval":
            play.vote("x")
        case "delay":
            play.wake()
        case "wait":
            play.hear()
        case _:
            play.child("x")


def test_slots_are_kept_while_anything_is_active() -> None:
    play = Play(plan(ask("x", needs=[]), act("a", needs=[])), slots=RUNS)
    play.grant()
    assert play.claims
    play.ok("a")
    assert not play.claims


@pytest.mark.parametrize("decision", ["approved", "rejected"])
def test_a_slot_that_one_append_takes_and_gives_back_is_not_taken(decision: str) -> None:
    """A store releases before it takes: the claim would stay for ever."""
    play = Play(plan(ask("x")), slots=RUNS)
    play.grant()
    assert play.claims == {}
    play.vote("x", decision=decision)
    assert play.run.ended
    assert play.claims == {}


def test_a_run_that_only_computes_holds_nothing_afterwards() -> None:
    play = Play(plan(calc("a", 1)), slots=RUNS)
    play.grant()
    assert (play.status(), play.claims) == ("completed", {})


def test_a_group_of_the_run_is_held_from_its_start_to_its_end() -> None:
    play = Play(plan(act("a"), ask("x"), act("b")), slots=(Slot("group:deploy", 1), *RUNS))
    play.grant()
    play.ok("a")
    assert play.claims == {("group:deploy", "@"): 1}
    play.vote("x")
    play.grant()
    assert set(play.claims) == {("group:deploy", "@"), ("runs", "")}
    play.ok("b")
    assert play.claims == {}


def test_a_pending_run_can_be_cancelled() -> None:
    play = Play(plan(act("a")), slots=RUNS)
    play.cancel()
    assert (play.status(), play.started, play.claims) == ("cancelled", [], {})


def test_a_run_whose_group_is_taken_is_skipped_if_it_wants_that() -> None:
    play = Play(plan(act("a")), slots=(Slot("group:deploy", 1),))
    play.refuse()
    assert play.status() == "cancelled"
    assert "taken" in play.run.error.message


def test_a_refusal_means_nothing_to_who_queues() -> None:
    play = Play(plan(act("a", concurrency=GROUP)))
    assert play.refuse("a", "queue") == []
    assert play.refuse("a", "cancel_running") == []
    assert play.refuse("nobody", "skip") == []
    assert play.status("a") == "waiting"


def test_a_reconcile_check_that_gives_up_leaves_the_run_waiting_without_slots() -> None:
    check = Reconcile("look", {}, "result.there")
    play = Play(plan(act("a", repeat="never", reconcile=check)), slots=RUNS)
    play.grant()
    play.unknown("a")
    assert play.claims
    play.reconciled("a", "unreadable")
    assert (play.run.waiting_on, play.claims) == ("in_doubt", {})


def test_an_answered_doubt_leaves_no_slots_where_the_rest_waits() -> None:
    check = Reconcile("look", {}, "result.there")
    play = Play(plan(act("a", repeat="never", reconcile=check), ask("x", needs=[])), slots=RUNS)
    play.grant()
    play.unknown("a")
    play.reconciled("a", {"there": True})
    assert (play.run.waiting_on, play.claims) == ("approval", {})


# ---------------------------------------------------------------- steps that need a group


def test_a_step_waits_for_its_group_and_starts_with_the_slot() -> None:
    play = Play(plan(act("a", concurrency=Concurrency("deploy-${{ inputs.where }}", limit=2))), {"where": "eu"})
    waiting = play.of(StepWaiting)[0]
    assert (waiting.on, waiting.ref, waiting.slot) == ("slot", "group:deploy-eu", Slot("group:deploy-eu", 2))
    assert play.waits == {"a": ("slot", "group:deploy-eu", "")}
    assert play.run.waiting_on == "slot"
    play.grant("a")
    assert play.of(StepStarted)[0].slot == Slot("group:deploy-eu", 2)
    assert (play.claims, play.waits) == ({("group:deploy-eu", "a"): 1}, {})
    play.ok("a")
    assert play.claims == {}


def test_two_steps_of_a_run_share_a_group_one_after_the_other() -> None:
    play = Play(plan(act("a", needs=[], concurrency=GROUP), act("b", needs=[], concurrency=GROUP)))
    play.grant("a")
    play.grant("b")
    assert play.owed == ["a"]
    play.ok("a")
    play.grant("b")
    assert play.owed == ["b"]


@pytest.mark.parametrize("how", ["ok", "fail", "in doubt", "skip", "cancel", "unknown"])
def test_a_group_is_free_again_however_its_holder_ends(how: str) -> None:
    play = Play(plan(act("a", concurrency=GROUP, repeat="never", on_error="continue"), ask("x"), grace=5))
    play.grant("a")
    assert play.claims
    match how:
        case "ok":
            play.ok("a")
        case "fail":
            play.fail("a")
        case "cancel":
            play.cancel()
            play.ok("a")
        case "unknown":
            play.cancel()
            play.tick(5)
        case _:
            play.unknown("a")
            assert play.claims, "whether it happened is not known yet"
            play.resolve("a", "happened" if how == "in doubt" else "skip")
    assert play.claims == {}


def test_a_group_is_held_over_retries() -> None:
    play = Play(plan(act("a", concurrency=GROUP, retry=Retry(2))))
    play.grant("a")
    play.fail("a")
    assert play.claims
    play.wake()
    assert play.owed == ["a"]
    play.fail("a")
    assert play.claims == {}


def test_a_composite_can_be_the_critical_section() -> None:
    play = Play(plan(fan("p", {"x": [act("a")], "y": [act("b")]}, concurrency=GROUP), act("c")))
    assert play.owed == []
    play.grant("p")
    play.ok("p.a")
    assert list(play.claims) == [("group:deploy", "p")]
    play.ok("p.b")
    assert play.claims == {}


@pytest.mark.parametrize("node", [calc("x", 1), emit("x"), halt("x"), call("x", wait=False)], ids=lambda n: n.kind)
def test_a_step_that_is_over_at_once_leaves_neither_claim_nor_wait(node: Any) -> None:
    import msgspec

    play = Play(plan(msgspec.structs.replace(node, concurrency=GROUP), act("b")))
    play.grant("x")
    assert (play.claims, play.waits) == ({}, {})
    assert play.status("x") == "completed"


def test_a_step_is_skipped_if_its_group_is_taken_and_it_wants_that() -> None:
    play = Play(plan(act("a", concurrency=Concurrency("deploy", on_conflict="skip")), act("b")))
    play.refuse("a")
    assert (play.status("a"), play.step("a").reason, play.waits) == ("skipped", "conflict", {})
    assert play.owed == ["b"]


def test_a_step_that_waits_for_its_group_is_cancelled_like_any_other() -> None:
    play = Play(plan(act("a", concurrency=GROUP)))
    play.cancel()
    assert (play.status(), play.waits) == ("cancelled", {})
    assert play.asked_slot  # a slot that comes too late finds nobody
    from fleetprompt.engine.core.advance import grant

    assert grant(play.run, "a", Slot("group:deploy", 1), play.now) == []


def test_a_group_whose_name_cannot_be_rendered_fails_the_step() -> None:
    play = Play(plan(act("a", concurrency=Concurrency("x-${{ inputs.nothing }}"))))
    assert (play.status(), play.run.error.code) == ("failed", "VALIDATION_ERROR")


def test_a_slot_is_not_taken_by_a_step_that_cannot_be_rendered() -> None:
    play = Play(plan(act("a", config={"x": "${{ inputs.nothing }}"}, concurrency=GROUP, on_error="continue"), ask("g")))
    play.grant("a")
    assert (play.status("a"), play.claims, play.waits) == ("failed", {}, {})


def test_an_approved_step_waits_for_its_group_after_the_approval() -> None:
    play = Play(plan(act("a", approval={"message": "ok?"}, concurrency=GROUP, config={"n": 1})))
    play.vote("a")
    assert (play.status("a"), play.run.waiting_on) == ("waiting", "slot")
    play.grant("a")
    assert play.of(StepStarted)[0].input == {"n": 1}
    assert play.of(StepStarted)[0].approval


# ---------------------------------------------------------------- both together


def test_a_run_that_waits_for_a_group_holds_no_slot_and_starts_with_both() -> None:
    """It must not hold the one while it waits for the other: the holder of the group may need the slot to go on."""
    play = Play(plan(act("a", concurrency=GROUP), act("b")), slots=RUNS)
    play.grant()
    assert (play.claims, play.run.wants_slot, play.run.waiting_on) == ({}, False, "slot")
    play.grant("a")
    assert set(play.claims) == {("runs", ""), ("group:deploy", "a")}
    play.ok("a")
    assert (play.owed, set(play.claims)) == (["b"], {("runs", "")})


def test_a_retry_that_is_due_wants_the_slots_that_were_given_back() -> None:
    play = Play(plan(act("a", retry=Retry(3, backoff=10, jitter=0))), slots=RUNS)
    play.grant()
    play.fail("a")
    assert (play.status(), play.run.waiting_on, play.claims) == ("waiting", "timer", {})
    play.tick(10)
    assert (play.run.waiting_on, play.run.wants_slot, play.owed) == ("slot", True, [])
    play.grant()
    assert play.step("a").attempt == 2
    play.fail("a")
    play.tick(20)
    play.grant()
    play.fail("a")
    assert (play.status(), play.step("a").tries) == ("failed", 3)


def test_a_retry_that_waits_for_a_slot_can_be_cancelled() -> None:
    play = Play(plan(act("a", retry=Retry(3))), slots=RUNS)
    play.grant()
    play.fail("a")
    play.tick(100)
    play.cancel()
    assert (play.status(), play.waits, play.claims) == ("cancelled", {}, {})


def test_a_compensation_that_is_retried_wants_the_slots_again() -> None:
    undo = act("undo", retry=Retry(2))
    play = Play(plan(act("a", compensate=undo), act("b"), on_failure="compensate"), slots=RUNS)
    play.grant()
    play.ok("a")
    play.fail("b")
    play.fail("a@compensate")
    play.tick(100)
    play.grant()
    play.ok("a@compensate")
    assert (play.status(), play.claims) == ("failed", {})


@pytest.mark.parametrize("how", ["cancelled", "rejected"])
def test_a_run_that_waited_and_ends_is_undone_when_it_has_its_slots_again(how: str) -> None:
    play = Play(plan(act("a", compensate=act("undo")), ask("g"), on_failure="compensate"), slots=RUNS)
    play.grant()
    play.ok("a")
    play.others["runs"] = 1
    play.cancel() if how == "cancelled" else play.vote("g", decision="rejected")
    assert (play.owed, play.run.waiting_on, play.run.wants_slot) == ([], "slot", True)
    play.crash()
    play.others.clear()
    play.grant()
    assert (play.owed, list(play.claims)) == (["a@compensate"], [("runs", "")])
    play.ok("a@compensate")
    assert play.claims == {}


def test_a_loop_over_a_group_takes_and_gives_back_each_time() -> None:
    play = Play(plan(each("l", "[1, 2, 3]", [act("a", concurrency=GROUP)], at_once=2)), slots=RUNS)
    play.grant()
    for i in range(3):
        play.grant(f"l[{i}].a")
        assert play.claims[("group:deploy", f"l[{i}].a")] == 1
        play.ok(f"l[{i}].a")
    assert (play.status(), play.claims) == ("completed", {})


def test_a_run_that_has_started_is_not_skipped_because_it_has_to_wait_for_a_slot_again() -> None:
    play = Play(plan(ask("x"), act("a")), slots=(Slot("group:deploy", 1), *RUNS))
    play.grant()
    play.vote("x")
    assert play.run.wants_slot
    assert play.refuse() == []
    play.grant()
    assert play.owed == ["a"]


@pytest.mark.parametrize("who", ["run", "composite"])
def test_a_critical_section_inside_itself_is_entered_already(who: str) -> None:
    """Or a run would wait for itself."""
    inner = fan("q", {"x": [act("a", concurrency=GROUP)]})
    if who == "run":
        play = Play(plan(inner), slots=(Slot("group:deploy", 1),))
        play.grant()
    else:
        play = Play(plan(fan("p", {"x": [inner]}, concurrency=GROUP)))
        play.grant("p")
    [owed] = play.owed
    assert len(play.claims) == 1
    play.ok(owed)
    assert (play.status(), play.claims) == ("completed", {})


def test_a_run_keeps_its_slots_while_it_is_compensated() -> None:
    undo = act("undo")
    nodes = [act("a", compensate=undo), act("b", compensate=undo), act("bad")]
    play = Play(plan(*nodes, on_failure="compensate"), slots=RUNS)
    play.grant()
    play.ok("a")
    play.ok("b")
    play.fail("bad")
    play.ok("b@compensate")
    assert (play.owed, list(play.claims)) == (["a@compensate"], [("runs", "")])
