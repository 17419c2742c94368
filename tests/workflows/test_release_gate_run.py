"""release-gate from end to end: tests at once, a review, two people, and all undone where the end is not right."""

from __future__ import annotations

from pathlib import Path

import pytest
from flow_kit import make_project, perform, surroundings
from scenes import SCENES

from fleetprompt.demo import office
from fleetprompt.engine.core.facts import ApprovalRequested

SCENE = SCENES["release-gate"]
RELEASED = {"deployed": ["2.15.0"], "tags": ["v2.15.0"], "migrated": True}


async def test_two_people_agree_and_exactly_that_is_released(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    with surroundings(SCENE, project) as url:
        end = await perform(SCENE, project, url)
    assert end.status == "completed", end.error
    assert SCENE.effects(project) == RELEASED
    assert (end.output["risk"], end.output["approved_by"]) == ("medium", ["ana", "ben"])
    [shown] = [fact.show for fact in end.facts if isinstance(fact, ApprovalRequested)]
    assert shown["commit"] == end.output["commit"]
    assert shown["reviewed_by"] == "simulated model"
    assert "ALTER TABLE orders ADD COLUMN" in shown["migration"]
    *looks, last = [note.value["tool"] for note in end.notes("tool.completed") if note.path == "review"]
    assert (sorted(looks), last) == (["git.diff", "git.show"], "record_decision"), "the first two are made side by side"


async def test_what_does_not_come_up_is_undone_in_reverse(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    with surroundings(SCENE, project) as url:
        (project / "demo" / office.BROKEN).touch()
        end = await perform(SCENE, project, url)
    assert end.status == "failed"
    assert end.error.path == "smoke"
    assert SCENE.effects(project) == {"deployed": ["2.15.0", "2.14.0"], "tags": [], "migrated": False}


@pytest.mark.parametrize(
    ("author", "why"), [("ben", "inputs.author not in result"), ("carla", "rejected by ana: not today")]
)
async def test_nothing_happens_where_its_author_agrees_or_somebody_does_not(
    tmp_path: Path, author: str, why: str
) -> None:
    project = make_project(tmp_path)
    no = {"decision": "rejected", "comment": "not today"} if author == "carla" else {}
    with surroundings(SCENE, project) as url:
        end = await perform(SCENE, project, url, decide=lambda gate: no, author=author)
    assert end.status == "failed"
    assert why in end.error.message
    assert SCENE.effects(project) == {"deployed": [], "tags": [], "migrated": False}
