"""Work that can be put aside: an attempt that asks, waits, is interrupted and goes on, and what it holds meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from play import Play, act, fan, plan

from fleetprompt.engine.core import command
from fleetprompt.engine.core.command import Refusal
from fleetprompt.engine.core.facts import (
    AnyFact,
    ApprovalDecided,
    ApprovalRequested,
    BudgetRaised,
    Slot,
    StepCancelled,
    StepFailed,
    StepInDoubt,
    StepNoted,
    StepStarted,
    StepWaiting,
)
from fleetprompt.engine.core.fork import fork
from fleetprompt.engine.core.keys import call_child_id
from fleetprompt.engine.core.plan import Guardrails, Retry
from fleetprompt.engine.core.working import ask_about_call, call_in_doubt

MONEY = {"id": "r1/a/a1/sre/llm/0#0", "allowances": [], "amounts": {"requests": 1, "tokens": 900, "cost_nano": 5_000}}


def working(*more: Any, **fields: Any) -> Play:
    """A run with a step that can be put aside."""
    return Play(plan(act("a", type="agent", resumes=True, **fields), *more))


def note(play: Play, kind: str, key: str = "", value: Any = None, path: str = "a") -> list[AnyFact]:
    step = play.step(path)
    return play.tell([StepNoted(at=play.now, path=path, kind=kind, key=key, value=value, attempt=step.attempt)])


def ask(play: Play, *calls: str, about: str = "tool", path: str = "a", **fields: Any) -> list[AnyFact]:
    """Ask people about calls."""
    step = play.step(path)
    fields = {"message": "May I?", "show": {"argv": ["rm", "x"]}} | fields
    return play.tell([ask_about_call(play.run, step, play.now, call=call, about=about, **fields) for call in calls])


def vote(play: Play, call: str, decision: str = "approved", path: str = "a", **fields: Any) -> list[AnyFact] | Refusal:
    work = play.step(path).work
    assert work is not None
    gate = next(gate for gate in work.asks.values() if gate.call == call)
    return command.vote(play.run, play.now, approval=gate.id, by=fields.pop("by", "ana"), decision=decision, **fields)


def wait(play: Play, on: Any, **fields: Any) -> None:
    play.tell([StepWaiting(at=play.now, path="a", on=on, **fields)])


def kinds(play: Play) -> list[str]:
    return [fact.kind for fact in play.of(StepNoted)]


# ---------------------------------------------------------------- questions


def test_a_question_in_the_middle_of_the_work_puts_it_aside_and_the_answer_takes_it_up_in_the_same_attempt() -> None:
    play = working()
    ask(play, "sre/tool/0.0")
    assert (play.status(), play.run.waiting_on, play.owed, play.step("a").on) == ("waiting", "approval", [], "approval")
    play.now += 3_600
    play.tell(vote(play, "sre/tool/0.0", comment="go"))
    assert (play.status(), play.owed, play.step("a").attempt) == ("running", ["a"], 1)
    assert kinds(play) == ["resumed"]
    assert len(play.of(StepStarted)) == 1
    play.ok("a", "done")
    assert play.status() == "completed"


def test_all_questions_are_answered_before_the_work_goes_on() -> None:
    play = working()
    ask(play, "t/0.0", "t/0.1", "t/0.2")
    play.tell(vote(play, "t/0.1"))
    play.tell(vote(play, "t/0.0", "rejected", comment="not this"))
    assert (play.owed, play.run.waiting_on) == ([], "approval")
    gate = play.step("a").gate
    assert gate is not None
    assert gate.call == "t/0.2", "the one that is open is the one that is shown"
    play.tell(vote(play, "t/0.2"))
    assert play.owed == ["a"]
    work = play.step("a").work
    assert work is not None
    found = {gate.call: (gate.decision, gate.comment) for gate in work.asks.values()}
    assert found == {"t/0.0": ("rejected", "not this"), "t/0.1": ("approved", ""), "t/0.2": ("approved", "")}


def test_a_rejected_call_fails_nothing_and_the_work_hears_of_it() -> None:
    play = working()
    ask(play, "t/0.0")
    play.tell(vote(play, "t/0.0", "rejected", comment="never", ends=True))
    assert (play.status(), play.owed) == ("running", ["a"])
    [decided] = play.of(ApprovalDecided)
    assert (decided.decision, decided.ends, decided.by) == ("rejected", True, ("ana",))


def test_each_question_expires_by_itself_and_an_expired_one_is_rejected() -> None:
    play = working()
    ask(play, "t/0.0", seconds=60.0)
    ask(play, "t/0.1", seconds=30.0)
    play.wake()
    assert [(fact.reason, fact.decision) for fact in play.of(ApprovalDecided)] == [("timeout", "rejected")]
    assert play.owed == []
    play.wake()
    assert len(play.of(ApprovalDecided)) == 2
    assert play.owed == ["a"]


def test_a_question_is_handed_on_to_whom_it_names_next_by_time_and_by_a_person() -> None:
    for by_hand in (False, True):
        play = working()
        ask(play, "t/0.0", seconds=60.0, approvers=("user:ana",), escalate={"to": ["user:boss"], "timeout": 600})
        if by_hand:
            gate = play.step("a").gate
            assert gate is not None
            play.tell(command.escalate(play.run, play.now, approval=gate.id, by="ana", comment="above my pay"))
        else:
            play.wake()
        second = play.of(ApprovalRequested)[-1]
        assert (second.level, second.approvers, second.digest) == (
            1,
            ("user:boss",),
            play.of(ApprovalRequested)[0].digest,
        )
        assert isinstance(vote(play, "t/0.0"), Refusal), "it is not ana's any more"
        play.tell(vote(play, "t/0.0", by="boss"))
        assert play.owed == ["a"]


def test_only_a_tool_call_is_granted_and_only_a_rejection_ends_the_work() -> None:
    play = working()
    ask(play, "q/0", about="question")
    assert isinstance(vote(play, "q/0", grant="run"), Refusal)
    assert isinstance(vote(play, "q/0", ends=True), Refusal)
    ask(play, "t/0.0")
    assert isinstance(vote(play, "t/0.0", grant="world"), Refusal)
    play.tell(vote(play, "t/0.0", grant="run"))
    assert play.of(ApprovalDecided)[-1].grant == "run"


def test_an_answer_to_a_question_about_the_budget_raises_it() -> None:
    play = working()
    ask(play, "sre/budget/0", about="budget", input={"scope": "run/r1", "limit": "cost_nano"})
    assert play.run.waiting_on == "budget"
    play.tell(vote(play, "sre/budget/0"))
    assert not play.of(BudgetRaised), "nothing was said about how much"
    ask(play, "sre/budget/1", about="budget", input={"scope": "run/r1", "limit": "cost_nano"}, form={"amount": {}})
    play.tell(vote(play, "sre/budget/1", values={"amount": 0.25}, comment="worth it"))
    [raised] = play.of(BudgetRaised)
    assert (raised.scope, raised.limit, raised.amount, raised.by) == ("run/r1", "cost_nano", 250_000_000, "ana")
    assert play.owed == ["a"]


def test_what_waits_at_a_limit_looks_again_when_that_is_raised() -> None:
    play = Play(
        plan(
            fan("p", {name: [act(name, type="agent", resumes=True)] for name in "xyz"}),
            guardrails=Guardrails(requests=1, tokens=1),
        )
    )
    for name, limit in zip("xyz", ("requests", "requests", "tokens"), strict=True):
        ask(play, f"{name}/budget/0", path=f"p.{name}", about="budget", input={"scope": "run/r1", "limit": limit})
    play.tell(command.raise_limits(play.run, play.now, by="ana", step="", amounts={"requests": 3}, reason="go on"))
    withdrawn = play.of(ApprovalDecided)
    assert [(fact.path, fact.decision, fact.reason) for fact in withdrawn] == [
        ("p.x", "withdrawn", "raised"),
        ("p.y", "withdrawn", "raised"),
    ]
    assert {(fact.by, fact.comment) for fact in withdrawn} == {(("ana",), "go on")}
    assert play.owed == ["p.x", "p.y"]
    assert play.status("p.z") == "waiting"


def test_who_raises_a_limit_by_an_answer_raises_it_for_all() -> None:
    play = Play(plan(fan("p", {name: [act(name, type="agent", resumes=True)] for name in "xy"})))
    for name in "xy":
        about = {"scope": "run/r1", "limit": "requests"}
        ask(play, f"{name}/budget/0", path=f"p.{name}", about="budget", input=about, form={"amount": {}})
    play.tell(vote(play, "x/budget/0", path="p.x", values={"amount": 2}))
    assert [fact.decision for fact in play.of(ApprovalDecided)] == ["approved", "withdrawn"]
    assert play.owed == ["p.x", "p.y"]


def test_runs_below_hear_of_a_limit_that_is_raised() -> None:
    play = Play(plan(act("a", type="agent", resumes=True), guardrails=Guardrails(requests=1)))
    wait(play, "child", ref="c1", call="t/0.0", workflow="deploy")
    play.tell(command.raise_limits(play.run, play.now, by="ana", step="", amounts={"requests": 3}))
    [sent] = [signal for signal in play.signals.values() if signal.type == "fleet.run.raise"]
    assert sent.subject == "c1"
    below = working()
    ask(below, "w/budget/0", about="budget", input={"scope": "run/r1", "limit": "requests"})
    below.tell(command.raised_above(below.run, below.now, sent.data["above"]))
    assert [(fact.decision, fact.by) for fact in below.of(ApprovalDecided)] == [("withdrawn", ("ana",))]
    assert below.owed == ["a"]


# ---------------------------------------------------------------- waiting


def test_work_waits_for_a_child_run_and_learns_how_it_ended() -> None:
    play = working()
    note(play, "tool.started", "t/0.0", {"tool": "deploy", "workflow": "deploy", "with": {"x": 1}, "repeat": "safe"})
    child = call_child_id("r1", "a", 1, "t/0.0")
    wait(play, "child", ref=child, call="t/0.0", workflow="deploy")
    assert play.run.waiting_on == "child"
    [start] = [signal for signal in play.signals.values() if signal.type == "fleet.run.start"]
    assert (start.data["workflow"], start.data["call"]) == ("deploy", "t/0.0")
    play.child("a", output={"ok": True})
    assert (play.owed, kinds(play)) == (["a"], ["tool.started", "child.finished", "resumed"])
    told = play.of(StepNoted)[1]
    assert (told.key, told.value["status"], told.value["output"]) == ("t/0.0", "completed", {"ok": True})


def test_a_child_that_failed_or_could_not_begin_does_not_fail_the_step() -> None:
    play = working()
    wait(play, "child", ref="c1", call="t/0.0", workflow="deploy")
    play.child("a", "failed")
    assert (play.owed, play.of(StepNoted)[0].value["status"]) == (["a"], "failed")
    wait(play, "child", ref="c2", call="t/0.1", workflow="deploy")
    play.tell(command.child_refused(play.run, play.now, path="a", child="c2", reason="no such workflow"))
    assert play.owed == ["a"]


def test_a_run_that_is_cancelled_waits_until_the_child_of_a_call_has_ended() -> None:
    play = working()
    wait(play, "child", ref="c1", call="t/0.0", workflow="deploy")
    play.cancel()
    assert play.status("a") == "waiting"
    play.child("a", "cancelled")
    assert (play.status("a"), play.status()) == ("cancelled", "cancelled")


@pytest.mark.parametrize("ended", ["cancelled", "completed"])
def test_what_is_held_while_a_child_is_waited_for_is_given_back_when_the_run_is_cancelled(ended: str) -> None:
    play = working()
    note(play, "budget.spare", "sre", {"reserve": {"id": "spare", "amounts": {"requests": 1}}})
    note(play, "tool.started", "t/0.0", {"reserve": {"id": "call", "amounts": {"tool_calls": 1}}})
    wait(play, "child", ref="c1", call="t/0.0", workflow="deploy")
    play.cancel()
    play.child("a", ended)
    assert (play.status("a"), play.status()) == ("cancelled", "cancelled")
    assert {each.value["settle"]["id"] for each in play.of(StepNoted) if "settle" in (each.value or ())} == {
        "spare",
        "call",
    }


def test_a_paused_run_takes_nothing_up_until_it_is_resumed() -> None:
    play = working()
    ask(play, "t/0.0")
    play.pause()
    play.tell(vote(play, "t/0.0"))
    assert play.owed == []
    play.resume()
    assert play.owed == ["a"]
    wait(play, "paused")
    assert play.owed == ["a"], "it is not paused: it goes on at once"
    play.pause()
    wait(play, "paused")
    assert (play.owed, play.run.waiting_on) == ([], "paused")
    play.resume()
    assert (play.owed, play.step("a").attempt) == (["a"], 1)


def test_work_sleeps_until_a_time() -> None:
    play = working()
    wait(play, "timer", until=play.now + 90)
    assert play.owed == []
    play.tick(89)
    assert play.owed == []
    play.tick(1)
    assert (play.owed, play.step("a").attempt) == (["a"], 1)


def test_work_that_goes_on_needs_a_slot_of_its_run_and_a_place_in_its_pool() -> None:
    play = Play(plan(act("a", type="agent", resumes=True)), slots=(Slot("runs", 1),))
    play.grant()
    ask(play, "t/0.0")
    assert not play.claims, "a run that waits for people holds nothing"
    play.tell(vote(play, "t/0.0"))
    assert (play.owed, play.run.wants_slot) == ([], True)
    play.grant()
    assert play.owed == ["a"]

    full = Play(plan(act("b", needs=[]), act("a", type="agent", needs=[], resumes=True)), places=2)
    ask(full, "t/0.0")
    full.places = 1
    full.tell(vote(full, "t/0.0"))
    assert full.owed == ["b"]
    full.ok("b")
    assert full.owed == ["a"]


# ---------------------------------------------------------------- interruptions


def test_after_a_crash_the_work_goes_on_and_the_time_until_then_is_nobodys() -> None:
    play = working(timeout=600.0)
    play.now += 10
    note(play, "session", "sre")
    play.now += 5_000
    play.crash()
    assert (play.owed, kinds(play)[-1]) == (["a"], "resumed")
    play.now += 5
    note(play, "state", "sre")
    work = play.step("a").work
    assert work is not None
    assert work.used == 15.0


def test_time_in_which_it_waits_is_not_its_own() -> None:
    play = working()
    play.now += 7
    ask(play, "t/0.0")
    play.now += 1_000
    play.tell(vote(play, "t/0.0"))
    play.now += 3
    note(play, "state")
    work = play.step("a").work
    assert work is not None
    assert work.used == 10.0


def test_a_crash_while_it_waits_changes_nothing() -> None:
    play = working()
    ask(play, "t/0.0", "t/0.1")
    play.tell(vote(play, "t/0.0"))
    play.crash()
    assert (play.owed, play.run.waiting_on) == ([], "approval")
    play.tell(vote(play, "t/0.1"))
    assert play.owed == ["a"]
    play.crash()
    assert play.owed == ["a"]


def test_another_attempt_begins_anew_and_sees_no_question_of_the_one_before() -> None:
    play = working(retry=Retry(2, backoff=5))
    ask(play, "t/0.0")
    play.tell(vote(play, "t/0.0"))
    play.fail("a", "AGENT_ERROR")
    play.wake()
    step = play.step("a")
    assert (step.attempt, play.owed) == (2, ["a"])
    assert step.work is not None
    assert not step.work.asks


# ---------------------------------------------------------------- calls that must not be repeated


def test_an_operator_answers_for_a_call_in_doubt_and_the_work_knows_the_answer() -> None:
    for answer in ("happened", "run", "skip"):
        play = working()
        note(play, "tool.started", "t/0.0", {"tool": "pay", "repeat": "never"})
        play.tell([call_in_doubt(play.step("a"), "t/0.0", play.now, "the line broke")])
        assert (play.status("a"), play.run.waiting_on, play.owed) == ("in_doubt", "in_doubt", [])
        play.resolve("a", answer, {"id": 7} if answer == "happened" else None)
        assert play.owed == ["a"]
        kind, key, value, _ = (play.step("a").notes or [])[-2]
        assert (kind, key, value["answer"], value["by"]) == ("tool.resolved", "t/0.0", answer, "ana")
        assert play.step("a").error is None


def test_an_operator_who_aborts_fails_the_run() -> None:
    play = working()
    note(play, "tool.started", "t/0.0", {"tool": "pay", "repeat": "never"})
    play.tell([call_in_doubt(play.step("a"), "t/0.0", play.now, "the line broke")])
    play.resolve("a", "abort")
    assert (play.status("a"), play.status()) == ("failed", "failed")


def test_a_call_in_flight_has_its_grace_when_the_run_is_cancelled() -> None:
    play = working()
    note(play, "tool.started", "t/0.0", {"tool": "pay", "repeat": "never"})
    play.cancel()
    assert play.owed == ["a"]
    note(play, "tool.completed", "t/0.0", {"tool": "pay", "output": 1})
    [cancelled] = play.of(StepCancelled)
    assert (play.status(), cancelled.unknown) == ("cancelled", False)

    late = working()
    note(late, "tool.started", "t/0.0", {"tool": "pay", "repeat": "never"})
    late.cancel()
    late.wake()
    [cancelled] = late.of(StepCancelled)
    assert (late.status(), cancelled.unknown) == ("cancelled", True)


def test_work_without_such_a_call_is_cancelled_at_once() -> None:
    play = working()
    note(play, "tool.started", "t/0.0", {"tool": "look", "repeat": "safe"})
    play.cancel()
    assert play.status() == "cancelled"


def test_out_of_time_in_the_middle_of_such_a_call_is_in_doubt_and_not_tried_again() -> None:
    play = working(retry=Retry(3))
    note(play, "tool.started", "t/0.0", {"tool": "pay", "repeat": "never"})
    play.unknown("a", "it took too long", "TIMEOUT")
    [doubt] = play.of(StepInDoubt)
    assert (doubt.call, play.status("a")) == ("t/0.0", "in_doubt")


def test_a_retry_of_the_run_asks_about_a_call_that_was_broken_off() -> None:
    play = working()
    note(play, "tool.started", "t/0.0", {"tool": "pay", "repeat": "never"})
    play.cancel()
    play.wake()
    facts = fork(play.run, play.facts, new="r2", at=play.now + 10, by="bo")
    assert isinstance(facts, list)
    again = Play(play.program.plan, facts=facts, now=play.now + 10)
    assert (again.status("a"), again.of(StepInDoubt)[0].call) == ("in_doubt", "t/0.0")
    again.resolve("a", "happened", {"id": 7})
    assert again.owed == ["a"]


# ---------------------------------------------------------------- what it holds


def test_what_is_spent_counts_when_it_is_recorded() -> None:
    play = working()
    note(play, "llm.started", "sre/llm/0", {"model": "openai/x", "mode": "live", "reserve": MONEY})
    note(play, "llm.completed", "sre/llm/0", {"model": "openai/x", "tokens": 700, "cost_nano": 4_000})
    note(play, "llm.started", "sre/llm/1", {"model": "openai/y", "mode": "live"})
    note(play, "llm.failed", "sre/llm/1", {"model": "openai/y", "uncertain_nano": 900, "uncertain_tokens": 30})
    note(play, "tool.started", "sre/tool/1.0", {"tool": "fs.read", "repeat": "safe"})
    run = play.run
    assert (run.cost_nano, run.tokens, run.uncertain_nano) == (4_000, 700, 900)
    assert ([*run.models], [*run.tools], run.mode) == (["openai/x", "openai/y"], ["fs.read"], "live")


def test_a_large_answer_that_is_spilled_still_counts() -> None:
    play = working()
    value = {"model": "openai/x", "tokens": 700, "cost_nano": 4_000, "text": "x" * 100_000}
    note(play, "llm.completed", "sre/llm/0", value)
    assert play.of(StepNoted)[0].blob is not None
    assert (play.run.cost_nano, play.run.tokens) == (4_000, 700)


def test_a_simulated_run_is_marked() -> None:
    play = working()
    note(play, "llm.started", "sre/llm/0", {"model": "simulated/script", "mode": "simulated"})
    assert play.run.mode == "simulated"


def held(*, after: str) -> list[StepNoted]:
    """What is noted when a step ends while it holds budget."""
    play = working()
    note(play, "llm.started", "sre/llm/0", {"model": "openai/x", "mode": "live", "reserve": MONEY})
    match after:
        case "cancel":
            play.cancel()
        case "fail":
            play.fail("a")
        case "unknown":
            play.unknown("a")
    return [fact for fact in play.of(StepNoted) if fact.kind == "llm.failed"]


def test_whatever_ends_the_step_what_it_holds_is_given_back_and_may_have_been_spent() -> None:
    for after in ("cancel", "fail", "unknown"):
        [broken] = held(after=after)
        assert broken.value["settle"] == {"id": MONEY["id"], "uncertain": MONEY["amounts"]}, after
        assert broken.value["uncertain_nano"] == 5_000


def test_the_place_among_the_calls_is_given_back_too() -> None:
    play = working()
    money = {"id": "x", "allowances": [], "amounts": {"tool_calls": 1}}
    note(play, "tool.started", "t/0.0", {"tool": "look", "repeat": "safe", "reserve": money})
    play.cancel()
    [broken] = [fact for fact in play.of(StepNoted) if fact.kind == "tool.broken_off"]
    assert broken.value["settle"]["id"] == "x"


def test_reservations_leave_with_the_facts_that_make_them() -> None:
    play = working()
    step = play.step("a")
    fact = StepNoted(at=play.now, path="a", kind="llm.started", key="k", value={"reserve": MONEY}, attempt=step.attempt)
    from fleetprompt.engine.core.run import evolve

    evolve(play.run, fact)
    assert play.run.outbox.reserves == [MONEY]
    settle = {"id": MONEY["id"], "spent": {"requests": 1}}
    evolve(play.run, StepNoted(at=play.now, path="a", kind="llm.completed", key="k", value={"settle": settle}))
    assert play.run.outbox.settles == [settle]
    assert not step.work.held  # type: ignore[union-attr]


def test_a_question_is_withdrawn_when_the_run_ends() -> None:
    play = working()
    ask(play, "t/0.0", "t/0.1")
    play.cancel()
    assert [fact.decision for fact in play.of(ApprovalDecided)] == ["withdrawn", "withdrawn"]
    assert play.status() == "cancelled"
    assert not play.of(StepFailed)


@pytest.mark.parametrize(
    ("step", "amounts", "said"),
    [
        ("", {"requests": 2}, ""),
        ("diagnose", {"cost_nano": 5}, ""),
        ("", {"tokens": 5}, "no limit on tokens"),
        ("nope", {"requests": 1}, "no step nope"),
        ("", {"requests": -1}, "cannot be raised by -1"),
        ("", {"requests": True}, "cannot be raised by True"),
        ("", {"hours": 1}, "hours cannot be raised"),
        ("", {}, "nothing is to be raised"),
    ],
)
def test_only_a_limit_that_there_is_can_be_raised(step: str, amounts: dict[str, Any], said: str) -> None:
    limited = act("diagnose", resumes=True, guardrails=Guardrails(cost_nano=10))
    play = Play(plan(limited, guardrails=Guardrails(requests=3)))
    reply = command.raise_limits(play.run, play.now, by="ana", step=step, amounts=amounts, reason="why not")
    if said:
        assert isinstance(reply, command.Refusal)
        assert said in reply.reason
        return
    assert isinstance(reply, list)
    [fact] = reply
    assert isinstance(fact, BudgetRaised)
    assert fact.scope == (f"step/r1/{step}" if step else "run/r1")
