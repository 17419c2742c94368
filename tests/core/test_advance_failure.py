"""How a run ends early: failure, cancel, `stop`; what is in flight then; compensation in reverse order."""

from __future__ import annotations

from typing import Any

import pytest
from play import NOW, Play, act, ask, calc, cond, delay, each, fan, halt, listen, plan

from fleetprompt.engine.core import command
from fleetprompt.engine.core.command import Refusal
from fleetprompt.engine.core.facts import RunCancelRequested, RunFinished, StepCancelled, StepStarted
from fleetprompt.engine.core.plan import Guardrails, Node, Plan, Retry

# ---------------------------------------------------------------- what is in flight when a scope closes


def at_once(*nodes: Node, **fields: Any) -> Plan:
    """All of these start together, and then one that fails."""
    import msgspec

    free = [msgspec.structs.replace(node, needs=()) for node in nodes]
    return plan(act("bad", needs=[]), *free, act("later"), **fields)


def test_after_a_failure_nothing_new_starts_and_safe_work_is_cancelled_at_once() -> None:
    play = Play(at_once(act("a"), act("b")))
    play.fail("bad", message="no")
    assert (play.status(), play.run.error.message) == ("failed", "no")
    assert play.statuses == {"bad": "failed", "a": "cancelled", "b": "cancelled", "later": "pending"}
    assert {fact.reason for fact in play.of(StepCancelled)} == {"failed"}
    assert not any(fact.unknown for fact in play.of(StepCancelled))


def test_work_that_must_not_be_repeated_has_its_grace() -> None:
    play = Play(at_once(act("a", repeat="never"), act("b"), grace=30))
    play.fail("bad")
    assert (play.status(), play.owed, play.status("b")) == ("running", ["a"], "cancelled")
    assert play.run.wake_at == NOW + 30
    play.tick(29)
    play.ok("a", "it was worth it")
    assert (play.status(), play.step("a").output) == ("failed", "it was worth it")


def test_after_its_grace_nobody_knows_whether_it_took_effect() -> None:
    play = Play(at_once(act("a", repeat="never"), grace=30))
    play.fail("bad")
    play.tick(30)
    [cancelled] = play.of(StepCancelled, "a")
    assert (cancelled.unknown, cancelled.reason) == (True, "failed")
    assert (play.step("a").status, play.step("a").error.code) == ("cancelled", "IN_DOUBT")
    assert play.status() == "failed"


@pytest.mark.parametrize("waiting", [ask("x"), delay("x"), listen("x")], ids=lambda n: n.kind)
def test_what_waits_is_cancelled_at_once(waiting: Node) -> None:
    play = Play(at_once(waiting))
    play.fail("bad")
    assert (play.status(), play.status("x"), play.waits) == ("failed", "cancelled", {})


def test_a_failure_deep_inside_fails_every_enclosing_step_that_does_not_handle_it() -> None:
    play = Play(plan(fan("p", {"x": [each("l", "[1, 2]", [act("a")], at_once=2)], "y": [act("b")]})))
    play.fail("p.l[1].a", message="deep")
    assert play.statuses == {
        "p": "failed", "p.l": "failed", "p.b": "cancelled", "p.l[0].a": "cancelled", "p.l[1].a": "failed",
    }  # fmt: skip
    assert (play.run.error.message, play.run.error.path) == ("deep", "p.l[1].a")


@pytest.mark.parametrize("level", ["p", "l", "a"])
def test_a_failure_is_handled_where_someone_takes_care_of_it(level: str) -> None:
    def handled(name: str) -> Any:
        return "continue" if name == level else "fail"

    inner = each("l", "[1]", [act("a", on_error=handled("a"))], on_error=handled("l"))
    play = Play(plan(fan("p", {"x": [inner]}, on_error=handled("p")), calc("after", 1)))
    play.fail("p.l[0].a")
    assert (play.status(), play.run.output) == ("completed", 1)


def test_the_first_failure_is_the_one_that_is_told() -> None:
    play = Play(at_once(act("a", repeat="never")))
    play.fail("bad", message="first")
    play.fail("a", message="second")
    assert play.run.error.message == "first"


# ---------------------------------------------------------------- cancel


@pytest.mark.parametrize("when", ["pending", "running", "waiting", "retrying", "nested", "in doubt"])
def test_a_run_can_be_cancelled_at_any_time(when: str) -> None:
    from fleetprompt.engine.core.facts import Slot

    match when:
        case "pending":
            play = Play(plan(act("a")), slots=(Slot("runs", 1),))
        case "waiting":
            play = Play(plan(ask("a")))
        case "retrying":
            play = Play(plan(act("a", retry=Retry(2))))
            play.fail("a")
        case "nested":
            play = Play(plan(fan("p", {"x": [cond("c", "true", [each("l", "[1]", [act("a")])])]})))
        case "in doubt":
            play = Play(plan(act("a", repeat="never")))
            play.unknown("a")
        case _:
            play = Play(plan(act("a")))
    play.cancel("not needed")
    assert (play.status(), play.run.error.code, play.run.error.message) == ("cancelled", "CANCELLED", "not needed")
    assert play.run.wake_at is None


def test_a_run_is_cancelled_once() -> None:
    play = Play(plan(act("a", repeat="never")))
    play.cancel()
    assert command.cancel(play.run, play.now, by="bo") == Refusal("the run is already ending")
    play.ok("a")
    assert command.cancel(play.run, play.now, by="bo") == Refusal("the run is already cancelled")


@pytest.mark.parametrize("phase", ["grace", "compensation"])
def test_a_run_that_has_failed_cannot_be_cancelled_into_something_else(phase: str) -> None:
    nodes = [act("a", compensate=act("undo")), act("b", needs=["a"]), act("c", needs=["a"], repeat="never")]
    play = Play(plan(*nodes, on_failure="compensate"))
    play.ok("a")
    play.fail("b")
    if phase == "compensation":
        play.ok("c")
    assert command.cancel(play.run, play.now, by="bo") == Refusal("the run is already ending")
    if phase == "grace":
        play.ok("c")
    play.ok("a@compensate")
    assert play.status() == "failed"


def test_a_step_that_is_in_doubt_when_the_run_ends_stays_unknown() -> None:
    play = Play(plan(act("a", repeat="never")))
    play.unknown("a", "the line broke")
    play.cancel()
    assert play.of(StepCancelled)[0].unknown
    assert play.step("a").error.code == "IN_DOUBT"


# ---------------------------------------------------------------- stop


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_stop_ends_the_run_as_it_says(status: str) -> None:
    play = Play(plan(act("a"), halt("s", status, message="because ${{ steps.a.output }}", output={"n": 1}), act("b")))
    play.ok("a", "it is late")
    assert (play.status(), play.run.output, play.status("b")) == (status, {"n": 1}, "pending")
    if status == "completed":
        assert play.run.error is None
    else:
        assert (play.run.error.message, play.run.error.path) == ("because it is late", "s")


def test_a_stop_without_output_ends_with_that_of_the_workflow() -> None:
    assert Play(plan(calc("a", 1), halt("s"), calc("b", 2), output="${{ steps.a.output }}")).run.output == 1


def test_an_output_that_a_stop_has_left_without_its_steps_says_what_to_do() -> None:
    play = Play(plan(halt("s"), calc("b", {"n": 2}), output="${{ steps.b.output.n }}"))
    assert (play.status(), "`stop`" in play.run.error.hint) == ("failed", True)


def test_a_stop_inside_a_loop_ends_everything() -> None:
    body = [cond("c", "item == 2", [halt("s", output="${{ index }}")]), act("a")]
    play = Play(plan(each("l", "[1, 2, 3]", body), act("z")))
    play.ok("l[0].a")
    assert (play.status(), play.run.output) == ("completed", 1)
    assert (play.status("l"), play.status("l[1].c"), play.status("l[1].a")) == ("cancelled", "cancelled", "pending")


def test_a_stop_cancels_what_runs_beside_it_and_waits_for_its_grace() -> None:
    play = Play(plan(fan("p", {"x": [act("a"), halt("s")], "y": [act("b", repeat="never")], "z": [act("c")]}), grace=5))
    play.ok("p.a")
    assert (play.owed, play.status("p.c")) == (["p.b"], "cancelled")
    play.tick(5)
    assert play.status() == "completed"


def test_a_stop_that_is_skipped_stops_nothing() -> None:
    play = Play(plan(halt("s", when=False), calc("a", 1)))
    assert (play.status(), play.run.output) == ("completed", 1)


def test_a_stop_compensates_unless_it_completes_the_run() -> None:
    for status in ("completed", "failed", "cancelled"):
        play = Play(plan(act("a", compensate=act("undo")), halt("s", status), on_failure="compensate"))
        play.ok("a")
        assert play.owed == ([] if status == "completed" else ["a@compensate"])


# ---------------------------------------------------------------- compensation


def saga(**fields: Any) -> Plan:
    steps = [act(name, compensate=act("undo", config={"undo": f"${{{{ steps.{name}.output }}}}"})) for name in "abc"]
    return plan(*steps, act("bad"), on_failure="compensate", **fields)


def until_bad(play: Play) -> Play:
    for name in "abc":
        play.ok(name, name.upper())
    return play


def undone(play: Play) -> list[str]:
    return [fact.path for fact in play.of(StepStarted) if fact.role == "compensation" and fact.attempt == 1]


ENDINGS = ["fail", "cancel", "timeout", "deadline", "stop"]


@pytest.mark.parametrize("how", ENDINGS)
def test_completed_steps_are_compensated_in_reverse_order(how: str) -> None:
    play = until_bad(Play(saga(guardrails=Guardrails(timeout=60), deadline=100.0)))
    match how:
        case "fail" | "stop":
            play.fail("bad", message="no")
        case "cancel":
            play.cancel()
        case "timeout":
            play.tick(60)
        case "deadline":
            play.tick(100)
    status = {"fail": "failed", "stop": "failed", "cancel": "cancelled"}.get(how, "timeout")
    for name in "cba":
        assert play.owed == [f"{name}@compensate"]
        assert play.step(f"{name}@compensate").input == {"undo": name.upper()}
        play.ok(f"{name}@compensate")
    assert (play.status(), undone(play)) == (status, ["c@compensate", "b@compensate", "a@compensate"])


def test_nothing_is_compensated_unless_the_file_says_so() -> None:
    import msgspec

    play = until_bad(Play(msgspec.structs.replace(saga(), on_failure="none")))
    play.fail("bad")
    assert (play.status(), undone(play)) == ("failed", [])


def test_a_run_that_completes_is_not_compensated() -> None:
    play = until_bad(Play(saga()))
    play.ok("bad")
    assert (play.status(), undone(play)) == ("completed", [])


def test_only_what_completed_is_compensated() -> None:
    undo = act("undo")
    nodes = [
        act("done", compensate=undo),
        act("skipped", when=False, compensate=undo),
        act("failed", on_error="continue", compensate=undo),
        act("bad", compensate=undo),
        act("never", compensate=undo),
    ]
    play = Play(plan(*nodes, on_failure="compensate"))
    play.ok("done")
    play.fail("failed")
    play.fail("bad")
    play.ok("done@compensate")
    assert (play.status(), undone(play)) == ("failed", ["done@compensate"])


def test_order_is_that_of_completion_and_work_that_finishes_in_its_grace_counts() -> None:
    undo = act("undo")
    nodes = [act(name, needs=[], repeat="never", compensate=undo) for name in "abc"]
    play = Play(plan(*nodes, act("bad", needs=[]), on_failure="compensate"))
    play.ok("b")
    play.ok("a")
    play.fail("bad")
    assert play.owed == ["c"]
    play.ok("c")
    for path in ("c@compensate", "a@compensate", "b@compensate"):
        play.ok(path)
    assert play.status() == "failed"


def test_a_compensation_that_fails_does_not_stop_the_others_and_is_told() -> None:
    play = until_bad(Play(saga()))
    play.fail("bad", message="no")
    play.ok("c@compensate")
    play.fail("b@compensate")
    play.ok("a@compensate")
    assert (play.status(), play.run.error.message) == ("failed", "no")
    assert play.run.error.data["not_compensated"] == ["b@compensate"]


def test_a_compensation_is_retried_like_any_step() -> None:
    undo = act("undo", retry=Retry(3, backoff=5, jitter=0), config={"x": 1})
    play = Play(plan(act("a", compensate=undo), act("b"), on_failure="compensate"))
    play.ok("a")
    play.fail("b")
    play.fail("a@compensate")
    assert (play.status(), play.run.waiting_on) == ("waiting", "timer")
    play.tick(5)
    play.fail("a@compensate")
    play.tick(10)
    assert play.step("a@compensate").attempt == 3
    play.ok("a@compensate")
    assert (play.status(), play.run.error.data) == ("failed", None)


def test_a_compensation_that_cannot_be_rendered_is_a_failed_one() -> None:
    undo = act("undo", config={"x": "${{ steps.a.output.nothing }}"})
    play = Play(plan(act("a", compensate=undo), act("b"), on_failure="compensate"))
    play.ok("a", {})
    play.fail("b")
    assert (play.status(), play.run.error.data["not_compensated"]) == ("failed", ["a@compensate"])


def test_a_compensation_in_doubt_asks_a_person() -> None:
    play = Play(plan(act("a", compensate=act("undo", repeat="never")), act("b"), on_failure="compensate"))
    play.ok("a")
    play.fail("b", message="no")
    play.unknown("a@compensate")
    assert (play.status(), play.run.waiting_on) == ("waiting", "in_doubt")
    play.resolve("a@compensate", "run")
    assert play.owed == ["a@compensate"]
    play.crash()
    assert play.status("a@compensate") == "in_doubt"
    play.resolve("a@compensate", "abort")
    assert (play.status(), play.run.error.message) == ("failed", "no")
    assert play.run.error.data["not_compensated"] == ["a@compensate"]


@pytest.mark.parametrize(("answer", "told"), [("happened", None), ("skip", ["a@compensate"])])
def test_answers_about_a_compensation(answer: str, told: Any) -> None:
    play = Play(plan(act("a", compensate=act("undo", repeat="never")), act("b"), on_failure="compensate"))
    play.ok("a")
    play.fail("b")
    play.unknown("a@compensate")
    play.resolve("a@compensate", answer)
    assert play.status() == "failed"
    assert (play.run.error.data or {}).get("not_compensated") == told


def test_a_compensation_sees_why_it_is_needed() -> None:
    undo = act("undo", config={"why": "${{ run.error.message }}"})
    play = Play(plan(act("a", compensate=undo), act("b"), on_failure="compensate"))
    play.ok("a")
    play.fail("b", message="no space")
    assert play.step("a@compensate").input == {"why": "no space"}


def test_nested_steps_are_compensated_where_they_are() -> None:
    undo = act("undo", config={"x": "${{ steps.a.output }}"})
    inner = cond("c", "true", [act("a", compensate=undo)])
    play = Play(plan(fan("p", {"x": [inner], "y": [act("b")]}), act("bad"), on_failure="compensate"))
    play.ok("p.c.a", "A")
    play.ok("p.b")
    play.fail("bad")
    assert play.owed == ["p.c.a@compensate"]
    assert play.step("p.c.a@compensate").input == {"x": "A"}
    play.ok("p.c.a@compensate")
    assert play.status() == "failed"


def looped(**fields: Any) -> Node:
    undo = act("undo", config={"item": "${{ item }}", "index": "${{ index }}"})
    return each("l", "inputs.items", [act("a", compensate=undo)], **fields)


def test_steps_of_a_loop_are_compensated_with_their_own_items() -> None:
    play = Play(plan(looped(at_once=3), on_failure="compensate"), {"items": ["x", "y", "z"]})
    play.ok("l[2].a")
    play.ok("l[0].a")
    play.fail("l[1].a")
    for i in (0, 2):
        assert play.owed == [f"l[{i}].a@compensate"]
        assert play.step(f"l[{i}].a@compensate").input == {"item": "xyz"[i], "index": i}
        play.ok(f"l[{i}].a@compensate")
    assert play.status() == "failed"


@pytest.mark.parametrize("large", [False, True])
def test_items_are_known_also_to_the_compensation_of_an_earlier_attempt(large: bool) -> None:
    items = ["x" * 10_000 if large else "x"] * 20
    play = Play(plan(looped(retry=Retry(2)), on_failure="compensate"), {"items": items})
    play.ok("l[0].a")
    play.fail("l[1].a")
    assert play.status("l") == "waiting"
    play.crash()
    play.cancel()
    assert play.step("l[0].a@compensate").input == {"item": items[0], "index": 0}
    play.ok("l[0].a@compensate")
    assert play.status() == "cancelled"


def test_every_attempt_at_a_composite_is_compensated() -> None:
    play = Play(plan(looped(retry=Retry(2)), act("bad"), on_failure="compensate"), {"items": [1, 2]})
    play.ok("l[0].a")
    play.fail("l[1].a")
    play.wake()
    play.ok("l#2[0].a")
    play.ok("l#2[1].a")
    play.fail("bad")
    for path in ("l#2[1].a", "l#2[0].a", "l[0].a"):
        play.ok(f"{path}@compensate")
    assert play.status() == "failed"


def test_what_an_operator_says_has_happened_is_compensated() -> None:
    play = Play(plan(act("a", repeat="never", compensate=act("undo")), act("bad"), on_failure="compensate"))
    play.unknown("a")
    play.resolve("a", "happened")
    play.fail("bad")
    assert play.owed == ["a@compensate"]


def test_a_compensation_goes_on_after_a_crash() -> None:
    play = until_bad(Play(saga()))
    play.fail("bad")
    play.ok("c@compensate")
    play.crash()
    assert play.owed == ["b@compensate"]
    play.ok("b@compensate")
    play.crash()
    play.ok("a@compensate")
    assert (play.status(), undone(play)) == ("failed", ["c@compensate", "b@compensate", "a@compensate"])


def test_a_run_that_ends_early_says_why_once() -> None:
    play = Play(plan(act("a")))
    play.cancel("enough")
    [asked], [finished] = play.of(RunCancelRequested), play.of(RunFinished)
    assert (asked.by, asked.reason, asked.status) == ("ana", "enough", "cancelled")
    assert (finished.status, finished.error.message) == ("cancelled", "enough")
