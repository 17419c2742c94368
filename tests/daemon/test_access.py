"""Who is let in, and from where."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from daemon_kit import served

from fleetprompt.client.identity import Identity
from fleetprompt.daemon import access, streams
from fleetprompt.daemon.access import LOOKED_SECONDS, Access, Rules
from fleetprompt.daemon.connection import Connection
from fleetprompt.daemon.daemon import require_safe
from fleetprompt.daemon.problems import HttpProblem
from fleetprompt.daemon.serving import Address
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.ports import Page

TOKENS = {"good": Identity(name="robot", role="operator", via="http", credential="t1")}


async def test_a_token_says_who_asks(tmp_path: Path) -> None:
    async with served(tmp_path, Rules(operator="ana", local_role=None), TOKENS) as daemon:
        headers = {"Authorization": "Bearer good", "X-elevAIte-UserId": "ben"}
        answer = await daemon.http.post("/api/workflows/quick/execute", json={}, headers=headers)
        assert answer.status_code == 202
        found = await daemon.console.run(answer.json()["execution_id"])
        assert found.owner == "robot", "what the headers say counts only where no token does"
        for wrong in (
            {},
            {"Authorization": "Bearer bad"},
            {"Authorization": "Basic good"},
            {"Authorization": "Bearer"},
        ):
            refused = await daemon.http.get("/api/executions", headers=wrong)
            assert refused.status_code == 401, wrong
            assert refused.headers["www-authenticate"].startswith("Bearer")
            assert refused.headers["content-type"] == "application/problem+json"
        assert (await daemon.http.get("/healthz")).status_code == 200


@pytest.mark.parametrize("sent", ["whole", "in pieces"])
@pytest.mark.parametrize("media", ["application/json", "application/cloudevents+json", ""])
async def test_nothing_is_made_of_a_large_body_of_who_is_not_let_in(tmp_path: Path, media: str, sent: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"[" * 10_000

    headers: dict[str, str] = {"content-type": media} if media else {}
    tokens: list[tuple[dict[str, str], int]] = [({}, 401), ({"Authorization": "Bearer good"}, 400 if media else 415)]
    async with served(tmp_path, Rules(operator="ana", local_role=None), TOKENS) as daemon:
        for token, status in tokens:
            answer = await daemon.http.post(
                "/api/workflows/quick/execute",
                content=b"[" * 100_000 if sent == "whole" else pieces(),
                headers=headers | token,
            )
            assert answer.status_code == status, answer.text
            assert answer.headers["content-type"] == "application/problem+json"


async def test_a_role_does_what_it_may_and_no_more(tmp_path: Path) -> None:
    tokens = {role: Identity(name=role, role=role, via="http") for role in ("viewer", "operator", "approver")}
    async with served(tmp_path, Rules(operator="ana", local_role=None), tokens) as daemon:

        async def asked(role: str, method: str, path: str, body: object = None) -> int:
            headers = {"Authorization": f"Bearer {role}"}
            answer = await daemon.http.request(method, path, json=body, headers=headers)
            if answer.status_code == 403:
                assert "role" in answer.json()["detail"]
            return answer.status_code

        execute = "/api/workflows/hello/execute"
        assert [await asked(role, "POST", execute, {}) for role in tokens] == [403, 202, 403]
        [execution] = (await daemon.http.get("/api/executions", headers={"Authorization": "Bearer viewer"})).json()
        async with asyncio.timeout(60):
            while not (found := await daemon.console.approvals("status:pending", Page()))[0]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        approve = f"/api/approvals/{found[0][0].id}"
        assert [await asked(role, "GET", approve) for role in tokens] == [200] * 3
        decision = {"decision": "approved"}
        assert [await asked(role, "POST", approve, decision) for role in tokens] == [403, 403, 200]
        pause = f"/api/executions/{execution['id']}/pause"
        assert [await asked(role, "POST", pause) for role in ("viewer", "approver")] == [403, 403]
        assert [await asked(role, "POST", "/api/workflows", {}) for role in ("viewer", "approver")] == [403, 403]


async def test_a_proxy_on_this_machine_speaks_for_nobody(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        assert (await daemon.http.get("/api/executions")).status_code == 200
        forwarded = await daemon.http.get("/api/executions", headers={"X-Forwarded-For": "203.0.113.9"})
        assert forwarded.status_code == 401


async def test_the_socket_is_for_its_owner(tmp_path: Path) -> None:
    async with served(tmp_path, Rules(operator="ana", local_role=None)) as daemon:
        socket = tmp_path / ".fleet/fleet.sock"
        assert socket.stat().st_mode & 0o777 == 0o600
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://fleet") as http:
            assert (await http.get("/api/workflows")).status_code == 200
        assert (await daemon.http.get("/api/workflows")).status_code == 401


async def test_the_kernel_says_who_is_at_the_socket(tmp_path: Path) -> None:
    async with served(tmp_path, Rules(operator="ana", local_role=None)) as daemon:
        transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / ".fleet/fleet.sock"))
        async with httpx.AsyncClient(transport=transport, base_url="http://fleet") as http:
            claims = {"X-elevAIte-UserId": "ben"}
            answer = await http.post("/api/workflows/quick/execute", json={"user_id": "cleo"}, headers=claims)
            found = await daemon.console.run(answer.json()["execution_id"])
            assert found.owner == pwd.getpwuid(os.getuid()).pw_name
            foreign = await http.get("/api/workflows", headers={"X-elevAIte-OrganizationId": "b"})
            assert foreign.status_code == 403


async def test_what_is_claimed_counts_only_where_there_are_no_tokens(tmp_path: Path) -> None:
    execute = "/api/workflows/quick/execute"
    claims = {"X-elevAIte-UserId": "ben", "X-elevAIte-OrganizationId": "b"}
    async with served(tmp_path, tokens=TOKENS) as daemon:
        for name, value in claims.items():
            assert (await daemon.http.post(execute, json={}, headers={name: value})).status_code == 401
        assert (await daemon.http.post(execute, json={"user_id": "ben"})).status_code == 401
        assert (await daemon.http.get("/api/executions")).json() == []
        assert (await daemon.http.post(execute, json={})).status_code == 202, "who is here is still the operator"
        named = claims | {"Authorization": "Bearer good"}
        answer = await daemon.http.post(execute, json={"user_id": "ben"}, headers=named)
        assert (await daemon.console.run(answer.json()["execution_id"])).owner == "robot"


async def test_pages_of_other_sites_and_foreign_names_are_refused(tmp_path: Path) -> None:
    async with served(tmp_path, Rules(operator="ana", origins=frozenset({"https://ops.example"}))) as daemon:
        port = daemon.url.rpartition(":")[2]
        for headers, status in (
            ({"Origin": "https://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Host": "evil.example"}, 421),
            ({"Host": f"evil.example:{port}"}, 421),
            ({"Host": "["}, 421),
            ({"Host": "[::1"}, 421),
            ({"Origin": "http://["}, 403),
            ({"Origin": "https://ops.example"}, 200),
            ({"Origin": f"http://127.0.0.1:{port}"}, 200),
            ({"Host": f"localhost:{port}"}, 200),
        ):
            answer = await daemon.http.get("/api/workflows", headers=headers)
            assert answer.status_code == status, headers


async def test_a_browser_may_show_answers_to_pages_that_are_named_and_to_no_others(tmp_path: Path) -> None:
    async with served(tmp_path, Rules(operator="ana", origins=frozenset({"https://ops.example"}))) as daemon:
        sent = "content-type, last-event-id, x-elevaite-userid, x-elevaite-organizationid, x-elevaite-projectid"
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": sent}
        for origin, allowed in (("https://ops.example", "https://ops.example"), ("https://evil.example", None)):
            answer = await daemon.http.get("/api/workflows", headers={"Origin": origin})
            assert answer.headers.get("access-control-allow-origin") == allowed
            before = await daemon.http.options("/api/signals", headers=asked | {"Origin": origin})
            assert (before.status_code, before.headers.get("access-control-allow-origin")) == (
                (200, allowed) if allowed else (400, None)
            )
        answer = await daemon.http.get("/api/workflows/none", headers={"Origin": "https://ops.example"})
        assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (404, True)


async def test_a_browser_reads_streams_with_a_ticket(tmp_path: Path) -> None:
    async with served(tmp_path, Rules(operator="ana", local_role=None), TOKENS) as daemon:
        made = await daemon.http.post("/api/tickets", headers={"Authorization": "Bearer good"})
        assert made.status_code == 201
        ticket = made.json()["ticket"]
        answer = await daemon.http.get("/api/executions", params={"ticket": ticket})
        assert answer.status_code == 200
        other = await daemon.http.post("/api/workflows/quick/execute", json={}, params={"ticket": ticket})
        assert other.status_code == 401, "it reads, and does nothing"
        said, _, signed = ticket.partition(".")
        for forged in (f"{said}.{signed[:-2]}AA", f"{said[:-4]}AAAA.{signed}", "x", "a.b.c", "é"):
            assert (await daemon.http.get("/api/executions", params={"ticket": forged})).status_code == 401, forged


async def test_a_ticket_ends() -> None:
    now = 1_000.0
    counting = {"t1"}
    door = Access(
        Rules(operator="ana"),
        lambda token: asyncio.sleep(0, None),
        lambda: asyncio.sleep(0, True),
        lambda: now,
        counts=lambda id_: asyncio.sleep(0, id_ in counting),
    )
    ticket, until = door.ticket(TOKENS["good"])
    assert (await door._admitted(ticket)).name == "robot"
    counting.clear()
    now += LOOKED_SECONDS + 1
    with pytest.raises(HttpProblem, match="not valid any more"):
        await door._admitted(ticket)
    counting.add("t1")
    now = until + 1
    with pytest.raises(HttpProblem, match="expired"):
        await door._admitted(ticket)


@pytest.mark.parametrize("by", ["token", "ticket"])
@pytest.mark.parametrize("path", ["/api/stream", "/api/executions/{}/stream"])
async def test_who_listens_by_a_token_that_is_revoked_hears_no_more(
    tmp_path: Path, by: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(access, "LOOKED_SECONDS", 0.0)
    tokens = dict(TOKENS)
    async with served(tmp_path, Rules(operator="ana", local_role=None), tokens) as daemon:
        bearer = {"Authorization": "Bearer good"}
        ticket = (await daemon.http.post("/api/tickets", headers=bearer)).json()["ticket"]
        sent = await daemon.http.post("/api/workflows/hello/execute", json={}, headers=bearer)
        shown = {"headers": bearer} if by == "token" else {"params": {"ticket": ticket}}
        url = path.format(sent.json()["execution_id"])
        async with daemon.http.stream("GET", url, **shown) as answer:
            lines = answer.aiter_lines()
            async for line in lines:
                if "connected" in line:
                    break
            tokens.clear()
            async with asyncio.timeout(30):
                [line async for line in lines]
        assert (await daemon.http.get(url, **shown)).status_code == 401


def test_others_are_let_in_with_tokens_and_tls_only() -> None:
    rules = Rules(operator="ana")
    with pytest.raises(InvalidInput, match="clear"):
        require_safe(Address(host="0.0.0.0"), rules, has_tokens=True)
    with pytest.raises(InvalidInput, match="no token"):
        require_safe(Address(host="0.0.0.0", certificate=Path("c.pem")), rules, has_tokens=False)
    require_safe(Address(host="0.0.0.0", certificate=Path("c.pem")), rules, has_tokens=True)
    require_safe(Address(host="::1"), rules, has_tokens=False)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /api/executions HTTP/1.1\r\nHost: localhost\r\nX: ",
        b"POST /api/workflows/quick/execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{",
        b"",
    ],
)
async def test_who_sends_slowly_is_not_waited_for(tmp_path: Path, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "head_seconds", 0.05)
    monkeypatch.setattr(Connection, "body_seconds", 0.05)
    async with served(tmp_path) as daemon:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(daemon.url.rpartition(":")[2]))
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), 60)
        assert answer.startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_a_head_without_end_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(daemon.url.rpartition(":")[2]))
        writer.write(b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000)
        assert (await asyncio.wait_for(reader.read(), 60)).startswith(b"HTTP/1.1 431 ")
        writer.close()
