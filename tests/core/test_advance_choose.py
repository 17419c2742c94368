"""`condition` and `switch`: one branch, or none."""

from __future__ import annotations

from typing import Any

import pytest
from play import Play, act, calc, cond, plan, switch

from fleetprompt.engine.core.facts import StepExpanded


def test_a_condition_runs_one_of_two_blocks_and_has_its_last_output() -> None:
    nodes = [cond("c", "inputs.n > 1", [act("t1"), act("t2")], [act("e")]), act("yes", needs=["c.then"])]
    play = Play(plan(*nodes, act("no", needs=["c.else"])), {"n": 2})
    assert play.owed == ["c.t1"]
    play.ok("c.t1")
    play.ok("c.t2", "out")
    assert (play.status("c"), play.step("c").output, play.step("c").port) == ("completed", "out", "then")
    assert (play.status("yes"), play.status("no")) == ("running", "skipped")
    assert play.status("c.e") == "unknown"


@pytest.mark.parametrize(("n", "port"), [(2, "then"), (0, "else")])
def test_a_branch_without_steps_is_taken_all_the_same(n: int, port: str) -> None:
    block: dict[str, Any] = {"els": [act("x")]} if port == "then" else {"then": [act("x")]}
    play = Play(plan(cond("c", "inputs.n > 1", **block), calc("last", "${{ steps.c.output }}")), {"n": n})
    assert (play.step("c").port, play.run.output) == (port, None)
    assert play.of(StepExpanded)[0].branches == (port,)
    assert play.status() == "completed"


CASES: dict[str, tuple[Any, Any]] = {
    "one": ((1,), [act("a")]),
    "few": ((2, 3, "4"), [act("b")]),
    "yes": ((True,), [act("c")]),
    "none": ((None,), [act("d")]),
}


@pytest.mark.parametrize(
    ("value", "port"),
    [
        (1, "one"),
        (2, "few"),
        (3, "few"),
        ("4", "few"),
        (4, "default"),
        (True, "yes"),
        (1.0, "one"),
        ("true", "default"),
        ("1", "default"),
        (None, "none"),
        (False, "default"),
        ([1], "default"),
    ],
)
def test_a_switch_compares_as_expressions_do(value: Any, port: str) -> None:
    play = Play(plan(switch("s", "inputs.value", CASES, [act("z")])), {"value": value})
    assert play.of(StepExpanded)[0].branches == (port,)
    [owed] = play.owed
    play.ok(owed, "out")
    assert (play.step("s").port, play.run.output) == (port, "out")


def test_a_switch_without_default_completes_on_the_port_default() -> None:
    play = Play(plan(switch("s", "9", CASES), act("other", needs=["s.default"]), act("one", needs=["s.one"])))
    assert (play.status("s"), play.step("s").output) == ("completed", None)
    assert (play.status("other"), play.status("one")) == ("running", "skipped")


def test_cases_may_have_conditions_and_the_first_that_fits_is_taken() -> None:
    from fleetprompt.engine.core.plan import Block, Case, Node

    cases = (Case("big", test="inputs.n > 10"), Case("some", test="inputs.n > 0"), Case("default"))
    blocks = (Block("big", (act("b"),)), Block("some", (act("s"),)))
    play = Play(plan(Node(id="w", type="switch", kind="choose", cases=cases, blocks=blocks)), {"n": 50})
    assert play.owed == ["w.b"]


def test_a_value_that_cannot_be_evaluated_fails_the_step_before_it_starts() -> None:
    play = Play(plan(switch("s", "inputs.nothing", CASES), act("h", needs=["s.failed"])))
    assert play.owed == ["h"]


def test_a_failure_inside_a_branch_is_that_of_the_step_and_takes_no_port() -> None:
    play = Play(plan(cond("c", "true", [act("t")]), act("h", needs=["c.failed"]), act("n", needs=["c.then"])))
    play.fail("c.t", message="broken")
    assert (play.status("c"), play.step("c").port, play.step("c").error.path) == ("failed", "", "c.t")
    assert (play.status("h"), play.status("n")) == ("running", "skipped")


def test_a_failure_inside_a_branch_may_be_handled_there() -> None:
    play = Play(plan(cond("c", "true", [act("t"), act("h", needs=["t.failed"])])))
    play.fail("c.t")
    play.ok("c.h", "saved")
    assert (play.status(), play.run.output) == ("completed", "saved")


def test_a_branch_in_which_everything_is_skipped_completes() -> None:
    play = Play(plan(cond("c", "true", [act("t", when=False)])))
    assert (play.status(), play.run.output, play.step("c").port) == ("completed", None, "then")
