"""How much a request may bring: no body is read further. The framework's own limit answers without a document."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleetprompt.daemon.problems import problem

MOST_BODY = 8 * 1024 * 1024
"""Bytes of a request's body."""
MOST_HOOK_BODY = 16 * 1024 * 1024
"""Bytes of the body of a webhook's request, of which its trigger may allow less."""
_HOOKS = ("/api/webhooks/", "/agents/webhooks/")
MOST_DRAINED = 64 * 1024 * 1024
"""Bytes of a body that are read and thrown away, so that its sender gets the answer."""


class BodyLimit:
    """Middleware (ASGI) that refuses larger bodies with 413, by what they say of themselves or by what comes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = MOST_HOOK_BODY if str(scope["path"]).startswith(_HOOKS) else MOST_BODY
        refusal = f"a body may have {most:,} bytes"
        said = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not said.isdigit() or int(said) > most:
            if said.isdigit() and int(said) <= MOST_DRAINED:
                # Who is still sending when the connection is closed never reads the answer.
                while (await receive()).get("more_body"):
                    pass
            answer = problem(413, refusal, "VALIDATION_ERROR", headers={"Connection": "close"})
            await answer(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > most:
                # As above: the answer is for who has sent all of it.
                while message.get("more_body") and seen <= MOST_DRAINED:
                    message = await receive()
                    seen += len(message.get("body", b""))
                # FastAPI lets no other exception through while it reads a body.
                raise HTTPException(413, refusal, {"Connection": "close"})
            return message

        await self._app(scope, counted, send)
