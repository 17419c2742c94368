"""Webhooks: other systems send here, and sign what they send. Who does not sign shows a token."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from fleetprompt.client.hooks import Hooks, Taken
from fleetprompt.client.hooks import Request as Received
from fleetprompt.daemon.answers import read
from fleetprompt.daemon.limits import MOST_DRAINED
from fleetprompt.daemon.models import WebhookAnswer, WebhookRecord
from fleetprompt.daemon.problems import HttpProblem
from fleetprompt.daemon.routes.executions import Asking
from fleetprompt.daemon.service import caller, service_of
from fleetprompt.engine.core.routing import Hook
from fleetprompt.engine.triggers.webhook import Refusal

router = APIRouter(tags=["webhooks"])
HookPath = Annotated[str, Path(min_length=1, max_length=200, description="The path that a trigger declares.")]
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "content": {
            media: {"schema": {"description": "Whatever the sender sends."}}
            for media in ("application/json", "application/x-www-form-urlencoded", "text/plain")
        },
    }
}


@router.post("/api/webhooks/{path:path}", status_code=202, openapi_extra=_BODY)
@router.post("/agents/webhooks/{path:path}", status_code=202, openapi_extra=_BODY)
async def webhook(request: Request, path: HookPath) -> WebhookAnswer:
    """Receive a request of another system: what it says is durable when this is answered.

    The trigger of this path says how requests are signed (Standard Webhooks, or as GitHub does); where it does not, a
    bearer token is needed. A second request with the same id is answered like the first, and starts nothing.
    """
    hooks = service_of(request).hooks
    there = hooks.of(path)
    signed = [hook for hook in there if hook.signed]
    received: Received | None = None
    if signed:
        received = await _received(request, hooks, there)
        found = await hooks.take(signed, received)
        if not isinstance(found, Refusal):
            return _answer(found)
        # Nothing is signed: it may be meant for the webhook of another tenant, which asks for a token.
        if found.why != "unsigned" or len(signed) == len(there):
            raise _problem(found)
    asking = await caller(request)
    mine = [hook for hook in there if not hook.signed and hook.tenant == asking.identity.tenant]
    if not mine:
        hooks.refused(None, Refusal("unknown", "no trigger has this path"))
        raise HttpProblem(404, "there is no webhook here", hint="GET /api/webhooks lists them")
    found = await hooks.take(mine, received or await _received(request, hooks, mine), asking.identity)
    if isinstance(found, Refusal):
        raise _problem(found)
    return _answer(found)


async def _received(request: Request, hooks: Hooks, there: list[Hook]) -> Received:
    """The request with its body, of which no more is kept than a hook takes. Raises `HttpProblem`."""
    most, body, seen = hooks.limit(there), bytearray(), 0
    async for some in request.stream():
        seen += len(some)
        if seen <= most:
            body += some
        elif seen > MOST_DRAINED:
            break
    if seen > most:
        refusal = Refusal("too_large", f"the body is larger than {most:,} bytes")
        hooks.refused(there[0], refusal)
        raise _problem(refusal)
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
    return Received(headers=pairs, query=request.query_params.multi_items(), body=bytes(body))


def _problem(refusal: Refusal) -> HttpProblem:
    headers: dict[str, str] = {}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = 'Signature realm="fleet"'
    if refusal.status == 413:
        headers["Connection"] = "close"
    if refusal.status == 503:
        headers["Retry-After"] = "60"
    return HttpProblem(refusal.status, refusal.message, code=refusal.code, hint=refusal.hint, headers=headers)


def _answer(taken: Taken) -> WebhookAnswer:
    return WebhookAnswer(
        id=taken.signal or None, duplicate=taken.duplicate, wanted=bool(taken.signal), execution_ids=list(taken.runs)
    )


@router.get("/api/webhooks", response_model=list[WebhookRecord])
async def webhooks(request: Request, asking: Asking) -> Response:
    """The webhooks of the active workflows, and how many requests came since the daemon began."""
    hooks = service_of(request).hooks
    return read(request, [_record(hooks, hook) for hook in hooks.every(asking.identity.tenant)])


def _record(hooks: Hooks, hook: Hook) -> WebhookRecord:
    tally = dict(hooks.tally(hook))
    return WebhookRecord(
        path=hook.path,
        url=f"/api/webhooks/{hook.path}",
        workflow_id=hook.workflow,
        trigger_id=hook.id,
        signed=hook.signed,
        scheme=str(hook.trigger.config.get("scheme", "any")) if hook.signed else None,
        max_body=hooks.limit([hook]),
        accepted=tally.pop("accepted", 0),
        duplicates=tally.pop("duplicate", 0),
        filtered=tally.pop("filtered", 0),
        refused=tally,
    )
