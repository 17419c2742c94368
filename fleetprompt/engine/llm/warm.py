"""A first request through litellm, to a server of our own that lives for it.

With its first request litellm imports some 700 more modules, on the event loop, which would stand still for a second.
So the thread that imports litellm makes that request, in an event loop of its own.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any, Final

SECONDS: Final = 30.0
_TOOL: Final[dict[str, Any]] = {
    "type": "function",
    "function": {"name": "x", "parameters": {"type": "object", "properties": {}}},
}


def warm(litellm: Any) -> None:
    """Make a request to this very process. That it fails, whatever the reason, changes nothing."""
    with suppress(Exception):
        asyncio.run(asyncio.wait_for(_request(litellm), SECONDS))


async def _request(litellm: Any) -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        stream: Any = await litellm.acompletion(
            model="openai/warm",
            api_base=f"http://127.0.0.1:{port}/v1",
            api_key="none",
            messages=[{"role": "user", "content": "x"}],
            tools=[_TOOL],
            tool_choice="auto",
            stream=True,
            stream_options={"include_usage": True},
            max_retries=0,
            timeout=SECONDS,
        )
        async for _ in stream:
            pass
        # What it does after the end is in tasks of its own.
        await asyncio.sleep(0.05)
        await litellm.close_litellm_async_clients()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in _chunks()))
        writer.write(b"data: [DONE]\n\n")
        await writer.drain()
    writer.close()


def _chunks() -> list[dict[str, Any]]:
    base = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "warm"}
    call = {"index": 0, "id": "x", "type": "function", "function": {"name": "x", "arguments": "{}"}}
    deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": "x"}, None)]
    deltas += [({"tool_calls": [call]}, None), ({}, "tool_calls")]
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    chunks = [{**base, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]} for delta, end in deltas]
    return [*chunks, {**base, "choices": [], "usage": usage}]
