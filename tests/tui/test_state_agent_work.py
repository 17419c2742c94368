"""What agents have done below their step: turns, calls, messages and questions, folded from what is recorded."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from run_kit import START, Telling, telling

from fleetprompt.engine.core.codec import decode
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import (
    ApprovalDecided,
    ApprovalRequested,
    Blob,
    StepFailed,
    StepNoted,
    StepStarted,
    StepWaiting,
)
from fleetprompt.engine.core.plan import Node, Retry
from fleetprompt.tui.state import agent_work
from fleetprompt.tui.state.agent_rows import doings, entry_values
from fleetprompt.tui.state.run_lines import TreeLines
from fleetprompt.tui.state.tree_rows import TreeRow
from tests.tui.recorded import Planned, Told, read

AGENT = Node(id="look", type="agent", resumes=True, retry=Retry(3))


def note(kind: str, key: str, at: float = 0.0, attempt: int = 1, blob: Blob | None = None, **value: Any) -> StepNoted:
    return StepNoted(at=START + at, path="look", kind=kind, key=key, value=value, attempt=attempt, blob=blob)


def session(key: str = "sre", at: float = 0.0, *, fresh: bool = True, attempt: int = 1) -> StepNoted:
    return note(
        "session", key, at, attempt, agent_id=key.rpartition("/")[2].partition("#")[0], goal="find it", fresh=fresh
    )


def asked(turn: int, at: float, agent: str = "sre", **value: Any) -> StepNoted:
    return note("llm.started", f"{agent}/llm/{turn}", at, model="openai/m", mode="live", digest="d1", **value)


def answered(turn: int, at: float, agent: str = "sre", **value: Any) -> StepNoted:
    given: dict[str, Any] = {"model": "openai/m", "mode": "live", "cost_nano": 2_000_000, "tokens": 30, "text": "Hm."}
    return note("llm.completed", f"{agent}/llm/{turn}", at, **(given | value))


def called(key: str, at: float, tool: str = "fs.read", verdict: str = "allow", **arguments: Any) -> list[StepNoted]:
    value = {"tool": tool, "arguments": arguments}
    return [
        note("tool.proposed", key, at, **value, verdict=verdict, rule="default of fs.read"),
        note("tool.started", key, at, **value, repeat="safe"),
    ]


def begun() -> Telling:
    run = telling(AGENT)
    run.say(StepStarted(at=START, path="look", input={}), session())
    return run


def told(row: TreeRow) -> tuple[Any, ...]:
    return (row.depth, row.status, row.name, row.given, row.by, row.detail)


def rows_of(name: str) -> Telling:
    """A recorded run, the one that the first fact is about."""
    entries = read(name)
    facts = [entry for entry in entries if isinstance(entry, Told)]
    created = decode(msgspec.json.encode(facts[0].fact))
    plan = next(entry.plan for entry in entries if isinstance(entry, Planned) and entry.digest == created.plan)  # type: ignore[attr-defined]
    run = Telling(plan, run=facts[0].run, begin=False)
    run.say(*(decode(msgspec.json.encode(entry.fact)) for entry in facts if entry.run == facts[0].run))
    return run


def test_turns_and_calls_are_below_the_step_with_model_cost_tokens_and_time() -> None:
    run = begun()
    run.say(asked(0, 1), answered(0, 3, text="I look\nat it.", calls=[{"name": "fs_read", "arguments": "{}"}]))
    run.say(*called("sre/tool/0.0", 3, path="a.txt"))
    run.say(note("tool.completed", "sre/tool/0.0", 4, tool="fs.read", output={"text": "x"}), asked(1, 4))
    step, turn, call, now = run.rows()
    assert (step.expanded, step.cost_nano, step.mode) == (True, 2_000_000, "live")
    assert told(turn) == (1, "completed", "turn 1", "I look ↵ at it.", "openai/m", "→ fs_read")
    assert (turn.started, turn.ended, turn.cost_nano, turn.tokens) == (START + 1, START + 3, 2_000_000, 30)
    assert told(call) == (1, "completed", "fs.read", 'path="a.txt"', "by rule", '{"text": "x"}')
    assert (now.status, now.name, now.active, now.ended) == ("running", "turn 2", True, None)


def test_an_agent_that_is_done_is_one_row_until_somebody_opens_it() -> None:
    run = begun()
    run.say(asked(0, 1), answered(0, 3), note("agent.completed", "sre", 3, output="ok"))
    run.ok("look", output="ok")
    assert run.lines() == ["✓ look"]
    run.tree.toggle("look")
    assert run.lines() == ["✓ look", "  ✓ turn 1"]


def test_nothing_is_folded_before_somebody_looks_and_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    folded: list[Any] = []
    apply = agent_work.AgentWork.apply
    monkeypatch.setattr(agent_work.AgentWork, "apply", lambda work, fact: (folded.append(fact), apply(work, fact)))
    run = begun()
    for turn in range(300):
        run.say(asked(turn, turn), answered(turn, turn))
    assert folded == []
    assert len(run.tree) == 301
    run.say(asked(300, 300))
    assert (len(run.tree), len(folded)) == (302, 602)


def test_a_request_that_failed_is_told_with_what_may_be_billed() -> None:
    run = begun()
    failed = {"model": "openai/m", "message": "429 slow down", "uncertain_nano": 7, "settle": {"id": "x"}}
    run.say(asked(0, 1), note("llm.failed", "sre/llm/0", 2, **failed))
    (_, turn) = run.rows()
    assert told(turn)[1:] == ("waiting", "turn 1", "", "openai/m", "1 request failed: 429 slow down")
    assert turn.uncertain_nano == 7
    run.say(asked(0, 3), answered(0, 4))
    (step, turn) = run.rows()
    assert (turn.status, turn.detail, turn.started, step.uncertain_nano) == (
        "completed",
        "after 1 failure",
        START + 1,
        7,
    )
    entry = run.tree.visible()[1].entry
    assert entry is not None
    assert [held.name for held in entry_values(entry)] == ["answer", "used", "request", "failed", "request"]
    assert "settle" not in entry_values(entry)[3].value


def test_a_call_that_people_decide_about_says_what_is_asked_and_then_who_allowed_it() -> None:
    run = begun()
    proposed, started = called("sre/tool/0.0", 3, verdict="ask", path="a")
    ask = ApprovalRequested(at=START + 3, path="look", id="ap-1", digest="d", message="sre: write a", call=proposed.key)
    run.say(asked(0, 1), answered(0, 2), proposed, ask)
    assert told(run.rows()[2])[1:] == ("waiting", "fs.read", 'path="a"', "asks", "sre: write a")
    decided = ApprovalDecided(at=START + 9, path="look", id="ap-1", decision="approved", by=("ana",), reason="vote")
    run.say(decided, note("resumed", "", 9), started)
    assert told(run.rows()[2])[1:] == ("running", "fs.read", 'path="a"', "by ana", "")
    run.say(note("tool.failed", proposed.key, 10, tool="fs.read", error={"code": "TOOL_ERROR", "message": "no"}))
    assert told(run.rows()[2])[1:] == ("failed", "fs.read", 'path="a"', "by ana", "TOOL_ERROR: no")


def test_what_is_asked_about_no_call_has_a_row_of_its_own() -> None:
    run = begun()
    ask = ApprovalRequested(
        at=START + 3, path="look", id="ap-1", digest="d", message="More?", call="sre/budget/0", about="budget"
    )
    # What it says to people is told by what they are asked.
    said = note("communication", "sre", 3, type="resource_request", channel="people", content="more", to="people")
    run.say(asked(0, 1), answered(0, 2), said, ask)
    assert told(run.rows()[2]) == (1, "waiting", "budget", "", "asks", "More?")
    run.say(ApprovalDecided(at=START + 4, path="look", id="ap-1", decision="rejected", by=("bo",), comment="enough"))
    assert told(run.rows()[2])[1:] == ("rejected", "budget", "", "rejected by bo", "More?  enough")


def test_what_a_delegate_does_is_inside_the_call_and_who_took_over_stands_below() -> None:
    run = begun()
    call, inner = "sre/tool/0.0", "sre/tool/0.0/dba"
    message = {"from": "sre", "to": "dba", "type": "task_delegation", "content": "look at locks"}
    run.say(asked(0, 1), answered(0, 2), *called(call, 2, tool="delegate.dba", task="look"))
    run.say(note("communication", call, 2, **message), session(inner, 2, fresh=False))
    run.say(asked(0, 3, inner), answered(0, 4, inner, text="No locks."), note("agent.completed", inner, 4, output="x"))
    run.say(note("communication", call, 4, **(message | {"from": "dba", "to": "sre", "type": "result"})))
    run.say(note("tool.completed", call, 4, tool="delegate.dba", output="No locks."), session("net#1", 5, fresh=False))
    run.say(asked(0, 6, "net#1"))
    assert run.lines() == [
        "● look",
        "  ✓ turn 1",
        "  ✓ delegate.dba",
        "      sre → dba",
        "    ✓ agent dba",
        "      ✓ turn 1",
        "      dba → sre",
        "  ● agent net",
        "    ● turn 1",
    ]
    assert run.rows()[2].cost_nano == 2_000_000, "what its delegate has spent"


def test_a_run_that_an_agent_starts_is_below_the_call() -> None:
    run = begun()
    run.say(asked(0, 1), answered(0, 2), *called("sre/tool/0.0", 3, tool="refund"))
    run.say(StepWaiting(at=START + 4, path="look", on="child", ref="run-child", call="sre/tool/0.0"))
    (_, _, call) = run.rows()
    assert (call.status, call.expandable) == ("waiting", True)
    run.tree.toggle(call.key)
    assert run.tree.wanted == ["run-child"]
    assert run.lines()[-1] == "    ○ run un-child"


def test_work_that_was_begun_anew_leaves_the_old_one_below_its_attempt() -> None:
    run = begun()
    run.say(asked(0, 1), answered(0, 2))
    run.say(StepFailed(at=START + 3, path="look", error=Failure("AGENT_ERROR", "no"), retry_at=START + 4))
    run.say(StepStarted(at=START + 4, path="look", attempt=2, input={}), session(at=4, attempt=2))
    run.tree.toggle("look#1")
    assert run.lines() == ["● look", "  ✗ attempt 1", "    ✓ turn 1"]
    run.say(note("llm.started", "sre/llm/0", 5, 2, model="openai/m", mode="live"))
    assert run.lines() == ["● look", "  ✗ attempt 1", "    ✓ turn 1", "  ● turn 1"]
    assert len({row.key for row in run.rows()}) == 4


def test_the_values_of_a_call_are_its_arguments_and_what_came_of_it() -> None:
    run = begun()
    run.say(*called("sre/tool/0.0", 3, path="a.txt"))
    blob = Blob("b" * 64, 90_000)
    run.say(note("tool.completed", "sre/tool/0.0", 4, blob=blob, tool="fs.read", seconds=0.5))
    node = run.tree.visible()[1]
    assert node.entry is not None
    held = {each.name: each for each in entry_values(node.entry)}
    assert held["arguments"].value == {"path": "a.txt"}
    assert held["allowed"].value["rule"] == "default of fs.read"
    assert held["result"].blob == blob
    assert run.rows()[1].detail == "90,000 bytes"
    assert node.step is not None
    assert node.step.path == "look", "what is beside the tree is that of the step"


def test_jumps_and_cursors_hold_on_to_rows_of_agents() -> None:
    run = begun()
    run.say(asked(0, 1), answered(0, 2))
    run.tree.go(1)
    key = run.tree.cursor
    run.say(asked(1, 3))
    assert (run.tree.cursor, len(run.tree)) == (key, 3)
    assert run.tree.next_active()
    assert run.tree.cursor == "look"


def test_the_recorded_team() -> None:
    run = rows_of("team")
    told_rows = [(row.depth, row.status, row.name, row.by) for row in run.rows()]
    assert told_rows == [
        (0, "waiting", "notes", ""),
        (1, "completed", "turn 1", "simulated/script"),
        (1, "completed", "fs.read", "by rule"),
        (1, "completed", "delegate.checker", "by rule"),
        (2, "", "editor → checker", "asks"),
        (2, "completed", "agent checker", "2 turns"),
        (3, "completed", "turn 1", "simulated/script"),
        (3, "completed", "fs.grep", "by rule"),
        (3, "completed", "turn 2", "simulated/script"),
        (2, "", "checker → editor", "answers"),
        (1, "failed", "fs_read", ""),
        (1, "completed", "turn 2", "simulated/script"),
        (1, "completed", "fs.write", "by ana"),
        (2, "", "granted", "by ana"),
        (1, "completed", "turn 3", "simulated/script"),
        (1, "waiting", "human.ask", "asks"),
        (0, "pending", "publish", ""),
    ]


class View:
    """As much of a run as its lines look at."""

    def __init__(self, run: Telling) -> None:
        self.tree, self.fold, self.run = run.tree, run.fold, run.fold.run


def test_what_was_simulated_has_no_cost_and_texts_of_models_are_inert() -> None:
    run = begun()
    run.say(note("llm.started", "sre/llm/0", 1, model="simulated/script", mode="simulated"))
    run.say(answered(0, 2, mode="simulated", cost_nano=None, text="a\x1b[31mb\u202ec"))
    lines = TreeLines(View(run), lambda: START + 9)  # type: ignore[arg-type]
    name, _, cost, tokens, _ = lines.cells(1) or ()
    assert cost == ("n/a", "dim")
    assert tokens == ("30", "dim")
    assert "".join(text for text, _ in name if isinstance(text, str)) == "    ✓ turn 1 a\\x1b[31mb\\u202ec"
    lines.timeline, lines.room = True, 20
    assert lines.cells(1) is not None


def test_what_an_agent_is_doing_while_it_says_nothing() -> None:
    run = begun()
    track = run.fold.index.tracks["look"]

    def doing() -> list[str]:
        return ["".join(text for text, _ in line) for line in doings(track)]

    assert doing() == ["…"]
    run.say(asked(0, 1))
    assert doing() == ["● turn 1 is asked openai/m"]
    run.say(answered(0, 2), *called("sre/tool/0.0", 3, path="a\x1b"))
    assert doing() == ['● fs.read path="a\\u001b"']
