"""`Idempotency-Key`: a POST that is sent again has the effect and the answer of the first.

As draft-ietf-httpapi-idempotency-key-header has it: the same key with another request is refused with 422, and who asks
while the first is being answered is answered with it. What failed is forgotten: it may be sent again under its key.
Answers are kept by the daemon for a day; the keys of executions and signals are in the store, for good.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

from fastapi import Request
from msgspec import Struct
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleetprompt.daemon.access import Access
from fleetprompt.daemon.bodies import OWN_READERS, whole_body
from fleetprompt.daemon.problems import HttpProblem, problem
from fleetprompt.engine.core.errors import FleetError

KEPT_SECONDS = 86_400.0
MOST_KEPT = 10_000
MOST_BYTES = 64 * 1024 * 1024
"""Bytes of answers that are kept, taken together."""
WAIT_SECONDS = 30.0
"""How long somebody waits for the answer to the first request."""
LONGEST_KEY = 200
HEADER = "idempotency-key"
OTHERS = OWN_READERS
"""What has keys of its own."""
Key = tuple[str, str, str, str]


class _Answer(Struct):
    """The answer to a request, or what will be one."""

    request: bytes
    """Digest of what was asked."""
    at: float
    done: asyncio.Event
    messages: list[Message] | None = None
    """None until it is there, or where it failed."""

    @property
    def size(self) -> int:
        return sum(len(message.get("body", b"")) for message in self.messages or ())


class Idempotency:
    """Middleware (ASGI)."""

    def __init__(self, app: ASGIApp, access: Access, clock: Callable[[], float] = time.time) -> None:
        self._app = app
        self._access = access
        self._clock = clock
        self._known: OrderedDict[Key, _Answer] = OrderedDict()
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http" or scope["method"] != "POST" or str(scope["path"]).startswith(OTHERS):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        text = request.headers.get(HEADER)
        if text is None:
            await self._app(scope, receive, send)
            return
        try:
            identity = await self._access.identity(request)
        except (HttpProblem, FleetError):
            # Whoever it is, they are told so by what they have asked for.
            await self._app(scope, receive, send)
            return
        if not 0 < len(text) <= LONGEST_KEY:
            said = f"an Idempotency-Key has 1 to {LONGEST_KEY} characters"
            await problem(422, said, "VALIDATION_ERROR")(scope, receive, send)
            return
        body, again = await whole_body(receive)
        if body is None:
            # It is too large, or its sender is gone: both are told there.
            await self._app(scope, again, send)
            return
        key = (identity.tenant, identity.name, str(scope["path"]), text)
        await self._answer(key, _digest(request, body), scope, again, send)

    async def _answer(self, key: Key, asked: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        self._forget()
        while (known := self._known.get(key)) is not None:
            if known.request != asked:
                said = "this Idempotency-Key was used for another request"
                await problem(422, said, "VALIDATION_ERROR", hint="use a new key")(scope, receive, send)
                return
            if known.messages is not None:
                await _send_again(known.messages, send)
                return
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await known.done.wait()
            except TimeoutError:
                said = "the first request with this Idempotency-Key is not answered yet"
                await problem(409, said, "VALIDATION_ERROR", hint="send it again later")(scope, receive, send)
                return
        mine = self._known[key] = _Answer(request=asked, at=self._clock(), done=asyncio.Event())
        messages: list[Message] = []

        async def noted(message: Message) -> None:
            messages.append(message)
            await send(message)

        try:
            await self._app(scope, receive, noted)
            if messages and 200 <= messages[0].get("status", 500) < 300:
                mine.messages = messages
                self._bytes += mine.size
        finally:
            if mine.messages is None:
                self._known.pop(key, None)
            mine.done.set()

    def _forget(self) -> None:
        """Drop what is too old, or too much."""
        while self._known:
            key, oldest = next(iter(self._known.items()))
            late = oldest.at < self._clock() - KEPT_SECONDS
            if oldest.messages is None or not (late or len(self._known) > MOST_KEPT or self._bytes > MOST_BYTES):
                return
            self._bytes -= oldest.size
            del self._known[key]


def _digest(request: Request, body: bytes) -> bytes:
    head = f"{request.url.query}\n{request.headers.get('content-type', '')}\n"
    events = sorted(f"{name}:{value}\n" for name, value in request.headers.items() if name.startswith("ce-"))
    return sha256(head.encode() + "".join(events).encode() + b"\n" + body).digest()


async def _send_again(messages: list[Message], send: Send) -> None:
    start, *rest = messages
    await send({**start, "headers": [*start["headers"], (b"idempotency-replayed", b"true")]})
    for message in rest:
        await send(message)
