"""`Idempotency-Key`: a POST that is sent again has the effect and the answer of the first.

As draft-ietf-httpapi-idempotency-key-header has it: the same key with another request is refused with 422, and who asks
while the first is being answered is answered with it. What failed is forgotten: it may be sent again under its key.
Answers are in the store for a day before they are given, so that the next daemon gives them, too. Where one died in
between, the request is done anew: executions and signals have their keys in the store themselves, for good.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from hashlib import sha256

from fastapi import Request
from msgspec import Struct
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleetprompt.client.http.messages import PATH as CONSOLE
from fleetprompt.daemon.access import Access
from fleetprompt.daemon.bodies import OWN_READERS, whole_body
from fleetprompt.daemon.problems import HttpProblem, of_fleet, problem
from fleetprompt.engine.core.errors import FleetError, StoreUnavailable
from fleetprompt.engine.ports.kept_answer import KeptAnswer, KeptAnswers

KEPT_SECONDS = 86_400.0
WAIT_SECONDS = 30.0
"""How long somebody waits for the answer to the first request."""
LONGEST_KEY = 200
HEADER = "idempotency-key"
OTHERS = (*OWN_READERS, f"{CONSOLE}/", "/api/tickets")
"""Where no answer is kept: what has keys of its own, and what is worth something to whoever reads it."""
_log = logging.getLogger(__name__)


class _Begun(Struct):
    """A request that is being answered."""

    request: str
    """Digest of what was asked."""
    done: asyncio.Event


class Idempotency:
    """Middleware (ASGI)."""

    def __init__(
        self, app: ASGIApp, access: Access, answers: KeptAnswers, clock: Callable[[], float] = time.time
    ) -> None:
        self._app = app
        self._access = access
        self._answers = answers
        self._clock = clock
        self._begun: dict[tuple[str, str], _Begun] = {}
        """By tenant and key."""

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
        key = (identity.tenant, _digest(identity.name, str(scope["path"]), text))
        try:
            await self._answer(key, _asked(request, body), scope, again, send)
        except StoreUnavailable as error:
            await (await of_fleet(request, error))(scope, again, send)

    async def _answer(self, key: tuple[str, str], asked: str, scope: Scope, receive: Receive, send: Send) -> None:
        while (begun := self._begun.get(key)) is not None:
            if begun.request != asked:
                await _refused(scope, receive, send)
                return
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await begun.done.wait()
            except TimeoutError:
                said = "the first request with this Idempotency-Key is not answered yet"
                await problem(409, said, "VALIDATION_ERROR", hint="send it again later")(scope, receive, send)
                return
        begun = self._begun[key] = _Begun(request=asked, done=asyncio.Event())
        try:
            tenant, digest = key
            known = await self._answers.find(digest, since=self._clock() - KEPT_SECONDS, tenant=tenant)
            if known is None:
                await self._first(key, asked, scope, receive, send)
            elif known.request != asked:
                await _refused(scope, receive, send)
            else:
                await _send_again(known, send)
        finally:
            del self._begun[key]
            begun.done.set()

    async def _first(self, key: tuple[str, str], asked: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a request answered, and keep the answer before it is given."""
        messages: list[Message] = []

        async def noted(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, noted)
        if messages and 200 <= messages[0].get("status", 500) < 300:
            try:
                await self._keep(key, asked, messages)
            except StoreUnavailable as error:
                # It was done, and who asks is told so.
                _log.warning("the answer to a request with an Idempotency-Key is not kept: %s", error)
        for message in messages:
            await send(message)

    async def _keep(self, key: tuple[str, str], asked: str, messages: list[Message]) -> None:
        tenant, digest = key
        start, *rest = messages
        now = self._clock()
        answer = KeptAnswer(
            tenant=tenant,
            key=digest,
            request=asked,
            at=now,
            status=start["status"],
            headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]),
            body=b"".join(message.get("body", b"") for message in rest),
        )
        await self._answers.keep(answer, since=now - KEPT_SECONDS)


def _digest(*parts: str) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()


def _asked(request: Request, body: bytes) -> str:
    head = f"{request.url.query}\n{request.headers.get('content-type', '')}\n"
    events = sorted(f"{name}:{value}\n" for name, value in request.headers.items() if name.startswith("ce-"))
    return sha256(head.encode() + "".join(events).encode() + b"\n" + body).hexdigest()


async def _refused(scope: Scope, receive: Receive, send: Send) -> None:
    said = "this Idempotency-Key was used for another request"
    await problem(422, said, "VALIDATION_ERROR", hint="use a new key")(scope, receive, send)


async def _send_again(answer: KeptAnswer, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    again = (b"idempotency-replayed", b"true")
    await send({"type": "http.response.start", "status": answer.status, "headers": [*headers, again]})
    await send({"type": "http.response.body", "body": answer.body})
