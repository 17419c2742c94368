"""The fleet's switch over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from fleetprompt.client.wording import rfc3339
from fleetprompt.daemon.answers import read
from fleetprompt.daemon.models import Body
from fleetprompt.daemon.routes.executions import Asking
from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.ports.operations import Position, Switch

router = APIRouter(tags=["service"])


class SwitchRecord(BaseModel):
    """How the fleet's switch stands, and who has set it."""

    position: Position
    by: str = ""
    reason: str = ""
    at: str | None = None


class SwitchBody(Body):
    """Where it is to be set."""

    position: Position
    reason: str = Field("", max_length=500)


@router.get("/api/switch", response_model=SwitchRecord)
async def switch(request: Request, asking: Asking) -> Response:
    """Whether the fleet is on, draining, paused or off."""
    return read(request, _record(await asking.console.switch()))


@router.put("/api/switch")
async def set_switch(asking: Asking, body: SwitchBody) -> SwitchRecord:
    """Let everything go on, let no run begin (`draining`), start nothing new (`paused`), or stop everything (`off`)."""
    result = await asking.console.set_switch(body.position, by=asking.name, reason=body.reason)
    if result.status == "refused":
        raise Refused(result.reason)
    return _record(await asking.console.switch())


def _record(found: Switch) -> SwitchRecord:
    at = rfc3339(found.at) if found.at else None
    return SwitchRecord(position=found.position, by=found.by, reason=found.reason, at=at)
