"""What a fact costs does not depend on how many steps are done: calls are counted, not seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from play import Play, act, ask, calc, call, cond, during, each, fan, listen, plan

from fleetprompt.engine.core.codec import decode
from fleetprompt.engine.core.plan import Concurrency, Node, Retry
from fleetprompt.engine.core.run import fold

FEW, MANY = 100, 2_000


class Cost:
    """Python calls and lines while something is done."""

    def __init__(self) -> None:
        self.calls = 0

    def __enter__(self) -> Cost:
        sys.setprofile(self._saw)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _saw(self, frame: Any, event: str, arg: Any) -> None:
        if event == "call" or event == "c_call":
            self.calls += 1


def go_on(play: Play) -> bool:
    """The first thing that can happen, without looking at what is done."""
    run = play.run
    if run.pending:
        path, step = next(iter(run.pending.items()))
        first = step.attempt == 1 and step.program.node.retry.max_attempts > 1
        play.fail(path) if first else play.ok(path, 1)
    elif run.wanted:
        play.grant(next(iter(run.wanted)))
    elif run.waiting["approval"]:
        step = next(iter(run.root.active))  # the loop
        play.vote(next(iter(next(iter(step.inner.open.values())).active)).path)
    elif run.waiting["signal"]:
        play.hear(data={"n": 1})
    elif run.waiting["child"]:
        play.child(next(iter(play.waits)))
    elif run.wake_at is not None:
        play.wake()
    return not run.ended


def whole(nodes: Sequence[Node], n: int, **fields: Any) -> tuple[Play, Cost]:
    """A loop of so many items, from its first fact to its last."""
    own = {"at_once": fields.pop("at_once", 1), "on_item_error": "continue"}
    places = fields.pop("places", 0)
    body = during("l", f"index < {n}", nodes, max_iterations=n + 1) if fields.pop("test", False) else None
    loop = body or each("l", "inputs.items", nodes, **own)
    with Cost() as cost:
        play = Play(plan(loop, act("bad"), **fields), {"items": list(range(n))}, verify=False, places=places)
        while go_on(play):
            pass
    return play, cost


LOOPS: dict[str, Callable[[int], tuple[Play, Cost]]] = {
    "effects": lambda n: whole([act("a"), act("b", config={"x": "${{ steps.a.output + item }}"})], n),
    "ten at once": lambda n: whole([act("a")], n, at_once=10),
    "all at once": lambda n: whole([act("a")], n, at_once=n),
    "all at once where there is room for few": lambda n: whole([act("a")], n, at_once=n, places=4),
    "transforms": lambda n: whole([calc("a", "${{ item }}", set={"v": "result"})], n, vars={"v": 0}),
    "retries": lambda n: whole([act("a", retry=Retry(2))], n, at_once=5),
    "groups": lambda n: whole([act("a", concurrency=Concurrency("g"))], n),
    "approvals": lambda n: whole([ask("g"), act("a", approval={"message": "ok?"})], n),
    "signals": lambda n: whole([listen("w")], n),
    "children": lambda n: whole([call("w")], n),
    "while": lambda n: whole([calc("a", "${{ index }}"), act("b")], n, test=True),
    "nested": lambda n: whole([fan("p", {"x": [act("a")], "y": [cond("c", "item > 5", [act("b")])]})], n),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_long_loop_costs_no_more_per_item_than_a_short_one(name: str) -> None:
    few, many = LOOPS[name](FEW), LOOPS[name](MANY if name in ("effects", "all at once") else MANY // 4)
    assert few[0].status() == many[0].status() == "completed"
    items = many[0].step("l").inner.opened
    facts = [len(few[0].facts) / FEW, len(many[0].facts) / items]
    calls = [few[1].calls / FEW, many[1].calls / items]
    sizes = [sum(map(len, few[0].journal)) / FEW, sum(map(len, many[0].journal)) / items]
    assert abs(facts[1] / facts[0] - 1) < 0.2, facts
    assert calls[1] / calls[0] < 1.2, calls
    assert sizes[1] / sizes[0] < 1.2, sizes


def test_compensating_two_thousand_steps_costs_no_more_per_step() -> None:
    costs: list[float] = []
    for n in (FEW, MANY):
        loop = each("l", "inputs.items", [act("a", compensate=act("undo"))])
        play = Play(plan(loop, act("bad"), on_failure="compensate"), {"items": list(range(n))}, verify=False)
        while play.owed[0] != "bad":
            play.ok(play.owed[0])
        with Cost() as cost:
            play.fail("bad")
            while not play.run.ended:
                play.ok(next(iter(play.run.pending)))
        costs.append(cost.calls / n)
    assert costs[1] / costs[0] < 1.2, costs


def test_folding_costs_the_same_per_fact() -> None:
    costs: list[float] = []
    for n in (FEW, MANY):
        play, _ = whole([act("a"), ask("g"), act("b", concurrency=Concurrency("g"))], n // 2)
        facts = [decode(data) for data in play.journal]
        with Cost() as cost:
            fold(play.program, facts)
        costs.append(cost.calls / len(facts))
    assert costs[1] / costs[0] < 1.2, costs


def lines(work: Callable[[], Any]) -> int:
    """Lines of the core that something runs."""
    count = 0

    def inside(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return inside

    sys.settrace(lambda frame, event, arg: inside if "/core/" in frame.f_code.co_filename else None)
    try:
        work()
    finally:
        sys.settrace(None)
    return count


@pytest.mark.parametrize("what", ["signal", "vote", "outcome"])
def test_nobody_looks_through_what_is_done(what: str) -> None:
    """A loop over all steps would hide from a count of calls."""
    counts: list[int] = []
    for n in (50, 500):
        body = {"signal": listen("w"), "vote": ask("g"), "outcome": act("a")}[what]
        play = Play(plan(each("l", "inputs.items", [body])), {"items": list(range(n))}, verify=False)
        for _ in range(n - 2):
            go_on(play)
        counts.append(lines(lambda play=play: go_on(play)))
    assert counts[1] < counts[0] * 1.2, counts
