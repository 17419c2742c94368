"""`loop`: over items, at once or one by one, or while a condition holds."""

from __future__ import annotations

from typing import Any

import pytest
from play import Play, act, ask, calc, cond, delay, during, each, fan, plan

from fleetprompt.engine.core.facts import StepExpanded, StepStarted
from fleetprompt.engine.core.names import HYDRATE_BYTES
from fleetprompt.engine.core.plan import Retry

# ---------------------------------------------------------------- over items


def test_one_iteration_after_the_other() -> None:
    play = Play(plan(each("l", "inputs.x", [act("a", config={"v": "${{ item }}-${{ index }}"})])), {"x": ["p", "q"]})
    assert play.owed == ["l[0].a"]
    assert play.step("l[0].a").input == {"v": "p-0"}
    play.ok("l[0].a", "P")
    assert play.owed == ["l[1].a"]
    assert play.step("l[1].a").input == {"v": "q-1"}
    play.ok("l[1].a", "Q")
    assert (play.status(), play.run.output) == ("completed", ["P", "Q"])


@pytest.mark.parametrize(("at_once", "owed"), [(1, 1), (2, 2), (5, 5), (100, 7)])
def test_so_many_at_once(at_once: int, owed: int) -> None:
    play = Play(plan(each("l", list(range(7)), [act("a")], at_once=at_once)))
    assert len(play.owed) == owed
    most = 0
    while not play.run.ended:
        most = max(most, len(play.owed))
        play.ok(play.owed[-1], play.owed[-1])
    assert most == owed
    assert play.run.output == [f"l[{i}].a" for i in range(7)], "in the order of the items"


def test_the_next_iteration_begins_when_any_has_ended() -> None:
    play = Play(plan(each("l", [1, 2, 3, 4], [act("a"), act("b")], at_once=2)))
    play.ok("l[1].a")
    assert play.owed == ["l[0].a", "l[1].b"]
    play.ok("l[1].b")
    assert play.owed == ["l[0].a", "l[2].a"]


@pytest.mark.parametrize(
    ("over", "items"),
    [
        ("inputs.list", ["x", "y"]),
        (["lit", 2], ["lit", 2]),
        ("inputs.map", [{"key": "k", "value": 1}, {"key": "j", "value": [2]}]),
        ("[1, 2] + [3]", [1, 2, 3]),
        ("[]", []),
        ([], []),
        ("{}", []),
    ],
)
def test_items_are_a_list_or_a_mapping(over: Any, items: list[Any]) -> None:
    inputs = {"list": ["x", "y"], "map": {"k": 1, "j": [2]}}
    play = Play(plan(each("l", over, [calc("a", "${{ item }}")])), inputs)
    assert (play.status(), play.run.output) == ("completed", items)
    [fact] = play.of(StepExpanded)
    assert (fact.items, fact.count) == (items, len(items))


def test_an_empty_list_completes_at_once() -> None:
    play = Play(plan(each("l", [], [act("a")]), act("b", needs=["l"])))
    assert (play.status("l"), play.step("l").output, play.owed) == ("completed", [], ["b"])


@pytest.mark.parametrize("over", ["inputs.n", "inputs.text", "none", "inputs.nothing"])
def test_anything_else_fails_the_step(over: str) -> None:
    play = Play(plan(each("l", over, [act("a")]), act("h", needs=["l.failed"])), {"n": 5, "text": "abc"})
    assert (play.status("l"), play.step("l").error.code, play.owed) == ("failed", "VALIDATION_ERROR", ["h"])


def test_more_items_than_allowed_fail_the_step_before_anything_starts() -> None:
    play = Play(plan(each("l", [1, 2, 3], [act("a")], max_iterations=2)))
    assert (play.status(), play.started) == ("failed", [])
    assert "max_iterations" in play.run.error.message


def test_items_that_no_expression_could_read_fail_the_step() -> None:
    text = "x" * (HYDRATE_BYTES // 2)
    play = Play(plan(each("l", "[inputs.x, inputs.y, inputs.x]", [act("a")])), {"x": text, "y": "z"})
    assert (play.status(), play.run.error.code) == ("failed", "VALIDATION_ERROR")


def test_names_inside_an_iteration() -> None:
    inner = each("inner", "[item, item * 2]", [calc("x", "${{ [outer, item, index, loop.first, loop.length] }}")])
    import msgspec

    loop = each("l", "[5, 7]", [inner], name="outer")
    inner = msgspec.structs.replace(inner, loop=msgspec.structs.replace(inner.loop, over="[outer, outer * 2]"))
    loop = msgspec.structs.replace(loop, blocks=(msgspec.structs.replace(loop.blocks[0], nodes=(inner,)),))
    play = Play(plan(loop))
    assert play.run.output == [
        [[5, 5, 0, True, 2], [5, 10, 1, False, 2]],
        [[7, 7, 0, True, 2], [7, 14, 1, False, 2]],
    ]


def test_iterations_wait_like_anything_else() -> None:
    play = Play(plan(each("l", [1, 2], [ask("g"), delay("d", 60)], at_once=2)))
    play.vote("l[1].g")
    play.vote("l[0].g")
    assert play.run.waiting_on == "timer"
    play.tick(60)
    assert play.status() == "completed"


def test_a_thousand_iterations_that_need_nobody_are_decided_in_one_go() -> None:
    play = Play(plan(each("l", "inputs.x", [calc("a", "${{ item }}")], at_once=10)), {"x": list(range(1000))})
    assert (play.status(), play.run.output) == ("completed", list(range(1000)))


# ---------------------------------------------------------------- failed items


def test_a_failed_item_fails_the_loop_and_nothing_new_starts() -> None:
    play = Play(plan(each("l", [1, 2, 3, 4], [act("a")], at_once=2), act("h", needs=["l.failed"])))
    play.fail("l[1].a", message="no")
    assert (play.status("l"), play.status("l[0].a"), play.status("l[2].a")) == ("failed", "cancelled", "unknown")
    assert (play.step("l").error.path, play.owed) == ("l[1].a", ["h"])


def test_failed_items_may_be_left_behind() -> None:
    play = Play(plan(each("l", [1, 2, 3], [act("a"), act("b")], on_item_error="continue")))
    play.ok("l[0].a")
    play.ok("l[0].b", "B0")
    play.fail("l[1].a", "RATE_LIMIT", "slow down")
    assert (play.owed, play.status("l[1].b")) == (["l[2].a"], "pending")
    play.ok("l[2].a")
    play.fail("l[2].b")
    assert (play.status(), play.run.error) == ("completed", None)
    first, second, third = play.run.output
    assert first == "B0"
    assert second == {"error": {"code": "RATE_LIMIT", "message": "slow down", "path": "l[1].a"}}
    assert third["error"]["path"] == "l[2].b"


def test_a_failed_item_cancels_what_runs_beside_the_failure_in_it() -> None:
    body = [fan("p", {"x": [act("a")], "y": [act("b")]})]
    play = Play(plan(each("l", [1, 2], body, on_item_error="continue")))
    play.fail("l[0].p.a")
    assert (play.status("l[0].p.b"), play.owed) == ("cancelled", ["l[1].p.a", "l[1].p.b"])


def test_an_item_in_which_everything_is_skipped_has_no_result() -> None:
    play = Play(plan(each("l", [1, 2, 3], [calc("a", "${{ item }}", when="item != 2")])))
    assert play.run.output == [1, None, 3]


# ---------------------------------------------------------------- while


def test_a_loop_goes_on_while_its_condition_holds() -> None:
    play = Play(plan(during("w", "index < 3", [act("a")])))
    for i in range(3):
        assert play.owed == [f"w[{i}].a"]
        play.ok(f"w[{i}].a", i * 10)
    assert (play.status(), play.run.output) == ("completed", [0, 10, 20])
    assert [fact.count for fact in play.of(StepExpanded)] == [1, 2, 3]


def test_a_loop_looks_back_on_its_previous_result() -> None:
    body = [calc("a", "${{ (loop.previous or 1) * 2 }}")]
    play = Play(plan(during("w", "loop.previous is none or loop.previous < 50", body)))
    assert play.run.output == [2, 4, 8, 16, 32, 64]


def test_a_loop_whose_condition_never_holds_does_nothing() -> None:
    play = Play(plan(during("w", "false", [act("a")])))
    assert (play.status(), play.run.output, play.of(StepExpanded)) == ("completed", [], [])


def test_a_loop_may_look_at_variables() -> None:
    play = Play(plan(during("w", "vars.left > 0", [act("a", set={"left": "vars.left - result"})]), vars={"left": 3}))
    play.ok("w[0].a", 2)
    play.ok("w[1].a", 2)
    assert play.status() == "completed"


def test_a_loop_that_does_not_end_fails() -> None:
    play = Play(plan(during("w", "true", [calc("a", 1)], max_iterations=5)))
    assert (play.status(), play.run.error.code) == ("failed", "TOOL_ERROR")
    assert "5 iterations" in play.run.error.message
    assert len(play.of(StepStarted)) == 6


def test_exactly_so_many_iterations_as_allowed_are_no_failure() -> None:
    assert Play(plan(during("w", "index < 5", [calc("a", 1)], max_iterations=5))).status() == "completed"


def test_a_condition_that_cannot_be_evaluated_fails_the_loop() -> None:
    play = Play(plan(during("w", "loop.previous.x < 3", [calc("a", 1)])))
    assert (play.status(), play.run.error.code, play.run.error.path) == ("failed", "VALIDATION_ERROR", "w")


@pytest.mark.parametrize(("policy", "status"), [("fail", "failed"), ("continue", "completed")])
def test_a_failed_iteration_of_such_a_loop(policy: Any, status: str) -> None:
    play = Play(plan(during("w", "index < 2", [act("a")], on_item_error=policy)))
    play.fail("w[0].a")
    if policy == "continue":
        assert play.owed == ["w[1].a"]
        play.ok("w[1].a", 1)
    assert play.status() == status


def test_such_a_loop_stops_deciding_while_the_run_is_paused() -> None:
    play = Play(plan(during("w", "index < 2", [act("a")])))
    play.pause()
    play.ok("w[0].a")
    assert play.owed == []
    play.resume()
    assert play.owed == ["w[1].a"]


def test_another_attempt_at_such_a_loop_begins_from_zero() -> None:
    play = Play(plan(during("w", "index < 2", [act("a")], retry=Retry(2))))
    play.ok("w[0].a")
    play.fail("w[1].a")
    play.wake()
    assert play.owed == ["w#2[0].a"]
    play.ok("w#2[0].a", 1)
    play.ok("w#2[1].a", 2)
    assert play.run.output == [1, 2]


# ---------------------------------------------------------------- nesting


def test_loops_in_loops_have_paths_of_their_own() -> None:
    body = [each("m", "[1, 2]", [cond("c", "true", [act("a")])], at_once=2)]
    play = Play(plan(each("l", "[1, 2]", body, at_once=2)))
    assert play.owed == ["l[0].m[0].c.a", "l[0].m[1].c.a", "l[1].m[0].c.a", "l[1].m[1].c.a"]
    for path in list(play.owed):
        play.ok(path, path[2] + path[7])
    assert play.run.output == [["00", "01"], ["10", "11"]]
