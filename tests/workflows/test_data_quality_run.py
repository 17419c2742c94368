"""data-quality from end to end: faulty orders, SQL that a person reads first, and a warehouse that is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flow_kit import make_project, perform, surroundings
from scenes import SCENES

SCENE = SCENES["data-quality"]
STRANGERS = [1012, 1026]


async def test_what_was_agreed_to_is_done_and_the_next_batch_needs_nobody(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    asked: list[Any] = []
    with surroundings(SCENE, project) as url:
        end = await perform(SCENE, project, url, decide=lambda gate: asked.append(gate) or {})
        assert end.status == "completed", end.error
        after = await perform(SCENE, project, url, key="second", decide=lambda gate: asked.append(gate) or {})
        none = await perform(SCENE, project, url, key="third")
    assert len(asked) == 1
    assert asked[0].show["risk"] == "changes 7 rows of demo/warehouse.db, as of now"
    assert "INSERT INTO quarantine" in asked[0].show["does"]
    assert (end.output["loaded"], end.output["quarantined"]) == (38, 2)
    assert end.output["answered_by"] == "simulated model"
    assert (end.state.steps["mend"].output["repaired"], end.state.steps["mend"].output["quarantined"]) == (3, 2)
    assert after.output["loaded"] == 40
    assert after.state.steps["mend"].status == "skipped"
    assert none.state.steps["nothing"].status == "completed"
    assert none.output == {"loaded": 0, "watermark": after.output["watermark"]}
    effects = SCENE.effects(project)
    assert (effects["loaded"][:2], effects["staged"], effects["quarantined"]) == ((78, 78), 0, STRANGERS)
    assert sorted(effects["loads"]) == [38, 40]


async def test_nothing_is_loaded_where_people_say_no(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    with surroundings(SCENE, project) as url:
        end = await perform(SCENE, project, url, decide=lambda gate: {"decision": "rejected", "comment": "ask Ben"})
    assert end.status == "failed"
    assert "5 of 40 staged orders are wrong" in end.error.message
    assert "rejected by ana: ask Ben" in end.error.message
    assert SCENE.effects(project) == {"loaded": (0, 0, None), "staged": 40, "quarantined": [], "loads": []}
