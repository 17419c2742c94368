"""The agents: who they are, how they did, and from there to their runs."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from fleetprompt.client.agents import sessions_of
from fleetprompt.client.opening import open_console
from fleetprompt.engine.core.agent import ApprovalSettings, MemorySettings
from fleetprompt.tui.screens.agents import AgentsScreen
from fleetprompt.tui.screens.runs import RunsScreen
from fleetprompt.tui.state.agent_details import details
from fleetprompt.tui.state.agents import AgentList
from tests.tui.recorded import NOW, RecordedProject, Tape
from tests.tui.recorded_console import pressing, still

SRE = Path(__file__).parents[2] / "agents" / "sre.yaml"


@pytest.fixture(scope="module")
def put(tmp_path_factory: pytest.TempPathFactory) -> RecordedProject:
    """Runs in which three agents have worked."""
    project = RecordedProject(tmp_path_factory.mktemp("agents"))
    asyncio.run(project.put(Tape("team", ago=300), Tape("diagnosis", ago=60)))
    return project


@pytest.fixture
def project(put: RecordedProject, tmp_path: Path) -> RecordedProject:
    """The same, with one agent's file and another's that is broken."""
    project = put.copy(tmp_path / "shop")
    (project.root / "agents").mkdir()
    shutil.copy(SRE, project.root / "agents")
    (project.root / "agents" / "odd.yaml").write_text("name: odd\nsystem: x\ncolour: red\n")
    return project


async def test_agents_are_listed_with_figures_and_what_is_wrong_with_them(project: RecordedProject) -> None:
    console = await open_console(project.place, "attach")
    try:
        agents = AgentList(console, lambda: NOW)
        await agents.load()
        rows = {entry.name: agents.cells(at) or () for at, entry in enumerate(agents.entries)}
        assert [*rows] == ["checker", "editor", "odd", "sre"]
        assert [cell[0] for cell in rows["sre"][2:5]] == ["default", "1", "100%"]
        assert rows["sre"][8] == ("n/a", "dim")
        assert rows["sre"][10][0] == ("SIMULATED", "badge")
        assert rows["odd"][10] == ("1 error in its file", "error")
        assert agents.find("sre") == 3
        told = ["".join(text for text, _ in line) for line in details(agents.entries[3], (), NOW)]
        assert "  tools          fs.grep, git.log, git.show, sql.query, record_decision" in told
        assert any("5 requests, 5 calls" in line and "1 execution simulated" in line for line in told)
        entry = agents.entries[3]
        assert entry.figures is not None
        last = replace(entry.figures.last, retries=1)
        assert not any("retr" in line for line in told)
        entry = replace(entry, figures=replace(entry.figures, retries=2))
        told = ["".join(text for text, _ in line) for line in details(entry, [last], NOW)]
        assert [line.count("2 retries") + line.count("1 retry  ") for line in told if "retr" in line] == [1, 1]
        assert entry.definition is not None
        assert entry.agent is not None
        agent = replace(
            entry.agent, memory=MemorySettings(keep=2_592_000.0), approval=ApprovalSettings(timeout=1_200.0)
        )
        timed = replace(entry, definition=replace(entry.definition, agent=agent))
        told = ["".join(text for text, _ in line) for line in details(timed, (), NOW)]
        assert any("remembers" in line and "keep 30d" in line for line in told)
        assert any("asks" in line and "timeout 20m" in line for line in told)
        broken = ["".join(text for text, _ in line) for line in details(agents.entries[2], (), NOW)]
        assert any("colour" in line for line in broken)
        assert sessions_of("a b", "w") == 'agent:"a b" wf:w'
        agents.filter = "tool:git* status:completed"
        agents.arrange()
        assert [entry.name for entry in agents.entries] == ["sre"]
        assert dict(agents.values("status"))["broken"] == 1
        assert ("git.log", 1) in agents.values("tool")
    finally:
        await console.close()


async def test_from_an_agent_to_its_runs_and_back(project: RecordedProject) -> None:
    app = still(project)
    async with app.run_test(size=(132, 36)) as pilot:
        await pressing("g", "e", "end")(pilot)
        screen = app.screen
        assert isinstance(screen, AgentsScreen)
        entry = screen.entry()
        assert entry is not None
        assert entry.name == "sre"
        assert "incident-triage" in str([line for block in screen.pane._blocks for line in block])
        await pressing("tab", "escape", "enter")(pilot)
        runs = app.screen
        assert isinstance(runs, RunsScreen)
        assert runs.bar.text == "agent:sre"
        assert runs.runs is not None
        assert runs.runs.count == 1
        await pressing("escape")(pilot)
        assert app.screen is screen


async def test_agents_are_filtered_and_found_by_a_link(project: RecordedProject) -> None:
    app = still(project, link="agents status:broken")
    async with app.run_test(size=(132, 36)) as pilot:
        await pressing()(pilot)
        screen = app.screen
        assert isinstance(screen, AgentsScreen)
        assert screen.listed is not None
        assert [entry.name for entry in screen.listed.entries] == ["odd"]
        assert "1 broken agent" in screen.found()
        await pressing("slash", *" zzz", "enter")(pilot)
        assert screen.listed.count == 0
        await pressing("escape")(pilot)
        assert screen.listed.count == 4
        await screen.seek("sre")
        await pressing()(pilot)
        entry = screen.entry()
        assert entry is not None
        assert entry.name == "sre"
