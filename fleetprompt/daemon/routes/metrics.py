"""What monitoring systems scrape."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from fleetprompt.client.identity import DEFAULT_TENANT
from fleetprompt.daemon.problems import HttpProblem
from fleetprompt.daemon.routes.executions import Asking
from fleetprompt.daemon.service import service_of
from fleetprompt.engine.telemetry.exposition import render

router = APIRouter(tags=["service"])
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@router.get("/metrics", response_class=Response, responses={200: {"content": {TEXT: {}, OPEN: {}}}})
async def metrics(request: Request, asking: Asking) -> Response:
    """Metrics in the format of Prometheus: from this machine, or with a token of the tenant `default`, for they are of
    every tenant."""
    if asking.identity.tenant != DEFAULT_TENANT:
        raise HttpProblem(403, "metrics are of every tenant", hint=f"use a token of the tenant `{DEFAULT_TENANT}`")
    measure = service_of(request).measure
    if measure is None:
        raise HttpProblem(404, "this process keeps no metrics", hint="`fleet serve` does")
    taken = measure()
    # The first time imports a library, and text for thousands of series takes its time: the engine goes on meanwhile.
    body, media = await asyncio.to_thread(render, taken, request.headers.get("accept", ""))
    return Response(body, media_type=media)
