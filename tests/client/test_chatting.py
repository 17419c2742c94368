"""Conversations with agents, over several messages and consoles: each message is a run that knows what was said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from client_kit import attached, embedded, place_at, start_of
from test_console_agents import over

from fleetprompt.client.chatting import HISTORY, Turn, history
from fleetprompt.client.guarded import guarded
from fleetprompt.client.identity import Identity, local_identity
from fleetprompt.client.protocol import Console
from fleetprompt.client.saying import Message
from fleetprompt.engine.core.errors import InvalidInput, NotFound, Refused
from fleetprompt.engine.core.facts import StepNoted

CLERK = """
name: clerk
model: simulated/script
tools: [fs.list, fs.write]
"""
WORDS = """
rules:
  - {if: "'file' in asked and turn == 0", call: {tool: fs.write, with: {path: a.txt, content: hello}}}
  - {after: fs.write, say: Written.}
  - {if: "'break' in asked", call: {tool: fs.list, with: {path: nowhere}}}
  - {say: "You said ${{ asked }}, and before that ${{ prompt }}."}
"""


def project(root: Path) -> None:
    for name, text in {"agents/clerk.yaml": CLERK, "simulations/clerk.yaml": WORDS}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


async def said(console: Console, message: str, session: str = "talk", agent: str = "clerk") -> str:
    run = await console.chat(agent, message, session, by="ana")
    assert await over(console, run) == "completed"
    return run


async def test_an_agent_knows_what_was_said_before(tmp_path: Path) -> None:
    project(tmp_path)
    console = await embedded(place_at(tmp_path))
    assert await console.conversation("talk") == []
    first = await said(console, "my name is ${{ inputs.x }}")
    second = await said(console, "who am I?")
    await said(console, "and here?", "another")
    one, two = await console.conversation("talk")
    assert (one.run, one.message, two.run) == (first, "my name is ${{ inputs.x }}", second)
    assert two.answer == "You said who am I?, and before that my name is ${{ inputs.x }}."
    assert (two.agent, two.by, two.mode, two.status) == ("clerk", "ana", "simulated", "completed")
    head = await console.run(second)
    assert (head.trigger, head.session, head.workflow, head.agents) == ("chat", "talk", "chat:clerk", ("clerk",))
    assert await console.workflows() == [], "it is no workflow that anybody could start"
    await console.close()
    # What was said is read back from the runs, by whoever goes on.
    console = await embedded(place_at(tmp_path))
    await said(console, "still there?")
    last = (await console.conversation("talk"))[2]
    (note,) = [stored.fact for stored in await console.facts(last.run) if _is_session(stored.fact)]
    assert isinstance(note, StepNoted)
    assert [each["text"] for each in note.value["history"]][::2] == ["my name is ${{ inputs.x }}", "who am I?"]
    assert note.value["triggered_by"] == "chat"
    await console.close()


def _is_session(fact: Any) -> bool:
    return isinstance(fact, StepNoted) and fact.kind == "session"


async def test_nobody_is_interrupted_and_what_was_not_answered_is_not_told(tmp_path: Path) -> None:
    project(tmp_path)
    console = await embedded(place_at(tmp_path))
    run = await console.chat("clerk", "write a file", "talk", by="ana")
    async for _ in console.watch(run):
        head = await console.run(run)
        assert head.finished_at is None
        if head.status == "waiting":
            break
    with pytest.raises(Refused, match="still answering"):
        await console.chat("clerk", "hello?", "talk", by="ana")
    watching = await attached(place_at(tmp_path))
    (open_turn,) = await watching.conversation("talk")
    assert (open_turn.status, open_turn.answer, open_turn.ended_at) == ("waiting", None, None)
    await watching.close()
    await console.command("fleet.run.cancel", run, by="ana")
    assert await over(console, run) == "cancelled"
    await said(console, "never mind")
    cancelled, last = await console.conversation("talk")
    assert (cancelled.status, cancelled.text) == ("cancelled", "")
    assert last.answer == "You said never mind, and before that never mind."
    await console.close()


async def test_what_cannot_be_said_is_refused(tmp_path: Path) -> None:
    project(tmp_path)
    (tmp_path / "agents/bad.yaml").write_text("name: bad\ntoolz: []\n")
    console = await embedded(place_at(tmp_path))
    for agent, message, session in (("bad", "hi", "talk"), ("clerk", " \n", "talk"), ("clerk", "hi", 'a" or b')):
        with pytest.raises(InvalidInput):
            await console.chat(agent, message, session, by="ana")
    with pytest.raises(NotFound, match="there is no agent `clark`"):
        await console.chat("clark", "hi", "talk", by="ana")
    assert await console.conversation("talk") == []
    await console.close()


async def test_agents_of_a_workflow_can_be_talked_to_with_their_delegates(tmp_path: Path) -> None:
    project(tmp_path)
    words = "rules: [{agent: boss, turn: 0, call: {tool: delegate.clerk, with: {task: Look.}}}, {say: Done.}]"
    (tmp_path / "simulations/boss.yaml").write_text(words)
    (tmp_path / "team.yaml").write_text(
        "name: team\nagents: {boss: {delegates: [clerk], system: 'You: ${{ x }} \"lead\"'}}\n"
        "steps: [{id: ask, type: agent, agent: boss, prompt: Go}]"
    )
    console = await embedded(place_at(tmp_path))
    await console.register(start_of(tmp_path / "team.yaml").files[0])
    run = await said(console, "go", agent="boss")
    assert (await console.run(run)).agents == ("boss", "clerk")
    plan = await console.plan((await console.run(run)).plan)
    assert plan.agents["boss"].system == 'You: ${{ x }} "lead"'
    await console.close()


def test_of_a_long_conversation_the_newest_part_is_told() -> None:
    def turn(number: int, size: int, status: Any = "completed") -> Turn:
        return Turn(run=f"r{number}", agent="a", message="x" * size, answer={"n": number}, status=status, at=0.0)

    told = history([turn(1, HISTORY // 2), turn(2, HISTORY // 2), turn(3, 10, "failed"), turn(4, HISTORY // 3)])
    assert [each["text"] for each in told if each["role"] == "assistant"] == ['{"n":2}', '{"n":4}']


@pytest.mark.parametrize("opened", [embedded, attached])
@pytest.mark.parametrize("tenant", ["default", "acme"])
async def test_asking_whether_a_workflow_listens_registers_nothing(tmp_path: Path, tenant: str, opened: Any) -> None:
    """It is a read, which viewers may do; a file of the project is nobody's of another tenant, to talk to either."""
    (tmp_path / "workflows").mkdir()
    triggers = "[{type: chat}, {type: schedule, every: 1m}]"
    steps = "[{id: a, type: transform, output: hello}]"
    (tmp_path / "workflows/desk.yaml").write_text(f"name: desk\ntriggers: {triggers}\nsteps: {steps}\n")
    (tmp_path / "workflows/deaf.yaml").write_text(f"name: deaf\ntriggers: [{{type: manual}}]\nsteps: {steps}\n")
    behind = await opened(place_at(tmp_path))
    try:
        vic = guarded(behind, Identity(name="vic", tenant=tenant, role="viewer", via="http"))
        oli = guarded(behind, Identity(name="oli", tenant=tenant, role="operator", via="http"))
        assert await vic.listens("desk") is (tenant == "default")
        assert not await vic.listens("deaf")
        with pytest.raises(NotFound):
            await oli.say("deaf", Message(text="hello"), by="")
        assert await vic.workflows() == []
        if tenant != "default":
            with pytest.raises(NotFound):
                await oli.say("desk", Message(text="hello"), by="")
            assert await vic.workflows() == []
            boss = guarded(behind, local_identity("boss", "cli", tenant))
            assert await boss.listens("desk"), "who runs the project has its files, whoever they speak for"
            return
        with pytest.raises(InvalidInput):
            await oli.say("desk", Message(text=" "), by="")
        assert await vic.workflows() == []
        assert await oli.say("desk", Message(text="hello"), by="")
        assert [each.name for each in await vic.workflows()] == ["desk"]
    finally:
        await behind.close()
