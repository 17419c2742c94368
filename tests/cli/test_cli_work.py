"""What agents did, below their steps: facts in, lines and objects out."""

from __future__ import annotations

from typing import Any

from fleetprompt.cli.agent_work import TURNS, Done
from fleetprompt.cli.tree import Tree
from fleetprompt.engine.agents.decisions import doubted
from fleetprompt.engine.core.facts import (
    AnyFact,
    ApprovalDecided,
    ApprovalRequested,
    RunCreated,
    RunStarted,
    StepNoted,
    StepStarted,
)
from fleetprompt.engine.core.plan import Block, Node, Plan
from fleetprompt.engine.core.program import Program


def note(kind: str, key: str, **value: Any) -> StepNoted:
    return StepNoted(at=2, path="look", kind=kind, key=key, value=value)


def turn(number: int, agent: str = "sre", **value: Any) -> list[AnyFact]:
    key = f"{agent}/llm/{number}"
    given = {"model": "openai/m", "mode": "live", "cost_nano": 2_000_000, "tokens": 30, "text": "Hm."} | value
    return [note("llm.started", key, model="openai/m", mode="live"), note("llm.completed", key, **given)]


def work(*facts: AnyFact, full: bool = False) -> tuple[list[str], list[dict[str, Any]]]:
    plan = Plan(name="t", root=Block("", (Node(id="look", type="agent", resumes=True),)))
    tree, done = Tree(Program(plan, "d")), Done()
    begun = (RunCreated(at=1, run="01-abcdefgh", plan="d", workflow="t"), RunStarted(at=1))
    for fact in (
        *begun,
        StepStarted(at=1, path="look", input={}),
        note("session", "sre", agent_id="sre", fresh=True),
        *facts,
    ):
        tree.apply(fact)
        done.apply(fact)
    step = tree.run.steps["look"]
    return [line.plain for line in done.lines(step, 0, full=full)], done.objects(step)


def test_a_call_that_was_changed_and_then_refused_says_both() -> None:
    key = "sre/tool/0.0"
    lines, objects = work(
        *turn(0, calls=[{"name": "fs_write", "arguments": "{}"}]),
        note("tool.proposed", key, tool="fs.write", arguments={"path": "a"}, verdict="ask"),
        ApprovalRequested(at=2, path="look", id="ap-1", digest="d", message="sre: write a", call=key),
        ApprovalDecided(
            at=3, path="look", id="ap-1", decision="approved", by=("ana",), values={"path": ".env\x1b", "n": None}
        ),
        note("tool.failed", key, tool="fs.write", error={"code": "TOOL_ERROR", "message": "it is private"}),
    )
    assert lines == [
        "✓ turn 1  openai/m  30 tokens  $0.002  Hm.  → fs_write",
        '✗ fs.write  path="a"  by ana, changed to path=".env\\u001b"',
        "    TOOL_ERROR: it is private",
    ]
    call = objects[1]
    assert (call["status"], call["arguments"], call["changed"]) == ("failed", {"path": "a"}, {"path": ".env\x1b"})
    assert (call["allowed"], call["approval"], call["error"]["message"]) == ("by ana", "ap-1", "it is private")


def test_delegates_stand_inside_the_call_and_what_was_simulated_has_no_cost() -> None:
    key, inner = "sre/tool/0.0", "sre/tool/0.0/dba"
    lines, objects = work(
        note("tool.proposed", key, tool="delegate.dba", arguments={}, verdict="allow"),
        note("tool.started", key, tool="delegate.dba", arguments={}),
        note("session", inner, agent_id="dba", fresh=False, goal="look"),
        *turn(0, inner, mode="simulated", cost_nano=None),
        note("llm.failed", "sre/llm/1", model="openai/m", message="429", uncertain_nano=2_000_000),
    )
    assert lines[2].startswith("    ✓ turn 1  openai/m  30 tokens  n/a")
    assert "0 tokens  - + up to $0.002 uncertain" in lines[3]
    assert lines[4] == "    1 request failed: 429"
    assert objects[0]["inside"][0]["inside"][0]["cost_usd"] is None


def test_only_the_last_turns_are_told_unless_everything_is_wanted() -> None:
    facts = [fact for number in range(TURNS + 8) for fact in turn(number)]
    lines, objects = work(*facts)
    assert lines[0] == "… 8 turns before these; --full tells everything"
    assert (len(lines), len(objects)) == (TURNS + 1, TURNS + 8)
    assert len(work(*facts, full=True)[0]) == TURNS + 8


def test_a_call_that_was_rejected_does_not_look_like_one_that_was_let_through() -> None:
    facts: list[AnyFact] = [*turn(0, calls=[{"name": "fs_write", "arguments": "{}"}] * 3)]
    for index, (decision, by) in enumerate((("approved", ("ana",)), ("rejected", ("ana",)), ("withdrawn", ()))):
        key, id_ = f"sre/tool/0.{index}", f"ap-{index}"
        facts += [
            note("tool.proposed", key, tool="fs.write", arguments={}, verdict="ask"),
            ApprovalRequested(at=2, path="look", id=id_, digest="d", message="sre: write", call=key),
            ApprovalDecided(at=3, path="look", id=id_, decision=decision, by=by, reason="ended"),  # type: ignore[arg-type]
        ]
    lines, objects = work(*facts)
    assert lines[1:] == ["○ fs.write  by ana", "✗ fs.write  rejected by ana", "○ fs.write  withdrawn (ended)"]
    assert [(each["status"], each["allowed"]) for each in objects[1:]] == [
        ("pending", "by ana"),
        ("rejected", "rejected by ana"),
        ("pending", "withdrawn (ended)"),
    ]


def test_a_call_in_doubt_that_somebody_skipped_says_so() -> None:
    key = "sre/tool/0.0"
    message = "nobody knows whether this happened; ana says to go on without it"
    lines, _ = work(
        *turn(0, calls=[{"name": "pay", "arguments": "{}"}]),
        note("tool.proposed", key, tool="pay", arguments={}, verdict="allow"),
        note("tool.started", key, tool="pay", arguments={}),
        note(
            "tool.failed",
            key,
            tool="pay",
            error={"code": "IN_DOUBT", "message": message},
            decision=doubted("pay", "skip", "ana"),
        ),
    )
    assert lines[1:] == ["✗ pay  by rule", f"    skipped: IN_DOUBT: {message}"]
