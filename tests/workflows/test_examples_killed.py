"""The examples, each killed by SIGKILL in the middle and recovered: whatever it does in the world, it has done once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("crash_flow.py")
POINTS = {
    "incident-triage": (45,),
    "data-quality": (33, 49),
    "release-gate": (43, 50),
    "support-reply": (39,),
    "research-fanout": (60,),
}
"""Commits at which they are killed: while an agent works, and while something is done that must not be done twice."""
RELEASED = {"deployed": ["2.15.0"], "tags": ["v2.15.0"], "migrated": True}


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What came of them."""
    folder = tmp_path_factory.mktemp("killed")
    wanted = [f"{name}:{','.join(map(str, points))}" for name, points in POINTS.items()]
    command = [sys.executable, str(PROGRAM), str(folder), *wanted]
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parents[2])}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=590, check=False)
    assert said.returncode == 0, said.stderr[-3000:]
    return [json.loads(line) for line in said.stdout.splitlines()]


@pytest.mark.long
@pytest.mark.crash
@pytest.mark.timeout(600)
def test_wherever_an_example_is_killed_it_comes_to_its_end_and_does_nothing_twice(ends: list[dict[str, Any]]) -> None:
    assert {name: tuple(end["nth"] for end in ends if end["name"] == name) for name in POINTS} == POINTS
    for end in ends:
        assert (end["status"], end["reserved"]) == ("completed", 0), end
        assert len(end["answers"]) == len(set(end["answers"])) > 0, end
        assert end["doubts"] == [] or end["name"] == "data-quality", end
        assert is_right(end["name"], end["effects"], end), end


def is_right(name: str, effects: Any, end: Mapping[str, Any]) -> bool:
    """Whether the world is as it should be after one run of an example."""
    match name:
        case "incident-triage":
            return effects == {"restarts": 1, "rollbacks": 0, "report": True}
        case "data-quality":
            once = effects["loaded"][:2] == [38, 38] and effects["loads"] == [38] and effects["staged"] == 0
            return once and effects["quarantined"] == [1012, 1026]
        case "release-gate":
            return effects == RELEASED
        case "support-reply":
            return [ticket for ticket, _ in effects] == ["T-1001"]
        case _:
            return "SIMULATED" in effects and end["used"]["dig"] <= 16
