"""Approvals: who may decide, what is decided about, and what happens when nobody does."""

from __future__ import annotations

from typing import Any

import pytest
from play import NOW, Play, act, ask, calc, call, each, fan, plan

from fleetprompt.engine.core import command
from fleetprompt.engine.core.command import LOOK_AGAIN, MAX_COMMENT, Refusal
from fleetprompt.engine.core.facts import ApprovalDecided, ApprovalRequested, ApprovalVoted, StepStarted
from fleetprompt.engine.core.gate import form_problem, with_comment
from fleetprompt.engine.core.plan import Guardrails, Retry

# ---------------------------------------------------------------- deciding


def test_an_approval_waits_for_a_person_and_holds_nothing() -> None:
    play = Play(plan(ask("g", "Restart ${{ inputs.what }}?", approvers=["group:oncall"]), act("a")), {"what": "db"})
    [request] = play.of(ApprovalRequested)
    assert (request.message, request.approvers, request.quorum, request.level) == (
        "Restart db?",
        ("group:oncall",),
        1,
        0,
    )
    assert (play.status(), play.run.waiting_on, play.run.wake_at) == ("waiting", "approval", None)
    assert request.id.startswith("ap-")
    assert len(request.digest) == 64


def test_one_approval_is_enough_unless_the_file_says_more() -> None:
    play = Play(plan(ask("g"), act("a", needs=["g.approved"]), act("b", needs=["g.rejected"])))
    play.vote("g", comment="fine by me")
    assert play.step("g").output == {
        "decision": "approved",
        "by": ["ana"],
        "comment": "fine by me",
        "values": {},
        "approval": play.step("g").gate.id,
    }
    assert (play.owed, play.status("b")) == (["a"], "skipped")


def test_one_rejection_rejects_whatever_was_voted_before() -> None:
    play = Play(plan(ask("g", quorum=3), act("a", needs=["g.approved"]), act("b", needs=["g.rejected"])))
    play.vote("g", "ana")
    play.vote("g", "bo", "rejected", comment="not on a Friday")
    assert (play.status("g"), play.owed, play.status("a")) == ("failed", ["b"], "skipped")
    error = play.step("g").error
    assert (error.code, error.message, error.retryable) == (
        "APPROVAL_REJECTED",
        "rejected by bo: not on a Friday",
        False,
    )
    assert error.data["by"] == ["bo"]


def test_a_rejection_that_nobody_handles_fails_the_run() -> None:
    play = Play(plan(ask("g"), act("b", needs=["g.failed"])))
    play.vote("g", decision="rejected")
    assert (play.status(), play.run.error.code) == ("failed", "APPROVAL_REJECTED")
    assert play.status("b") == "pending", "a rejection is not a failure of the step"


def test_a_rejection_may_be_passed_over() -> None:
    play = Play(plan(ask("g", on_error="continue"), act("a")))
    play.vote("g", decision="rejected")
    assert play.owed == ["a"]


def test_a_quorum_needs_so_many_different_people() -> None:
    play = Play(plan(ask("g", quorum=2)))
    play.vote("g", "ana")
    assert (play.status("g"), len(play.of(ApprovalVoted)), play.of(ApprovalDecided)) == ("waiting", 1, [])
    assert play.voted("g", "ana") == Refusal("ana has already decided"), "the same again is nothing new"
    play.vote("g", "bo")
    assert (play.status(), play.step("g").output["by"]) == ("completed", ["ana", "bo"])
    assert play.of(ApprovalDecided)[0].by == ("ana", "bo")


def test_who_has_voted_is_taken_by_their_last_word_until_enough_people_agree() -> None:
    play = Play(plan(ask("g", quorum=3, form={"n": "integer", "m": "integer"})))
    play.vote("g", "ana", values={"n": 1, "m": 1})
    play.vote("g", "bo")
    play.vote("g", "ana", values={"n": 2}, comment="not 1")
    assert (play.status("g"), play.of(ApprovalDecided)) == ("waiting", [])
    assert [(fact.by, fact.values) for fact in play.of(ApprovalVoted)] == [
        ("ana", {"n": 1, "m": 1}),
        ("bo", {}),
        ("ana", {"n": 2}),
    ], "all of it is on record"
    play.vote("g", "cy")
    assert play.step("g").output["values"] == {"n": 2}
    assert sorted(play.of(ApprovalDecided)[0].by) == ["ana", "bo", "cy"]
    assert isinstance(play.voted("g", "ana"), Refusal), "then nobody takes theirs back"


def test_an_approval_is_taken_back_by_a_rejection() -> None:
    play = Play(plan(ask("g", quorum=2, on_error="continue"), act("a")))
    play.vote("g", "ana")
    play.vote("g", "ana", "rejected", comment="after all")
    [decided] = play.of(ApprovalDecided)
    assert (decided.decision, decided.by, decided.comment) == ("rejected", ("ana",), "after all")


@pytest.mark.parametrize(
    ("approvers", "by", "groups", "allowed"),
    [
        ([], "zoe", [], True),
        (["ana"], "ana", [], True),
        (["user:ana"], "ana", [], True),
        (["ana", "bo"], "bo", [], True),
        (["ana"], "bo", [], False),
        (["group:oncall"], "bo", ["oncall"], True),
        (["group:oncall"], "bo", ["dev"], False),
        (["group:oncall"], "oncall", [], False),
        (["oncall"], "bo", ["oncall"], False),
        (["group:oncall", "bo"], "bo", [], True),
        ("group:oncall", "bo", ["oncall"], True),
        ("group:oncall", "bo", [], False),
        ([], "", [], False),
        (["${{ inputs.who }}"], "kim", [], True),
        (["${{ inputs.who }}"], "ana", [], False),
    ],
)
def test_who_may_decide(approvers: Any, by: str, groups: list[str], allowed: bool) -> None:
    play = Play(plan(ask("g", approvers=approvers)), {"who": "kim"})
    answer = play.voted("g", by, groups=groups)
    assert isinstance(answer, Refusal) is not allowed


def test_a_decision_is_one_of_two() -> None:
    play = Play(plan(ask("g")))
    answer = play.voted("g", decision="perhaps")
    assert isinstance(answer, Refusal)
    assert "perhaps" in answer.reason


def test_a_closed_approval_takes_no_votes() -> None:
    play = Play(plan(ask("g"), ask("h")))
    play.vote("g")
    assert play.voted("g", "bo") == Refusal("the approval is already approved")
    play.cancel()
    assert play.voted("h", "bo") == Refusal("the approval is already withdrawn")
    unknown = command.vote(play.run, NOW, approval="ap-0", by="bo", decision="approved")
    assert unknown == Refusal("this run has no such approval")


def test_a_vote_is_about_what_was_seen() -> None:
    play = Play(plan(ask("g", **escalating())))
    first = play.step("g").gate
    assert first is not None
    shown, level = first.digest, first.level
    assert isinstance(play.voted("g", digest="0" * 64, level=level), Refusal)
    play.tick(60)
    late = play.voted("g", "cy", groups=["boss"], digest=shown, level=level)
    assert isinstance(late, Refusal)
    assert "at level 1 by now" in late.reason
    assert late.hint == LOOK_AGAIN
    now = play.step("g").gate
    assert now is not None
    play.vote("g", "cy", groups=["boss"], digest=now.digest, level=1)
    assert play.status() == "completed"


def test_comments_have_an_end() -> None:
    play = Play(plan(ask("g")))
    play.vote("g", comment="x" * 50_000)
    assert len(play.of(ApprovalVoted)[0].comment) == MAX_COMMENT


# ---------------------------------------------------------------- forms

FORM = {
    "size": {"type": "integer", "minimum": 1, "maximum": 10, "required": True},
    "name": {"type": "string", "min_length": 2, "max_length": 4, "pattern": "[a-z]+"},
    "where": {"enum": ["eu", "us"], "default": "eu"},
    "sure": {"type": "boolean"},
    "rate": {"type": "number"},
    "short": "string",
}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"size": 5}, ""),
        ({"size": 5, "name": "abc", "where": "us", "sure": False, "rate": 0.5, "short": ""}, ""),
        ({"size": 5, "rate": 2}, ""),
        ({}, "needs `size`"),
        ({"size": 0}, "at least 1"),
        ({"size": 11}, "at most 10"),
        ({"size": "5"}, "of type integer"),
        ({"size": 5.0}, "of type integer"),
        ({"size": True}, "of type integer"),
        ({"size": 5, "rate": True}, "of type number"),
        ({"size": 5, "sure": 1}, "of type boolean"),
        ({"size": 5, "name": "a"}, "at least 2 characters"),
        ({"size": 5, "name": "abcde"}, "at most 4 characters"),
        ({"size": 5, "name": "AB"}, "does not match"),
        ({"size": 5, "where": "cn"}, "one of eu, us"),
        ({"size": 5, "short": 1}, "of type string"),
        ({"size": 5, "other": 1}, "no field `other`"),
    ],
)
def test_forms(values: dict[str, Any], problem: str) -> None:
    found = form_problem(FORM, values)
    assert (problem in found) if problem else found == ""


def test_what_approvers_enter_becomes_the_output_and_later_votes_win() -> None:
    form = {"a": {}, "b": {}, "c": {"default": 0}}
    play = Play(plan(ask("g", quorum=2, form=form), calc("x", "${{ steps.g.output.values }}")))
    play.vote("g", "ana", values={"a": 1, "b": 1})
    play.vote("g", "bo", values={"b": 2})
    assert play.run.output == {"a": 1, "b": 2, "c": 0}
    assert play.of(ApprovalDecided)[0].values == {"a": 1, "b": 2, "c": 0}


def test_a_form_must_be_filled_in_to_approve_but_not_to_reject() -> None:
    play = Play(plan(ask("g", form={"a": {"required": True}})))
    refused = play.voted("g")
    assert isinstance(refused, Refusal)
    assert "--set" in refused.hint
    play.vote("g", decision="rejected")
    assert play.status() == "failed"


@pytest.mark.parametrize(
    ("said", "comment", "values"),
    [
        ({"comment": "fine"}, "fine", {"comment": "fine"}),
        ({"values": {"comment": "fine"}}, "fine", {"comment": "fine"}),
        ({"comment": "aside", "values": {"comment": "fine"}}, "aside", {"comment": "fine"}),
    ],
)
def test_a_comment_that_the_form_asks_for_is_that_of_the_decision(said: Any, comment: str, values: Any) -> None:
    asks = ask("g", form={"comment": {"type": "string", "required": True, "min_length": 1}})
    play = Play(plan(asks, calc("x", "${{ steps.g.output }}")))
    assert isinstance(play.voted("g"), Refusal)
    play.vote("g", **said)
    assert play.run.output["comment"] == comment
    assert play.run.output["values"] == values


def test_a_comment_is_no_value_of_a_form_that_does_not_ask_for_it_as_text() -> None:
    for form in ({"size": {"type": "integer"}}, {"comment": {"type": "integer"}}, {}):
        play = Play(plan(ask("g", form=form), calc("x", "${{ steps.g.output.values }}")))
        play.vote("g", comment="fine")
        assert play.run.output == {}
    asked = with_comment({"comment": "string"}, "tool", "fine", {})
    assert asked == ("fine", {}), "the call would be made with another argument than what was shown"


# ---------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("policy", "status", "ports"),
    [
        (None, "failed", "rejected timeout"),
        ("reject", "failed", "rejected timeout"),
        ("approve", "completed", "approved timeout"),
        ("fail", "timeout", "timeout"),
        ("escalate", "failed", "rejected timeout"),
    ],
)
def test_nobody_decides_in_time(policy: str | None, status: str, ports: str) -> None:
    more = {"on_timeout": policy} if policy else {}
    play = Play(plan(ask("g", timeout="10m", **more), act("late", needs=["g.timeout"])))
    play.tick(599)
    assert play.status("g") == "waiting"
    play.tick(1)
    assert (play.status("g"), play.step("g").port, play.owed) == (status, ports, ["late"])
    [decided] = play.of(ApprovalDecided)
    assert (decided.reason, decided.by) == ("timeout", ())


def test_time_that_approves_leaves_the_form_as_it_was() -> None:
    play = Play(
        plan(ask("g", timeout="10m", on_timeout="approve", form={"n": {"default": 1}, "why": {"type": "string"}}))
    )
    play.tick(600)
    assert play.step("g").output["values"] == play.step("g").gate.values == {"n": 1}


def escalating(**more: Any) -> dict[str, Any]:
    return {
        "approvers": ["ana"],
        "timeout": 60,
        "on_timeout": "escalate",
        "escalate": {"to": ["group:boss"], "timeout": 30, "on_timeout": "approve"},
        **more,
    }


def test_an_approval_escalates_once_to_others_and_votes_start_again() -> None:
    play = Play(plan(ask("g", quorum=2, show={"n": 1}, **escalating(approvers=["ana", "bo"]))))
    play.vote("g", "ana")
    play.tick(60)
    first, second = play.of(ApprovalRequested)
    assert (second.level, second.approvers, second.id, second.until) == (1, ("group:boss",), first.id, NOW + 90)
    assert (second.show, second.message, second.quorum) == (first.show, first.message, 2)
    assert isinstance(play.voted("g", "bo"), Refusal), "not of the next level"
    play.vote("g", "cy", groups=["boss"])
    assert play.status() == "waiting", "what the first level said does not count"
    play.vote("g", "dee", groups=["boss"])
    assert (play.status(), play.step("g").output["by"]) == ("completed", ["cy", "dee"])


def test_after_the_last_level_its_own_policy_holds() -> None:
    play = Play(plan(ask("g", **escalating())))
    play.tick(60)
    play.tick(30)
    assert (play.status(), play.step("g").port) == ("completed", "approved timeout")


def test_an_escalation_without_time_waits_for_ever() -> None:
    play = Play(plan(ask("g", **escalating(escalate={"to": "group:boss"}))))
    play.tick(60)
    assert play.run.wake_at is None
    play.vote("g", "cy", groups=["boss"])
    assert play.status() == "completed"


def test_an_escalated_question_about_a_step_shows_what_will_be_executed() -> None:
    play = Play(plan(act("a", config={"cmd": "rm ${{ inputs.x }}"}, approval=escalating(message="ok?"))), {"x": 1})
    play.tick(60)
    first, second = play.of(ApprovalRequested)
    assert first.show == second.show == {"type": "act", "cmd": "rm 1"}
    assert (first.digest, first.input) == (second.digest, second.input)


def test_a_question_that_shows_something_else_is_another_question() -> None:
    """The digest covers what is shown now, not what was shown to those who did not answer."""
    nodes = [ask("g", show="${{ vars.n }}", needs=[], **escalating()), act("a", needs=[], set={"n": "result"})]
    play = Play(plan(*nodes, vars={"n": 1}))
    play.ok("a", 2)
    play.tick(60)
    first, second = play.of(ApprovalRequested)
    assert (first.show, second.show) == (1, 2)
    assert first.digest != second.digest


@pytest.mark.parametrize("broken", [{"to": ["${{ vars.n.x }}"]}, {"to": ["bo"], "timeout": "${{ vars.n }}"}])
def test_an_escalation_that_cannot_be_rendered_rejects(broken: dict[str, Any]) -> None:
    nodes = [ask("g", needs=[], **escalating(escalate=broken)), act("a", needs=[], set={"n": "'soon'"})]
    play = Play(plan(*nodes, vars={"n": {"x": 1}}))
    play.ok("a")
    play.tick(60)
    assert (play.status(), play.run.error.code) == ("failed", "APPROVAL_REJECTED")


@pytest.mark.parametrize("config", [{"timeout": "soon"}, {"quorum": "many"}, {"message": "${{ inputs.x.y }}"}])
def test_a_question_that_cannot_be_rendered_fails_the_step(config: dict[str, Any]) -> None:
    play = Play(plan(ask("g", **config)))
    assert (play.status(), play.run.error.code) == ("failed", "VALIDATION_ERROR")
    play = Play(plan(act("a", approval=config)))
    assert (play.status(), play.run.error.code) == ("failed", "VALIDATION_ERROR")


# ---------------------------------------------------------------- steps that need an approval

GATE = {"message": "Run it?"}


def test_a_step_starts_with_exactly_what_was_approved() -> None:
    node = act("a", needs=[], config={"n": "${{ vars.n }}"}, approval=GATE)
    play = Play(plan(node, act("b", needs=[], set={"n": "99"}), vars={"n": 1}))
    [request] = play.of(ApprovalRequested)
    assert (request.input, request.show) == ({"n": 1}, {"type": "act", "n": 1})
    play.ok("b")
    assert play.run.vars == {"n": 99}
    play.vote("a")
    started = play.of(StepStarted, "a")[0]
    assert (started.input, started.approval) == ({"n": 1}, request.id)


def test_the_digest_is_bound_to_path_input_and_what_is_shown() -> None:
    def digest(config: dict[str, Any], path: str = "a", **gate: Any) -> str:
        return Play(plan(act(path, config=config, approval=GATE | gate))).of(ApprovalRequested)[0].digest

    base = digest({"n": 1})
    assert base == digest({"n": 1})
    others = [
        digest({"n": 2}),
        digest({"n": "1"}),
        digest({"n": 1}, "b"),
        digest({"n": 1}, message="Really?"),
        digest({"n": 1}, show="nothing"),
        digest({"n": 1, "h": "${{ secrets.A }}"}),
        digest({"n": 1, "h": "${{ secrets.B }}"}),
    ]
    assert len({base, *others}) == len(others) + 1


def test_a_rejected_step_does_not_start() -> None:
    play = Play(plan(act("a", approval=GATE), act("b", needs=["a.rejected"]), act("c", needs=["a.failed"])))
    play.vote("a", decision="rejected")
    assert (play.status("a"), play.step("a").port, play.owed) == ("failed", "rejected", ["b"])
    assert play.status("c") == "skipped"
    assert not play.of(StepStarted, "a")


def test_a_step_whose_condition_does_not_hold_asks_nobody() -> None:
    play = Play(plan(act("a", when=False, approval=GATE)))
    assert (play.status("a"), play.of(ApprovalRequested)) == ("skipped", [])


def test_an_approval_is_used_up_by_the_first_attempt_and_not_asked_for_again() -> None:
    play = Play(plan(act("a", config={"n": 1}, approval=GATE, retry=Retry(3))))
    play.vote("a")
    play.fail("a")
    play.wake()
    first, second = play.of(StepStarted)
    assert (bool(first.approval), second.approval) == (True, "")
    assert (play.owed, play.step("a").input, len(play.of(ApprovalRequested))) == (["a"], {"n": 1}, 1)


@pytest.mark.parametrize("kind", ["parallel", "loop", "transform", "workflow"])
def test_whatever_can_start_can_be_asked_about(kind: str) -> None:
    import msgspec

    nodes = {
        "parallel": fan("x", {"b": [act("a")]}),
        "loop": each("x", [1], [act("a")]),
        "transform": calc("x", 1),
        "workflow": call("x"),
    }
    play = Play(plan(msgspec.structs.replace(nodes[kind], approval=GATE)))
    play.vote("x")
    if kind == "workflow":
        play.child("x")
    for path in play.owed:
        play.ok(path)
    assert play.status() == "completed"


def test_a_timed_out_question_about_a_step() -> None:
    for policy, status in (("approve", "running"), ("reject", "failed"), ("fail", "timeout")):
        play = Play(
            plan(act("a", approval=GATE | {"timeout": 60, "on_timeout": policy}, on_error="continue"), ask("z"))
        )
        play.tick(60)
        assert play.status("a") == status


def test_an_approved_step_waits_for_the_end_of_a_pause() -> None:
    play = Play(plan(act("a", approval=GATE)))
    play.pause()
    play.vote("a")
    assert (play.owed, play.status("a")) == ([], "pending")
    play.resume()
    assert play.owed == ["a"]


def test_an_approved_step_that_has_not_started_is_cancelled_with_its_run() -> None:
    play = Play(plan(act("a", approval=GATE)))
    play.pause()
    play.vote("a")
    play.cancel()
    assert (play.status(), play.status("a"), play.started) == ("cancelled", "cancelled", [])


# ---------------------------------------------------------------- the end of the run


@pytest.mark.parametrize("how", ["cancel", "failure", "race", "limit"])
@pytest.mark.parametrize("gated", [False, True])
def test_an_open_question_is_withdrawn_when_its_step_ends(how: str, gated: bool) -> None:
    question = act("g", approval=GATE) if gated else ask("g")
    until = 1 if how == "race" else 0
    limits = Guardrails(timeout=5)
    play = Play(plan(fan("p", {"x": [question], "y": [act("b")]}, until=until), guardrails=limits))
    match how:
        case "cancel":
            play.cancel()
        case "failure":
            play.fail("p.b")
        case "race":
            play.ok("p.b")
        case _:
            play.tick(5)
    [decided] = play.of(ApprovalDecided)
    assert (decided.decision, decided.reason, play.status("p.g")) == ("withdrawn", "cancelled", "cancelled")
    assert play.run.ended


def test_a_question_survives_a_crash_with_its_votes() -> None:
    play = Play(plan(ask("g", quorum=2)))
    play.vote("g", "ana")
    play.crash()
    assert isinstance(play.voted("g", "ana"), Refusal)
    play.vote("g", "bo")
    assert play.status() == "completed"


def test_every_iteration_asks_its_own_question() -> None:
    play = Play(plan(each("l", [1, 2], [ask("g")], at_once=2)))
    assert len({request.id for request in play.of(ApprovalRequested)}) == 2
    play.vote("l[1].g")
    assert (play.status("l[0].g"), play.status("l[1].g")) == ("waiting", "completed")
