"""Computed fields of the core's own step kinds: what cannot be used fails the step, by the name of the field."""

from __future__ import annotations

from typing import Any

import pytest
from play import NOW, Play, act, ask, calc, call, cond, delay, during, each, emit, listen, plan, switch

from fleetprompt.engine.core.facts import ApprovalRequested
from fleetprompt.engine.core.plan import Concurrency, Node
from fleetprompt.engine.core.signal import CANCEL


def error_of(node: Node, x: Any) -> Any:
    play = Play(plan(node), {"x": x})
    assert play.status() == "failed"
    error = play.run.error
    assert (error.code, error.path, error.retryable) == ("VALIDATION_ERROR", node.id, False)
    return error


X = "${{ inputs.x }}"
ESCALATED = {"timeout": 10, "on_timeout": "escalate"}


@pytest.mark.parametrize(
    ("node", "field"),
    [
        (delay("d", X), "for"),
        (listen("w", timeout=X), "timeout"),
        (ask("g", timeout=X), "timeout"),
        (act("a", approval={"message": "?", "timeout": X}), "approval.timeout"),
    ],
)
@pytest.mark.parametrize(
    ("value", "shown"),
    [("soon", "'soon'"), ("5 m", "'5 m'"), (-1, "-1"), (True, "true"), ([1], "a list"), ({"a": 1}, "a mapping"),
     (10**12, "1000000000000"), ("9" * 500, f"'{'9' * 63}…'")],
)  # fmt: skip
def test_a_computed_duration_that_is_none_is_told_with_its_field_and_value(
    node: Node, field: str, value: Any, shown: str
) -> None:
    message = error_of(node, value).message
    assert message.startswith(f"`{field}`: ")
    assert message.endswith(f": {shown}")


def test_the_hint_says_how_to_write_it() -> None:
    assert error_of(delay("d", X), "5 minutes").hint == "write `5m`"


@pytest.mark.parametrize("value", ["tomorrow", "", True, None, -1, 10**15, {"a": 1}])
def test_a_computed_time_that_is_none(value: Any) -> None:
    assert error_of(delay("d", config={"until": X}), value).message.startswith("`until`: ")


@pytest.mark.parametrize("value", [NOW + 60, "2027-01-15T08:01:00Z", "2027-01-15T09:01:00+01:00"])
def test_a_computed_time(value: Any) -> None:
    play = Play(plan(delay("d", config={"until": X})), {"x": value})
    play.tick(59)
    assert play.status() == "waiting"
    play.tick(1)
    assert play.status() == "completed"


def test_a_duration_that_is_computed_to_be_null_is_none() -> None:
    play = Play(plan(listen("w", timeout=X)), {"x": None})
    assert play.step("w").until is None


@pytest.mark.parametrize("value", ["2", 0, 51, 1.5, True, [2], "many"])
def test_a_computed_quorum_that_is_none(value: Any) -> None:
    assert error_of(ask("g", quorum=X), value).message.startswith("`quorum`: a quorum is a whole number")


# ---------------------------------------------------------------- approvers


@pytest.mark.parametrize("approvers", [[X], ["group:ops", X], X])
def test_approvers_that_are_computed_can_be_a_list(approvers: Any) -> None:
    play = Play(plan(ask("g", approvers=approvers)), {"x": ["user:ana", "user:bo"]})
    [request] = play.of(ApprovalRequested)
    assert request.approvers[-2:] == ("user:ana", "user:bo")
    play.vote("g", "bo")
    assert play.status() == "completed"


@pytest.mark.parametrize("value", [[], "", [""], 7, [["ana"]], {"a": 1}, ["u"] * 51])
def test_approvers_that_are_computed_to_be_nobody_are_not_everybody(value: Any) -> None:
    assert error_of(ask("g", approvers=[X]), value).message.startswith("`approvers`: ")


def test_a_computed_quorum_that_nobody_can_reach() -> None:
    error = error_of(ask("g", approvers=["ana", "user:ana", "bo"], quorum=X), 3)
    assert error.message == "`quorum`: 3 approvals can never come from 2 people"
    play = Play(plan(ask("g", quorum=X, **ESCALATED, escalate={"to": ["bo"]})), {"x": 2})
    play.tick(10)
    assert "`escalate.to`: 2 approvals can never come from 1 person" in play.run.error.message


def test_an_escalation_that_cannot_be_computed_rejects_and_says_why() -> None:
    play = Play(plan(ask("g", **ESCALATED, escalate={"to": ["bo"], "timeout": X})), {"x": "soon"})
    play.tick(10)
    assert (play.status(), play.run.error.code) == ("failed", "APPROVAL_REJECTED")
    assert "it could not be escalated: `escalate.timeout`: this is not a duration: 'soon'" in play.run.error.message


# ---------------------------------------------------------------- signals


@pytest.mark.parametrize("value", [CANCEL, "fleet", "fleet.x", "a b", "", "a..b", "deploy.*", 5, ["a"], "a" * 256])
def test_no_value_becomes_a_command_or_a_type_that_is_none(value: Any) -> None:
    play = Play(plan(emit("e", X, data={"run": "other"})), {"x": value})
    assert play.status() == "failed"
    assert play.run.error.message.startswith("`signal`: ")
    assert not [signal for signal in play.signals.values() if signal.source.endswith("/e")]


@pytest.mark.parametrize("value", ["", "a b", "a.***", ".", 5, None])
def test_what_is_listened_for_is_a_pattern(value: Any) -> None:
    assert error_of(listen("w", X), value).message.startswith("`signal`: a signal pattern is")


def test_a_subject_that_is_too_long_to_be_one_is_not_taken_for_any() -> None:
    message = error_of(listen("w", "go", key=X), "s" * 70_000).message
    assert message.startswith("`key`: a subject has at most 1000 characters")


@pytest.mark.parametrize("value", ["", None, [], {"a": 1}, "g" * 501])
def test_a_critical_section_has_a_name(value: Any) -> None:
    message = error_of(act("a", concurrency=Concurrency(X)), value).message
    assert message.startswith("`concurrency.group`: the name of a group is text")


@pytest.mark.parametrize(("value", "name"), [("g", "g"), (7, "7"), (True, "true")])
def test_a_critical_section_is_named_by_its_value(value: Any, name: str) -> None:
    play = Play(plan(act("a", concurrency=Concurrency(X))), {"x": value})
    assert play.step("a").ref == f"group:{name}"


# ---------------------------------------------------------------- which field it was


@pytest.mark.parametrize(
    ("node", "field"),
    [
        (act("a", when="inputs.x.y"), "if"),
        (act("a", config={"json": {"n": ["${{ inputs.x.y }}"]}}), "json.n.0"),
        (act("a", approval={"message": "${{ inputs.x.y }}"}), "approval.message"),
        (act("a", concurrency=Concurrency("g-${{ inputs.x.y }}")), "concurrency.group"),
        (calc("a", 1, asserts=("inputs.x.y",)), "assert"),
        (calc("a", 1, set={"v": "inputs.x.y"}), "set"),
        (switch("a", "inputs.x.y", {"p": ([1], [act("b")])}), "value"),
        (cond("a", "inputs.x.y", [act("b")]), "if"),
        (each("a", "inputs.x.y", [act("b")]), "over"),
        (during("a", "inputs.x.y", [act("b")]), "while"),
        (call("a", inputs={"n": "${{ inputs.x.y }}"}), "with.n"),
    ],
)
def test_an_expression_that_cannot_be_evaluated_is_told_with_its_field(node: Node, field: str) -> None:
    assert error_of(node, 1).message == f"`{field}`: inputs.x is an integer and has no 'y'"


def test_a_loop_over_what_is_no_list() -> None:
    assert error_of(each("a", "inputs.x", [act("b")]), 5).message == "`over`: a list is needed here, not integer"
