"""A server that asks to be left alone for a while is: also where only an assertion or a poll asks it again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from agent_kit import engine_at, facts, start, until

from fleetprompt.engine.core.facts import StepFailed, StepWaiting


@pytest.mark.parametrize(
    "step", ["type: tool, tool: http.request, with: {url: URL}", "type: http, url: URL, expect: 100-599"]
)
@pytest.mark.parametrize(
    "again",
    [
        "retry: {max_attempts: 2, backoff: 1ms}, assert: result.status == 200",
        "poll: {until: result.status == 200, every: 1s}",
    ],
)
async def test_a_server_that_asks_to_wait_is_not_asked_again_before(tmp_path: Path, step: str, again: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 429 Slow\r\nRetry-After: 700\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    flow = "name: asks\nsteps: [{id: a, STEP, AGAIN}]\n".replace("STEP", step).replace("AGAIN", again)
    http = {"http": {"hosts": [f"127.0.0.1:{port}"], "networks": ["127.0.0.0/8"]}}
    async with server, engine_at(tmp_path, None, tools=http) as engine:
        await start(engine, flow.replace("URL", f"'http://127.0.0.1:{port}/'"))

        async def next_at() -> float | None:
            for fact in await facts(engine):
                if isinstance(fact, StepFailed) and fact.retry_at is not None:
                    return fact.retry_at - fact.at
                if isinstance(fact, StepWaiting) and fact.on == "timer" and fact.until is not None:
                    return fact.until - fact.at
            return None

        assert await until(next_at) >= 700
