"""What the console looks like where agents are at work: recorded with simulated words and real tools."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from fleetprompt.engine.ports.live import Piece
from fleetprompt.tui.screens.run import RunScreen
from tests.tui.conftest import HOW, SIZES, Act
from tests.tui.recorded import RecordedProject, Tape
from tests.tui.recorded_console import posed, pressing, still

SRE = Path(__file__).parents[2] / "agents" / "sre.yaml"
TEAM, DIAGNOSIS = Tape("team", ago=300), Tape("diagnosis", ago=60)


@pytest.fixture(scope="session")
def recorded_agents(tmp_path_factory: pytest.TempPathFactory) -> RecordedProject:
    """Two runs of agents, put into a store once."""
    project = RecordedProject(tmp_path_factory.mktemp("agents"))
    asyncio.run(project.put(TEAM, DIAGNOSIS))
    return project


@pytest.fixture
def shows(
    same_everywhere: None,
    recorded_agents: RecordedProject,
    snap_compare: Callable[..., bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., None]:
    """Compare these runs, after some keys, with their picture."""
    del same_everywhere
    monkeypatch.chdir(tmp_path)

    def compare(link: str, *keys: str, size: str = "wide", act: Act | None = None) -> None:
        project = recorded_agents.copy(Path("shop"))
        (project.root / "agents").mkdir()
        shutil.copy(SRE, project.root / "agents")
        app = still(project, link=link)
        assert snap_compare(app, terminal_size=SIZES[size], run_before=act or pressing(*keys)), HOW

    return compare


def test_a_run_with_turns_calls_and_a_delegate(shows: Callable[..., None]) -> None:
    shows(f"run {TEAM.run}")


def test_the_values_of_a_call_that_somebody_has_allowed(shows: Callable[..., None]) -> None:
    shows(f"run {TEAM.run}", *["down"] * 12)


def test_when_an_agent_did_what(shows: Callable[..., None]) -> None:
    shows(f"run {DIAGNOSIS.run} diagnose", "right", "down", "t", "2")


@pytest.mark.parametrize("size", ["usual", "wide"])
def test_runs_whose_words_were_simulated(shows: Callable[..., None], size: str) -> None:
    shows("runs", size=size)


def test_what_simulated_runs_have_cost(shows: Callable[..., None]) -> None:
    shows("cost")


def test_a_call_that_an_agent_asks_about(shows: Callable[..., None]) -> None:
    shows("approvals", "down", size="huge")


def test_what_is_allowed_with_a_grant(shows: Callable[..., None]) -> None:
    shows("approvals", "down", "W", size="huge")


def test_what_a_model_is_just_saying(shows: Callable[..., None]) -> None:
    text = "The pool runs dry: a coupon without a number raises an error after the connection was taken.\n" * 3
    said = [
        ("reasoning", "Who closes it then?"),
        ("text", text),
        ("tool_name", "git_show"),
        ("tool_args", '{"rev": "4'),
    ]

    async def act(pilot: Pilot[Any]) -> None:
        await pressing("2")(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, RunScreen)
        assert screen.runview is not None
        pieces = [Piece(path="notes", key="editor/llm/3", kind=kind, text=each) for kind, each in said]
        screen.runview.speech.apply(pieces)
        screen.beside.show_speech()
        await posed(pilot)

    shows(f"run {TEAM.run}", act=act)


def test_agents_and_what_one_of_them_is(shows: Callable[..., None]) -> None:
    shows("agents sre")


def test_agents_with_the_details_beside_them(shows: Callable[..., None]) -> None:
    shows("agents", "down", size="huge")


def test_agents_where_there_is_little_room(shows: Callable[..., None]) -> None:
    shows("agents", "tab", size="small")
