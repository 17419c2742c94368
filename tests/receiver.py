"""A receiver of deliveries on the loopback interface: a real server, which answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from standardwebhooks import Webhook

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS10ZXN0cy0wMTIzNDU2Nzg5"
LOCAL = ["127.0.0.0/8"]


class Received:
    """A request that came."""

    def __init__(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.path = path
        self.headers = headers
        self.body = body

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        """The CloudEvent in it, whose signature is checked by the library of Standard Webhooks."""
        Webhook(SECRET).verify(self.body, self.headers)
        return msgspec.json.decode(self.body)


Answer = Callable[[Received], "str | None"]
"""The head of an answer, such as `204 No Content`, with further headers on lines of their own; None: never."""


class Receiver:
    """What came, and how it is answered."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.answer: Answer = lambda request: "204 No Content"
        self.port = 0
        self._came = asyncio.Condition()

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def until(self, test: Callable[[list[Received]], Any]) -> list[Received]:
        """Until the requests are as the test wants them."""
        async with asyncio.timeout(60), self._came:
            await self._came.wait_for(lambda: test(self.requests))
        return self.requests

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            request = Received(head[0].split()[1], headers, body)
            async with self._came:
                self.requests.append(request)
                self._came.notify_all()
            answer = self.answer(request)
            if answer is None:
                await reader.read()
                return
            writer.write(f"HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver, which is there for as long."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
