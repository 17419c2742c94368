"""About the daemon itself: whether it is well, and tickets for browsers."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request

from fleetprompt import __version__
from fleetprompt.client.identity import local_identity
from fleetprompt.client.wording import rfc3339
from fleetprompt.daemon.models import Health, Ticket
from fleetprompt.daemon.problems import GIVEN_OUT
from fleetprompt.daemon.routes.executions import Asking
from fleetprompt.daemon.service import service_of

router = APIRouter(tags=["service"])


@router.get("/healthz")
async def healthz(request: Request) -> Health:
    """Whether the daemon does its work. Needs no token, and says nothing of anybody's work."""
    service = service_of(request)
    console = service.console_for(local_identity("healthz", "http"))
    health = await console.health()
    well = health.state == "running" and not health.store.error and not health.closing
    return Health(
        status="ok" if well else "unwell",
        version=__version__,
        uptime_seconds=round(time.monotonic() - service.began, 3),
        live_executions=health.live_runs,
        switch=(await console.switch()).position if not health.store.error else "on",
        troubles=len(health.troubles),
        problems=dict(GIVEN_OUT),
    )


@router.post("/api/tickets", status_code=201)
async def ticket(request: Request, asking: Asking) -> Ticket:
    """A ticket for streams of a browser: `new EventSource("/api/stream?ticket=…")`."""
    text, until = service_of(request).access.ticket(asking.identity)
    return Ticket(ticket=text, expires_at=rfc3339(until) or "")
