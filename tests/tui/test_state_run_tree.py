"""The tree of a run: what is open by itself, how loops fold, where the cursor stays, where jumps lead."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from run_kit import GOLDEN, START, Telling, act, fan, golden, iterate, loop, telling

from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import (
    ApprovalRequested,
    StepExpanded,
    StepFailed,
    StepInDoubt,
    StepNoted,
    StepSkipped,
    StepStarted,
    StepWaiting,
)
from fleetprompt.engine.core.plan import Node, Retry
from fleetprompt.tui.state.tree_index import Concern, Inside, Tally

GATE = Node(id="g", type="approval", kind="approval")


def test_every_step_has_a_row_from_the_start_with_why_it_is_as_it_is() -> None:
    run = telling(act("a"), act("b", needs=()), act("c", needs=()))
    run.start("a", "b")
    run.ok("a", usage={"cost_nano": 5, "tokens": 7})
    run.say(StepInDoubt(at=START, path="b", reason="the engine stopped"), StepSkipped(at=START, path="c"))
    a, b, c = run.rows()
    assert (a.status, a.kind, a.cost_nano, a.tokens, a.started, a.ended) == ("completed", "shell", 5, 7, START, START)
    assert (b.status, b.detail) == ("in_doubt", "in doubt: the engine stopped")
    assert (c.status, c.detail) == ("skipped", "its condition is false")


def test_a_branch_with_one_step_is_one_row_and_a_composite_closes_when_it_is_over() -> None:
    long = tuple(act(f"x{i}") for i in range(4))
    run = telling(fan("p", left=(act("a"),), right=long))
    run.start("p")
    run.say(StepExpanded(at=START, path="p", branches=("left", "right")))
    run.start("p.a")
    assert run.lines() == ["● p", "  ● left a", "  ○ right", "    ○ x0", "    ○ x1", "    ○ x2", "    ○ x3"]
    run.ok("p.a")
    for i in range(4):
        run.start(f"p.x{i}")
        run.ok(f"p.x{i}")
    run.ok("p")
    assert run.lines() == ["✓ p"]
    run.tree.toggle("p")
    assert run.lines() == ["✓ p", "  ✓ left a", "  ✓ right"]


def test_the_inside_of_what_is_over_stays_open_while_it_is_small_or_has_failed() -> None:
    run = telling(loop("l", act("x")), loop("m", *(act(f"y{i}") for i in range(2))))
    run.expand("l", 5)
    iterate(run, "l", "x", range(5), failed={3})
    run.ok("l")
    run.expand("m", 1)
    for i in range(2):
        run.start(f"m[0].y{i}")
        run.ok(f"m[0].y{i}")
    run.ok("m")
    assert run.lines()[0:2] == ["✓ l", "  ✓ [0] x"]
    assert run.lines()[6:] == ["✓ m", "  ✓ [0]", "    ✓ y0", "    ✓ y1"]


def test_a_composite_waits_when_nothing_inside_it_is_active() -> None:
    run = telling(fan("p", x=(GATE,), y=(act("a"),)))
    run.start("p")
    run.say(StepExpanded(at=START, path="p", branches=("x", "y")))
    run.start("p.a", "p.g")
    run.say(ApprovalRequested(at=START, path="p.g", id="ap-1", digest=""))
    assert run.rows()[0].status == "running"
    run.ok("p.a")
    assert run.rows()[0].status == "waiting"
    assert run.rows()[1].detail == "waits for approval"


# ---------------------------------------------------------------- loops


def test_a_big_loop_is_one_row_and_opened_shows_what_is_pressing_first() -> None:
    run = telling(loop("l", act("x"), concurrency=9))
    run.expand("l", 400)
    iterate(run, "l", "x", range(300), failed={7, 9})
    run.start("l[300].x", "l[301].x", "l[302].x")
    run.say(StepInDoubt(at=START, path="l[301].x"), StepWaiting(at=START, path="l[302].x", on="signal", ref="go"))
    (row,) = run.rows()
    assert (row.name, row.detail, row.expandable, row.expanded) == ("l", "×400 ok 298 run 9 fail 2", True, False)
    run.tree.toggle("l")
    assert run.lines()[1:8] == [
        "  ✗ [7] x", "  ✗ [9] x", "  ? [301] x", "  ◆ [302] x", "  ● [300] x", "  ✓ [0] x", "  ✓ [1] x",
    ]  # fmt: skip


def test_ten_thousand_iterations_are_revealed_by_the_thousand() -> None:
    run = telling(loop("l", act("x"), concurrency=10_000))
    run.expand("l", 10_000)
    run.tree.toggle("l")
    assert len(run.tree) == 1_002
    assert run.lines()[-1] == "    … 9,000 more"
    run.tree.go(10**9)
    run.tree.toggle(run.tree.cursor)
    assert (len(run.tree), run.lines()[-1]) == (2_002, "    … 8,000 more")
    assert run.tree.cursor == "l[1000].x", "the first of those that have come"


def test_a_change_in_a_big_loop_makes_no_other_iteration_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    run = telling(loop("l", act("x"), concurrency=20))
    run.expand("l", 10_000)
    iterate(run, "l", "x", range(5_000), failed=range(0, 5_000, 50))
    run.tree.toggle("l")
    run.tree.visible()
    looked: list[Tally] = []
    worst = Tally.worst
    monkeypatch.setattr(Tally, "worst", property(lambda tally: (looked.append(tally), worst.fget(tally))[1]))  # type: ignore[attr-defined]
    iterate(run, "l", "x", [5_000])
    assert len(run.tree) == 1_002
    assert 0 < len(looked) < 50


# ---------------------------------------------------------------- attempts, retries, compensation


def test_earlier_attempts_are_below_a_step() -> None:
    run = telling(act("a", retry=Retry(3)))
    run.start("a")
    run.fail("a", retry_at=START + 5)
    assert run.lines() == ["◆ a"]
    run.start("a", attempt=2)
    run.tree.toggle("a")
    assert run.lines() == ["● a", "  ✗ attempt 1"]
    assert run.rows()[1].detail == "TOOL_ERROR: boom"
    assert run.rows()[0].detail == "attempt 2/3"


def test_what_failed_in_an_earlier_attempt_of_a_composite_is_below_it_and_concerns_nobody() -> None:
    run = telling(fan("p", x=(act("a"), act("b"))), act("z"))
    run.start("p")
    run.say(StepExpanded(at=START, path="p", branches=("x",)))
    run.start("p.a")
    run.fail("p.a")
    assert run.tree.next_failure()
    assert run.tree.cursor == "p.a"
    run.fail("p", retry_at=START + 5)
    assert run.lines()[1:] == ["  ✗ x", "    ✗ a", "    ○ b", "○ z"]
    run.say(
        StepStarted(at=START + 5, path="p", attempt=2, input={}),
        StepExpanded(at=START + 5, path="p", branches=("x",)),
    )
    assert run.lines() == ["● p", "  ✗ attempt 1", "  ○ x", "    ○ a", "    ○ b", "○ z"]
    assert not run.tree.next_failure()
    assert run.tree.cursor == "p", "what the cursor's row is in, now that the earlier attempt is closed"
    run.tree.toggle("p#1")
    assert run.lines()[1:4] == ["  ✗ attempt 1", "    ✗ x", "      ✗ a"]


def test_what_undoes_a_step_is_below_it() -> None:
    run = telling(act("s", compensate=act("back")), act("b"))
    run.start("s")
    run.ok("s")
    run.start("b")
    run.fail("b")
    run.start("s@compensate", role="compensation")
    assert run.lines() == ["✓ s", "  ● undo s", "✗ b"]
    assert run.rows()[1].undo
    assert run.tree.next_active()
    assert run.tree.cursor == "s@compensate"


# ---------------------------------------------------------------- the cursor


def test_the_cursor_stays_on_its_row_whatever_comes_above_it() -> None:
    run = telling(loop("l", act("x"), act("y")), act("z"))
    run.put_cursor("z")
    run.expand("l", 8)
    assert (run.tree.cursor, run.tree.position) == ("z", len(run.tree) - 1)
    run.put_cursor("l[4].x")
    iterate(run, "l", "x", range(4))
    assert run.tree.current is not None
    assert run.tree.current.key == "l[4].x"


def test_the_cursor_goes_to_what_its_row_was_in_when_that_closes() -> None:
    run = telling(loop("l", act("x")), act("z"))
    run.expand("l", 5)
    run.put_cursor("l[2].x")
    iterate(run, "l", "x", range(5))
    run.ok("l")
    assert (run.tree.cursor, run.lines()) == ("l", ["✓ l", "○ z"])


def test_the_row_under_the_cursor_is_not_hidden_when_others_become_more_pressing() -> None:
    run = telling(loop("l", act("x"), concurrency=3_000))
    run.expand("l", 3_000)
    run.tree.toggle("l")
    run.put_cursor("l[900].x")
    iterate(run, "l", "x", range(1_500, 3_000), failed=range(1_500, 3_000))
    assert run.tree.current is not None
    assert run.tree.current.key == "l[900].x"


def test_inward_opens_and_then_goes_in_and_outward_closes_and_then_goes_out() -> None:
    run = telling(loop("l", act("x"), concurrency=60))
    run.expand("l", 60)
    run.tree.inward()
    assert (run.tree.cursor, len(run.tree)) == ("l", 61)
    run.tree.inward()
    assert run.tree.cursor == "l[0].x"
    run.tree.outward()
    assert run.tree.cursor == "l"
    run.tree.outward()
    assert len(run.tree) == 1


# ---------------------------------------------------------------- jumps


def test_jumps_go_round_through_every_failure_wherever_it_is() -> None:
    run = telling(act("a", on_error="continue"), loop("l", loop("m", act("x"))), loop("n", act("y"), concurrency=60))
    run.start("a")
    run.fail("a")
    run.expand("l", 2)
    run.expand("l[0].m", 2)
    iterate(run, "l[0].m", "x", range(2), failed={1})
    run.ok("l[0].m")
    run.expand("l[1].m", 1)
    iterate(run, "l[1].m", "x", [0])
    run.ok("l[1].m", "l")
    run.expand("n", 2_000)
    iterate(run, "n", "y", range(2_000), failed={60, 1_999})
    run.tree.set_open(run.tree.visible()[1], False)
    seen = []
    for _ in range(5):
        assert run.tree.next_failure()
        seen.append(run.tree.cursor)
        assert run.tree.current is not None
        assert run.tree.current.key == run.tree.cursor
    assert seen == ["l[0].m[1].x", "n[60].y", "n[1999].y", "a", "l[0].m[1].x"]


def test_the_jump_to_what_is_active_goes_to_what_waits_when_nothing_is() -> None:
    run = telling(fan("p", x=(GATE,), y=(act("a"),)))
    run.start("p")
    run.say(StepExpanded(at=START, path="p", branches=("x", "y")))
    run.start("p.a", "p.g")
    run.say(ApprovalRequested(at=START, path="p.g", id="ap-1", digest=""))
    run.tree.next_active()
    assert run.tree.cursor == "p.a"
    run.ok("p.a")
    run.tree.next_active()
    assert run.tree.cursor == "p.g"


def test_there_is_nothing_to_jump_to() -> None:
    run = telling(act("a"))
    assert not run.tree.next_failure()
    assert not run.tree.next_active()
    assert run.tree.cursor == "a"


# ---------------------------------------------------------------- what is kept is what is found anew


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_a_tree_kept_up_to_date_is_the_one_made_of_all_facts(file: Path) -> None:
    plan, facts = golden(file)
    live = Telling(plan, begin=False)
    for i, fact in enumerate(facts):
        live.say(fact)
        if i % 3 == 0:
            live.tree.visible()
    assert live.fold.run.ignored == 0
    made = Telling(plan, begin=False)
    made.say(*facts)
    assert live.lines() == made.lines()
    assert len({row.key for row in made.rows()}) == len(made.rows())
    check_counts(live)


@pytest.mark.parametrize("seed", range(20))
def test_counts_and_ranks_are_those_of_the_steps_whatever_happens(seed: int) -> None:
    dice = random.Random(seed)
    run = telling(loop("l", act("x", retry=Retry(3)), act("y"), concurrency=70), fan("p", u=(act("a"),), v=(GATE,)))
    run.expand("l", 70)
    for _ in range(400):
        path = dice.choice([step.path for step in run.fold.run.steps.values() if step.path.startswith("l[")])
        match dice.randrange(7):
            case 0 | 1:
                run.start(path)
            case 2:
                run.ok(path, usage={"cost_nano": 3, "tokens": 2})
            case 3:
                error = Failure("TOOL_ERROR", "boom")
                retry = START + 9 if dice.random() < 0.5 else None
                run.say(StepFailed(at=START, path=path, error=error, retry_at=retry))
            case 4:
                run.say(StepInDoubt(at=START, path=path))
            case 5:
                value = {"model": "m", "uncertain_nano": 5}
                run.say(StepNoted(at=START, path=path, kind="llm.failed", key="x/llm/0", value=value))
            case _:
                run.say(StepWaiting(at=START, path=path, on="signal", ref="go"))
        if dice.random() < 0.2:
            run.tree.toggle(dice.choice(run.tree.visible()).key)
    check_counts(run)
    assert any(row.what == "branch" and row.uncertain_nano for row in run.rows())
    known = [node.key for node in run.tree.visible()]
    for node in run.tree.visible():
        run.tree._mark(node)
    assert [node.key for node in run.tree.visible()] == known


def check_counts(run: Telling) -> None:
    """What is counted is what there is."""
    index = run.fold.index
    assert index.root is not None
    insides: dict[Inside, None] = {}
    for track in index.tracks.values():
        for inside in track.insides or ():
            insides[inside] = None
    for inside in insides:
        assert sorted(position for rank in inside.ranked for position in rank) == list(range(len(inside.branches)))
        for branch in inside.branches:
            assert branch.position in inside.ranked[branch.tally.worst]
        for concern in list(Concern)[:4]:
            assert inside.tally[concern] == sum(branch.tally[concern] for branch in inside.branches)
    waiting = sum(step.status == "waiting" for step in run.fold.run.steps.values())
    assert index.root.tally[Concern.WAITING] == waiting
    cost = sum(track.cost_nano for track in index.tracks.values())
    assert index.root.tally.cost_nano == cost == run.fold.run.cost_nano
    assert index.root.tally.uncertain_nano == sum(track.uncertain_nano for track in index.tracks.values())
