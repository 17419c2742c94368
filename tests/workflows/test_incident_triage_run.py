"""incident-triage from end to end: a real incident, an agent over real tools, a restart that happens once."""

from __future__ import annotations

import json
from pathlib import Path

from flow_kit import make_project, perform, surroundings
from scenes import SCENES
from stub_server import start_stub

from fleetprompt.engine.llm.settings import ModelSettings, PriceSettings

SCENE = SCENES["incident-triage"]
PRICE = PriceSettings(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)


async def test_an_agent_finds_the_cause_and_a_person_agrees_to_the_restart(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    with surroundings(SCENE, project) as url:
        end = await perform(SCENE, project, url, decide=lambda gate: {"values": {"note": "told the coupon team"}})
        assert end.status == "completed", end.error
        assert SCENE.effects(project) == {"restarts": 1, "rollbacks": 0, "report": True}
    found = end.state.steps["diagnose"].output
    assert (found["action"], found["confidence"]) == ("restart", 0.95)
    assert any("PoolExhausted" in line for line in found["evidence"])
    assert "Accept coupons" in found["evidence"]
    first, second, *then = [note.value["tool"] for note in end.notes("tool.completed")]
    assert {first, second} == {"fs.grep", "sql.query"}, "asked for in one answer, and made side by side"
    assert then == ["git.log", "git.show", "record_decision"]
    report = (project / "demo" / "incident.md").read_text()
    assert "**SIMULATED: no model was asked" in report
    assert "Note: told the coupon team" in report
    assert end.output["summary"] == "checkout was degraded; action: restart (done); afterwards: ok."


async def test_nothing_is_restarted_where_people_say_no(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    with surroundings(SCENE, project) as url:
        end = await perform(SCENE, project, url, decide=lambda gate: {"decision": "rejected", "comment": "not now"})
        assert end.status == "completed", end.error
        assert SCENE.effects(project)["restarts"] == 0
    assert "rejected by ana: not now" in (project / "demo" / "incident.md").read_text()


ANSWERS = [
    {"calls": [{"name": "fs_grep", "arguments": {"path": "demo/checkout.log", "pattern": "PoolExhausted"}}]},
    {"text": "It is the pool."},
    {"text": json.dumps({"cause": "no connections", "confidence": 0.8, "evidence": ["5 of 5"], "action": "restart"})},
]


async def test_a_real_model_is_paid_for_and_nothing_is_called_simulated(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    with start_stub(tmp_path, ANSWERS) as stub, surroundings(SCENE, project) as url:
        model = ModelSettings(model="openai/stub", api_base=stub.base, price=PRICE)
        end = await perform(SCENE, project, url, models={"default": model})
        assert end.status == "completed", end.error
        assert SCENE.effects(project)["restarts"] == 1
    # An answer that is not the JSON that was asked for is asked for again, and paid for.
    assert len(stub.requests()) == 3
    assert end.state.cost_nano == 3 * (11 * 1000 + 7 * 2000)
    assert end.state.mode == "local"
    assert end.reserved == []
    sent = stub.requests()[0]["body"]
    assert {tool["function"]["name"] for tool in sent["tools"]} == {
        "fs_grep", "git_log", "git_show", "sql_query", "record_decision",
    }  # fmt: skip
    assert "PoolExhausted" in sent["messages"][1]["content"]
    assert "SIMULATED" not in (project / "demo" / "incident.md").read_text()


async def test_a_diagnosis_that_is_not_sure_leads_to_no_question(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    unsure = {"cause": "perhaps the disk", "confidence": 0.3, "evidence": [], "action": "restart"}
    with start_stub(tmp_path, [{"text": json.dumps(unsure)}]) as stub, surroundings(SCENE, project) as url:
        model = ModelSettings(model="openai/stub", api_base=stub.base, price=PRICE)
        end = await perform(SCENE, project, url, models={"default": model})
        assert end.status == "completed", end.error
        assert SCENE.effects(project)["restarts"] == 0
    assert end.state.steps["gate"].status == "skipped"
