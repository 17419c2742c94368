"""Separation of duties: who has had a part in starting a run has no say in what it asks, however they come to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from play import Play, act, ask, plan

from fleetprompt.engine.core import command, starters
from fleetprompt.engine.core.command import Refusal
from fleetprompt.engine.core.facts import ApprovalRequested, RunCreated, StepNoted
from fleetprompt.engine.core.fork import fork
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.core.working import ask_about_call

APART = {"any_of": ["group:oncall", "ana"], "not": ["run.starter"]}
PEOPLE = ("ana", "bo", "cy", "dee")


def asked(*people: str, **more: Any) -> Play:
    return Play(plan(ask("g", **({"approvers": APART} | more))), owner=people[0] if people else "", starters=people)


def test_who_started_the_run_may_not_decide_although_they_are_named() -> None:
    play = asked("ana")
    [request] = play.of(ApprovalRequested)
    assert (request.approvers, request.excludes, request.barred) == (
        ("group:oncall", "ana"),
        ("run.starter",),
        ("ana",),
    )
    for decision in ("approved", "rejected"):
        answer = play.voted("g", "ana", decision, groups=["oncall"])
        assert isinstance(answer, Refusal)
        assert "ana started the run" in answer.reason
        assert answer.hint == "it is for group:oncall, ana, but not ana, who started the run"
    assert isinstance(play.voted("g", "user:ana", groups=["oncall"]), Refusal)
    play.vote("g", "bo", groups=["oncall"])
    assert play.status() == "completed"


@given(
    st.lists(st.sampled_from(PEOPLE), max_size=3, unique=True),
    st.sampled_from([[], ["group:oncall"], [*PEOPLE], ["user:ana", "bo", "group:oncall"]]),
    st.sampled_from(PEOPLE),
    st.booleans(),
    st.booleans(),
)
def test_nobody_who_started_it_ever_decides_and_nobody_else_is_kept_from_it(
    people: list[str], approvers: list[str], by: str, apart: bool, edits: bool
) -> None:
    """At the first level and at the next, with values and without, whoever the list names."""
    who: Any = {"any_of": approvers, "not": ["run.starter"]} if apart else approvers
    able = [each for each in PEOPLE if each not in people]
    if apart and approvers == [*PEOPLE] and not able:
        return
    more = {"timeout": 60, "on_timeout": "escalate", "escalate": {"to": ["group:oncall"]}, "form": {"n": "integer"}}
    for wait in (0, 60):
        play = asked(*people, approvers=who, **more)
        if wait:
            play.tick(wait)
        answer = play.voted("g", by, groups=["oncall"], values={"n": 1} if edits else {})
        assert isinstance(answer, Refusal) is (apart and by in people)


def test_a_question_is_not_given_to_the_starter_by_nobody_answering_it() -> None:
    more = {"timeout": 60, "on_timeout": "escalate", "escalate": {"to": ["ana", "bo"], "timeout": 60}}
    play = asked("ana", approvers={"any_of": ["cy"], "not": ["run.starter"]}, **more)
    gate = play.step("g").gate
    assert gate is not None
    refused = command.escalate(play.run, play.now, approval=gate.id, by="ana")
    assert isinstance(refused, Refusal)
    play.tick(60)
    assert isinstance(play.voted("g", "ana"), Refusal)
    play.vote("g", "bo")


def test_a_level_can_keep_duties_apart_of_its_own() -> None:
    to = {"any_of": ["ana", "bo"], "not": ["run.starter"]}
    play = asked("ana", approvers=["ana"], timeout=60, on_timeout="escalate", escalate={"to": to})
    assert not isinstance(play.voted("g", "ana"), Refusal)
    play.tick(60)
    assert isinstance(play.voted("g", "ana"), Refusal)
    play.vote("g", "bo")


@pytest.mark.parametrize(
    ("approvers", "quorum", "says"),
    [
        (["ana"], 1, "1 approval can never come from nobody but ana, who started the run and may not"),
        (["ana", "user:bo"], 2, "2 approvals can never come from 1 person but ana, who started the run and may not"),
    ],
)
def test_what_nobody_is_left_to_decide_fails_and_does_not_wait_for_ever(
    approvers: list[str], quorum: int, says: str
) -> None:
    play = asked("ana", approvers={"any_of": approvers, "not": ["run.starter"]}, quorum=quorum)
    assert (play.status(), play.run.error.code) == ("failed", "VALIDATION_ERROR")
    assert says in play.run.error.message


def test_where_only_a_clock_has_started_it_nobody_is_excluded() -> None:
    play = asked()
    play.vote("g", "ana")
    assert play.status() == "completed"


def test_a_retry_is_started_by_both_and_nothing_that_who_retries_has_approved_stands() -> None:
    play = Play(plan(ask("g", approvers=APART), act("a")), owner="ana", starters=("ana",))
    play.vote("g", "bo", groups=["oncall"])
    play.fail("a", retryable=False)
    refused = fork(play.run, play.facts, new="r2", at=play.now, by="bo")
    assert isinstance(refused, Refusal)
    assert "bo has approved" in refused.reason
    for by, start in (("cy", ""), ("bo", "g")):
        facts = fork(play.run, play.facts, new="r2", at=play.now, by=by, start=start)
        assert isinstance(facts, list)
        created = facts[0]
        assert isinstance(created, RunCreated)
        assert created.starters == ("ana", by)
    later = Play(play.program.plan, now=play.now, facts=facts)
    assert isinstance(later.voted("g", "bo", groups=["oncall"]), Refusal)
    later.vote("g", "cy", groups=["oncall"])


def test_a_question_in_the_middle_of_work_keeps_them_apart_too() -> None:
    play = Play(plan(act("a", type="agent", resumes=True)), owner="ana", starters=("ana",))
    play.tell([StepNoted(at=play.now, path="a", kind="session", key="a", value={})])
    request = ask_about_call(
        play.run, play.step("a"), play.now, call="c", about="tool", message="?", show=None,
        approvers=("ana", "bo"), excludes=("run.starter",), escalate={"to": ["ana"], "timeout": 9}, seconds=60,
    )  # fmt: skip
    play.tell([request])

    def by(person: str) -> Any:
        return command.vote(play.run, play.now, approval=request.id, by=person, decision="approved", edited="x")

    assert isinstance(by("ana"), Refusal)
    assert not isinstance(by("bo"), Refusal)


def test_it_follows_a_run_to_all_that_it_leads_to() -> None:
    old = RunCreated(run="r", plan="p", workflow="w", owner="ana")
    assert starters.of_run(old) == ("ana",), "of runs from before it was recorded, the owner counts"
    sent = Signal(id="s", type="t", source="run/r", at=0.0, by="", starters=("ana", "bo"))
    assert starters.of_signal(sent) == ("ana", "bo")
    assert starters.of_signal(Signal(id="s", type="t", source="cli/cy", at=0.0, by="cy", starters=("ana",))) == (
        "cy",
        "ana",
    )
