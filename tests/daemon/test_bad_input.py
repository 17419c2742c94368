"""What must not come in: it is answered with a problem document, nothing of it is kept, and nothing waits for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from daemon_kit import QUICK, Served, served

from fleetprompt.client.protocol import StartRun
from fleetprompt.daemon.problems import GIVEN_OUT
from fleetprompt.engine.core.errors import InvalidInput

JSON = {"content-type": "application/json"}
EXECUTE, SIGNALS = "/api/workflows/hello/execute", "/api/signals"
DEEP = b"[" * 100_000 + b"]" * 100_000
NOT_JSON = [
    b'{"input": {"name": "\\ud800"}}',
    b'{"input": {"name": NaN}}',
    b'{"input": {"name": 1e999}}',
    b'{"input": {"name": "\xff"}}',
    b'{"input": ' + DEEP + b"}",
    b'{"input": {"name": "x"}',
    b"nope",
    b"\x00",
]


async def _kept(daemon: Served, root: Path) -> tuple[object, ...]:
    """All that a request could have left behind."""
    lists = [(await daemon.http.get(f"/api/{name}")).json() for name in ("executions", "signals", "memory", "agents")]
    files = sorted(str(path) for path in root.parent.rglob("*.y*ml"))
    return (*lists, files, [each["id"] for each in (await daemon.http.get("/api/workflows")).json()])


@pytest.mark.parametrize("path", [EXECUTE, SIGNALS, "/api/memory", "/api/workflows", "/api/agents", "/api/tickets"])
async def test_what_is_no_json_is_told_so_everywhere(tmp_path: Path, path: str) -> None:
    async with served(tmp_path) as daemon:
        before = await _kept(daemon, tmp_path)
        for body in NOT_JSON:
            answer = await asyncio.wait_for(daemon.http.post(path, content=body, headers=JSON), 60)
            assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR"), body[:40]
            assert answer.headers["content-type"] == "application/problem+json"
        assert await _kept(daemon, tmp_path) == before


async def test_names_lead_to_no_other_file(tmp_path: Path) -> None:
    steps = [{"id": "a", "type": "transform", "output": 1}]
    async with served(tmp_path) as daemon:
        before = await _kept(daemon, tmp_path)
        for name in ("../evil", "/etc/evil", "..", "a/b", "evil\0", ".evil", "evil.yaml", "e" * 200, ""):
            for path, body in (
                ("/api/workflows", {"name": name, "steps": steps}),
                ("/api/agents", {"name": name, "model": "simulated/echo"}),
            ):
                answer = await daemon.http.post(path, json=body)
                assert (answer.status_code, path, name) == (422, path, name)
        for path in ("/api/workflows/%2e%2e%2fhello", "/api/agents/..%2f..%2fx", "/api/webhooks/..%2f..%2fx"):
            for method in ("GET", "PUT", "POST"):
                answer = await daemon.http.request(method, path, json={"name": "x", "steps": steps})
                assert answer.status_code in (404, 405), (method, path)
        assert await _kept(daemon, tmp_path) == before
        graph = [{"step_id": "a", "step_type": "data_transform", "parameters": {"expression": "1"}}]
        made = await daemon.http.post("/api/workflows", json={"name": "../../evil", "steps": graph})
        assert (made.status_code, made.json()["file"]) == (201, "workflows/evil.yaml"), "where names are made valid"


async def test_what_is_too_large_is_not_taken(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        before = await _kept(daemon, tmp_path)
        for path, size in (
            ("/api/workflows", 1_100_000),
            ("/api/agents", 1_100_000),
            (SIGNALS, 2_200_000),
            (EXECUTE, 9_000_000),
        ):
            body = b'{"name": "x", "type": "a.b", "data": "' + b"x" * size + b'"}'
            answer = await daemon.http.post(path, content=body, headers=JSON)
            assert answer.status_code == 413, path

            async def pieces(whole: bytes = body) -> object:
                for at in range(0, len(whole), 65536):
                    yield whole[at : at + 65536]

            # Without a length in the head it is counted as it comes.
            answer = await daemon.http.post(path, content=pieces(), headers=JSON)  # type: ignore[arg-type]
            assert answer.status_code == 413, path
        assert await _kept(daemon, tmp_path) == before


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/signals HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /api/signals HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
        b"GET /api/workflows HTTP/1.1\r\nHost: localhost\r\nX-elevAIte-UserId: \xff\xfe\r\nConnection: close\r\n\r\n",
        b"GET /api/workflows HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused(tmp_path: Path, sent: bytes) -> None:
    async with served(tmp_path) as daemon:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(daemon.url.rpartition(":")[2]))
        writer.write(sent)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 60)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:200]
        assert answer == b"" or b"application/problem+json" in answer
        writer.close()
        assert (await daemon.http.get("/api/executions")).json() == []


@pytest.mark.parametrize("path", ["/api/webhooks/alerts", EXECUTE, SIGNALS])
async def test_whoever_goes_away_in_the_middle_is_no_fault_of_the_daemon(
    tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Anybody can do that as often as they like: it must not fill the log, nor raise an alarm."""
    failed = GIVEN_OUT[500]
    hook = QUICK + "triggers: [{type: webhook, path: alerts}]\n"
    async with served(tmp_path, quick=hook) as daemon:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(daemon.url.rpartition(":")[2]))
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{{"
        )
        writer.write(head.encode())
        await writer.drain()
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 60)
        writer.close()
        assert GIVEN_OUT[500] == failed
        assert not caplog.records


async def test_commands_that_cannot_be_written_down_are_refused(tmp_path: Path) -> None:
    """Also those that do not come over HTTP: arguments of a command line may be any bytes."""
    async with served(tmp_path) as daemon:
        for inputs in ({"name": "\ud800"}, {"name": {1, 2}}):
            with pytest.raises(InvalidInput):
                await daemon.console.start(StartRun(workflow="hello", inputs=inputs, by="ana"))
        assert await daemon.console.count("") == 0
