"""What may start when: barriers, needs, ports, joins, dead paths, conditions on a step."""

from __future__ import annotations

from typing import Any

import pytest
from play import Play, act, ask, calc, cond, delay, fan, plan

from fleetprompt.engine.core.facts import RunFinished, RunStarted, StepFailed, StepSkipped, StepStarted
from fleetprompt.engine.core.plan import Node

# ---------------------------------------------------------------- sequence


def test_steps_start_in_the_order_of_the_file() -> None:
    play = Play(plan(act("a"), act("b"), act("c")))
    for name in "abc":
        assert play.owed == [name]
        play.ok(name, {"by": name})
    assert play.status() == "completed"
    assert play.run.output == {"by": "c"}


def test_the_outcome_of_a_step_and_the_start_of_the_next_are_one_append() -> None:
    play = Play(plan(act("a"), act("b")))
    assert [type(fact).__name__ for fact in play.ok("a")] == ["StepSucceeded", "StepStarted"]
    assert [type(fact).__name__ for fact in play.ok("b")] == ["StepSucceeded", "RunFinished"]


def test_an_empty_workflow_completes() -> None:
    play = Play(plan())
    assert [type(fact) for fact in play.facts[1:]] == [RunStarted, RunFinished]
    assert (play.status(), play.run.output) == ("completed", None)


def test_a_barrier_waits_for_everything_listed_before_it() -> None:
    play = Play(plan(act("a", needs=[]), act("b", needs=[]), act("c", needs=["a"]), act("d")))
    assert play.owed == ["a", "b"]
    play.ok("a")
    assert play.owed == ["b", "c"]
    play.ok("c")
    assert play.owed == ["b"]
    play.ok("b")
    assert play.owed == ["d"]


def test_a_barrier_does_not_wait_for_what_is_listed_after_it() -> None:
    play = Play(plan(act("a"), act("b"), act("c", needs=["a"])))
    play.ok("a")
    assert sorted(play.owed) == ["b", "c"]
    play.ok("b")
    assert play.owed == ["c"]


@pytest.mark.parametrize(
    ("before", "status"),
    [
        ([act("skipped", when=False)], "running"),
        ([act("skipped", when=False), act("too", when=False)], "running"),
        ([cond("c", "true", [], [act("x")]), act("dead", needs=["c.else"])], "running"),
    ],
    ids=["one is skipped", "all are skipped", "one of two is dead"],
)
def test_a_barrier_opens_if_anything_before_it_was_alive(before: list[Node], status: str) -> None:
    assert Play(plan(*before, act("last"))).status("last") == status


def test_a_barrier_is_dead_if_all_of_what_is_before_it_was_dead() -> None:
    inner = [act("a", needs=["x.failed"]), act("b", needs=["a"]), act("c")]
    nodes = [act("x"), *inner]
    play = Play(plan(*nodes))
    play.ok("x")
    assert play.status("c") == "running", "x was alive"
    # Nothing but dead steps: the first can only be dead by a need on what is listed later.
    play = Play(plan(act("a", needs=["z.failed"]), act("b", needs=["a"]), act("c"), act("z", needs=[])))
    play.ok("z")
    assert play.statuses == {"a": "skipped", "b": "skipped", "c": "skipped", "z": "completed"}
    assert [fact.reason for fact in play.of(StepSkipped)] == ["dead"] * 3
    assert play.status() == "completed"


# ---------------------------------------------------------------- needs and ports


def test_needs_make_a_graph() -> None:
    play = Play(plan(act("a"), act("b", needs=["a"]), act("c", needs=["a"]), act("d", needs=["b", "c"])))
    play.ok("a")
    assert play.owed == ["b", "c"]
    play.ok("c")
    assert play.owed == ["b"]
    play.ok("b")
    assert play.owed == ["d"]


def test_a_step_may_need_one_that_is_listed_later() -> None:
    play = Play(plan(act("late", needs=["early"]), act("early", needs=[])))
    assert play.owed == ["early"]
    play.ok("early")
    assert play.owed == ["late"]


def test_steps_that_need_nothing_start_at_once() -> None:
    assert Play(plan(act("a", needs=[]), act("b", needs=[]), act("c", needs=[]))).owed == ["a", "b", "c"]


def _end(play: Play, how: str) -> None:
    match how:
        case "completed":
            play.ok("a")
        case "failed":
            play.fail("a")
        case "timeout":
            play.unknown("a", code="TIMEOUT")
        case "port":
            play.ok("a", port="odd green")


@pytest.mark.parametrize(
    ("need", "how", "starts"),
    [
        ("a", "completed", True),
        ("a.completed", "completed", True),
        ("a.completed", "skipped", False),
        ("a.failed", "failed", True),
        ("a.failed", "timeout", True),
        ("a.failed", "completed", False),
        ("a.failed", "skipped", False),
        ("a.timeout", "timeout", True),
        ("a.timeout", "completed", False),
        ("a.skipped", "skipped", True),
        ("a.skipped", "completed", False),
        ("a", "skipped", True),
        ("a", "port", True),
        ("a.odd", "port", True),
        ("a.green", "port", True),
        ("a.gree", "port", False),
    ],
)
def test_what_meets_a_need(need: str, how: str, starts: bool) -> None:
    play = Play(plan(act("a", when=how != "skipped"), act("b", needs=[need])))
    if how != "skipped":
        _end(play, how)
    assert play.status("b") == ("running" if starts else "skipped")
    assert starts or play.step("b").reason == "dead"


def test_a_timeout_is_not_handled_by_who_needs_another_port() -> None:
    play = Play(plan(act("a"), act("b", needs=["a.timeout"])))
    play.fail("a")
    assert (play.status(), play.status("b")) == ("failed", "pending")


# ---------------------------------------------------------------- failures: handled or not


def test_a_failure_that_nobody_handles_fails_the_run() -> None:
    play = Play(plan(act("a"), act("b", needs=["a"]), act("c", needs=["a.completed"])))
    play.fail("a", message="no disk")
    assert (play.status(), play.status("b")) == ("failed", "pending")
    assert (play.run.error.message, play.run.error.path) == ("no disk", "a")


def test_a_failure_is_handled_by_a_step_that_needs_its_port() -> None:
    play = Play(plan(act("a"), act("fix", needs=["a.failed"]), act("b", needs=["a"]), act("c", needs=["fix"])))
    play.fail("a")
    assert play.owed == ["fix"]
    assert play.status("b") == "skipped"
    play.ok("fix")
    play.ok("c")
    assert play.status() == "completed"


def test_on_error_continue_lets_dependants_go_on() -> None:
    play = Play(plan(act("a", on_error="continue"), act("b", needs=["a"]), act("c")))
    play.fail("a")
    assert play.owed == ["b"]
    play.ok("b")
    play.ok("c")
    assert play.status() == "completed"


def test_on_error_continue_does_not_meet_the_port_completed() -> None:
    play = Play(plan(act("a", on_error="continue"), act("b", needs=["a.completed"]), act("c", needs=["a.failed"])))
    play.fail("a")
    assert (play.status("b"), play.status("c")) == ("skipped", "running")


# ---------------------------------------------------------------- joins


@pytest.mark.parametrize(
    ("join", "outcomes", "status"),
    [
        (0, "ok ok ok", "running"),
        (0, "ok ok", "pending"),
        (0, "fail", "skipped"),
        (1, "ok", "running"),
        (1, "fail fail", "pending"),
        (1, "fail fail ok", "running"),
        (1, "fail fail fail", "skipped"),
        (2, "ok", "pending"),
        (2, "ok ok", "running"),
        (2, "fail ok ok", "running"),
        (2, "fail ok", "pending"),
        (2, "ok fail fail", "skipped"),
        (2, "fail fail", "skipped"),
        (3, "ok ok fail", "skipped"),
    ],
)
def test_joins(join: int, outcomes: str, status: str) -> None:
    sources = [act(name, needs=[]) for name in "abc"]
    handlers = [act(f"h{name}", needs=[f"{name}.failed"]) for name in "abc"]
    play = Play(plan(*sources, *handlers, act("j", needs=["a", "b", "c"], join=join)))
    for name, how in zip("abc", outcomes.split(), strict=False):
        play.ok(name) if how == "ok" else play.fail(name)
    assert play.status("j") == status


def test_a_join_that_has_started_does_not_start_again() -> None:
    play = Play(plan(act("a", needs=[]), act("b", needs=[]), act("j", needs=["a", "b"], join=1)))
    play.ok("a")
    play.ok("j")
    play.ok("b")
    assert play.status() == "completed"
    assert len(play.of(StepStarted, "j")) == 1


def test_a_step_may_be_needed_twice() -> None:
    play = Play(plan(act("a"), act("b", needs=["a", "a.failed"], join=1)))
    play.fail("a")
    assert play.owed == ["b"]


# ---------------------------------------------------------------- dead paths


def test_a_dead_path_is_skipped_to_its_end() -> None:
    play = Play(
        plan(
            cond("c", "inputs.n > 1", [act("t")], [act("e")]),
            act("yes", needs=["c.then"]),
            act("no", needs=["c.else"]),
            act("no2", needs=["no"]),
            act("no3", needs=["no2.completed"]),
            act("both", needs=["yes", "no3"], join=1),
        ),
        {"n": 2},
    )
    play.ok("c.t")
    assert {path: s for path, s in play.statuses.items() if path.startswith("no")} == dict.fromkeys(
        ("no", "no2", "no3"), "skipped"
    )
    assert {play.step(path).reason for path in ("no", "no2", "no3")} == {"dead"}
    play.ok("yes")
    assert play.owed == ["both"]


def test_a_dead_composite_opens_nothing() -> None:
    play = Play(plan(act("a"), fan("p", {"x": [act("b")]}, needs=["a.failed"])))
    play.ok("a")
    assert (play.status("p"), play.status("p.b")) == ("skipped", "unknown")
    assert play.status() == "completed"


# ---------------------------------------------------------------- if


@pytest.mark.parametrize(
    ("when", "runs"),
    [
        (True, True),
        (False, False),
        ("inputs.n == 2", True),
        ("inputs.n > 2", False),
        ({"field": "inputs.n", "operator": "gte", "value": 2}, True),
        ({"not": {"field": "inputs.n", "operator": "eq", "value": 2}}, False),
        ("inputs.list", False),
    ],
)
def test_a_step_runs_only_if_its_condition_holds(when: Any, runs: bool) -> None:
    play = Play(plan(act("a", when=when)), {"n": 2, "list": []})
    assert play.status("a") == ("running" if runs else "skipped")
    assert runs or play.step("a").reason == "if"


def test_a_step_that_its_own_condition_skips_lets_dependants_go_on() -> None:
    play = Play(plan(act("a", when=False), act("b", needs=["a"]), act("c", needs=["a.completed"])))
    assert (play.status("b"), play.status("c")) == ("running", "skipped")


def test_a_condition_is_asked_once_the_needs_are_met() -> None:
    play = Play(plan(act("a"), act("b", when="steps.a.output.go")))
    assert play.of(StepSkipped) == []
    play.ok("a", {"go": False})
    assert play.status("b") == "skipped"


def test_a_condition_that_cannot_be_evaluated_fails_the_step() -> None:
    play = Play(plan(act("a"), act("b", when="steps.a.output.nothing.more")))
    play.ok("a", {})
    failed = play.of(StepFailed)[0]
    assert (failed.path, failed.error.code, failed.error.retryable, failed.attempt) == (
        "b",
        "VALIDATION_ERROR",
        False,
        0,
    )
    assert play.status() == "failed"


def test_an_input_that_cannot_be_rendered_fails_the_step_without_a_start() -> None:
    play = Play(plan(act("a", config={"x": "${{ inputs.nothing }}"}), act("b", needs=["a.failed"])))
    assert not play.of(StepStarted, "a")
    assert (play.status("a"), play.status("b")) == ("failed", "running")


# ---------------------------------------------------------------- depth


def test_blocks_nest_four_deep_and_finish_from_the_inside() -> None:
    deepest = cond("d", "true", [act("leaf"), calc("sum", "${{ steps.leaf.output + 1 }}")])
    nested = fan("a", {"x": [fan("b", {"y": [fan("c", {"z": [deepest]})]})]})
    play = Play(plan(nested, calc("last", "${{ steps.a.output.x.y.z }}")))
    assert play.owed == ["a.b.c.d.leaf"]
    play.ok("a.b.c.d.leaf", 41)
    assert (play.status(), play.run.output) == ("completed", 42)
    assert play.started == ["a", "a.b", "a.b.c", "a.b.c.d", "a.b.c.d.leaf", "a.b.c.d.sum", "last"]


def test_steps_see_those_of_their_own_and_of_enclosing_blocks_only() -> None:
    inside = [act("x"), calc("y", "${{ steps.x.output }}/${{ steps.top.output }}")]
    play = Play(plan(act("top"), fan("p", {"b": inside}), calc("out", "${{ steps.x.output }}", on_error="continue")))
    play.ok("top", "t")
    play.ok("p.x", "x")
    assert play.step("p.y").output == "x/t"
    assert play.status("out") == "failed"


def test_the_output_of_a_run_is_what_its_file_says_or_that_of_the_last_listed_completed_step() -> None:
    assert Play(plan(calc("a", 1), calc("b", 2), act("c", when=False))).run.output == 2
    assert Play(plan(calc("a", 1), output={"n": "${{ steps.a.output + 1 }}"})).run.output == {"n": 2}
    assert Play(plan(calc("a", 1), output=None)).run.output is None
    broken = Play(plan(calc("a", 1), output="${{ steps.a.output.x }}"))
    assert (broken.status(), broken.run.error.code) == ("failed", "VALIDATION_ERROR")


def test_a_run_is_waiting_only_while_nothing_is_active() -> None:
    play = Play(plan(act("a", needs=[]), ask("g", needs=[]), delay("d", needs=[])))
    assert (play.status(), play.run.waiting_on) == ("running", None)
    play.ok("a")
    assert (play.status(), play.run.waiting_on) == ("waiting", "approval")
    play.vote("g")
    assert (play.status(), play.run.waiting_on) == ("waiting", "timer")
