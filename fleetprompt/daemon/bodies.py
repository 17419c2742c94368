"""Bodies of requests: JSON that is JSON, and definitions in YAML or JSON.

What Python takes for JSON is more than RFC 8259 allows: `NaN`, and halves of characters (`"\\ud800"`), which nothing
can write down afterwards. Such a body is refused before anything is made of it.
"""

from __future__ import annotations

import json

import msgspec
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleetprompt.daemon.problems import HttpProblem, problem

JSON = "application/json"
YAML = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")


OWN_READERS = ("/api/webhooks/", "/agents/webhooks/")
"""Routes that read what they are sent themselves, up to limits of their own."""


class StrictJson:
    """Middleware (ASGI) that refuses a body which says that it is JSON and is not, with 400."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
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


def _is_json(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
        return False
    if str(scope["path"]).startswith(OWN_READERS):
        return False
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
