"""support-reply from end to end: agents hand a ticket over and ask each other, a person has the last word, once."""

from __future__ import annotations

from pathlib import Path

from flow_kit import make_project, perform, surroundings
from scenes import SCENES

from fleetprompt.engine.core.facts import ApprovalRequested

SCENE = SCENES["support-reply"]


async def test_each_ticket_goes_to_who_can_answer_it_and_people_change_what_is_sent(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    with surroundings(SCENE, project) as url:
        billing = await perform(SCENE, project, url)
        tech = await perform(
            SCENE, project, url, key="2", ticket="T-1002", decide=lambda gate: {"values": {"text": "Order without it."}}
        )
        kept = await perform(
            SCENE, project, url, key="3", decide=lambda gate: {"decision": "rejected", "comment": "I call her"}
        )
    for end, kind in ((billing, "billing"), (tech, "tech"), (kept, "billing")):
        assert (end.status, end.output["kind"], end.output["drafted_by"]) == ("completed", kind, "simulated model")
    assert SCENE.effects(project) == [["T-1001", billing.output["sent"]], ["T-1002", "Order without it."]]
    assert "orders of Espresso beans, 250 g within minutes" in billing.output["sent"]
    assert "7.90 EUR" in billing.output["sent"]
    [shown] = [fact.show for fact in billing.facts if isinstance(fact, ApprovalRequested)]
    assert "An order that was charged twice is refunded at once" in shown["why"]
    told = [(note.value["from"], note.value["to"], note.value["type"]) for note in billing.notes("communication")]
    assert told == [
        ("triage", "billing", "task_delegation"),
        ("billing", "policy", "task_delegation"),
        ("policy", "billing", "result"),
    ]
    assert kept.output["sent"] is None
    assert "I call her" in kept.state.steps["kept"].output
