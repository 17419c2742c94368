"""Retry of a finished run: what is done again, what stands, and under which keys."""

from __future__ import annotations

from typing import Any

import pytest
from play import NOW, Play, act, ask, calc, call, cond, delay, during, each, emit, fan, halt, plan, snapshot

from fleetprompt.engine.core.command import Refusal
from fleetprompt.engine.core.facts import AnyFact, RunCreated, RunForked, Slot, StepInDoubt
from fleetprompt.engine.core.fork import fork
from fleetprompt.engine.core.keys import child_key_root, effect_key
from fleetprompt.engine.core.plan import Concurrency, Guardrails, Plan, Reconcile, Retry


def again(play: Play, start: str = "", new: str = "r2", **fields: Any) -> Play:
    """The run that does this one again, up to where it owes something."""
    facts = fork(play.run, play.facts, new=new, at=play.now + 100, by="bo", start=start)
    assert not isinstance(facts, Refusal), facts.reason
    return Play(play.program.plan, now=play.now + 100, facts=facts, blobs=play.blobs, **fields)


def refused(play: Play, start: str = "") -> str:
    facts = fork(play.run, play.facts, new="r2", at=play.now, start=start)
    assert isinstance(facts, Refusal)
    return facts.reason


def finish(play: Play) -> Play:
    while play.owed:
        play.ok(play.owed[0], play.owed[0])
    assert play.run.ended
    return play


def abc(**fields: Any) -> Plan:
    return plan(act("a"), act("b"), act("c"), **fields)


# ---------------------------------------------------------------- what is done again


def test_a_failed_run_goes_on_where_it_failed() -> None:
    play = Play(abc(), {"n": 1}, owner="ana", labels={"team": "x"})
    play.ok("a", "A")
    play.fail("b")
    later = again(play)
    assert (later.owed, later.step("a").output, later.status()) == (["b"], "A", "running")
    finish(later)
    assert later.status() == "completed"


def test_the_new_run_says_where_it_comes_from() -> None:
    play = Play(abc(deadline=1_000), {"n": 1}, owner="ana", project="p", labels={"team": "x"}, depth=2, parent="r0")
    play.ok("a")
    play.fail("b")
    facts = fork(play.run, play.facts, new="r2", at=NOW + 50, by="bo")
    assert isinstance(facts, list)
    first, last = facts[0], facts[-1]
    assert isinstance(first, RunCreated)
    assert (first.run, first.retry_of, first.key_root, first.owner) == ("r2", "r1", "r1", "bo")
    assert (first.inputs, first.project, first.labels) == ({"n": 1}, "p", {"team": "x"})
    assert (first.parent, first.root, first.depth, first.deadline) == ("", "", 0, NOW + 1_050)
    assert last == RunForked(
        at=NOW + 50, run="r1", upto=len(play.facts), generation=1, steps=("b", "c"), by="bo", line=("r2",)
    )


def test_from_a_step_on_also_what_had_completed() -> None:
    play = finish(Play(abc()))
    later = again(play, "b")
    assert (later.owed, later.status("a")) == (["b"], "completed")
    finish(later)
    assert later.run.generation == 1


def test_only_what_comes_after_a_step_is_done_again_with_it() -> None:
    nodes = [act("a", needs=[]), act("b", needs=["a"]), act("x", needs=[]), act("y", needs=["x"]), act("z")]
    later = again(finish(Play(plan(*nodes))), "a")
    assert (later.owed, later.status("x"), later.status("y"), later.status("z")) == (
        ["a"], "completed", "completed", "pending",
    )  # fmt: skip
    later.ok("a")
    later.ok("b")
    assert later.owed == ["z"]


def test_a_failure_that_was_handled_stands() -> None:
    nodes = [act("a"), act("fix", needs=["a.failed"]), act("b", on_error="continue"), act("c")]
    play = Play(plan(*nodes))
    play.fail("a")
    play.ok("fix")
    play.fail("b")
    play.fail("c")
    later = again(play)
    assert (later.owed, later.status("a"), later.status("b")) == (["c"], "failed", "failed")


def test_what_was_in_flight_is_done_again_too() -> None:
    play = Play(plan(act("a", needs=[]), act("b", needs=[])))
    play.fail("a")
    assert again(play).owed == ["a", "b"]


# ---------------------------------------------------------------- what may have happened


def cut_off(**fields: Any) -> Play:
    """A run that was cancelled, and did not wait for what was in flight in a branch of it."""
    branches = {"x": [act("a", repeat="never", **fields), act("b")], "y": [act("c", repeat="never")]}
    play = Play(plan(fan("p", branches), act("z"), grace=5))
    play.ok("p.c")
    play.cancel()
    play.tick(5)
    assert (play.status(), play.status("p.a")) == ("cancelled", "cancelled")
    return play


def test_what_may_have_happened_is_in_doubt_and_not_done_again() -> None:
    play = cut_off()
    key = effect_key(play.run, play.step("p.a"))
    later = again(play)
    assert (later.owed, later.status("p.a"), later.run.waiting_on) == ([], "in_doubt", "in_doubt")
    assert later.step("p.a").error.message == "run r1 ended while it was in flight"
    assert effect_key(later.run, later.step("p.a")) == key, "a check can look for it"
    later.resolve("p.a", "happened", 1)
    assert (later.owed, later.status("p.c")) == (["p.b"], "completed")
    finish(later)


def test_a_doubt_alone_holds_no_slot() -> None:
    play = Play(plan(act("a", repeat="never"), act("b")), slots=(Slot("runs", 1),))
    play.grant()
    play.unknown("a")
    play.cancel()
    later = again(play)
    later.grant()
    assert (later.run.waiting_on, later.claims) == ("in_doubt", {})
    later.resolve("a", "happened")
    later.grant()
    assert (later.owed, list(later.claims)) == (["b"], [("runs", "")])


def test_a_check_finds_out_about_it() -> None:
    later = again(cut_off(reconcile=Reconcile("look", {}, "result.found")))
    assert (later.owed, later.status("p.a")) == (["p.a"], "in_doubt")
    later.reconciled("p.a", {"found": False})
    assert (later.status("p.a"), later.step("p.a").attempt) == ("running", 2)


def test_who_names_it_has_it_done_again() -> None:
    later = again(cut_off(), "p.a")
    assert (later.owed, later.status("p.a")) == (["p.a"], "running")


def test_who_names_what_comes_before_it_has_it_done_again_too() -> None:
    play = Play(plan(act("a"), act("b", repeat="never"), grace=5))
    play.ok("a")
    play.cancel()
    play.tick(5)
    later = again(play, "a")
    assert (later.owed, later.status("b")) == (["a"], "pending")


@pytest.mark.parametrize("answer", ["", "abort"])
def test_a_doubt_that_nobody_has_settled_is_still_one(answer: str) -> None:
    play = Play(plan(act("a", repeat="never"), act("b")))
    play.unknown("a", "the connection broke")
    play.resolve("a", answer) if answer else play.cancel()
    later = again(play)
    assert (later.status("a"), later.step("a").reason) == ("in_doubt", "the connection broke")
    assert len(later.of(StepInDoubt)) == 1
    later.resolve("a", "run")
    assert (later.owed, later.step("a").attempt) == (["a"], 2)


def test_a_doubt_in_what_is_done_again_as_a_whole_is_gone() -> None:
    body = [fan("p", {"x": [act("a", repeat="never")], "y": [act("b")]}, timeout=3)]
    play = Play(plan(each("l", [1, 2], body), act("z"), grace=5))
    play.tick(3)
    play.tick(5)
    assert again(play).status("l[0].p.a") == "in_doubt"
    assert again(play, "l").status("l[0].p.a") == "running"


def test_a_doubt_in_a_race_that_is_run_again() -> None:
    play = Play(plan(fan("p", {"x": [act("a", repeat="never")], "y": [act("b")]}, until=1), act("z"), grace=5))
    play.ok("p.b")
    play.tick(5)
    finish(play)
    assert again(play, "z").status("p.a") == "cancelled"
    later = again(play, "p.b")
    assert (later.owed, later.status("p.a")) == (["p.b"], "in_doubt")


@pytest.mark.parametrize("how", ["cancelled", "timeout"])
def test_a_run_that_was_ended_goes_on_where_it_was(how: str) -> None:
    play = Play(plan(act("a"), ask("g"), act("b"), deadline=100))
    play.ok("a")
    play.cancel() if how == "cancelled" else play.tick(100)
    assert play.status() == how
    later = again(play)
    assert (later.status("a"), later.run.waiting_on) == ("completed", "approval")
    later.vote("g")
    assert later.owed == ["b"]


def test_a_run_that_never_started_starts() -> None:
    play = Play(abc(), slots=(Slot("runs", 1),))
    play.cancel()
    later = again(play)
    assert later.status() == "pending"
    later.grant()
    assert later.owed == ["a"]


# ---------------------------------------------------------------- inside composites


def test_a_branch_goes_on_where_it_failed_and_the_others_stand() -> None:
    play = Play(plan(fan("p", {"x": [act("a"), act("b")], "y": [act("c")]}), act("z")))
    play.ok("p.a")
    play.ok("p.c", "C")
    play.fail("p.b")
    later = again(play)
    assert (later.owed, later.status("p"), later.status("p.a")) == (["p.b"], "running", "completed")
    later.ok("p.b", "B")
    assert (later.step("p").output, later.owed) == ({"x": "B", "y": "C"}, ["z"])


def test_a_composite_is_done_again_as_a_whole_if_it_is_named() -> None:
    play = finish(Play(plan(act("first"), fan("p", {"x": [act("a")], "y": [act("b")]}), act("z"))))
    later = again(play, "p")
    assert (later.owed, later.status("first"), later.status("z")) == (["p.a", "p.b"], "completed", "pending")


def test_one_step_inside_a_composite_can_be_named() -> None:
    play = finish(Play(plan(fan("p", {"x": [act("a")], "y": [act("b")]}), act("z"))))
    later = again(play, "p.b")
    assert (later.owed, later.status("p.a"), later.status("z")) == (["p.b"], "completed", "pending")
    finish(later)


def test_a_race_that_was_won_stands_with_those_that_lost_it() -> None:
    play = Play(plan(fan("p", {"x": [act("a")], "y": [act("b")], "z": [act("c")]}, until=1), act("d", repeat="never")))
    play.fail("p.a")
    play.ok("p.b")
    assert play.status("p.c") == "cancelled"
    play.fail("d")
    later = again(play)
    assert (later.owed, later.status("p"), later.status("p.c")) == (["d"], "completed", "cancelled")


def test_items_that_were_left_behind_stand() -> None:
    play = Play(plan(each("l", [1, 2], [act("a")], on_item_error="continue"), act("b")))
    play.fail("l[0].a")
    play.ok("l[1].a")
    play.fail("b")
    later = again(play)
    assert (later.owed, later.status("l"), later.status("l[0].a")) == (["b"], "completed", "failed")


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_one_item_is_done_again_and_later_ones_stand(at_once: int) -> None:
    """They were decided while an earlier item had ended, which in the copy it has not."""
    play = Play(plan(each("l", "inputs.x", [act("a", repeat="never")], at_once=at_once), act("z")), {"x": list("pqrs")})
    finish(play)
    later = again(play, "l[1].a")
    assert (later.owed, later.run.ignored) == (["l[1].a"], 0)
    later.ok("l[1].a", "again")
    assert later.step("l").output == ["l[0].a", "again", "l[2].a", "l[3].a"]
    assert later.owed == ["z"]


def test_a_failed_loop_goes_on_with_its_items() -> None:
    play = Play(plan(each("l", [1, 2, 3], [act("a"), act("b")])))
    for path in ("l[0].a", "l[0].b", "l[1].a"):
        play.ok(path, path)
    play.fail("l[1].b")
    later = again(play)
    assert later.owed == ["l[1].b"]
    finish(later)
    assert later.run.output == ["l[0].b", "l[1].b", "l[2].b"]


def test_a_failed_while_loop_goes_on() -> None:
    play = Play(plan(during("w", "index < 3", [act("a")])))
    play.ok("w[0].a", 0)
    play.fail("w[1].a")
    later = again(play)
    assert later.owed == ["w[1].a"]
    later.ok("w[1].a", 1)
    later.ok("w[2].a", 2)
    assert later.run.output == [0, 1, 2]


def test_an_early_iteration_of_a_while_loop_alone() -> None:
    play = finish(Play(plan(during("w", "index < 3", [act("a")]))))
    later = again(play, "w[0].a")
    assert later.owed == ["w[0].a"]
    later.ok("w[0].a", "again")
    assert (later.status(), later.run.output) == ("completed", ["again", "w[1].a", "w[2].a"])


def test_loops_in_loops() -> None:
    body = [each("m", [1, 2], [act("a", repeat="never")])]
    play = finish(Play(plan(each("l", [1, 2, 3], body), act("z"))))
    later = again(play, "l[0].m[0].a")
    assert (later.owed, later.run.ignored) == (["l[0].m[0].a"], 0)
    later.ok("l[0].m[0].a", "again")
    assert later.step("l").output[0] == ["again", "l[0].m[1].a"]
    assert later.owed == ["z"]


def test_only_the_last_attempt_at_a_composite_is_looked_at() -> None:
    play = Play(plan(fan("p", {"x": [act("a"), act("b")]}, retry=Retry(2)), act("z")))
    play.ok("p.a")
    play.fail("p.b")
    play.wake()
    play.ok("p#2.a")
    play.fail("p#2.b")
    later = again(play)
    assert later.owed == ["p#2.b"]
    assert (later.status("p.b"), later.status("p#2.a")) == ("failed", "completed")
    later.ok("p#2.b")
    assert later.owed == ["z"]


def test_an_attempt_that_is_over_cannot_be_named() -> None:
    play = Play(plan(fan("p", {"x": [act("a")]}, retry=Retry(2))))
    play.fail("p.a")
    play.wake()
    play.ok("p#2.a")
    assert "p.a" in refused(play, "p.a")


def test_a_composite_that_failed_by_itself_is_done_again() -> None:
    play = Play(plan(each("l", "inputs.nothing", [act("a")]), act("z")))
    facts = fork(play.run, play.facts, new="r2", at=NOW)
    assert isinstance(facts, list)
    assert facts[-1].steps == ("l", "z")  # type: ignore[union-attr]


def test_a_composite_that_took_too_long_goes_on_inside() -> None:
    play = Play(plan(fan("p", {"x": [act("a")], "y": [act("b")]}, timeout=10)))
    play.ok("p.a", "A")
    play.tick(10)
    later = again(play)
    assert (later.status("p"), later.owed) == ("running", ["p.b"])
    later.tick(5)
    later.ok("p.b", "B")
    assert later.run.output == {"x": "A", "y": "B"}


def test_the_new_run_has_its_whole_time() -> None:
    play = Play(plan(act("a"), act("b"), guardrails=Guardrails(timeout=10)))
    play.tick(9)
    play.ok("a")
    play.tick(1)
    assert play.status() == "timeout"
    later = again(play)
    assert later.tick(9) == []
    later.ok("b")
    assert later.status() == "completed"


def test_a_composite_that_is_open_again_has_its_whole_time_too() -> None:
    check = Reconcile("look", {}, "result.found")
    branches = {"x": [act("a", repeat="never", reconcile=check)], "y": [act("b"), act("c")]}
    play = Play(plan(fan("p", branches, timeout=10), grace=5))
    play.tick(9)
    play.ok("p.b")
    play.tick(1)
    play.tick(5)
    later = again(play)
    assert (later.owed, later.tick(9)) == (["p.a", "p.c"], [])
    later.tick(1)
    assert later.status("p.c") == "cancelled"


def test_an_earlier_attempt_that_took_too_long_stays_closed() -> None:
    body = {"x": [act("a"), act("b")]}
    play = Play(plan(fan("p", body, timeout=10, retry=Retry(2, backoff=0, jitter=0)), act("z")))
    play.tick(10)
    play.tick(10)
    later = again(play)
    assert (later.owed, later.status("p.a"), later.status("p.b")) == (["p#2.a"], "cancelled", "pending")
    finish(later)


def test_what_was_interrupted_goes_on_inside_however_deep() -> None:
    body = [fan("p", {"x": [act("a", repeat="never"), act("b")], "y": [act("c", repeat="never")]})]
    play = Play(plan(each("l", [1], body), act("z")))
    play.ok("l[0].p.a")
    play.ok("l[0].p.c")
    play.cancel()
    later = again(play)
    assert (later.owed, later.status("l[0].p.a"), later.status("l[0].p.c")) == (["l[0].p.b"], "completed", "completed")
    finish(later)


def test_what_was_interrupted_between_two_steps_goes_on_there() -> None:
    play = Play(plan(fan("q", {"w": [fan("p", {"x": [act("a", repeat="never"), act("b")]})]}), act("z")))
    play.pause()
    play.ok("q.p.a")
    play.cancel()
    later = again(play)
    assert (later.owed, later.status("q.p.a")) == (["q.p.b"], "completed")


def test_a_race_that_is_run_again_is_run_by_all_that_did_not_fail() -> None:
    branches = {"x": [act("a"), act("a2")], "y": [act("b")], "z": [act("c")]}
    play = Play(plan(fan("p", branches, until=1)))
    play.fail("p.c")
    play.ok("p.b")
    later = again(play, "p.b")
    assert later.owed == ["p.a", "p.b"]
    later.ok("p.a")
    later.ok("p.a2", 1)
    assert (later.status(), later.run.output["x"]) == ("completed", 1)


def test_naming_a_step_adds_to_what_went_wrong() -> None:
    play = Play(plan(act("a", needs=[]), act("b", needs=[]), act("c", needs=[]), act("z")))
    play.ok("a")
    play.fail("b")
    later = again(play, "a")
    assert (later.owed, later.status("z")) == (["a", "b", "c"], "pending")


def test_a_composite_that_was_to_be_tried_again_can_be_entered_where_it_failed() -> None:
    play = Play(plan(fan("p", {"x": [act("a"), act("b")]}, retry=Retry(3, backoff=50)), act("z")))
    play.ok("p.a")
    play.fail("p.b")
    play.cancel()
    assert again(play).owed == ["p.a"], "as a whole, as it would have been"
    later = again(play, "p.b")
    assert later.owed == ["p.a"]


def test_a_condition_is_not_decided_again() -> None:
    play = Play(plan(act("a"), cond("c", "steps.a.output", [act("t")], [act("e")])))
    play.ok("a", True)
    play.fail("c.t")
    later = again(play)
    assert later.owed == ["c.t"]


# ---------------------------------------------------------------- a run that was stopped


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_stop_stops_again_unless_what_leads_to_it_is_named(status: str) -> None:
    play = Play(plan(act("check"), cond("c", "steps.check.output", [halt("s", status)]), act("z")))
    play.ok("check", True)
    assert play.status() == status
    assert again(play).status() == status
    later = again(play, "check")
    later.ok("check", False)
    assert later.owed == ["z"]


# ---------------------------------------------------------------- keys, claims, and what has left already


def test_what_stands_keeps_its_key_and_what_is_done_again_gets_a_new_one() -> None:
    play = Play(abc())
    play.ok("a")
    keys = {path: effect_key(play.run, play.step(path)) for path in ("a", "b")}
    play.fail("b")
    later = again(play)
    assert effect_key(later.run, later.step("a")) == keys["a"]
    assert effect_key(later.run, later.step("b")) != keys["b"]
    later.ok("b")
    third_time = effect_key(later.run, later.step("c"))
    later.fail("c")
    third = again(later, new="r3")
    assert third.run.created.key_root == "r1"
    assert (third.run.generation, third.run.created.retry_of) == (2, "r2")
    assert effect_key(third.run, third.step("c")) != third_time


def test_two_retries_of_a_run_are_two_orders() -> None:
    play = Play(abc())
    play.fail("a")
    first, second = again(play), again(play, new="r3")
    keys = [effect_key(each.run, each.step("a")) for each in (play, first, second)]
    assert len(set(keys)) == 3
    first.cancel()
    assert effect_key(again(first, "b", new="r4").run, first.step("a")) == keys[1]


def test_a_child_that_is_started_again_does_other_work() -> None:
    play = Play(plan(call("w", retry=Retry(2, backoff=1)), act("z")))
    roots = [child_key_root(play.run, play.step("w"))]
    play.child("w", "failed")
    play.wake()
    roots.append(child_key_root(play.run, play.step("w")))
    play.child("w", "failed")
    roots += [child_key_root(each.run, each.step("w")) for each in (again(play), again(play, new="r3"))]
    assert roots == ["r1/w#1", "r1/w#2", "r1/w#1@r2", "r1/w#1@r3"]


def test_what_has_left_the_first_run_does_not_leave_the_second() -> None:
    """Signals were sent, children were started, slots were taken: by the first run, not by its copy."""
    nodes = [emit("e"), call("w", wait=False), act("a", concurrency=Concurrency("g")), call("v"), act("b")]
    play = Play(plan(*nodes))
    play.grant("a")
    play.ok("a")
    play.child("v")
    play.fail("b")
    assert len(play.signals) == 4
    later = again(play)
    assert (later.owed, later.signals, later.claims, later.waits) == (["b"], {}, {}, {})


def test_what_is_done_again_leaves_again_under_another_id() -> None:
    play = Play(plan(act("a"), emit("e"), call("w"), ask("g"), act("b")))
    play.ok("a")
    play.child("w")
    play.vote("g")
    play.fail("b")
    later = again(play, "a")
    later.ok("a")
    assert {s.type for s in later.signals.values()} == {"it.happened", "fleet.run.start"}
    assert not set(later.signals) & set(play.signals)
    assert later.step("e").output == {"id": later.sent("it.happened")[0].id}
    later.child("w")
    assert later.step("g").gate.id != play.step("g").gate.id


def test_variables_are_those_of_what_stands() -> None:
    nodes = [act("a", set={"n": "result"}), act("b", set={"n": "result"}), act("c")]
    play = Play(plan(*nodes, vars={"n": 0}))
    play.ok("a", 1)
    play.ok("b", 2)
    play.fail("c")
    assert again(play).run.vars == {"n": 2}
    assert again(play, "b").run.vars == {"n": 1}


def test_slots_are_asked_for_anew() -> None:
    play = Play(abc(), slots=(Slot("runs", 1),))
    play.grant()
    play.fail("a")
    later = again(play)
    assert (later.status(), later.run.wants_slot) == ("pending", True)
    later.grant()
    assert later.owed == ["a"]


def test_a_critical_section_that_is_open_again_is_entered_again() -> None:
    play = Play(plan(fan("p", {"x": [act("a")], "y": [act("b")]}, concurrency=Concurrency("g"))))
    play.grant("p")
    play.ok("p.a")
    play.fail("p.b")
    later = again(play)
    assert later.claims == {("group:g", "p"): 1}
    later.ok("p.b")
    assert (later.status(), later.claims) == ("completed", {})


def test_sections_that_are_open_again_at_once_do_not_keep_the_run_from_being_made() -> None:
    body = [fan("p", {"x": [act("a")]}, concurrency=Concurrency("g"))]
    play = Play(plan(each("l", [1, 2, 3], body, on_item_error="continue")))
    for i in range(2):
        play.grant(f"l[{i}].p")
        play.fail(f"l[{i}].p.a")
    play.grant("l[2].p")
    play.cancel()
    later = again(play)
    assert (sorted(later.owed), list(later.claims)) == ([f"l[{i}].p.a" for i in range(3)], [("group:g", "l[0].p")])
    finish(later)
    assert later.claims == {}


def test_a_copy_that_is_cancelled_before_it_starts_wants_no_slot_for_a_doubt() -> None:
    nodes = [act("a", compensate=act("undo", repeat="never")), act("b")]
    play = Play(plan(*nodes, on_failure="none"), slots=(Slot("runs", 1),))
    play.grant()
    play.ok("a")
    play.fail("b")
    later = again(play)
    later.run.compensate = True
    later.verifies = False
    later.cancel()
    later.grant()
    later.unknown("a@compensate")
    assert (later.run.waiting["in_doubt"], later.run.wants_slot) == (1, False)


def test_a_composite_whose_own_check_failed_is_done_again() -> None:
    nodes = [fan("q", {"x": [fan("p", {"x": [act("a")]}, asserts=("result.x == 2",))]}), act("z")]
    play = Play(plan(*nodes))
    play.ok("q.p.a", 1)
    later = again(play)
    assert (later.status("q"), later.owed) == ("running", ["q.p.a"])
    later.ok("q.p.a", 2)
    assert later.owed == ["z"]


def test_a_composite_whose_failure_was_handled_stands() -> None:
    nodes = [fan("p", {"x": [act("a")], "y": [act("b")]}), act("fix", needs=["p.failed"]), act("z")]
    play = Play(plan(*nodes))
    play.fail("p.a")
    play.ok("fix")
    play.fail("z")
    later = again(play)
    assert (later.owed, later.status("p"), later.status("p.b")) == (["z"], "failed", "cancelled")


def test_large_values_are_still_there() -> None:
    play = Play(plan(act("a"), calc("n", "${{ steps.a.output | length }}"), act("b")))
    play.ok("a", "x" * 100_000)
    play.fail("b")
    later = again(play, "n")
    assert later.step("n").output == 100_000


def test_compensations_of_what_stands_are_still_possible() -> None:
    play = Play(plan(act("a", compensate=act("undo")), act("b"), on_failure="none"))
    play.ok("a")
    play.fail("b")
    assert [step.path for step in again(play).run.undo] == ["a"]


# ---------------------------------------------------------------- refusals


def test_only_a_finished_run_is_done_again() -> None:
    assert refused(Play(abc())) == "only a finished run can be retried"


def test_a_run_that_was_compensated_is_not_done_again() -> None:
    play = Play(plan(act("a", compensate=act("undo")), act("b"), on_failure="compensate"))
    play.ok("a")
    play.fail("b")
    play.ok("a@compensate")
    assert "compensated" in refused(play)


def test_a_run_in_which_everything_completed_needs_a_step() -> None:
    play = finish(Play(abc()))
    assert "everything" in refused(play)
    assert refused(play, "zz") == "the run has no step zz"


def test_a_copy_is_an_ordinary_journal() -> None:
    play = Play(plan(act("a"), delay("d", 5), fan("p", {"x": [act("b")]}), act("c")))
    play.ok("a")
    play.tick(5)
    play.ok("p.b")
    play.fail("c")
    later = again(play)
    assert snapshot(later.folded()) == snapshot(later.run)
    later.crash()
    facts: list[AnyFact] = later.facts
    assert [type(fact).__name__ for fact in facts if isinstance(fact, (RunCreated, RunForked))] == [
        "RunCreated",
        "RunForked",
    ]
    finish(later)
