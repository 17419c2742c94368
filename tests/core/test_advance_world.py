"""Signals that come in and go out, and runs inside runs."""

from __future__ import annotations

from typing import Any

import pytest
from play import NOW, Play, act, call, each, emit, fan, listen, plan

from fleetprompt.engine.core import command
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import StepWaiting
from fleetprompt.engine.core.keys import child_id, signal_id
from fleetprompt.engine.core.plan import Retry
from fleetprompt.engine.core.signal import CANCEL, FINISHED, START, type_matches

# ---------------------------------------------------------------- wait


@pytest.mark.parametrize(
    ("pattern", "type_", "heard"),
    [
        ("deploy.done", "deploy.done", True),
        ("deploy.done", "deploy.failed", False),
        ("deploy.*", "deploy.failed", True),
        ("deploy.*", "deploy", False),
        ("deploy.*", "deploy.eu.done", False),
        ("deploy.**", "deploy.eu.done", True),
        ("**", "anything.at.all", True),
        ("**.done", "deploy.eu.done", True),
        ("*.eu.*", "deploy.eu.done", True),
        ("*.eu.*", "deploy.us.done", False),
    ],
)
def test_a_step_hears_the_signals_of_its_pattern(pattern: str, type_: str, heard: bool) -> None:
    assert type_matches(pattern, type_) is heard
    play = Play(plan(listen("w", pattern)))
    assert play.waits == {"w": ("signal", pattern, "")}
    play.hear(type_, {"n": 1})
    assert play.status() == ("completed" if heard else "waiting")
    assert heard or play.waits


def test_what_is_heard_is_the_output() -> None:
    play = Play(plan(listen("w", "deploy.*"), act("a", needs=["w.received"])))
    play.hear("deploy.done", {"n": 1}, subject="eu")
    output = play.step("w").output
    assert output | {"at": 0} == {
        "id": "s1", "type": "deploy.done", "source": "test", "subject": "eu", "at": 0, "data": {"n": 1},
    }  # fmt: skip
    assert (play.step("w").port, play.owed) == ("received", ["a"])


def test_a_step_with_a_key_hears_one_subject_only() -> None:
    play = Play(plan(listen("w", key="${{ inputs.order }}")), {"order": 17})
    assert play.waits == {"w": ("signal", "it.happened", "17")}
    assert play.hear(subject="18") == []
    play.hear(subject="17")
    assert play.status() == "completed"


def test_a_signal_must_match_the_condition() -> None:
    play = Play(plan(listen("w", test="data.env == inputs.env and signal.source == 'test'")), {"env": "prod"})
    assert play.hear(data={"env": "dev"}) == []
    play.hear(data={"env": "prod"})
    assert play.status() == "completed"


def test_a_signal_that_cannot_be_judged_is_not_heard_and_that_is_said_once() -> None:
    play = Play(plan(listen("w", test="data.env == 'prod'", timeout=60)))
    assert [fact.kind for fact in play.hear(data={})] == ["match"]
    assert play.hear(data="what others send") == []
    play.hear(data={"env": "prod"})
    assert play.step("w").port == "received"


def test_a_wait_that_heard_nothing_says_what_it_could_not_judge() -> None:
    play = Play(plan(listen("w", test="data.env == 'prod'", timeout=60)))
    play.hear(data={})
    play.tick(60)
    assert (play.run.error.code, "no 'env'" in play.run.error.hint) == ("TIMEOUT", True)


def test_a_wait_ends_in_time_on_its_port() -> None:
    play = Play(plan(listen("w", timeout="90s"), act("late", needs=["w.timeout"]), act("on", needs=["w.received"])))
    play.tick(89)
    assert play.run.waiting_on == "signal"
    play.tick(1)
    assert (play.status("w"), play.owed, play.status("on"), play.waits) == ("timeout", ["late"], "skipped", {})
    assert play.hear() == [], "too late"


def test_a_wait_that_ends_in_time_and_is_not_handled_fails_the_run() -> None:
    play = Play(plan(listen("w", timeout=10)))
    play.tick(10)
    assert (play.status(), play.run.error.code) == ("failed", "TIMEOUT")


def test_one_signal_may_reach_several_steps_and_each_once() -> None:
    play = Play(plan(each("l", "[1, 2, 3]", [listen("w", test="data.n != item"), act("a")], at_once=3)))
    play.hear(data={"n": 2})
    assert play.owed == ["l[0].a", "l[2].a"]
    assert play.hear(data={"n": 2}) == []


def test_a_signal_is_heard_during_a_pause_and_acted_on_afterwards() -> None:
    play = Play(plan(listen("w"), act("a")))
    play.pause()
    play.hear()
    assert (play.status("w"), play.owed) == ("completed", [])
    play.resume()
    assert play.owed == ["a"]


# ---------------------------------------------------------------- emit


def test_a_signal_leaves_the_run_with_the_fact_that_says_so() -> None:
    node = emit("e", "deploy.${{ inputs.how }}", data={"n": "${{ 1 + 1 }}"}, config={"subject": "eu", "key": "k"})
    play = Play(plan(node), {"how": "done"}, tenant="acme", correlation="c1")
    [sent] = play.sent("deploy.done")
    assert (sent.data, sent.subject, sent.key, sent.tenant) == ({"n": 2}, "eu", "k", "acme")
    assert (sent.source, sent.correlation, sent.causation, sent.at) == ("run/r1/e", "c1", "r1", NOW)
    assert play.run.output == {"id": sent.id}


def test_every_emitted_signal_has_an_id_of_its_own() -> None:
    play = Play(plan(each("l", "[1, 2, 3]", [emit("e")])))
    assert len({signal.id for signal in play.sent("it.happened")}) == 3


def test_the_end_of_a_run_is_a_signal() -> None:
    play = Play(plan(act("a")), parent="r0", parent_path="w")
    play.fail("a", message="boom")
    [sent] = play.sent(FINISHED)
    assert sent.data == {
        "run": "r1",
        "workflow": "flow",
        "status": "failed",
        "error": {"code": "TOOL_ERROR", "message": "boom", "path": "a"},
        "parent": "r0",
        "path": "w",
    }
    assert (sent.subject, sent.causation) == ("r1", "r1")


# ---------------------------------------------------------------- workflow


def test_a_child_is_started_by_a_signal_and_waited_for() -> None:
    play = Play(plan(call("w", "audit", inputs={"n": "${{ 1 + 1 }}"}), act("a")))
    child = play.step("w").ref
    [start] = play.sent(START)
    assert start.data == {"run": child, "workflow": "audit", "parent": "r1", "path": "w"}
    assert play.waits == {"w": ("child", child, "")}
    assert play.step("w").input == {"workflow": "audit", "with": {"n": 2}}
    assert play.run.waiting_on == "child"
    play.child("w", output={"found": 3})
    assert (play.step("w").output, play.owed, play.waits) == ({"found": 3}, ["a"], {})


def test_the_id_of_a_child_is_derived() -> None:
    first, second = (Play(plan(call("w"))).step("w").ref for _ in range(2))
    assert first == second
    other = Play(plan(call("w")), run="r2")
    assert other.step("w").ref != first
    assert child_id(other.run, other.step("w"), 2) != other.step("w").ref
    assert [len(part) for part in first.split("-")] == [8, 4, 4, 4, 12]
    assert signal_id("x") != first


@pytest.mark.parametrize("status", ["failed", "cancelled", "timeout"])
def test_a_child_that_does_not_complete_fails_the_step(status: str) -> None:
    codes: dict[str, Any] = {"failed": "TOOL_ERROR", "cancelled": "CANCELLED", "timeout": "TIMEOUT"}
    play = Play(plan(call("w"), act("fix", needs=["w.failed"])))
    play.child("w", status, error=Failure(codes[status], "boom", path="inner.step"))
    error = play.step("w").error
    assert (error.code, error.path) == (codes[status], "w/inner.step")
    assert error.data == {"run": play.step("w").ref, "status": status}
    assert play.owed == ["fix"]


def test_another_attempt_at_a_child_is_another_run() -> None:
    play = Play(plan(call("w", retry=Retry(2, backoff=5, jitter=0))))
    first = play.step("w").ref
    play.child("w", "failed", error=Failure("TOOL_ERROR", "boom"))
    assert (play.waits, play.run.waiting_on) == ({}, "timer")
    play.tick(5)
    second = play.step("w").ref
    assert second != first
    assert [signal.data["run"] for signal in play.sent(START)] == [first, second]
    assert play.child("w", child=first) == [], "the end of the first is an old story"
    play.child("w", output=1)
    assert play.status() == "completed"


@pytest.mark.parametrize(
    ("status", "error", "again"),
    [
        ("failed", Failure("TOOL_ERROR", "boom"), True),
        ("failed", Failure("APPROVAL_REJECTED", "no", retryable=False), False),
        ("cancelled", Failure("CANCELLED", "by ana", retryable=False), False),
        ("timeout", Failure("TIMEOUT", "the deadline has passed", retryable=False), True),
    ],
)
def test_a_child_is_started_again_where_that_can_help(status: str, error: Failure, again: bool) -> None:
    play = Play(plan(call("w", retry=Retry(2))))
    play.child("w", status, error=error)
    assert play.status("w") == ("waiting" if again else "timeout" if status == "timeout" else "failed")


def test_a_child_that_has_timed_out_by_itself_is_not_cancelled() -> None:
    play = Play(plan(call("w", timeout=100)))
    play.child("w", "timeout", error=Failure("TIMEOUT", "the deadline has passed", retryable=False))
    assert (play.status("w"), play.sent(CANCEL)) == ("timeout", [])


def test_a_child_that_takes_too_long_is_cancelled() -> None:
    play = Play(plan(call("w", timeout=30)))
    play.tick(30)
    [cancel] = play.sent(CANCEL)
    assert (cancel.data["run"], cancel.subject) == (play.step("w").ref, play.step("w").ref)
    assert (play.status("w"), play.run.waiting_on) == ("waiting", "child"), "it may have work in flight"
    assert play.tick(1_000) == [], "it is told once"
    play.child("w", "cancelled", error=Failure("CANCELLED", "it did not finish in time"))
    assert (play.status("w"), play.step("w").port, play.waits) == ("timeout", "timeout", {})
    assert (play.run.error.code, play.child("w")) == ("TIMEOUT", [])


def test_a_child_that_takes_too_long_is_over_before_another_is_started() -> None:
    play = Play(plan(call("w", timeout=30, retry=Retry(2, backoff=5, jitter=0))))
    first = play.step("w").ref
    play.tick(30)
    play.tick(1_000)
    assert len(play.sent(START)) == 1
    play.child("w", "cancelled")
    play.tick(5)
    assert len(play.sent(START)) == 2
    play.tick(30)
    assert [signal.subject for signal in play.sent(CANCEL)] == [first, play.step("w").ref]


def test_a_run_that_ends_between_two_children_starts_no_other() -> None:
    play = Play(plan(call("w", timeout=30, retry=Retry(2, backoff=50, jitter=0))))
    play.tick(30)
    play.child("w", "cancelled")
    play.cancel()
    assert (play.status(), play.status("w")) == ("cancelled", "cancelled")


def test_a_child_that_completes_as_its_time_is_up_has_completed() -> None:
    play = Play(plan(call("w", timeout=30), act("a")))
    play.tick(30)
    play.child("w", output="done after all")
    assert (play.step("w").output, play.owed) == ("done after all", ["a"])


@pytest.mark.parametrize("value", ["soon", -1, [1]])
def test_the_time_of_a_child_may_be_computed(value: Any) -> None:
    assert Play(plan(call("w", timeout="${{ inputs.x }}")), {"x": "5m"}).step("w").until == NOW + 300
    play = Play(plan(call("w", timeout="${{ inputs.x }}")), {"x": value})
    assert (play.status(), play.run.error.message.partition(":")[0], play.sent(START)) == ("failed", "`timeout`", [])


def test_cancelling_a_run_cancels_its_children_and_waits_for_them() -> None:
    play = Play(plan(fan("p", {"x": [call("w")], "y": [call("v")]})))
    play.cancel("enough")
    assert {signal.data["run"] for signal in play.sent(CANCEL)} == {play.step("p.w").ref, play.step("p.v").ref}
    assert {signal.data["reason"] for signal in play.sent(CANCEL)} == {"enough"}
    play.child("p.w", "cancelled")
    assert (play.status(), play.status("p.w")) == ("waiting", "cancelled")
    play.child("p.v", "failed", error=Failure("TOOL_ERROR", "in its grace"))
    assert (play.status(), play.status("p.v"), len(play.sent(CANCEL))) == ("cancelled", "cancelled", 2)


def test_nothing_is_undone_before_the_children_are_over() -> None:
    both = [call("w", needs=["a"], compensate=act("undo_w")), act("b", needs=["a"])]
    nodes = [act("a", compensate=act("undo_a")), *both]
    for status in ("cancelled", "completed"):
        play = Play(plan(*nodes, on_failure="compensate"))
        play.ok("a")
        play.fail("b")
        assert play.owed == []
        play.child("w", status)
        undone = ["w@compensate"] if status == "completed" else []
        assert play.owed == (undone or ["a@compensate"]), "what completed after all is undone too"


def test_a_child_that_was_cancelled_before_it_began_is_over() -> None:
    for ends in ("cancel", "timeout"):
        play = Play(plan(call("w", timeout=30)))
        play.cancel() if ends == "cancel" else play.tick(30)
        play.tell(command.child_refused(play.run, play.now, path="w", child=play.step("w").ref, reason="not wanted"))
        assert play.status("w") == ("cancelled" if ends == "cancel" else "timeout")


def test_a_race_cancels_the_children_that_lost() -> None:
    play = Play(plan(fan("p", {"x": [call("w")], "y": [call("v")]}, until=1)))
    play.child("p.v", output="v")
    [cancel] = play.sent(CANCEL)
    assert cancel.data["run"] == play.step("p.w").ref
    play.child("p.w", "cancelled")
    assert play.status() == "completed"


def test_nobody_waits_for_a_child_that_is_only_started() -> None:
    play = Play(plan(call("w", wait=False), act("a")))
    assert (play.status("w"), play.step("w").output) == ("completed", {"run": play.step("w").ref})
    assert (len(play.sent(START)), play.waits, play.owed) == (1, {}, ["a"])
    play.cancel()
    assert play.sent(CANCEL) == []
    assert len(play.of(StepWaiting)) == 1, "the fact that a child was started"


def test_a_child_that_cannot_be_started_fails_the_step_for_good() -> None:
    play = Play(plan(call("w", retry=Retry(5))))
    ref = play.step("w").ref
    assert command.child_refused(play.run, NOW, path="w", child="other", reason="no") == []
    play.tell(command.child_refused(play.run, NOW, path="w", child=ref, reason="no such workflow"))
    assert (play.status(), play.run.error.message, play.waits) == ("failed", "no such workflow", {})
