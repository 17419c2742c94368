"""evolve and fold: total, exact, and the same for the bytes as for the facts."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from play import NOW, Play, act, ask, calc, call, cond, each, fan, listen, plan, snapshot

from fleetprompt.engine.core.advance import advance
from fleetprompt.engine.core.codec import CorruptFact, decode, encode
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import (
    AnyFact,
    ApprovalDecided,
    ApprovalVoted,
    BudgetRaised,
    RunCancelRequested,
    RunCreated,
    RunFinished,
    RunPaused,
    RunStarted,
    StepCancelled,
    StepExpanded,
    StepFailed,
    StepInDoubt,
    StepNoted,
    StepResolved,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepWaiting,
)
from fleetprompt.engine.core.plan import Plan, Reconcile, Retry
from fleetprompt.engine.core.program import Program
from fleetprompt.engine.core.run import evolve, fold, pending
from fleetprompt.engine.core.state import Run

KINDS: tuple[type[Any], ...] = get_args(AnyFact)


def everything() -> Plan:
    check = Reconcile("look", {}, "result")
    undo = act("undo")
    return plan(
        act("a", repeat="never", reconcile=check, compensate=undo, retry=Retry(3)),
        fan("p", {"x": [act("b")], "y": [ask("g"), listen("w")]}, timeout=60),
        each("l", [1, 2], [act("c")], at_once=2),
        call("child"),
        on_failure="compensate",
    )


# ---------------------------------------------------------------- total


STEPS = ["-", "a", "p", "p.b", "p.g", "p.w", "l", "l[0].c", "l[9].c", "child", "zzz"]
PATHS = [*STEPS, "a@compensate", "zzz@compensate", "p@compensate"]


def any_fact(draw: Any, gate: str) -> AnyFact:
    kind = draw(st.sampled_from(KINDS))
    path, attempt = draw(st.sampled_from(PATHS)), draw(st.integers(0, 3))
    at = NOW + draw(st.floats(-100, 100))
    error = Failure(draw(st.sampled_from(["TOOL_ERROR", "TIMEOUT"])), "x", path=path)
    match kind:
        case _ if kind is RunCreated:
            return RunCreated(at=at, run="r1", plan="p", workflow="w")
        case _ if kind is RunFinished:
            return RunFinished(at=at, status=draw(st.sampled_from(["completed", "failed"])))
        case _ if kind is StepFailed:
            retry_at = draw(st.none() | st.just(at + 5))
            return StepFailed(at=at, path=path, attempt=attempt, error=error, retry_at=retry_at)
        case _ if kind is StepNoted:
            return StepNoted(at=at, path=path, kind=draw(st.sampled_from(["closing", "reconcile", "state"])))
        case _ if kind is StepWaiting:
            on = draw(st.sampled_from(["timer", "signal", "child", "slot", "approval", "paused", "budget"]))
            return StepWaiting(
                at=at, path=path, on=on, ref=draw(st.sampled_from(["", "x"])), until=draw(st.none() | st.just(at))
            )
        case _ if kind is StepExpanded:
            branches = draw(st.sampled_from([(), ("x",), ("x", "y"), ("nothing",)]))
            return StepExpanded(at=at, path=path, branches=branches, items=[1, 2], count=draw(st.integers(0, 3)))
        case _ if kind is StepResolved:
            return StepResolved(at=at, path=path, answer=draw(st.sampled_from(["happened", "run", "skip", "abort"])))
        case _ if kind in (ApprovalVoted, ApprovalDecided):
            decision = draw(st.sampled_from(["approved", "rejected"]))
            extra = {"by": "ana"} if kind is ApprovalVoted else {}
            return kind(at=at, path=path, id=gate, decision=decision, **extra)
        case _ if kind.__name__ == "ApprovalRequested":
            return kind(at=at, path=path, id=draw(st.sampled_from([gate, "ap-other"])), digest="d")
        case _ if kind is BudgetRaised:
            return BudgetRaised(at=at, scope="run", limit="tokens", amount=1)
        case _ if kind.__name__ == "RunForked":
            return kind(at=at, run="r0", upto=3, generation=1)
        case _ if kind in (StepStarted, StepSucceeded, StepInDoubt):
            return kind(at=at, path=path, attempt=attempt)
        case _ if kind in (StepSkipped, StepCancelled):
            return kind(at=at, path=path)
        case _:
            return kind(at=at)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_fact_in_any_order_makes_evolve_raise(data: st.DataObject) -> None:
    """Also facts that no run would record here: they are ignored, or understood in some way, and nothing breaks."""
    play = Play(everything(), verify=False)
    for _ in range(data.draw(st.integers(0, 3))):
        if play.owed:
            play.ok(play.owed[0])
    gates = [step.gate.id for step in play.run.steps.values() if step.gate]
    for _ in range(data.draw(st.integers(1, 12))):
        fact = any_fact(data.draw, gates[0] if gates else "ap-none")
        assert decode(encode(fact)) == fact
        before = play.run.n
        evolve(play.run, fact)
        assert play.run.n == before + 1
    _ = (play.run.status, play.run.waiting_on, play.run.wants_slot, play.run.wake_at, pending(play.run))
    snapshot(play.run)


@pytest.mark.parametrize("kind", KINDS)
def test_facts_before_a_run_was_created_do_not_break_it(kind: type[Any]) -> None:
    run = Run(Program(plan(act("a"))))
    samples: dict[str, Any] = {"run": "r", "plan": "p", "workflow": "w", "path": "a", "status": "failed", "upto": 1}
    samples |= {
        "kind": "k",
        "on": "timer",
        "error": Failure("INTERNAL", "x"),
        "answer": "run",
        "id": "i",
        "digest": "d",
    }
    samples |= {"by": "ana", "decision": "approved", "scope": "s", "limit": "l", "amount": 1}
    fields = {f.name: samples[f.name] for f in msgspec.structs.fields(kind) if f.required}
    evolve(run, kind(**fields))
    if run.created is None:
        assert advance(run, NOW) == []


# ---------------------------------------------------------------- what does not fit is ignored


def unchanged(play: Play, fact: AnyFact) -> None:
    """The fact counts as one, and as ignored, and that is all."""
    before = snapshot(play.run)
    evolve(play.run, fact)
    after = snapshot(play.run)
    assert after["plain"].pop("ignored") == before["plain"].pop("ignored") + 1
    assert after["plain"].pop("n") == before["plain"].pop("n") + 1
    assert after["plain"].pop("at") >= before["plain"].pop("at")
    assert after == before


def test_the_outcome_of_an_old_attempt_is_ignored() -> None:
    play = Play(plan(act("a", retry=Retry(3, backoff=0))))
    play.fail("a")
    assert play.step("a").attempt == 2
    unchanged(play, StepSucceeded(at=NOW, path="a", attempt=1, output="late"))
    unchanged(play, StepFailed(at=NOW, path="a", attempt=1, error=Failure("TOOL_ERROR", "late")))
    unchanged(play, StepInDoubt(at=NOW, path="a", attempt=1))
    unchanged(play, StepSucceeded(at=NOW, path="a", attempt=3))


@pytest.mark.parametrize(
    "fact",
    [
        StepSucceeded(at=NOW, path="a", output="again"),
        StepFailed(at=NOW, path="a", error=Failure("TOOL_ERROR", "late")),
        StepStarted(at=NOW, path="a", attempt=2),
        StepNoted(at=NOW, path="a", kind="state"),
        StepWaiting(at=NOW, path="a", on="timer", until=NOW + 5),
        StepSkipped(at=NOW, path="a"),
        StepCancelled(at=NOW, path="a"),
        StepExpanded(at=NOW, path="a", count=3),
        StepInDoubt(at=NOW, path="a"),
        StepResolved(at=NOW, path="a", answer="run"),
    ],
    ids=lambda fact: type(fact).__name__,
)
@pytest.mark.parametrize("path", ["a", "nowhere", "l[7].c", "b@compensate"])
def test_facts_about_settled_or_unknown_steps_are_ignored(fact: Any, path: str) -> None:
    play = Play(plan(act("a"), act("b")))
    play.ok("a", "first")
    unchanged(play, msgspec.structs.replace(fact, path=path))
    assert play.step("a").output == "first"


def test_a_second_creation_cancel_or_end_is_ignored() -> None:
    play = Play(plan(act("a", repeat="never")), verify=False)
    unchanged(play, RunCreated(at=NOW, run="other", plan="p", workflow="w"))
    play.cancel()
    unchanged(play, RunCancelRequested(at=NOW, status="timeout"))
    play.ok("a")
    unchanged(play, RunFinished(at=NOW, status="completed"))
    unchanged(play, RunCancelRequested(at=NOW))
    assert play.status() == "cancelled"


def test_votes_on_what_is_decided_or_unknown_are_ignored() -> None:
    play = Play(plan(act("a", approval={"message": "ok?"}), act("b")), verify=False)
    gate = play.step("a").gate.id
    unchanged(play, ApprovalVoted(at=NOW, path="a", id="ap-other", by="ana", decision="approved"))
    unchanged(play, ApprovalDecided(at=NOW, path="a", id="ap-other", decision="approved"))
    play.vote("a")
    unchanged(play, ApprovalVoted(at=NOW, path="a", id=gate, by="bo", decision="approved"))
    unchanged(play, ApprovalDecided(at=NOW, path="a", id=gate, decision="rejected"))
    unchanged(play, ApprovalVoted(at=NOW, path="zz", id=gate, by="bo", decision="approved"))


def test_a_run_that_has_ended_decides_nothing() -> None:
    play = Play(plan(act("a"), deadline=10))
    play.ok("a")
    for later in (0, 5, 1_000):
        assert advance(play.run, NOW + later) == []


def test_time_in_a_run_never_goes_back() -> None:
    play = Play(plan(act("a")))
    evolve(play.run, RunPaused(at=NOW + 10))
    evolve(play.run, RunPaused(at=NOW - 10))
    assert play.run.at == NOW + 10
    assert [fact.at for fact in advance(play.run, NOW - 99)] == []


# ---------------------------------------------------------------- what a run says about itself


def test_notes_are_kept_with_their_step() -> None:
    play = Play(plan(act("a")))
    note = StepNoted(at=NOW, path="a", kind="decision", key="a/1", value={"chosen": "x"})
    play.tell([note])
    assert [note[:3] for note in play.step("a").notes] == [("decision", "a/1", {"chosen": "x"})]
    play.crash()
    assert [note[:3] for note in play.step("a").notes] == [("decision", "a/1", {"chosen": "x"})]
    assert play.run.last.path == "a"


def test_cost_and_progress_are_counted() -> None:
    play = Play(plan(act("a", retry=Retry(2, backoff=0)), act("b", when=False), act("c")))
    play.fail("a", usage={"cost_nano": 3, "tokens": 5})
    play.ok("a", usage={"cost_nano": 4, "tokens": 7, "requests": 1})
    assert (play.run.cost_nano, play.run.tokens, play.run.steps_done) == (7, 12, 2)


def test_calls_of_models_are_counted_whatever_became_of_their_step() -> None:
    play = Play(plan(act("a")))

    def call(kind: str, **value: Any) -> StepNoted:
        return StepNoted(at=NOW, path="a", kind=kind, value={"model": "m", **value})

    play.tell([call("llm.failed", uncertain_nano=9), call("llm.completed", cost_nano=3, tokens=5)])
    play.crash()
    assert (play.run.cost_nano, play.run.tokens, play.run.uncertain_nano) == (3, 5, 9)
    play.ok("a")
    evolve(play.run, call("image.completed", cost_nano=4))
    assert (play.run.cost_nano, play.run.tokens, play.run.uncertain_nano) == (7, 5, 9)


def test_pending_is_what_the_world_owes() -> None:
    play = Play(plan(fan("p", {"x": [act("a")], "y": [act("b")], "z": [ask("g")]})))
    assert pending(play.run) == {"p.a": play.step("p.a"), "p.b": play.step("p.b")}
    play.ok("p.b")
    assert list(pending(play.run)) == ["p.a"]


@pytest.mark.parametrize(
    ("nodes", "on"),
    [
        ([ask("x"), listen("y", needs=[])], "approval"),
        ([listen("x"), call("y", needs=[])], "signal"),
        ([call("x"), act("y", needs=[], retry=Retry(2))], "child"),
    ],
)
def test_the_most_pressing_reason_to_wait_is_told(nodes: list[Any], on: str) -> None:
    play = Play(plan(*nodes))
    for path in play.owed:
        play.fail(path)
    assert (play.status(), play.run.waiting_on) == ("waiting", on)


def test_where_a_run_is_are_steps_that_are_not_over() -> None:
    play = Play(plan(ask("gate"), act("late", needs=["gate.rejected"]), act("side", needs=[])))
    play.ok("side")
    assert play.run.last is play.step("side")
    assert play.run.spot is play.step("gate")
    play = Play(plan(cond("c", "true", []), ask("yes", needs=["c.then"]), act("no", needs=["c.else"])))
    assert play.run.last is play.step("no")
    assert play.run.spot is play.step("yes")
    play = Play(plan(fan("p", {"x": [ask("inner")], "y": [act("b")]})))
    play.ok("p.b")
    assert play.run.spot is play.step("p.inner")
    play.vote("p.inner")
    assert play.run.ended
    assert play.run.spot is play.run.last


def test_a_run_before_its_first_fact() -> None:
    run = fold(Program(plan(act("a"))), [])
    assert (run.id, run.status, run.waiting_on, run.ended, run.wake_at) == ("", "pending", None, False, None)


def test_folding_a_part_of_the_journal_shows_the_past() -> None:
    play = Play(plan(act("a"), calc("b", 1), act("c")))
    play.ok("a", 1)
    play.ok("c", 2)
    statuses = [fold(play.program, play.facts[:n]).status for n in range(1, len(play.facts) + 1)]
    assert statuses[:3] == ["pending", "running", "running"]
    assert statuses[-1] == "completed"
    past = fold(play.program, [fact for fact in play.facts if fact is not play.facts[-1]])
    assert past.steps["c"].status == "completed"
    assert not past.ended
    assert advance(past, NOW) == [play.facts[-1]]


def test_a_fold_sends_nothing() -> None:
    play = Play(plan(call("w"), act("a")))
    play.child("w")
    out = play.folded().outbox
    assert (out.takes, out.releases, out.waits, out.unwaits, out.signals) == ([], [], [], [], [])


NO_FACTS = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b'{"type":"Nothing"}',
    b'{"type":"StepStarted"}',
    b'{"type":"RunStarted","at":"soon"}',
    b"\xff\xfe",
]


@pytest.mark.parametrize("data", NO_FACTS)
def test_bytes_that_are_no_fact_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptFact):
        decode(data)


def test_fields_that_a_later_version_has_added_are_passed_over() -> None:
    assert decode(b'{"type":"RunStarted","at":5,"new":[1]}') == RunStarted(at=5.0)
