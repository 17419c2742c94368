"""Single calls are decided about: approved, changed, rejected, ended, granted, expired; and survive what happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agent_kit import StubModels, engine_at, facts, notes, over, start, vote, waits
from stub_server import start_stub

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.core.facts import ApprovalDecided, ApprovalRequested
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import APPROVAL_FIELDS
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import Page
from fleetprompt.engine.runtime.edits import look_at

WRITES = """
name: writes
agents:
  sre: {tools: ["fs.*"], approval: {approvers: ["user:ana"]}}
steps:
  - {id: fix, type: agent, agent: sre, prompt: "fix it"}
"""


def write(path: str, content: str) -> dict[str, Any]:
    return {"name": "fs_write", "arguments": {"path": path, "content": content}}


def said(stub: Any, at: int = -1) -> str:
    """The last result that the model was told in a request."""
    return stub.requests()[at]["body"]["messages"][-1]["content"]


async def test_a_rejected_call_is_not_made_and_the_model_is_told_why(tmp_path: Path) -> None:
    script = [{"calls": [write("b.txt", "x")]}, {"text": "I leave it"}]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, WRITES)
            await waits(engine, "approval")
            await vote(engine, "rejected", comment="not on a Friday")
            assert await over(engine) == ("completed", "I leave it")
    assert not (tmp_path / "b.txt").exists()
    assert "rejected by ana: not on a Friday" in said(stub)


async def test_a_rejection_can_end_the_agent(tmp_path: Path) -> None:
    with start_stub(tmp_path, [{"calls": [write("b.txt", "x")]}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, WRITES)
            await waits(engine, "approval")
            await vote(engine, "rejected", comment="enough", ends=True)
            status, error = await over(engine)
            assert (status, error.code) == ("failed", "APPROVAL_REJECTED")
            assert "enough" in error.message
    assert len(stub.requests()) == 1


ANSWER = [
    {"name": "fs_read", "arguments": {"path": "a.txt"}},
    write("b.txt", "x"),
    {"name": "shell_run", "arguments": {"argv": ["touch", "c.txt"]}},
]
"""One that is allowed, and two that are asked about."""


@pytest.mark.parametrize("before", ["", "sre/tool/0.2"])
async def test_an_ended_agent_makes_nothing_else_of_its_answer(tmp_path: Path, before: str) -> None:
    """`before`: a call of it that was approved before the rejection."""
    (tmp_path / "a.txt").write_text("a")
    flow = WRITES.replace('["fs.*"]', '["fs.*", shell.run]')
    with start_stub(tmp_path, [{"calls": ANSWER}, {"text": "done"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, flow)
            await waits(engine, "approval")
            if before:
                await vote(engine, call=before)
            await vote(engine, "rejected", call="sre/tool/0.1", comment="enough", ends=True)
            status, error = await over(engine)
            assert (status, error.code) == ("failed", "APPROVAL_REJECTED")
            decided = [fact.decision for fact in await facts(engine) if isinstance(fact, ApprovalDecided)]
            assert sorted(decided) == ["approved" if before else "rejected", "rejected" if before else "withdrawn"]
            pending, _ = await engine.store.approvals.list(parse("status:pending", APPROVAL_FIELDS), Page(), now=0.0)
            assert pending == []
            made = [note.key for note in await notes(engine, "tool.started")]
            unmade = {note.key: note.value["error"]["message"] for note in await notes(engine, "tool.failed")}
    assert made == []
    assert list(unmade) == ["sre/tool/0.0", "sre/tool/0.1", "sre/tool/0.2"]
    assert all(text.startswith("not made: the agent was ended by ana") for text in unmade.values())
    assert not (tmp_path / "c.txt").exists()
    assert len(stub.requests()) == 1


async def test_what_an_operator_changes_is_what_is_done_and_the_model_knows(tmp_path: Path) -> None:
    script = [{"calls": [write("b.txt", "rm -rf")]}, {"text": "done"}]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, WRITES)
            await waits(engine, "approval")
            await vote(engine, values={"content": "safe\n"})
            assert await over(engine) == ("completed", "done")
            proposals = await notes(engine, "tool.proposed")
            assert [note.value["arguments"]["content"] for note in proposals] == ["rm -rf", "safe\n"]
            assert proposals[1].value["edited_by"] == ["ana"]
    assert (tmp_path / "b.txt").read_text() == "safe\n"
    assert "changed by an operator" in said(stub)


async def test_several_people_approve_the_same_call_or_none(tmp_path: Path) -> None:
    flow = WRITES.replace('approvers: ["user:ana"]', "quorum: 2")
    with start_stub(tmp_path, [{"calls": [write("b.txt", "x")]}, {"text": "done"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, flow)
            await waits(engine, "approval")
            await vote(engine, values={"content": "safe"})
            with pytest.raises(AssertionError, match="ana has approved another call, with content='safe'"):
                await vote(engine, by="ben")
            await vote(engine, by="ben", values={"content": "safe"})
            assert await over(engine) == ("completed", "done")
    assert (tmp_path / "b.txt").read_text() == "safe"


@pytest.mark.parametrize(("said", "granted"), [(("", "workflow"), ""), (("workflow", "run"), "run")])
async def test_of_several_people_the_narrowest_grant_counts(
    tmp_path: Path, said: tuple[str, str], granted: str
) -> None:
    flow = WRITES.replace('approvers: ["user:ana"]', "quorum: 2")
    with start_stub(tmp_path, [{"calls": [write("b.txt", "x")]}, {"text": "done"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, flow)
            await waits(engine, "approval")
            for person, grant in zip(("ana", "ben"), said, strict=True):
                await vote(engine, by=person, grant=grant)
            assert await over(engine) == ("completed", "done")
            [decided] = [fact for fact in await facts(engine) if isinstance(fact, ApprovalDecided)]
            assert decided.grant == granted
            assert [note.value["scope"] for note in await notes(engine, "grant")] == ([granted] if granted else [])


async def test_a_change_that_cannot_be_used_is_refused_and_the_approval_stays_open(tmp_path: Path) -> None:
    script = [{"calls": [write("b.txt", "x")]}, {"text": "done"}]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, WRITES)
            await waits(engine, "approval")
            with pytest.raises(AssertionError, match=r"cannot be changed so: .*workspace"):
                await vote(engine, values={"path": "../../etc/passwd"})
            (tmp_path / "policy.toml").write_text('deny = [{tool = "fs.write", where = {path = "c.txt"}}]')
            with pytest.raises(AssertionError, match="cannot be changed so: not allowed: policy"):
                await vote(engine, values={"path": "c.txt"})
            with pytest.raises(AssertionError, match="ben may not decide this"):
                await vote(engine, by="ben", values={"path": "c.txt"})
            # One that another process has recorded, and that the engine finds.
            [asked] = [fact for fact in await facts(engine) if isinstance(fact, ApprovalRequested)]
            data = {"approval": asked.id, "decision": "approved", "values": {"path": "/etc/passwd"}}
            sent = Signal(id="v1", type=types.VOTE, source="test", at=engine.now(), subject="r1", by="ana", data=data)
            await engine.store.signals.publish(sent)
            await engine.bus.drain()
            _, [result] = await engine.store.signals.results("v1")
            assert (result.status, "cannot be changed so" in result.reason) == ("refused", True)
            await vote(engine, values={"path": "d.txt"})
            assert await over(engine) == ("completed", "done")
    assert [path.name for path in tmp_path.glob("?.txt")] == ["d.txt"]


async def test_a_changed_call_is_shown_hashed_and_held_to(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("there\n")
    script = [{"calls": [write("b.txt", "x\n")]}, {"text": "done"}]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, WRITES)
            await waits(engine, "approval")
            [asked] = [fact for fact in await facts(engine) if isinstance(fact, ApprovalRequested)]
            assert await look_at(engine, "r1", asked.id, {"path": "b.txt"}) is None, "nothing is changed"
            with pytest.raises(Refused, match=r"cannot be changed so: .*workspace"):
                await look_at(engine, "r1", asked.id, {"path": "../c.txt"})
            call = await look_at(engine, "r1", asked.id, {"path": "c.txt"})
            assert call is not None
            assert call.arguments == {"path": "c.txt", "content": "x\n"}
            assert "-there\n+x" in call.show["does"]
            (tmp_path / "c.txt").write_text("there, changed\n")
            with pytest.raises(AssertionError, match="is not what was shown: that has changed since"):
                await vote(engine, values={"path": "c.txt"}, edited=call.edited, previewed=call.previewed)
            again = await look_at(engine, "r1", asked.id, {"path": "c.txt"})
            assert again is not None
            assert (again.edited, again.previewed == call.previewed) == (call.edited, False)
            await vote(engine, values={"path": "c.txt"}, edited=again.edited, previewed=again.previewed)
            assert await over(engine) == ("completed", "done")
            [decided] = [fact for fact in await facts(engine) if isinstance(fact, ApprovalDecided)]
            assert (decided.edited, decided.previewed) == (again.edited, again.previewed)
            _, made = await notes(engine, "tool.proposed")
            assert (made.value["edited"], made.value["previewed"]) == (again.edited, again.previewed)
            assert made.value["preview"]["show"] == again.show["does"]
    assert (tmp_path / "c.txt").read_text() == "x\n"


async def test_a_changed_call_that_would_do_something_else_by_then_is_not_made(tmp_path: Path) -> None:
    script = [{"calls": [write("b.txt", "x\n"), write("d.txt", "y")]}, {"text": "done"}]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, WRITES)
            await waits(engine, "approval")
            asked = next(fact for fact in await facts(engine) if isinstance(fact, ApprovalRequested))
            call = await look_at(engine, "r1", asked.id, {"path": "c.txt"})
            assert call is not None
            known = {"edited": call.edited, "previewed": call.previewed}
            await vote(engine, call="sre/tool/0.0", values={"path": "c.txt"}, **known)
            (tmp_path / "c.txt").write_text("somebody else's\n")
            await vote(engine, call="sre/tool/0.1")
            assert await over(engine) == ("completed", "done")
            [failed] = await notes(engine, "tool.failed")
            assert (
                "what the call would do has changed since it was shown and approved" in failed.value["error"]["message"]
            )
    assert (tmp_path / "c.txt").read_text() == "somebody else's\n"
    assert (tmp_path / "d.txt").read_text() == "y"


async def test_who_agrees_to_a_changed_call_agrees_to_what_it_would_do(tmp_path: Path) -> None:
    flow = WRITES.replace('approvers: ["user:ana"]', "quorum: 2")
    with start_stub(tmp_path, [{"calls": [write("b.txt", "x")]}, {"text": "done"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, flow)
            await waits(engine, "approval")
            [asked] = [fact for fact in await facts(engine) if isinstance(fact, ApprovalRequested)]
            for person in ("ana", "ben"):
                call = await look_at(engine, "r1", asked.id, {"path": "c.txt"})
                assert call is not None
                if person == "ben":
                    with pytest.raises(AssertionError, match="is not what ana has approved"):
                        await vote(engine, by=person, values={"path": "c.txt"}, previewed=call.previewed)
                    (tmp_path / "c.txt").unlink()
                    await vote(engine, by=person, values={"path": "c.txt"})
                    continue
                await vote(engine, by=person, values={"path": "c.txt"}, previewed=call.previewed)
                (tmp_path / "c.txt").write_text("there by now")
            assert await over(engine) == ("completed", "done")
            [decided] = [fact for fact in await facts(engine) if isinstance(fact, ApprovalDecided)]
            assert decided.previewed
    assert (tmp_path / "c.txt").read_text() == "x"


async def test_a_change_of_a_workflows_own_call_is_looked_at_as_well(tmp_path: Path) -> None:
    flow = "{name: w, steps: [{id: t, type: tool, tool: fs.write, with: {path: b.txt, content: x}}]}"
    (tmp_path / "policy.toml").write_text('ask = ["fs.write"]')
    with start_stub(tmp_path, []) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, flow)
            await waits(engine, "approval")
            with pytest.raises(AssertionError, match=r"cannot be changed so: .*workspace"):
                await vote(engine, values={"path": "/etc/passwd"})
            await vote(engine, values={"content": "y"})
            assert (await over(engine))[0] == "completed"
    assert (tmp_path / "b.txt").read_text() == "y"


async def test_a_change_that_cannot_be_used_any_more_is_not_made(tmp_path: Path) -> None:
    script = [{"calls": [write("b.txt", "1"), write("c.txt", "2")]}, {"text": "done"}]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, WRITES)
            await waits(engine, "approval")
            await vote(engine, call="sre/tool/0.0", values={"path": "d/b.txt"})
            (tmp_path / "d").symlink_to("/etc")
            await vote(engine, "rejected", call="sre/tool/0.1")
            assert await over(engine) == ("completed", "done")
            told = [note.value["error"]["message"] for note in await notes(engine, "tool.failed")]
    assert "an operator changed the arguments, which cannot be used so" in told[0]


async def test_nothing_of_a_turn_happens_before_all_of_it_is_decided(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    script = [{"calls": [write("out/free.txt", "1"), write("b.txt", "2"), write("c.txt", "3")]}, {"text": "done"}]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, WRITES)
            await waits(engine, "approval")
            asked = [fact for fact in await facts(engine) if isinstance(fact, ApprovalRequested)]
            assert [fact.call for fact in asked] == ["sre/tool/0.1", "sre/tool/0.2"]
            await vote(engine, call="sre/tool/0.2")
            await waits(engine, "approval")
            assert not (tmp_path / "out" / "free.txt").exists()
            await vote(engine, "rejected", call="sre/tool/0.1")
            assert await over(engine) == ("completed", "done")
    found = {path.name: path.read_text() for path in (tmp_path / "c.txt", tmp_path / "out" / "free.txt")}
    assert found == {"c.txt": "3", "free.txt": "1"}
    assert not (tmp_path / "b.txt").exists()


async def test_a_file_that_has_changed_since_it_was_shown_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("old\n")
    script = [{"calls": [write("b.txt", "new\n")]}, {"text": "done"}]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, WRITES)
            await waits(engine, "approval")
            (tmp_path / "b.txt").write_text("somebody else's\n")
            await vote(engine)
            assert await over(engine) == ("completed", "done")
    assert (tmp_path / "b.txt").read_text() == "somebody else's\n"
    assert "changed" in said(stub)


async def test_a_person_can_be_asked(tmp_path: Path) -> None:
    flow = WRITES.replace('["fs.*"]', "[human.ask]")
    ask = {"name": "human_ask", "arguments": {"question": "Which one?", "options": ["red", "blue"]}}
    with start_stub(tmp_path, [{"calls": [ask]}, {"text": "blue it is"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, flow)
            await waits(engine, "approval")
            [asked] = [fact for fact in await facts(engine) if isinstance(fact, ApprovalRequested)]
            assert (asked.message, asked.about) == ("Which one?", "question")
            await vote(engine, values={"answer": "blue"})
            assert await over(engine) == ("completed", "blue it is")
    assert '"answer":"blue"' in said(stub)


async def test_bad_calls_are_told_to_the_model_and_never_made(tmp_path: Path) -> None:
    bad = [
        {"name": "fs_raed", "arguments": {"path": "a"}},
        {"name": "fs_read", "arguments": {"file": "a"}},
        {"name": "fs_read", "arguments": '{"path": '},
        {"name": "fs_read", "arguments": {"path": "../../etc/passwd"}},
    ]
    with start_stub(tmp_path, [{"calls": bad}, {"text": "I see"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, WRITES)
            assert await over(engine) == ("completed", "I see")
            assert not await notes(engine, "tool.started")
    told = [message["content"] for message in stub.requests()[-1]["body"]["messages"] if message["role"] == "tool"]
    assert len(told) == 4
    for words, text in zip(("did you mean", "`file`", "not JSON", "workspace"), told, strict=True):
        assert words in text, text


async def test_what_is_granted_for_the_run_is_not_asked_about_again_and_nothing_else(tmp_path: Path) -> None:
    script = [
        {"calls": [write("b.txt", "1")]},
        {"calls": [write("b.txt", "1")]},
        {"calls": [write("c.txt", "2")]},
        {"text": "done"},
    ]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, WRITES)
            await waits(engine, "approval")
            await vote(engine, grant="run")
            await waits(engine, "approval")
            asked = [fact for fact in await facts(engine) if isinstance(fact, ApprovalRequested)]
            assert [fact.call for fact in asked] == ["sre/tool/0.0", "sre/tool/2.0"]
            await vote(engine, "rejected")
            assert await over(engine) == ("completed", "done")
            rules = [note.value["rule"] for note in await notes(engine, "tool.proposed")]
            assert rules[1].startswith("grant ap-")
    assert (tmp_path / "b.txt").read_text() == "1"
