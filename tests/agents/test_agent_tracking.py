"""What is on the record of an agent's way, by the names that whoever analyses journals reads: they never change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agent_kit import StubModels, command, engine_at, facts, notes, over, start, until, vote, waits
from stub_server import start_stub

from fleetprompt.engine.agents import attempts
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.codec import decode
from fleetprompt.engine.core.facts import ApprovalDecided, StepNoted
from fleetprompt.engine.definition.load import load_text


def call(name: str, /, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "BACKOFF", (0.0, 0.0, 0.0))


LOOKS = """
name: looks
agents:
  sre: {tools: ["fs.*", human.ask], max_tokens: 100}
steps:
  - {id: look, type: agent, agent: sre, prompt: look}
"""
ACTION = {"type", "name", "tool", "capability", "status", "retry_count", "max_retries"}


def actions(noted: list[StepNoted]) -> list[tuple[Any, ...]]:
    """Of each note that has one, what kind of action it is and how it is."""
    found = [(note.kind, note.value["action"]) for note in noted if "action" in (note.value or {})]
    assert all(set(action) == ACTION for _, action in found)
    return [
        (kind, each["type"], each["name"], each["capability"], each["status"], each["retry_count"])
        for kind, each in found
    ]


async def test_requests_and_calls_are_actions_from_their_begin_to_their_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the pool is empty\n")
    script = [
        {"mode": "500"},
        {"calls": [call("fs_read", path="a.txt"), call("fs_write", path="b.txt", content="x")]},
        {"calls": [call("human_ask", question="restart?")]},
        {"calls": [call("fs_reed", path="a.txt")]},
        {"text": "done"},
    ]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, LOOKS)
            await waits(engine, "approval")
            await vote(engine, "rejected", comment="no")
            await waits(engine, "approval")
            await vote(engine, values={"answer": "yes"})
            assert await over(engine) == ("completed", "done")
            noted = await notes(engine)
    assert actions(noted) == [
        ("llm.started", "llm_call", "default", "answer", "running", 0),
        ("llm.failed", "llm_call", "default", "answer", "failed", 0),
        ("llm.started", "llm_call", "default", "answer", "running", 1),
        ("llm.completed", "llm_call", "default", "answer", "completed", 1),
        ("tool.started", "file_read", "fs.read", "fs", "running", 0),
        ("tool.completed", "file_read", "fs.read", "fs", "completed", 0),
        ("tool.failed", "file_write", "fs.write", "fs", "rejected", 0),
        ("llm.started", "llm_call", "default", "answer", "running", 0),
        ("llm.completed", "llm_call", "default", "answer", "completed", 0),
        ("tool.started", "wait", "human.ask", "human", "running", 0),
        ("tool.completed", "wait", "human.ask", "human", "completed", 0),
        ("llm.started", "llm_call", "default", "answer", "running", 0),
        ("llm.completed", "llm_call", "default", "answer", "completed", 0),
        ("tool.failed", "tool_execution", "fs_reed", "fs_reed", "failed", 0),
        ("llm.started", "llm_call", "default", "answer", "running", 0),
        ("llm.completed", "llm_call", "default", "answer", "completed", 0),
    ]
    found = {note.kind: note.value for note in noted}
    assert found["llm.started"]["action"]["max_retries"] == attempts.TRIES - 1
    assert found["tool.started"]["action"]["tool"] == "human.ask"
    # What went in and came out, cost and times stand beside it, and not twice.
    assert {"at", "digest"} <= set(found["llm.started"])
    assert {"cost_nano", "tokens", "seconds", "text", "calls"} <= set(found["llm.completed"])
    assert {"at", "arguments", "key"} <= set(found["tool.started"])
    assert {"seconds", "output"} <= set(found["tool.completed"])


async def test_what_is_broken_off_says_so_as_an_action(tmp_path: Path) -> None:
    text = LOOKS + "guardrails: {requests: 9}\n"
    with start_stub(tmp_path, [{"mode": "hang"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, text)
            await until(lambda: stub.requests())
            await command(engine, types.CANCEL)
            await over(engine)
            noted = await notes(engine)
    assert actions(noted)[-1] == ("llm.failed", "llm_call", "default", "answer", "cancelled", 0)


DECISION = {
    "type", "question", "options", "chosen", "index", "reasoning", "confidence", "method", "rules_applied", "rejected",
    "by",
}  # fmt: skip


def decisions(noted: list[StepNoted]) -> list[dict[str, Any]]:
    """Those that are notes, and those that stand in one."""
    found = [note.value if note.kind == "decision" else (note.value or {}).get("decision") for note in noted]
    found = [each for each in found if each is not None]
    assert all(set(each) == DECISION for each in found)
    return found


def chosen(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(each["type"], each["chosen"], each["index"], each["method"]) for each in found]


async def test_what_models_rules_and_people_decide_is_on_the_record(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    text = LOOKS.replace('["fs.*", human.ask]', '["fs.*", human.ask, record_decision]')
    says = {
        "question": "why?", "options": ["disk", "pool"], "chosen": "pool", "reasoning": "it is empty",
        "confidence": 0.9, "rejected": {"disk": "12 % used"},
    }  # fmt: skip
    script = [
        {"calls": [call("fs_read", path="a.txt"), call("record_decision", type="root_cause", **says)]},
        {"calls": [call("fs_write", path="b.txt", content="x"), call("fs_write", path="c.txt", content="x")]},
        {"calls": [call("human_ask", question="restart?", options=["no", "yes"])]},
        {"text": "done"},
    ]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, text)
            await waits(engine, "approval")
            await vote(engine, call="sre/tool/1.0")
            await vote(engine, "rejected", call="sre/tool/1.1", comment="not that one")
            await waits(engine, "approval")
            await vote(engine, values={"answer": "yes"})
            assert await over(engine) == ("completed", "done")
            noted = await notes(engine)
    found = decisions(noted)
    assert chosen(found) == [
        ("policy", "allow", 0, "rule_based"),
        ("policy", "allow", 0, "rule_based"),
        ("root_cause", "pool", 1, "llm_based"),
        ("policy", "ask", 1, "rule_based"),
        ("policy", "ask", 1, "rule_based"),
        ("approval", "approved", 0, "user_input"),
        ("approval", "rejected", 1, "user_input"),
        ("policy", "allow", 0, "rule_based"),
        ("answer", "yes", 1, "user_input"),
    ]
    proposed = [note for note in noted if note.kind == "tool.proposed"]
    assert [each["rules_applied"] for each in found if each["type"] == "policy"] == [
        [note.value["rule"]] for note in proposed
    ]
    model, rejected = found[2], found[6]
    assert {name: model[name] for name in says} == says
    assert (model["rules_applied"], model["by"]) == ([], [])
    assert (rejected["reasoning"], rejected["by"]) == ("not that one", ["ana"])
    assert "c.txt" in rejected["question"]


@pytest.mark.parametrize(
    ("more", "limits", "told"),
    [
        (
            "",
            "guardrails: {requests: 2, on_limit: wrap_up}",
            [("remark", "wrap_up", "on_limit: wrap_up (requests of run/r1)")],
        ),
        ("", "guardrails: {requests: 1}", [("agent.failed", "fail", "on_limit: fail (requests of run/r1)")]),
        (", max_iterations: 1", "", [("agent.failed", "fail", "max_iterations: 1")]),
        (
            ", max_iterations: 1",
            "guardrails: {requests: 9, on_limit: wrap_up}",
            [("llm.started", "wrap_up", "max_iterations: 1")],
        ),
    ],
)
async def test_what_happens_at_a_limit_is_decided_by_a_rule(
    tmp_path: Path, more: str, limits: str, told: list[tuple[str, str, str]]
) -> None:
    text = LOOKS.replace("prompt: look}", f"prompt: look{more}}}") + limits
    look = {"calls": [call("fs_list", path=".")], "without_tools": {"text": "all I know"}}
    with start_stub(tmp_path, [look]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, text)
            await over(engine)
            noted = await notes(engine)
    found = [(note.kind, note.value["decision"]) for note in noted if "decision" in (note.value or {})]
    limit = [(kind, each["chosen"], *each["rules_applied"]) for kind, each in found if each["type"] == "limit"]
    assert limit == told
    wraps = told[0][0] == "remark"
    assert [(move["to"], move["type"]) for move in moves(noted)] == [
        ("planning", "normal"),
        ("executing", "normal"),
        *([("wrapping_up", "skip")] if wraps else []),
        ("failed", "error") if told[0][1] == "fail" else ("completed", "normal"),
    ]


SESSION = {
    "fresh", "agent_id", "agent_type", "goal", "goal_type", "codebase", "triggered_by", "metadata", "parent", "root",
    "task", "root_task", "request", "phase", "history", "definition", "tools",
}  # fmt: skip
MOVE = {"from", "to", "sequence", "reason", "type", "triggered_by_event", "state_data"}


def moves(noted: list[StepNoted]) -> list[dict[str, Any]]:
    """Changes of state: each begins where the one before has ended, and comes with the note that it names."""
    found = [(n, note) for n, note in enumerate(noted) if note.kind == "state"]
    assert all(set(note.value) == MOVE for _, note in found)
    last: dict[str, dict[str, Any]] = {}
    for n, note in found:
        before = last.get(note.key, {"to": "", "sequence": -1})
        assert (note.value["from"], note.value["sequence"]) == (before["to"], before["sequence"] + 1)
        last[note.key] = note.value
        assert note.value["triggered_by_event"] in {each.kind for each in noted[max(0, n - 1) : n + 2]}
    return [note.value for _, note in found]


MESSAGE = {
    "from", "to", "type", "content", "is_request", "request_id", "in_response_to", "channel", "sent_at", "received_at",
    "responded_at",
}  # fmt: skip


def messages(noted: list[StepNoted]) -> list[dict[str, Any]]:
    found = [note.value for note in noted if note.kind == "communication"]
    assert all(set(each) == MESSAGE for each in found)
    return found


def route(message: dict[str, Any]) -> tuple[str, str, str, str]:
    return message["from"], message["to"], message["type"], message["channel"]


async def test_a_task_that_is_given_away_is_a_message_that_is_taken_up_and_answered(tmp_path: Path) -> None:
    text = """
name: team
agents:
  triage: {system: "I am triage.", delegates: [policy], handoffs: [billing]}
  policy: {system: "I am policy."}
  billing: {system: "I am billing."}
steps:
  - {id: handle, type: agent, agent: triage, prompt: "the invoice is wrong", goal_type: refund}
"""
    script = [
        {"when": "I am policy.", "text": "up to 10"},
        {"when": "I am billing.", "text": "corrected"},
        {"calls": [call("delegate_policy", task="how much may we refund?")]},
        {"calls": [call("handoff_billing", reason="it is about money")]},
    ]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            source = {"file": "flow.yaml", "commit": "ab" * 20, "dirty": True}
            await start(engine, text, source=source, trigger={"kind": "manual"})
            assert await over(engine) == ("completed", "corrected")
            noted = await notes(engine)
    asked, answered, handed = messages(noted)
    assert [route(each) for each in (asked, answered, handed)] == [
        ("triage", "policy", "task_delegation", "run"),
        ("policy", "triage", "result", "run"),
        ("triage", "billing", "task_delegation", "run"),
    ]
    begun = {note.value["agent_id"]: note for note in noted if note.kind == "session"}
    started = next(note for note in noted if note.kind == "tool.started")
    assert (asked["is_request"], asked["request_id"], asked["sent_at"]) == (True, started.key, started.value["at"])
    for message, agent in ((asked, "policy"), (handed, "billing")):
        # It is taken up where the other one begins, and not before.
        assert begun[agent].value["request"] == message["request_id"]
        assert message["sent_at"] <= message["received_at"] <= begun[agent].at
        assert message["responded_at"] is None
    assert begun["triage"].value["request"] == ""
    assert [(each["from"], each["to"], each["type"]) for each in moves(noted)] == [
        ("", "planning", "normal"),
        ("planning", "executing", "normal"),
        ("", "planning", "normal"),
        ("planning", "completed", "normal"),
        ("executing", "handed_over", "jump"),
        ("", "planning", "normal"),
        ("planning", "completed", "normal"),
    ]
    told = {name: note.value for name, note in begun.items()}
    assert all(set(value) == SESSION for value in told.values())
    for name, value in told.items():
        assert (value["agent_type"], value["goal_type"], value["root"], value["phase"]) == (
            "llm", "" if name == "policy" else "refund", "triage", "execution",
        )  # fmt: skip
        assert value["codebase"] == f"{tmp_path.name}@{'ab' * 6}+"
        assert (value["triggered_by"], value["root_task"], value["agent_id"]) == ("manual", "triage", name)
    assert (told["policy"]["parent"], told["policy"]["task"]) == ("triage", "triage/tool/0.0/policy")
    [handoff] = [each for each in decisions(noted) if each["type"] == "handoff"]
    assert (handoff["chosen"], handoff["options"], handoff["method"]) == ("billing", ["billing"], "llm_based")
    assert (answered["is_request"], answered["in_response_to"]) == (False, asked["request_id"])
    assert answered["responded_at"] == answered["sent_at"] <= answered["received_at"]


async def test_what_people_are_asked_and_answer_are_messages(tmp_path: Path) -> None:
    """A question of an agent, help where it goes in circles, more budget."""
    text = """
name: asks
guardrails: {requests: 4, on_limit: ask}
agents:
  sre: {tools: [fs.list, human.ask], stuck: {repeats: 2}, approval: {approvers: [ana, bo]}}
steps:
  - {id: look, type: agent, agent: sre, prompt: look}
"""
    again = {"calls": [call("fs_list", path=".")]}
    script = [{"calls": [call("human_ask", question="restart?")]}, again, again, again, {"text": "done"}]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, text)
            await waits(engine, "approval")
            await vote(engine, values={"answer": "yes"}, comment="go")
            await waits(engine, "approval")
            await vote(engine, values={"advice": "stop looking"})
            await waits(engine, "budget")
            await vote(engine, values={"amount": 2})
            assert await over(engine) == ("completed", "done")
            noted = await notes(engine)
            found = messages(noted)
            decided = [fact.at for fact in await facts(engine) if isinstance(fact, ApprovalDecided)]
    assert [route(each) for each in found] == [
        ("sre", "ana, bo", "question", "people"),
        ("ana", "sre", "result", "people"),
        ("sre", "ana, bo", "collaboration_request", "people"),
        ("ana", "sre", "result", "people"),
        ("sre", "people", "resource_request", "people"),
        ("ana", "sre", "result", "people"),
    ]
    asked, answers = found[::2], found[1::2]
    assert [each["request_id"] for each in asked] == [each["in_response_to"] for each in answers]
    assert len({each["request_id"] for each in asked}) == 3
    # Nobody sees when people have read it. An answer is sent as it is given, and received when it is acted upon.
    assert {each["received_at"] for each in asked} == {None}
    assert [each["sent_at"] for each in answers] == [each["responded_at"] for each in answers] == decided
    assert all(each["sent_at"] <= each["received_at"] for each in answers)
    assert asked[0]["content"] == "restart?"
    assert answers[0]["content"] == {"answer": "yes", "comment": "go"}
    assert (asked[2]["content"]["limit"], answers[2]["content"]) == ("requests", {"amount": 2})
    # What they decide is on the record as their choice, what led to the question as that of a rule.
    assert chosen([each for each in decisions(noted) if each["type"] != "policy"]) == [
        ("answer", "yes", None, "user_input"),
        ("stuck", "tell", 0, "rule_based"),
        ("stuck", "ask", 1, "rule_based"),
        ("stuck", "approved", 0, "user_input"),
        ("limit", "ask", 1, "rule_based"),
        ("limit", "approved", 0, "user_input"),
    ]
    by_rule = [each["rules_applied"] for each in decisions(noted) if each["type"] in ("stuck", "limit")]
    assert by_rule[1] == ["`fs.list` was called 2 times in a row with the same arguments", "on_stuck: ask"]
    assert by_rule[3] == ["on_limit: ask (requests of run/r1)"]


async def test_runs_that_are_started_and_channels_are_spoken_to(tmp_path: Path) -> None:
    text = """
name: boss
agents:
  boss: {tools: [workflow.start, notify], functions: {refund: refund, refuse: refuse}}
steps:
  - {id: go, type: agent, agent: boss, prompt: go}
"""
    script = [
        {"calls": [call("refund", inputs={})]},
        {"calls": [call("refuse", inputs={})]},
        {"calls": [call("workflow_start", workflow="refund", inputs={}, wait=False)]},
        {"calls": [call("notify", channel="desk", text="all refunded")]},
        {"text": "done"},
    ]
    settings = {
        "policy": {"allow": ["workflow.start", "notify"]},
        "tools": {"notify": {"desk": {"file": "desk.jsonl"}}},
    }
    children = {
        "refund": "name: refund\nsteps: [{id: pay, type: transform, output: 7}]",
        "refuse": "name: refuse\nsteps: [{id: no, type: stop, status: failed, message: closed}]",
    }
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub), **settings) as engine:
            for name, child in children.items():
                await engine.workflows.register(load_text(child, f"{name}.yaml").plan, source=child)
            await start(engine, text)
            assert await over(engine) == ("completed", "done")
            found = messages(await notes(engine))
    assert [route(each) for each in found] == [
        ("boss", "refund", "task_delegation", "child"),
        ("refund", "boss", "result", "child"),
        ("boss", "refuse", "task_delegation", "child"),
        ("refuse", "boss", "error_notification", "child"),
        ("boss", "refund", "task_delegation", "child"),
        ("refund", "boss", "status_update", "child"),
        ("boss", "desk", "status_update", "notify"),
    ]
    assert [each["in_response_to"] for each in found[1:6:2]] == [each["request_id"] for each in found[0:6:2]]
    assert "closed" in found[3]["content"]["error"]
    assert found[6]["content"] == "all refunded"


def test_names_that_were_recorded_once_are_recorded_for_ever() -> None:
    file = Path(__file__).parents[1] / "golden" / "v1" / "tracked.jsonl"
    noted = [fact for fact in map(decode, file.read_bytes().splitlines()) if isinstance(fact, StepNoted)]
    known = {"session": SESSION, "state": MOVE, "decision": DECISION, "communication": MESSAGE}
    for kind, names in known.items():
        assert {name for note in noted if note.kind == kind for name in note.value} <= names
    assert actions(noted)
    assert decisions(noted)
    assert messages(noted)
