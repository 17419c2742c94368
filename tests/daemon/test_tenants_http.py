"""What another tenant has is not found over HTTP: the document is that for what never was, whatever the address."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from daemon_kit import FLOW, Served, served

from fleetprompt.client.identity import Identity
from fleetprompt.daemon.access import Rules
from fleetprompt.engine.core.signal import Signal

TOKENS = {
    "ours": Identity(name="ana", tenant="acme", role="admin", via="http", credential="t1"),
    "theirs": Identity(name="ana", tenant="other", role="admin", via="http", credential="t2"),
}
NEVER = "01234567-89ab-7def-8123-456789abcdef"
HEAVY = b"""\
name: heavy
inputs: {text: {type: string}}
steps: [{id: one, type: transform, output: ["${{ inputs.text }}"]}]
"""
DEAD = b"""\
name: hush-dead
inputs: {need: {type: string}}
triggers: [{type: signal, match: hush.a}]
steps: [{id: a, type: transform, output: 1}]
"""
BODIES: dict[tuple[str, str], Any] = {
    ("post", "/api/executions/{execution_id}/resolve"): {"step_id": "gate", "answer": "skip"},
    ("post", "/api/approvals/{approval_id}"): {"decision": "approved"},
    ("post", "/agents/workflows/executions/{execution_id}/approve"): {"decision": "approved"},
}
NAMES = {"/api/agents/{name}", "/api/workflows/{workflow_id}"}
"""What has a name and not an id is each tenant's own: another can make one of that name."""


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, Rules(operator="ana", local_role=None), TOKENS) as made:
        yield made


def headers(who: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {who}"}


async def filled(daemon: Served) -> dict[str, str]:
    """One of everything of a tenant, by the name that addresses give it."""
    http, ours = daemon.http, headers("ours")
    text = FLOW.replace("name: hello", "name: hush").encode()
    made = await http.post("/api/workflows", content=text, headers=ours | {"Content-Type": "application/yaml"})
    assert made.status_code == 201, made.text
    made = await http.post("/api/workflows", content=DEAD, headers=ours | {"Content-Type": "application/yaml"})
    assert made.status_code == 201, made.text
    begun = await http.post("/api/workflows/hush/execute", json={}, headers=ours)
    run = begun.json()["execution_id"]
    async with asyncio.timeout(60):
        while not (asked := (await http.get("/api/approvals", headers=ours)).json()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    signal = await http.post("/api/signals", json={"type": "hush.a", "data": 1}, headers=ours)
    async with asyncio.timeout(60):
        while not (letters := (await http.get("/api/signals/dead-letters", headers=ours)).json()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    made = await http.post("/api/workflows", content=HEAVY, headers=ours | {"Content-Type": "application/yaml"})
    assert made.status_code == 201, made.text
    heavy = await http.post("/api/workflows/heavy/execute", json={"input": {"text": "x" * 100_000}}, headers=ours)
    async with asyncio.timeout(60):
        address = "/api/executions?workflow_id=heavy&status=completed"
        while not (done := (await http.get(address, headers=ours)).json()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert done[0]["id"] == heavy.json()["execution_id"]
    kept = await http.post("/api/memory", json={"text": "hush", "scope": "shared"}, headers=ours)
    return {
        "execution_id": run,
        "approval_id": asked[0]["id"],
        "signal_id": signal.json()["id"],
        "letter_id": letters[0]["id"],
        "memory_id": kept.json()["id"],
        "workflow_id": "hush",
        "name": "hush",
        "path": "hush",
        "ref": done[0]["result"]["ref"],
    }


async def test_every_address_of_something_of_another_is_not_found(daemon: Served) -> None:
    of = await filled(daemon)
    described = (await daemon.http.get("/api/openapi.json", headers=headers("theirs"))).json()["paths"]
    routes = {path: [*methods] for path, methods in described.items() if "{" in path}
    assert len(routes) > 12
    for path, methods in routes.items():
        for method in methods:
            if method == "put":
                continue  # makes what was not there
            told: list[tuple[int, Any]] = []
            for ids in (of, dict.fromkeys(of, NEVER)):
                address = path.format(**ids)
                body = BODIES.get((method, path), {} if method == "post" else None)
                answer = await daemon.http.request(method, address, json=body, headers=headers("theirs"))
                text = answer.text
                for each in ids.values():
                    text = text.replace(each, "ID")
                told.append((answer.status_code, json.loads(text)))
            assert told[0] == told[1], f"{method} {path}"
            assert told[0][0] in ((404, 409) if path in NAMES or "workflow_id" in path else (404,)), f"{method} {path}"
    ours = headers("ours")
    assert (await daemon.http.get(f"/api/executions/{of['execution_id']}", headers=ours)).json()["status"] == "waiting"
    assert len((await daemon.http.get("/api/memory", headers=ours)).json()) == 1


async def test_lists_and_the_stream_of_all_tell_of_nobody_else(daemon: Served) -> None:
    of = await filled(daemon)
    theirs = headers("theirs")
    for path in ("executions", "approvals", "signals", "memory", "workflows", "agents", "cost"):
        assert (await daemon.http.get(f"/api/{path}", headers=theirs)).json() == [], path
    async with daemon.http.stream("GET", "/api/stream", headers=theirs | {"Last-Event-ID": "0.0"}) as response:
        lines = response.aiter_lines()
        text = FLOW.replace("name: hello", "name: mine").encode()
        await daemon.http.post("/api/workflows", content=text, headers=theirs | {"Content-Type": "application/yaml"})
        ours = await daemon.http.post("/api/workflows/hush/execute", json={}, headers=headers("ours"))
        begun = await daemon.http.post("/api/workflows/mine/execute", json={}, headers=theirs)
        mine, seen = begun.json()["execution_id"], ""
        async with asyncio.timeout(60):
            while mine not in seen:
                seen += await anext(lines)
    assert of["execution_id"] not in seen
    assert ours.json()["execution_id"] not in seen


async def test_keys_and_ids_of_others_are_free(daemon: Served) -> None:
    first = {"type": "a.b", "data": 1}
    event = {"specversion": "1.0", "id": "1", "source": "https://ci", "type": "a.b", "data": 1}
    cloud = {"Content-Type": "application/cloudevents+json"}
    made: list[str] = []
    for who in ("ours", "theirs", "theirs"):
        answer = await daemon.http.post("/api/signals", json=first, headers=headers(who) | {"Idempotency-Key": "k"})
        made.append(answer.json()["id"])
        same = await daemon.http.post("/api/signals", content=json.dumps(event), headers=headers(who) | cloud)
        made.append(same.json()["id"])
    assert made[4:] == made[2:4], "what is sent again is the first"
    assert len({*made}) == 4, "of the same tenant"
    found = await daemon.console.store.signals.get(made[0])
    assert isinstance(found, Signal)
    assert found.tenant == "acme"
