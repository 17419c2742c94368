"""Agents as a console tells of them: their files, and what they have done in runs of a real engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from client_kit import embedded, place_at, start_of

from fleetprompt.client.opening import AgencySettings
from fleetprompt.client.protocol import Console
from fleetprompt.engine.core.errors import InvalidInput, NotFound
from fleetprompt.engine.ports import Page

TEAM = """
name: team
agents:
  clerk: {system: You look things up., model: simulated/script}
steps:
  - {id: ask, type: agent, agent: boss, prompt: "What is open?"}
"""
BOSS = "name: boss\nmodel: simulated/script\ndescription: Answers.\ndelegates: [clerk]\ntools: [fs.list]\n"
WORDS = """
rules:
  - {agent: boss, turn: 0, call: {tool: delegate.clerk, with: {task: Look.}}}
  - {agent: clerk, turn: 0, call: {tool: fs.list, with: {path: .}}}
  - {agent: clerk, say: Nothing.}
  - {agent: boss, say: Nothing is open.}
"""


def project(root: Path) -> Path:
    for name, text in {
        "workflows/team.yaml": TEAM,
        "agents/boss.yaml": BOSS,
        "agents/bad.yaml": "name: worse\ntoolz: []\n",
        "agents/loose.yaml": "name: loose\nhandoffs: [bos]\n",
        "workflows/simulations/team.yaml": WORDS,
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "workflows/team.yaml"


async def over(console: Console, run: str) -> str:
    async for _ in console.watch(run):
        head = await console.run(run)
        if head.finished_at is not None:
            return head.status
    raise AssertionError


async def test_agents_are_told_with_what_is_wrong_with_them(tmp_path: Path, reach: str) -> None:
    file = project(tmp_path)
    console = await embedded(place_at(tmp_path))
    assert [each.name for each in await console.agents()] == ["bad", "boss", "loose"]
    await console.register(start_of(file).files[0])
    bad, boss, clerk, loose = await console.agents()
    assert (bad.agent, {problem.pointer for problem in bad.problems}) == (None, {"/toolz", "/name"})
    assert bad.errors
    assert boss.agent is not None
    assert (boss.agent.delegates, boss.agent.tools, boss.workflow, boss.problems[0].severity) == (
        ("clerk",),
        ("fs.list",),
        "",
        "warning",
    )
    assert Path(boss.file) == tmp_path / "agents/boss.yaml"
    # What comes over HTTP is a text, from no file of this machine.
    assert (clerk.workflow, clerk.file, clerk.agent is not None) == ("team", str(file) if reach == "here" else "", True)
    assert "`boss`" in loose.problems[0].hint
    assert (await console.agent("boss")).agent == boss.agent
    with pytest.raises(NotFound, match="there is no agent `bos`") as missing:
        await console.agent("bos")
    assert "boss" in missing.value.hint
    await console.set_workflow("team", "archived", by="ana")
    assert "clerk" not in [each.name for each in await console.agents()]
    await console.close()


async def test_what_agents_did_is_told_run_by_run_and_in_sum(tmp_path: Path) -> None:
    file = project(tmp_path)
    (tmp_path / "agents/clerk.yaml").write_text("name: clerk\nmodel: simulated/script\ntools: [fs.list]\n")
    file.write_text(TEAM.replace("  clerk: {system: You look things up., model: simulated/script}", "  other: {}"))
    console = await embedded(place_at(tmp_path))
    run = await console.start(start_of(file))
    assert await over(console, run) == "completed"
    (clerk, boss), cursor = await console.agent_sessions("status:completed", Page())
    assert not cursor
    assert (boss.agent, boss.run, boss.workflow, boss.path, boss.goal) == ("boss", run, "team", "ask", "What is open?")
    assert (boss.requests, boss.tool_calls, boss.mode, boss.parent) == (2, 1, "simulated", "")
    assert (clerk.requests, clerk.tool_calls, clerk.parent, clerk.goal) == (2, 1, "boss", "Look.")
    assert boss.tokens > 0
    assert boss.unreal
    first, second = await console.agent_statistics(0)
    assert (first.agent, first.executions, first.success, first.mean, first.mean_cost_nano) == (
        "boss",
        1,
        1.0,
        None,
        None,
    )
    assert (second.agent, second.unreal, second.last) == ("clerk", 1, clerk)
    assert await console.agent_statistics(boss.started_at + 3600) == []
    with pytest.raises(InvalidInput):
        await console.agent_sessions("agnt:boss", Page())
    await console.close()


async def test_agents_are_found_beside_the_workflows_of_the_project(tmp_path: Path) -> None:
    for folder in ("flows/agents", "agents"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / f"{folder[:4]}.yaml").write_text(f"name: {folder[:4]}\n")
    console = await embedded(place_at(tmp_path, agency=AgencySettings(workflows=(tmp_path / "flows",))))
    assert [each.name for each in await console.agents()] == ["agen", "flow"]
    await console.close()
