"""What people allow for all runs of a workflow, what they take back, and what they switch off altogether."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent_kit import StubModels, command, engine_at, notes, over, start, vote, waits
from stub_server import start_stub

from fleetprompt.engine.core import signal as types

FLOW = """
name: writes
agents:
  a: {tools: ["fs.*"]}
steps:
  - {id: fix, type: agent, agent: a, prompt: hello}
"""
TWICE = [{"calls": [{"name": "fs_write", "arguments": {"path": "b.txt", "content": "x"}}]}, {"text": "ok"}] * 3


async def test_what_is_granted_for_a_workflow_is_not_asked_again_until_it_is_taken_back(tmp_path: Path) -> None:
    with start_stub(tmp_path, TWICE) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, FLOW)
            await waits(engine, "approval")
            await vote(engine, grant="workflow")
            assert await over(engine) == ("completed", "ok")
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, FLOW, run="r2")
            assert await over(engine, "r2") == ("completed", "ok")
            [grant] = await engine.store.grants.list()
            assert (grant.workflow, grant.tool, grant.by, grant.run) == ("writes", "fs.write", "ana", "r1")
            [proposed] = await notes(engine, "tool.proposed", "r2")
            assert grant.id in proposed.value["rule"]
            await command(engine, types.REVOKE, "", by="bob", grant=grant.id)
            await start(engine, FLOW, run="r3")
            await waits(engine, "approval", "r3")


async def test_nobody_approves_what_they_start_by_having_granted_it_before(tmp_path: Path) -> None:
    flow = FLOW.replace('["fs.*"]', '["fs.*"], approval: {approvers: {not: run.starter}}')
    with start_stub(tmp_path, [*TWICE, *TWICE]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, flow)
            await waits(engine, "approval")
            with pytest.raises(AssertionError, match="ana started the run"):
                await vote(engine, values={"content": "y"})
            await vote(engine, by="bo", grant="workflow")
            assert await over(engine) == ("completed", "ok")
            await start(engine, flow, run="r2", by="bo")
            await waits(engine, "approval", "r2")
            await start(engine, flow, run="r3", by="cy")
            assert await over(engine, "r3") == ("completed", "ok")


@pytest.mark.parametrize("change", [{"path": "c.txt"}, {"content": "y"}])
async def test_another_call_is_asked_about_nevertheless(tmp_path: Path, change: dict[str, str]) -> None:
    other = {"calls": [{"name": "fs_write", "arguments": {"path": "b.txt", "content": "x"} | change}]}
    with start_stub(tmp_path, [*TWICE[:2], other]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, FLOW)
            await waits(engine, "approval")
            await vote(engine, grant="workflow")
            assert await over(engine) == ("completed", "ok")
            await start(engine, FLOW, run="r2")
            await waits(engine, "approval", "r2")
    assert not (tmp_path / "c.txt").exists()
    assert (tmp_path / "b.txt").read_text() == "x"


async def test_a_tool_that_was_switched_off_is_not_called_although_it_was_approved(tmp_path: Path) -> None:
    with start_stub(tmp_path, TWICE) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, FLOW)
            await waits(engine, "approval")
            (tmp_path / "policy.toml").write_text('off = ["fs.write"]')
            await vote(engine)
            assert await over(engine) == ("completed", "ok")
            [failed] = await notes(engine, "tool.failed")
            assert "policy: off `fs.write`" in failed.value["error"]["message"]
    assert not (tmp_path / "b.txt").exists()


DENY = 'deny = [{tool = "fs.write", where = {path = "b.txt"}, reason = "frozen"}]'
BOTH = [{"calls": [TWICE[0]["calls"][0], {"name": "fs_write", "arguments": {"path": "out/c.txt", "content": "y"}}]}]


async def test_what_is_forbidden_while_a_call_waits_is_not_done_although_somebody_approves_it(tmp_path: Path) -> None:
    with start_stub(tmp_path, TWICE) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, FLOW)
            await waits(engine, "approval")
            (tmp_path / "policy.toml").write_text(DENY)
            await vote(engine)
            assert await over(engine) == ("completed", "ok")
            [failed] = await notes(engine, "tool.failed")
            await engine.store.logs.flush()
            lines, _ = await engine.store.logs.read("r1")
            assert [line.level for line in lines if "deny[1]: frozen. ana had approved it" in line.text] == ["warning"]
    assert "not allowed any more: policy.toml: deny[1]: frozen. ana had approved" in failed.value["error"]["message"]
    told = stub.requests()[1]["body"]["messages"][-1]["content"]
    assert "deny[1]: frozen" in told
    assert "reach the goal another way" in told
    assert not (tmp_path / "b.txt").exists()


async def test_what_was_allowed_is_asked_about_before_anything_happens_once_a_rule_says_so(tmp_path: Path) -> None:
    with start_stub(tmp_path, [*BOTH, {"text": "ok"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, FLOW)
            await waits(engine, "approval")
            (tmp_path / "policy.toml").write_text('ask = ["fs.write"]')
            await vote(engine)
            await waits(engine, "approval")
            assert not (tmp_path / "b.txt").exists()
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await vote(engine, call="a/tool/0.1")
            assert await over(engine) == ("completed", "ok")
            proposed = [(note.key, note.value["verdict"]) for note in await notes(engine, "tool.proposed")]
            assert proposed == [("a/tool/0.0", "ask"), ("a/tool/0.1", "allow"), ("a/tool/0.1", "ask")]
    assert (tmp_path / "out" / "c.txt").read_text() == "y"
    assert "changed by an operator" not in stub.requests()[1]["body"]["messages"][-1]["content"]


async def test_a_workflows_own_call_that_is_forbidden_while_it_waits_is_not_made(tmp_path: Path) -> None:
    flow = "{name: w, steps: [{id: t, type: tool, tool: fs.write, with: {path: b.txt, content: x}}]}"
    (tmp_path / "policy.toml").write_text('ask = ["fs.write"]')
    with start_stub(tmp_path, []) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, flow)
            await waits(engine, "approval")
            (tmp_path / "policy.toml").write_text(DENY)
            await vote(engine)
            status, error = await over(engine)
            assert (status, error.code) == ("failed", "APPROVAL_REJECTED")
            assert "deny[1]: frozen" in error.message
    assert not (tmp_path / "b.txt").exists()


async def test_when_everything_is_switched_off_no_model_is_asked_until_it_is_on_again(tmp_path: Path) -> None:
    with start_stub(tmp_path, TWICE) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, FLOW)
            await waits(engine, "approval")
            (tmp_path / "policy.toml").write_text("off = true")
            await vote(engine)
            status, error = await over(engine)
            assert (status, error.code) == ("failed", "CANCELLED")
            assert "off `*`" in error.message
            assert len(stub.requests()) == 1
            (tmp_path / "policy.toml").write_text("")
            await command(engine, types.RETRY, new="r2", run="r1")
            assert await over(engine, "r2") == ("completed", "ok")
    assert len(stub.requests()) == 2


async def test_a_policy_that_cannot_be_read_lets_nothing_happen(tmp_path: Path) -> None:
    with start_stub(tmp_path, TWICE) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, FLOW)
            await waits(engine, "approval")
            (tmp_path / "policy.toml").write_text("off = [")
            await vote(engine)
            status, error = await over(engine)
            assert status == "failed"
            assert "policy.toml:1:7: this is not a value" in error.message
    assert not (tmp_path / "b.txt").exists()
    assert len(stub.requests()) == 1
