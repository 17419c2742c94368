"""The tree as a function of facts and time, and how it is folded."""

from __future__ import annotations

from typing import Any

import pytest

from fleetprompt.cli.display import Drawn
from fleetprompt.cli.outcome import next_lines, run_object
from fleetprompt.cli.render import head_line, tree_lines
from fleetprompt.cli.tree import Row, Tree, fit, fitted
from fleetprompt.client.halted import halted_by
from fleetprompt.client.reasons import run_reason
from fleetprompt.client.telling import told_fact
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import (
    AnyFact,
    ApprovalRequested,
    RunCreated,
    RunFinished,
    RunPaused,
    RunStarted,
    Slot,
    StepExpanded,
    StepFailed,
    StepInDoubt,
    StepNoted,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepWaiting,
)
from fleetprompt.engine.core.plan import Block, Loop, Node, Plan, Retry
from fleetprompt.engine.core.program import Program
from fleetprompt.engine.ports import LogLine

START = 1_000.0


def act(id_: str, **options: Any) -> Node:
    return Node(id=id_, type="shell", config={"argv": ["true"]}, **options)


def loop(id_: str, *nodes: Node) -> Node:
    blocks = (Block("steps", nodes),)
    return Node(id=id_, type="loop", kind="loop", loop=Loop(over=[], concurrency=9), blocks=blocks)


def tree(*nodes: Node, facts: tuple[AnyFact, ...] = ()) -> Tree:
    plan = Plan(name="t", root=Block("", nodes))
    made = Tree(Program(plan, "d"))
    for fact in (RunCreated(at=START, run="01-abcdefgh", plan="d", workflow="t"), RunStarted(at=START), *facts):
        made.apply(fact)
    return made


def texts(made: Tree, now: float = START, **options: Any) -> list[str]:
    return [line.plain.rstrip() for line in tree_lines(made.rows(now, **options), 100)]


def test_every_step_has_a_row_from_the_start() -> None:
    assert texts(tree(act("a"), act("b"))) == ["  ○ a", "  ○ b"]


def test_a_row_tells_status_duration_and_reason() -> None:
    made = tree(
        act("a"),
        act("b", retry=Retry(3), needs=()),
        act("c", needs=()),
        act("d", needs=()),
        facts=(
            StepStarted(at=START, path="a", input={}),
            StepSucceeded(at=START + 2, path="a"),
            StepStarted(at=START, path="b", input={}),
            StepFailed(at=START + 1, path="b", error=Failure("TOOL_ERROR", "no luck\nat all"), retry_at=START + 9),
            StepSkipped(at=START, path="c"),
            StepStarted(at=START, path="d", input={}),
            StepInDoubt(at=START, path="d", reason="the engine stopped"),
        ),
    )
    assert texts(made, START + 4) == [
        "  ✓ a    2.0s",
        "  ◆ b    4.0s  attempt 2/3 in 5.0s: no luck",
        "  – c          its condition is false",
        "  ? d    4.0s  in doubt: the engine stopped",
    ]
    assert made.doubtful()[0].path == "d"


def iterations(total: int, failed: set[int], running: int) -> list[AnyFact]:
    facts: list[AnyFact] = [
        StepStarted(at=START, path="l", input={}),
        StepExpanded(at=START, path="l", items=list(range(total)), count=total),
    ]
    for i in range(total - running):
        facts.append(StepStarted(at=START, path=f"l[{i}].x", input={}))
        if i in failed:
            facts.append(StepFailed(at=START, path=f"l[{i}].x", error=Failure("TOOL_ERROR", "boom")))
        else:
            facts.append(StepSucceeded(at=START, path=f"l[{i}].x"))
    facts += [StepStarted(at=START, path=f"l[{i}].x", input={}) for i in range(total - running, total)]
    return facts


def continuing(node: Node) -> Node:
    import msgspec

    assert node.loop is not None
    return msgspec.structs.replace(node, loop=msgspec.structs.replace(node.loop, on_item_error="continue"))


def test_a_small_loop_is_shown_whole_and_a_big_one_by_what_matters() -> None:
    small = tree(continuing(loop("l", act("x"))), facts=tuple(iterations(3, set(), 1)))
    assert texts(small)[0].endswith("×3 ok 2 run 1")
    assert [line.split()[1] for line in texts(small)] == ["l", "[0]", "[1]", "[2]"]
    big = tree(continuing(loop("l", act("x"))), facts=tuple(iterations(400, {7, 8, 9, 10}, 5)))
    lines = texts(big)
    assert lines[0].endswith("×400 ok 391 run 5 fail 4")
    assert [line.split()[1] for line in lines[1:]] == ["[7]", "[8]", "[9]", "[395]", "[396]", "[397]"]
    assert len(texts(big, unfold=True)) == 401


def test_branches_and_what_undoes_a_step_are_below_it() -> None:
    node = Node(
        id="p",
        type="parallel",
        kind="parallel",
        blocks=(Block("left", (act("a"),)), Block("right", (act("b"), act("c")))),
    )
    made = tree(
        act("s", compensate=act("undo")),
        node,
        facts=(
            StepStarted(at=START, path="s", input={}),
            StepSucceeded(at=START, path="s"),
            StepStarted(at=START, path="p", input={}),
            StepExpanded(at=START, path="p", branches=("left", "right")),
            StepStarted(at=START, path="p.b", input={}),
            StepStarted(at=START, path="s@compensate", input={}, role="compensation"),
        ),
    )
    assert texts(made) == [
        "  ✓ s          0.00s",
        "    ● undo s   0.00s",
        "  ● p          0.00s",
        "    ○ left a",
        "    ● right",
        "      ● b      0.00s",
        "      ○ c",
    ]


def test_every_question_of_an_agent_counts_and_is_named() -> None:
    asks = tuple(
        ApprovalRequested(at=START, path="look", id=f"ap-{n:02}", digest="", message="May I?", call=f"a/tool/0.{n}")
        for n in range(12)
    )
    begun = StepStarted(at=START, path="look", input={})
    made = tree(Node(id="look", type="agent", resumes=True), facts=(begun, *asks[:2]))
    assert run_reason(made.run) == "waits for 2 approvals"
    assert "waits for 2 approvals" in texts(made)[0]
    named = [line.plain.split()[-1] for line in next_lines(made, embedded=False, shown=True)]
    assert named == ["ap-00", "ap-01"]
    many = [
        line.plain for line in next_lines(tree(*made.run.program.plan.root.nodes, facts=(begun, *asks)), embedded=True)
    ]
    assert (len(many), many[10].split()) == (12, ["decide", "about", "2", "more", "fleet", "approvals"])


def test_the_run_says_what_it_waits_for() -> None:
    gate = Node(id="g", type="approval", kind="approval")
    asks = (
        StepStarted(at=START, path="g", input={}),
        ApprovalRequested(at=START, path="g", id="ap-1", digest="", approvers=("ana",), quorum=2, until=START + 90),
    )
    made = tree(gate, facts=asks)
    assert run_reason(made.run) == "waits for 1 approval"
    assert texts(made, START + 30) == ["  ◆ g     30s  waits for approval by ana, 0 of 2 so far, 1m left"]
    made.apply(RunPaused(at=START, by="ana"))
    assert head_line(made, START).plain == "◆ t  abcdefgh  0.00s  paused"
    made = tree(act("a"), facts=(StepWaiting(at=START, path="a", on="signal", ref="deploy.*"),))
    assert texts(made)[0].endswith("waits for signal deploy.*")
    made.apply(RunFinished(at=START, status="completed"))
    assert run_reason(made.run) == ""


def test_a_run_that_does_not_begin_says_why() -> None:
    made = Tree(Program(Plan(name="t", root=Block("", (act("a"),))), "d"))
    slots = (Slot("group:db", 1), Slot("workflow:t", 2), Slot("runs", 9), Slot("t/daily", 1))
    made.apply(RunCreated(at=START, run="01-abcdefgh", plan="d", workflow="t", slots=slots))
    assert made.run.status == "pending"
    groups = "group db (at most 1) and workflow t (at most 2 runs)"
    assert (
        run_reason(made.run) == f"waits for a place in {groups} and the fleet (at most 9 runs) and t/daily (at most 1)"
    )
    assert head_line(made, START, halted="the fleet is paused").plain.endswith("  waits: the fleet is paused")
    made.apply(RunStarted(at=START))
    made.apply(StepStarted(at=START, path="a", input={}))
    assert run_reason(made.run, "the fleet is off") == "starts nothing: the fleet is off"
    made.apply(RunFinished(at=START, status="completed"))
    assert run_reason(made.run, "the fleet is off") == ""


def test_what_halts_a_run_from_outside() -> None:
    assert halted_by("on", began=False, child=False) == ""
    assert halted_by("draining", began=False, child=False) == "the fleet is draining"
    assert halted_by("draining", began=True, child=False) == halted_by("draining", began=False, child=True) == ""
    assert halted_by("paused", began=True, child=True, engine=False) == "the fleet is paused"
    assert halted_by("off", began=False, child=False) == "the fleet is off"
    assert halted_by("draining", began=True, child=False, engine=False) == "no engine runs"


def test_between_facts_that_belong_together_a_run_goes_on() -> None:
    made = tree(
        act("a"),
        Node(id="t", type="transform", kind="transform"),
        facts=(
            StepStarted(at=START, path="a", input={}),
            StepSucceeded(at=START, path="a"),
            StepStarted(at=START, path="t", input={}),
        ),
    )
    assert made.run.status == "waiting"
    assert made.status == "running"
    assert run_reason(made.run) == ""


@pytest.mark.parametrize("height", [1, 3, 5, 8, 50])
def test_what_does_not_fit_is_folded_and_what_happens_now_stays(height: int) -> None:
    rows = [Row(depth=0, status="completed", name=f"d{i}", settled=True) for i in range(30)]
    rows += [Row(depth=0, status="running", name="now", active=True)]
    rows += [Row(depth=0, status="pending", name=f"p{i}") for i in range(30)]
    shown = fit(rows, height)
    assert len(shown) <= height
    assert height < 3 or any(row.name == "now" for row in shown)
    if height in (3, 5, 8):
        assert [row.name for row in shown] == ["30 done", "now", "30 to come"]


def test_the_inside_of_what_went_well_is_left_out_first() -> None:
    nodes = tuple(loop(f"l{i}", act(f"x{i}")) for i in range(5))
    facts: list[AnyFact] = []
    for i in range(5):
        facts += [
            StepStarted(at=START, path=f"l{i}", input={}),
            StepExpanded(at=START, path=f"l{i}", items=[1], count=1),
        ]
        facts += [StepStarted(at=START, path=f"l{i}[0].x{i}", input={}), StepSucceeded(at=START, path=f"l{i}[0].x{i}")]
        facts += [StepSucceeded(at=START, path=f"l{i}")]
    made = tree(*nodes, facts=tuple(facts))
    assert len(fitted(made, START, 10)) == 10
    assert [row.name for row in fitted(made, START, 9)] == ["l0", "l1", "l2", "l3", "l4"]
    assert [row.name for row in fitted(made, START, 4)] == ["5 done"]


def test_nothing_is_wider_than_the_terminal() -> None:
    long = "x" * 300
    made = tree(act("a" * 60), facts=(StepSkipped(at=START, path="a" * 60, reason=long),))  # pyright: ignore[reportArgumentType]
    assert all(line.cell_len <= 60 for line in tree_lines(made.rows(START), 60))


def test_log_lines_stand_below_the_steps_that_are_active() -> None:
    from rich.console import Console

    made = tree(act("a"), act("b"), facts=(StepStarted(at=START, path="a", input={}),))
    for number in range(9):
        made.log(LogLine(at=START, level="stdout", text=f"line {number}\x1b[2J", path="a"))
    lines = [line.plain for line in Drawn(Console(width=80))._tree(made, START, 80, 20)]
    assert lines[1:5] == [f"    │ line {number}\\x1b[2J" for number in range(5, 9)]
    assert lines[5].strip() == "○ b"


def test_what_a_model_on_this_machine_has_said_is_labelled() -> None:
    said = StepNoted(at=START, path="a", kind="llm.started", key="x/llm/0", value={"model": "m", "mode": "local"})
    made = tree(Node(id="a", type="agent", resumes=True), facts=(StepStarted(at=START, path="a", input={}), said))
    assert head_line(made, START).plain.endswith("  LOCAL")
    assert told_fact(RunFinished(at=START, status="completed"), made.run)[1].endswith(", LOCAL")


@pytest.mark.parametrize(("nano", "said"), [(0, "$0.00"), (10_000_000, "$0.01")])
def test_what_may_have_been_spent_is_told_apart(nano: int, said: str) -> None:
    doubt = {"model": "m", "uncertain_nano": 300_000_000}
    lost = StepNoted(at=START, path="a", kind="llm.failed", key="x/llm/0", value=doubt)
    done = StepSucceeded(at=START, path="a", usage={"cost_nano": nano, "tokens": 3})
    facts = (StepStarted(at=START, path="a", input={}), lost, done)
    made = tree(Node(id="a", type="agent", resumes=True), facts=facts)
    assert head_line(made, START).plain.endswith(f"  {said} + up to $0.30 uncertain")
    assert told_fact(RunFinished(at=START, status="completed"), made.run)[1].endswith(
        f", {said} + up to $0.30 uncertain"
    )
    assert run_object(made)["usage"] == {
        "tokens": 3,
        "cost_usd": nano / 1e9,
        "cost_nano": nano,
        "uncertain_usd": 0.3,
        "uncertain_nano": 300_000_000,
    }
