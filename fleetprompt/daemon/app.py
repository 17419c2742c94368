"""The application: routes, problems, limits, and its own description."""

from __future__ import annotations

from functools import cache

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute

from fleetprompt import __version__
from fleetprompt.daemon.access import ORGANIZATION, PROJECT, USER
from fleetprompt.daemon.bodies import StrictJson
from fleetprompt.daemon.description import PROBLEM, complete
from fleetprompt.daemon.idempotency import Idempotency
from fleetprompt.daemon.limits import BodyLimit
from fleetprompt.daemon.problems import answer_problems
from fleetprompt.daemon.routes import (
    agents,
    approvals,
    audit,
    console,
    executions,
    insight,
    metrics,
    replays,
    service,
    signals,
    switch,
    webhooks,
    workflows,
)
from fleetprompt.daemon.service import Service

_READ_HEADERS = [
    "Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID", "traceparent",
    USER, ORGANIZATION, PROJECT,
]  # fmt: skip
"""Headers that a browser may send: all that are looked at."""


@cache
def _routes() -> list[BaseRoute]:
    """What FastAPI works out about each of them when the first is asked for, it works out once for all applications."""
    every = APIRouter(responses={"default": PROBLEM})
    # They are looked at in this order: first what is asked most often.
    every.routes.extend(console.routes)
    every.include_router(signals.intake)
    for routes in (
        webhooks,
        executions,
        approvals,
        workflows,
        agents,
        replays,
        signals,
        insight,
        service,
        switch,
        audit,
        metrics,
    ):
        every.include_router(routes.router)
    return every.routes


def make_app(service_: Service) -> FastAPI:
    """The API of a daemon."""
    app = FastAPI(
        title="FleetPrompt",
        version=__version__,
        description="Workflows of agents: created, executed, followed and approved.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service_
    app.router.routes.extend(_routes())
    answer_problems(app)
    app.add_middleware(Idempotency, access=service_.access, answers=service_.answers)
    app.add_middleware(StrictJson, access=service_.access)
    app.add_middleware(BodyLimit)
    if service_.access.origins:
        # A browser shows a page of another site nothing of an answer that does not say that it may.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(service_.access.origins),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=_READ_HEADERS,
            expose_headers=["ETag", "Link", "Location", "Retry-After", "Idempotency-Replayed"],
        )
    described = app.openapi
    app.openapi = lambda: app.openapi_schema or complete(described())  # type: ignore[method-assign]
    return app
