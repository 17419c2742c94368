"""The engine dies before and after every append of some plans that stand for many: the end is always the same."""

from __future__ import annotations

from typing import Any

import pytest
from chance import LARGE, number
from fate import Fate, lived, same_end, undisturbed
from play import Play, act, ask, calc, call, cond, delay, during, each, emit, fan, halt, listen, plan, switch

from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import Slot
from fleetprompt.engine.core.plan import Concurrency, Plan, Poll, Reconcile, Retry

NEVER: dict[str, Any] = {"repeat": "never"}
CHECK = Reconcile("look", {}, "result.found", output="${{ result.output }}")
BOOM = Failure("TOOL_ERROR", "boom")
FATAL = Failure("TOOL_ERROR", "fatal", retryable=False)


def outcomes(path: str, tries: int) -> Any:
    """Steps named `flaky…` fail at first, `once…` in the first attempt at their composite, `bad…` always."""
    name = path.rsplit(".", 1)[-1]
    if name.startswith("bad"):
        return FATAL
    if name.startswith("flaky") and tries == 0:
        return BOOM
    if name.startswith("large"):
        return [path, LARGE]
    if name.startswith("count"):
        return min(tries, 3)
    if name.startswith("once") and "#" not in path:
        return BOOM
    return {"by": path, "n": number(path)}


def undo(**fields: Any) -> dict[str, Any]:
    return {"compensate": act("undo", config={"undo": "${{ run.error.code }}"}, **fields)}


PLANS: dict[str, Plan] = {
    "a line of work that must not be repeated": plan(
        act("a", **NEVER),
        act("flaky", retry=Retry(3), **NEVER),
        calc("c", "${{ steps.a.output.n }}"),
        act("d", **NEVER),
    ),
    "a diamond with a check": plan(
        act("a", repeat="never", reconcile=CHECK),
        act("b", needs=["a"], **NEVER),
        act("c", needs=["a"], repeat="never", reconcile=CHECK),
        act("d", needs=["b", "c"], set={"x": "result.n"}, **NEVER),
        vars={"x": None},
    ),
    "a race": plan(
        fan("p", {"x": [delay("d", 500), act("a")], "y": [act("b", **NEVER)], "z": [listen("w", "z.never")]}, until=1),
        act("z", **NEVER),
    ),
    "a loop": plan(
        each("l", [1, 2, 3, 4], [act("a", **NEVER), act("flaky", retry=Retry(2), **NEVER)], at_once=2),
        calc("sum", "${{ steps.l.output | length }}"),
    ),
    "a loop that leaves items behind": plan(
        each("l", [1, 2, 3], [cond("c", "item == 2", [act("bad", **NEVER)], [act("a")])], on_item_error="continue"),
        switch("s", "steps.l.output[0].by", {"x": (("l[0].c.a",), [act("b", **NEVER)])}),
    ),
    "a while loop": plan(during("w", "index < 3", [act("a", **NEVER), calc("n", "${{ index }}")])),
    "a saga": plan(
        act("a", **NEVER, **undo(repeat="never")),
        each("l", [1, 2], [act("b", **NEVER, **undo(repeat="never", retry=Retry(2)))]),
        act("c", **undo()),
        act("bad", **NEVER),
        on_failure="compensate",
    ),
    "people": plan(
        ask("g", quorum=2, form={"x": {"default": 1}}),
        act("a", approval={"message": "ok?"}, config={"x": "${{ steps.g.output.values.x }}"}, **NEVER),
        ask("late", timeout=30, on_timeout="escalate", escalate={"to": ["p0"]}),
    ),
    "the world": plan(
        delay("d", 30),
        listen("w", "s.*"),
        emit("e", "out.x", data="${{ steps.w.output.data.n }}"),
        call("c"),
        act("a", **NEVER),
    ),
    "sections and slots": plan(
        act("a", concurrency=Concurrency("g"), **NEVER),
        ask("g"),
        fan("p", {"x": [act("b", **NEVER)], "y": [act("c")]}, concurrency=Concurrency("g")),
    ),
    "a composite that is tried again": plan(
        cond("c", "true", [act("a", **NEVER), act("once")], retry=Retry(2)), act("z", **NEVER)
    ),
    "polls and large values": plan(
        act("count", poll=Poll("result > 2", 5)),
        act("large"),
        act("large2", config={"x": "${{ steps.large.output[0] }}"}, **NEVER),
        fan("p", {"x": [act("large3")], "y": [calc("y", "${{ steps.large2.output | length }}")]}),
    ),
    "a stop": plan(fan("p", {"x": [act("a"), halt("s", "failed", message="no")], "y": [act("b")]}, **undo())),
    "dead paths": plan(
        act("bad", **NEVER),
        act("fix", needs=["bad.failed"], **NEVER),
        act("dead", needs=["bad.completed"]),
        act("dead2", needs=["dead"]),
        act("end", needs=["fix", "dead2"], join=1),
    ),
}  # fmt: skip
CANCELLED = {
    "cancel in a loop": plan(
        each("l", [1, 2, 3], [act("a", **undo(repeat="never"))]), act("z"), on_failure="compensate"
    ),
    "cancel beside others": plan(fan("p", {"x": [act("b")], "y": [ask("g")], "z": [call("c")]}), act("z")),
}
"""What must not be repeated is not in flight here: in a run that ends, a crash makes another end of it."""


def begin(name: str) -> tuple[Play, Fate]:
    slots = (Slot("runs", 1),) if name == "sections and slots" else ()
    play = Play((PLANS | CANCELLED)[name], slots=slots, verify=False)
    return play, Fate(outcomes, cancel_at={"cancel in a loop": "l[1].a", "cancel beside others": "p.b"}.get(name, ""))


@pytest.mark.parametrize("name", [*PLANS, *CANCELLED])
def test_a_crash_at_any_append_changes_nothing_in_the_end(name: str) -> None:
    calm, fate = begin(name)
    lived(calm, fate, crash=undisturbed)
    calm.check()
    expected, happened = same_end(calm), dict(fate.done)
    appends = len(calm.appends)
    assert appends >= 2
    for where in ("before", "after"):
        for at in range(1, appends + 1):
            died: list[int] = []

            def crash(play: Play, now: str, where: str = where, at: int = at, died: list[int] = died) -> bool:
                if died or now != where or len(play.appends) != (at if where == "after" else at - 1):
                    return False
                died.append(at)
                return True

            play, other = begin(name)
            lived(play, other, crash=crash)
            assert died or at in (1, appends), f"nothing crashed {where} append {at}"
            play.check()
            assert same_end(play) == expected, f"after a crash {where} append {at}"
            assert other.done == happened
            twice = {key for key, tries in other.tries.items() if tries > fate.tries[key]}
            safe = {key for key in twice if where == "before" or other.tries[key] - fate.tries[key] == 1}
            assert twice == safe
            assert other.tries.total() - fate.tries.total() <= 1, "one crash repeats one effect at most"


@pytest.mark.parametrize("name", [*PLANS, *CANCELLED])
def test_work_that_must_not_be_repeated_succeeds_once_though_the_engine_dies_all_the_time(name: str) -> None:
    calm, fate = begin(name)
    lived(calm, fate, crash=undisturbed)
    play, other = begin(name)
    turn = 0

    def crash(play: Play, where: str) -> bool:
        nonlocal turn
        turn += 1
        return number(name, turn) < 3

    lived(play, other, crash=crash)
    play.check()
    assert same_end(play) == same_end(calm)
    assert other.done == fate.done
