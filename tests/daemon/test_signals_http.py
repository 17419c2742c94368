"""Signals over HTTP: as CloudEvents in both modes, plainly, once, and never half."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from daemon_kit import served

LISTENING = """\
name: listening
triggers: [{type: signal, match: "deploy.*", if: data.env == 'prod'}]
inputs: {env: {type: string}}
steps: [{id: one, type: transform, output: "${{ inputs.env }}"}]
"""
EVENT = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/ci/builds",
    "type": "deploy.finished",
    "time": "2026-11-20T10:00:00Z",
    "data": {"env": "prod"},
}
STRUCTURED = {"content-type": "application/cloudevents+json"}


async def test_an_event_starts_what_listens_for_it_once(tmp_path: Path) -> None:
    async with served(tmp_path, listening=LISTENING) as daemon:
        first = await daemon.http.post("/api/signals", content=json.dumps(EVENT), headers=STRUCTURED)
        assert first.status_code == 202, first.text
        headers = {f"ce-{name}": str(value) for name, value in EVENT.items() if name != "data"}
        again = await daemon.http.post("/api/signals", json=EVENT["data"], headers=headers)
        assert (again.status_code, again.json()["duplicate"], again.json()["id"]) == (202, True, first.json()["id"])
        found = (await daemon.http.get(f"/api/signals/{first.json()['id']}")).json()
        assert (found["type"], found["data"], found["by"]) == ("deploy.finished", {"env": "prod"}, "ana")
        [outcome] = found["outcomes"]
        assert (await daemon.until(outcome["execution_id"], "completed"))["result"] == "prod"
        trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
        plain = {"type": "deploy.unheard", "data": {}}
        for sent, kept in ((trace, trace["traceparent"]), ({"traceparent": "nonsense"}, "")):
            told = await daemon.http.post("/api/signals", json=plain, headers=sent)
            signal, _, _ = await daemon.console.signal(told.json()["id"])
            assert signal.traceparent == kept
        assert len((await daemon.http.get("/api/executions")).json()) == 1


async def test_what_could_not_be_started_is_told_by_its_workflow(tmp_path: Path) -> None:
    picky = "name: picky\ntriggers: [{type: signal, match: a.b}]\ninputs: {n: integer}\nsteps: [{id: x, type: stop}]\n"
    async with served(tmp_path, picky=picky) as daemon:
        http = daemon.http
        sent = (await http.post("/api/signals", json={"type": "a.b", "data": {"n": "no"}})).json()
        async with asyncio.timeout(60):
            while not (found := (await http.get(f"/api/signals/{sent['id']}")).json())["outcomes"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        [outcome] = found["outcomes"]
        assert (outcome["status"], outcome["execution_id"], outcome["workflow_id"]) == ("refused", "", "picky")
        [letter] = (await http.get("/api/signals/dead-letters")).json()
        again = (await http.post(f"/api/signals/dead-letters/{letter['id']}/replay")).json()
        assert (again["status"], again["execution_id"]) == ("refused", "")
        assert (await http.put("/api/switch", json={"position": "on", "raeson": "x"})).status_code == 422


async def test_plain_signals_and_their_keys(tmp_path: Path) -> None:
    async with served(tmp_path, listening=LISTENING) as daemon:
        body = {"type": "deploy.done", "data": {"env": "prod"}, "key": "k"}
        one, two = [(await daemon.http.post("/api/signals", json=body)).json() for _ in range(2)]
        assert (one["id"], one["duplicate"], two["duplicate"]) == (two["id"], False, True)
        keyed = {"Idempotency-Key": "h"}
        three, four = [
            (await daemon.http.post("/api/signals", json={"type": "a.b"}, headers=keyed)).json() for _ in range(2)
        ]
        assert (three["id"], four["duplicate"]) == (four["id"], False), "it is answered as the first"
        replayed = await daemon.http.post(f"/api/signals/{one['id']}/replay")
        assert replayed.status_code == 202
        assert replayed.json()["id"] != one["id"]
        listed = (await daemon.http.get("/api/signals", params={"filter": "type:deploy.*"})).json()
        assert {each["id"] for each in listed} == {one["id"], replayed.json()["id"]}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (EVENT | {"specversion": "0.3"}, STRUCTURED, 422),
        ({k: v for k, v in EVENT.items() if k != "id"}, STRUCTURED, 422),
        ({k: v for k, v in EVENT.items() if k != "source"}, STRUCTURED, 422),
        (EVENT | {"type": "fleet.run.start"}, STRUCTURED, 422),
        (EVENT | {"type": "fleet.trigger.webhook"}, STRUCTURED, 422),
        ([EVENT], {"content-type": "application/cloudevents-batch+json"}, 422),
        ({"type": "not a type"}, {"content-type": "application/json"}, 422),
        ({"typ": "a.b"}, {"content-type": "application/json"}, 422),
        ([], {"content-type": "application/json"}, 422),
        ({"type": "a.b", "data": "x" * 1_100_000}, {"content-type": "application/json"}, 422),
        ({"type": "a.b", "data": "x" * 2_100_000}, {"content-type": "application/json"}, 413),
        ({"type": "a.b"}, {"content-type": "text/plain"}, 415),
    ],
)
async def test_what_is_no_signal_is_not_stored(tmp_path: Path, body: Any, headers: dict[str, str], status: int) -> None:
    async with served(tmp_path) as daemon:
        answer = await daemon.http.post("/api/signals", content=json.dumps(body), headers=headers)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert (await daemon.http.get("/api/signals")).json() == []


async def test_what_is_known_of_the_fleet(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        (tmp_path / "agents").mkdir()
        (tmp_path / "agents/sre.yaml").write_text("name: sre\ndescription: Mends.\nmodel: simulated/x\n")
        execution = await daemon.finished()
        first = await daemon.http.get(f"/api/executions/{execution}/facts", params={"limit": 3})
        facts = first.json()
        assert [each["n"] for each in facts] == [1, 2, 3]
        assert facts[0]["fact"]["type"] == "RunCreated"
        while "next" in first.links:
            first = await daemon.http.get(first.links["next"]["url"])
            facts += first.json()
        assert [each["n"] for each in facts] == list(range(1, len(facts) + 1))
        assert facts[-1]["fact"]["type"] == "RunFinished"
        assert (await daemon.http.get(f"/api/executions/{execution}/logs")).json() == []
        [sre] = (await daemon.http.get("/api/agents")).json()
        assert (sre["id"], sre["description"], sre["model"]) == ("sre", "Mends.", "simulated/x")
        assert (await daemon.http.get("/api/agents/sre")).json()["name"] == "sre"
        assert (await daemon.http.get("/api/agents/srx")).status_code == 404
        made = await daemon.http.post("/api/memory", json={"text": "the shop opens at nine", "scope": "agent/sre"})
        assert made.status_code == 201, made.text
        [memory] = (await daemon.http.get("/api/memory", params={"q": "opens"})).json()
        assert (memory["id"], memory["by"]) == (made.json()["id"], "ana")
        assert (await daemon.http.delete(f"/api/memory/{memory['id']}")).status_code == 204
        assert (await daemon.http.get("/api/memory")).json() == []
        assert (await daemon.http.get("/api/cost", params={"by": "day"})).status_code == 200
        assert (await daemon.http.get("/api/cost", params={"by": "moon"})).status_code == 422


async def test_the_api_describes_itself(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        described = (await daemon.http.get("/api/openapi.json")).json()
        assert described["openapi"].startswith("3.")
        problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        read = described["paths"]["/api/executions"]["get"]
        assert read["security"] == [{"bearer": []}, {"user": [], "organization": []}, {}, {"ticket": []}]
        assert {*read["responses"]} == {"200", "304", "default"}
        assert {*read["responses"]["200"]["headers"]} == {"ETag", "Link"}
        aliases = [path for path in described["paths"] if path.startswith("/agents/")]
        assert len(aliases) == 5, "clients of older systems find theirs, too"
        assert "/api/workflows/{workflow_id}/execute" in described["paths"]
        for path, methods in described["paths"].items():
            for method, operation in methods.items():
                assert operation.get("summary"), f"{method} {path}"
                assert operation["responses"]["default"]["content"] == problem, f"{method} {path}"
