"""What the tests of step types share: a context with a memory, a server that answers as it is told, and waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from fleetprompt.engine.definition.step import step_type
from fleetprompt.engine.ports import Done, Effect, Failed, Outcome


def done(outcome: Any) -> Any:
    assert isinstance(outcome, Done), outcome
    return outcome.output


def failure(outcome: Any) -> Any:
    assert isinstance(outcome, Failed), outcome
    return outcome.error


async def until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait for what other tasks, threads or processes bring about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.005)


class Recorder:
    """`fleetprompt.engine.ports.Context`, with a memory."""

    def __init__(self, effect: Effect, revealed: dict[str, str]) -> None:
        self.effect = effect
        self.lines: list[tuple[str, str]] = []
        self.notes: list[tuple[str, str, Any]] = []
        self.threads = 0
        self.on_log: Callable[[str, str], None] | None = None
        self.on_note: Callable[[Any], Any] | None = None
        self._revealed = revealed

    def log(self, text: str, level: str = "info", data: Any = None) -> None:
        if self.on_log is not None:
            self.on_log(level, text)
        else:
            self.lines.append((level, text))

    async def note(self, kind: str, key: str, value: Any) -> None:
        if self.on_note is not None:
            await self.on_note(value)
        self.notes.append((kind, key, value))

    def reveal(self, pointer: str) -> str | None:
        return self._revealed.get(pointer)

    async def in_thread(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.threads += 1
        return await asyncio.to_thread(function, *args, **kwargs)

    def logged(self, level: str) -> list[str]:
        return [text for at, text in self.lines if at == level]

    @property
    def log_text(self) -> str:
        return "\n".join(text for _, text in self.lines)

    async def perform(self) -> Outcome:
        return await step_type(self.effect.type).perform(self)


class Received:
    """A request as the server read it from the wire."""

    def __init__(self, head: bytes, body: bytes) -> None:
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.method, self.target, _ = first.split(" ")
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.body = body


Handler = Callable[[Received], Any]


def answer(status: int = 200, body: bytes | str = b"", **headers: str) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    named = {"Content-Length": str(len(content)), **{key.replace("_", "-"): value for key, value in headers.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode() + content


class Server:
    """Answers each request with the bytes that `handler` gives; None: it closes the connection, saying nothing."""

    def __init__(self) -> None:
        self.handler: Handler = lambda request: answer()
        self.requests: list[Received] = []
        self.connections = 0
        self.after: Callable[[asyncio.StreamWriter], Awaitable[None] | None] | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                request = Received(head, b"")
                request.body = await reader.readexactly(int(request.headers.get("content-length", 0)))
                self.requests.append(request)
                reply = self.handler(request)
                if asyncio.iscoroutine(reply):
                    reply = await reply
                if reply is None:
                    break
                writer.write(reply)
                await writer.drain()
                if self.after is not None:
                    result = self.after(writer)
                    if result is not None:
                        await result
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def close(self) -> None:
        for writer in self._writers:
            writer.close()
