"""Agents over HTTP: files of the project, checked like those that people write."""

from __future__ import annotations

from pathlib import Path

import pytest
from daemon_kit import served

from fleetprompt.client.identity import Identity
from fleetprompt.daemon.access import Rules

AGENT = {"name": "sre", "description": "Looks after it.", "model": "simulated/echo", "system": "Be short."}
WORKFLOW = "name: asks\nsteps: [{id: ask, type: agent, agent: sre, prompt: hi}]\n"


async def test_an_agent_is_created_and_changed_as_a_file(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        http, file = daemon.http, tmp_path / "agents/sre.yaml"
        made = await http.post("/api/agents", json=AGENT)
        assert made.status_code == 201, made.text
        assert (made.json()["id"], made.json()["model"]) == ("sre", "simulated/echo")
        assert file.read_text().startswith("name: sre\n")
        assert (await http.post("/api/agents", json=AGENT)).status_code == 409
        first = await http.get("/api/agents/sre")
        assert first.json()["definition"]["system"] == "Be short."
        assert [each["id"] for each in (await http.get("/api/agents")).json()] == ["sre"]
        match = {"If-Match": first.headers["etag"]}
        changed = AGENT | {"system": "Be long."}
        assert (await http.put("/api/agents/sre", json=changed, headers=match)).status_code == 200
        assert "Be long." in file.read_text()
        assert (await http.put("/api/agents/sre", json=AGENT, headers=match)).status_code == 412
        yaml = "# mine\nname: sre\nmodel: simulated/echo\n"
        written = await http.put("/api/agents/sre", content=yaml, headers={"content-type": "application/yaml"})
        assert (written.status_code, file.read_text()) == (200, yaml)
        made = await http.post("/api/workflows", content=WORKFLOW, headers={"content-type": "application/yaml"})
        assert made.status_code == 201, made.text


@pytest.mark.parametrize(
    ("sent", "place"),
    [
        ({"name": "sre", "modle": "x"}, "/modle"),
        ({"name": "../../outside"}, "/name"),
        ({"name": ".hidden"}, "/name"),
        ({"name": "a\0b"}, None),
        ({"model": "simulated/echo"}, None),
        ([1], None),
    ],
)
async def test_what_is_wrong_is_told_and_nothing_is_kept(tmp_path: Path, sent: object, place: str | None) -> None:
    async with served(tmp_path) as daemon:
        before = {*tmp_path.rglob("*.yaml"), *tmp_path.parent.glob("*.yaml")}
        answer = await daemon.http.post("/api/agents", json=sent)
        assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_ERROR"), answer.text
        assert place in (None, *(each["pointer"] for each in answer.json()["errors"]))
        assert {*tmp_path.rglob("*.yaml"), *tmp_path.parent.glob("*.yaml")} == before


async def test_agents_are_changed_where_they_are_and_by_whom_they_are(tmp_path: Path) -> None:
    inside = "name: inside\nagents: {helper: {model: simulated/echo}}\n"
    inside += "steps: [{id: a, type: agent, agent: helper, prompt: x}]\n"
    tokens = {
        "looks": Identity(name="looks", role="viewer", via="http"),
        "other": Identity(name="other", role="admin", via="http", tenant="b"),
        "works": Identity(name="works", role="operator", via="http"),
    }
    async with served(tmp_path, Rules(operator="ana", local_role=None), tokens, inside=inside) as daemon:

        async def asked(who: str, method: str, path: str, name: str) -> int:
            headers = {"Authorization": f"Bearer {who}"}
            return (await daemon.http.request(method, path, json=AGENT | {"name": name}, headers=headers)).status_code

        assert [await asked(who, "POST", "/api/agents", "sre") for who in tokens] == [403, 403, 201]
        assert await asked("works", "PUT", "/api/agents/helper", "helper") == 409
        assert await asked("works", "PUT", "/api/agents/nobody", "nobody") == 404
        assert await asked("works", "PUT", "/api/agents/sre", "other") == 422
