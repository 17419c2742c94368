"""Webhooks over a real socket: who is let in, what is started once, and that the others leave nothing but a number."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from daemon_kit import Served, served
from standardwebhooks.webhooks import Webhook

from fleetprompt.client.identity import Identity
from fleetprompt.daemon.access import Rules
from fleetprompt.daemon.connection import Connection
from fleetprompt.engine.ports import Page

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
ALERTS = """\
name: alerts
triggers:
  - {type: webhook, path: ops/alerts, secret: "${{ secrets.ALERTS }}", if: "body.level != 'debug'", max_body: 4KiB}
inputs: {level: {type: string}}
steps: [{id: one, type: transform, output: "${{ inputs.level }} ${{ trigger.data.query.from }}"}]
"""
OPEN = """\
name: open
triggers: [{type: webhook, path: open, key: "${{ body.id }}"}]
steps: [{id: one, type: transform, output: "${{ trigger.data.body }}"}]
"""
PATH = "/api/webhooks/ops/alerts"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_SECRET_ALERTS", SECRET)


def standard(body: bytes, *, id: str = "msg_1", at: float | None = None, secret: str = SECRET) -> dict[str, str]:
    at = time.time() if at is None else at
    signed = Webhook(secret).sign(id, datetime.fromtimestamp(int(at), UTC), body.decode())
    return {
        "Content-Type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": signed,
    }


def github(body: bytes, *, delivery: str = "d-1") -> dict[str, str]:
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={digest}", "X-GitHub-Delivery": delivery}
    return {"Content-Type": "application/json", **headers}


def body(level: str = "high") -> bytes:
    return json.dumps({"level": level}).encode()


async def stored(daemon: Served) -> int:
    """How many signals of webhooks are kept."""
    found, _ = await daemon.console.signals("type:fleet.trigger.webhook", Page())
    return len(found)


async def counted(daemon: Served, path: str = "ops/alerts", **headers: str) -> dict[str, Any]:
    found = (await daemon.http.get("/api/webhooks", headers=headers)).json()
    return next(each for each in found if each["path"] == path)


@pytest.mark.parametrize("sign", [standard, github])
async def test_a_signed_request_starts_one_run_however_often_it_is_sent(tmp_path: Path, sign: Any) -> None:
    async with served(tmp_path, Rules(operator="ana", local_role=None), alerts=ALERTS) as daemon:
        first = await daemon.http.post(PATH, content=body(), headers=sign(body()), params={"from": "pager"})
        assert first.status_code == 202, first.text
        said = first.json()
        [execution] = said["execution_ids"]
        found, _, _ = await daemon.console.signal(said["id"])
        assert (found.type, found.subject, found.data["body"]) == (
            "fleet.trigger.webhook", "ops/alerts", {"level": "high"}
        )  # fmt: skip
        run = await daemon.console.engine.wait(execution)
        assert (run.status, run.trigger, run.owner) == ("completed", "webhook", "")
        assert (await daemon.console.state(execution)).output == "high pager"
        for path in (PATH, "/agents/webhooks/ops/alerts"):
            again = await daemon.http.post(path, content=body(), headers=sign(body()))
            assert again.status_code == 202
            assert again.json() == said | {"duplicate": True}
        assert await stored(daemon) == 1
        firings, _ = await daemon.console.firings("kind:webhook", Page())
        assert [(each.outcome, each.workflow) for each in firings] == [("duplicate", "alerts")] * 2


async def test_crowds_of_the_same_request_are_one(tmp_path: Path) -> None:
    async with served(tmp_path, alerts=ALERTS) as daemon:
        headers = standard(body())
        answers = await asyncio.gather(
            *(daemon.http.post(PATH, content=body(), headers=headers, params={"from": "x"}) for _ in range(8))
        )
        assert {answer.status_code for answer in answers} == {202}
        assert len({json.dumps([a.json()["id"], a.json()["execution_ids"]]) for a in answers}) == 1
        assert sum(not answer.json()["duplicate"] for answer in answers) == 1
        assert await stored(daemon) == 1


@pytest.mark.parametrize(
    ("sent", "headers", "status", "why"),
    [
        (body(), {"Content-Type": "application/json"}, 401, "unsigned"),
        (body(), standard(body(), secret="whsec_" + base64.b64encode(b"x" * 24).decode()), 401, "wrong_signature"),
        (body("higher"), standard(body()), 401, "wrong_signature"),
        (body(), standard(body()) | {"webhook-id": "msg_2"}, 401, "wrong_signature"),
        (body(), standard(body(), at=time.time() - 3600), 401, "stale"),
        (body(), standard(body(), at=time.time() + 3600), 401, "stale"),
        (body(), github(body()) | {"X-Hub-Signature-256": "sha256=0"}, 401, "wrong_signature"),
        (body(), github(body()) | {"X-Hub-Signature-256": "sha1=é"}, 401, "wrong_signature"),
        (b"{", github(b"{"), 400, "bad_body"),
        (b"x", github(b"x") | {"Content-Type": "image/png"}, 415, "bad_media"),
        (b"[" * 4000, github(b"[" * 4000), 400, "bad_body"),
        (b"x" * 5000, github(b"x" * 5000), 413, "too_large"),
        (b"x" * 20_000_000, {}, 413, None),
    ],
)
async def test_what_is_not_let_in_leaves_a_number(
    tmp_path: Path, sent: bytes, headers: dict[str, str], status: int, why: str | None
) -> None:
    async with served(tmp_path, alerts=ALERTS) as daemon:
        given = [(name.encode(), value.encode()) for name, value in headers.items()]
        answer = await daemon.http.post(PATH, content=sent, headers=given)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert SECRET not in answer.text
        assert await stored(daemon) == 0
        assert (await daemon.http.get("/api/executions")).json() == []
        assert (await counted(daemon))["refused"] == ({why: 1} if why else {})
        stage = "authenticate" if status == 401 else "validate"
        counter = f'signals_total{{outcome="{stage}"}} {1.0 if why else 0.0}'
        assert counter in (await daemon.http.get("/metrics")).text, "what alerts look at"


async def test_a_body_without_a_length_is_read_no_further_than_allowed(tmp_path: Path) -> None:
    async def endless() -> AsyncGenerator[bytes]:
        for _ in range(100):
            yield b"x" * 1000

    async with served(tmp_path, alerts=ALERTS) as daemon:
        answer = await daemon.http.post(PATH, content=endless(), headers=github(b"x"))
        assert answer.status_code == 413
        assert (await counted(daemon))["refused"] == {"too_large": 1}


async def test_who_sends_slowly_gets_a_problem_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "body_seconds", 0.05)
    async with served(tmp_path, alerts=ALERTS) as daemon:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(daemon.url.rpartition(":")[2]))
        writer.write(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{{".encode())
        head, _, said = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert b"content-type: application/problem+json" in head
        assert json.loads(said)["status"] == 408
        assert await stored(daemon) == 0
        writer.close()


async def test_what_its_if_does_not_want_is_in_order_and_starts_nothing(tmp_path: Path) -> None:
    async with served(tmp_path, alerts=ALERTS) as daemon:
        answer = await daemon.http.post(PATH, content=body("debug"), headers=standard(body("debug")))
        assert (answer.status_code, answer.json()["wanted"], answer.json()["id"]) == (202, False, None)
        assert await stored(daemon) == 0
        [firing], _ = await daemon.console.firings("kind:webhook", Page())
        assert (firing.outcome, firing.reason) == ("skipped", "its `if` does not hold")
        assert (await counted(daemon))["filtered"] == 1


async def test_without_a_signature_a_token_is_needed(tmp_path: Path) -> None:
    tokens = {role: Identity(name=role, role=role, via="http", credential="t") for role in ("viewer", "operator")}
    tokens["other"] = Identity(name="o", role="admin", tenant="other", via="http", credential="u")
    async with served(tmp_path, Rules(operator="ana", local_role=None), tokens, open=OPEN, alerts=ALERTS) as daemon:

        async def sent(token: str, path: str = "open") -> Any:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return await daemon.http.post(f"/api/webhooks/{path}", json={"id": 7}, headers=headers)

        assert [(await sent(token)).status_code for token in ("", "bad", "viewer", "other")] == [401, 401, 403, 404]
        assert (await sent("", "nowhere")).status_code == 401, "whether there is one, strangers do not learn"
        assert (await sent("operator", "nowhere")).status_code == 404
        assert (await sent("operator", "ops/alerts")).status_code == 401, "a token is no signature"
        assert await stored(daemon) == 0
        first, again = await sent("operator"), await sent("operator")
        assert (first.status_code, first.json()["duplicate"], again.json()["duplicate"]) == (202, False, True)
        found, _, _ = await daemon.console.signal(first.json()["id"])
        assert found.by == "operator"
        run = await daemon.console.engine.wait(first.json()["execution_ids"][0])
        assert run.status == "completed"
        assert (await counted(daemon, "open", Authorization="Bearer viewer"))["duplicates"] == 1


async def test_a_secret_that_is_not_there_is_our_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLEET_SECRET_ALERTS")
    async with served(tmp_path, alerts=ALERTS) as daemon:
        for _ in range(2):
            answer = await daemon.http.post(PATH, content=body(), headers=standard(body()))
            assert (answer.status_code, answer.json()["code"]) == (503, "INTERNAL")
            assert "ALERTS" not in answer.text
        told = [what for _, where, what in daemon.console.engine.troubles if where.startswith("webhook ops/alerts")]
        assert len(told) == 1
        assert "FLEET_SECRET_ALERTS" in told[0]
        assert await stored(daemon) == 0


async def test_one_path_is_one_trigger(tmp_path: Path) -> None:
    mine = OPEN.replace("path: open", "path: ops/alerts").replace("name: open", "name: zz")
    async with served(tmp_path, alerts=ALERTS, zz=mine) as daemon:
        known = daemon.console.engine.workflows.active
        assert len({each.since for each in known}) == 1, "what is registered together is of one age"
        plain = await daemon.http.post(PATH, json={"id": 1})
        assert plain.status_code == 401, "who knows no secret does not reach the second by the path of the first"
        answer = await daemon.http.post(PATH, content=body(), headers=standard(body()), params={"from": "x"})
        [execution] = answer.json()["execution_ids"]
        assert (await daemon.console.run(execution)).workflow == "alerts"
        assert any(where == "workflow zz" and "ops/alerts" in what for _, where, what in daemon.console.engine.troubles)


@pytest.mark.parametrize(
    "path", ["../alerts", "ops%2Falerts/..", "%00", "ops//alerts", "ops/alerts/", "é" * 50, "x" * 300]
)
async def test_paths_that_are_none(tmp_path: Path, path: str) -> None:
    async with served(tmp_path, alerts=ALERTS) as daemon:
        answer = await daemon.http.post(f"/api/webhooks/{path}", content=body(), headers=standard(body()))
        assert answer.status_code in (404, 405, 422), answer.text
        assert await stored(daemon) == 0
