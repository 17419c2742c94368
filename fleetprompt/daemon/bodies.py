"""Bodies of requests: JSON that is JSON, and definitions in YAML or JSON.

What Python takes for JSON is more than RFC 8259 allows: `NaN`, and halves of characters (`"\\ud800"`), which nothing
can write down afterwards. Such a body is refused before anything is made of it.
"""

from __future__ import annotations

import json

import msgspec
from fastapi import Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleetprompt.daemon.access import Access
from fleetprompt.daemon.problems import HttpProblem, answer_to, problem
from fleetprompt.engine.core.errors import FleetError

JSON = "application/json"
YAML = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")


OWN_READERS = ("/api/webhooks/", "/agents/webhooks/")
"""Routes that read what they are sent themselves, up to limits of their own."""


LARGE_BYTES = 64 * 1024
"""Nothing is made of larger bodies for who is not let in: what makes values of them lets nobody else have a turn, and
takes a second for some of eight megabytes. The framework, too, does so before it asks who it is."""


class StrictJson:
    """Middleware (ASGI) that refuses a body which says that it is JSON and is not, with 400; a large one of who is not
    let in with what they are to be told, unread."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if not _has_body(scope):
            await self._app(scope, receive, send)
            return
        if _may_be_large(scope) and (refusal := await self._refusal(Request(scope))) is not None:
            # Who is still sending when they are answered reads no answer.
            await whole_body(receive)
            await refusal(scope, receive, send)
            return
        if not _is_json(scope):
            await self._app(scope, receive, send)
            return
        body, again = await whole_body(receive)
        if body:
            try:
                msgspec.json.decode(body)
            except (ValueError, RecursionError) as error:
                nested = isinstance(error, RecursionError)
                found = "it is nested too deeply" if nested else str(error)
                said = problem(
                    400, "the body is not JSON", "VALIDATION_ERROR", errors=[{"in": "body", "detail": found}]
                )
                await said(scope, receive, send)
                return
        await self._app(scope, again, send)

    async def _refusal(self, request: Request) -> Response | None:
        """What somebody is answered who is not let in; None for who is."""
        try:
            self._access.check_page(request)
            await self._access.identity(request)
        except (HttpProblem, FleetError) as error:
            return await answer_to(request, error)
        return None


def _has_body(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
        return False
    return not str(scope["path"]).startswith(OWN_READERS)


def _may_be_large(scope: Scope) -> bool:
    said = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return not said.isdigit() or int(said) > LARGE_BYTES


def _is_json(scope: Scope) -> bool:
    said = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    kind = said.partition(b";")[0].strip().lower()
    return kind == b"application/json" or kind.endswith(b"+json")


async def whole_body(receive: Receive) -> tuple[bytes | None, Receive]:
    """A body, and how to receive it again; None where it does not come whole."""
    messages: list[Message] = []
    parts: list[bytes] = []
    failed: Exception | None = None
    more = True
    while more:
        try:
            message = await receive()
        except Exception as error:
            # What is wrong with it is told where it is read.
            failed = error
            break
        messages.append(message)
        parts.append(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)
    whole = failed is None and messages[-1]["type"] == "http.request"
    left = iter(messages)

    async def again() -> Message:
        message = next(left, None)
        if message is not None:
            return message
        if failed is not None:
            raise failed
        return await receive()

    return b"".join(parts) if whole else None, again


def content_type(request: Request) -> str:
    """The media type of a body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def sent_text(request: Request, most: int) -> str:
    """The text of a definition of at most so many bytes. Raises `HttpProblem`."""
    kind = content_type(request)
    if kind != JSON and kind not in YAML:
        raise HttpProblem(415, "send application/yaml or application/json")
    body = await request.body()
    if len(body) > most:
        raise HttpProblem(413, f"a definition may have {most:,} bytes")
    try:
        text = body.decode()
        if kind == JSON:
            json.loads(text)  # It may be nested deeper than what reads it goes.
    except UnicodeDecodeError:
        raise HttpProblem(400, "the definition is not UTF-8") from None
    except (ValueError, RecursionError):
        raise HttpProblem(400, "the body is not JSON") from None
    return text
