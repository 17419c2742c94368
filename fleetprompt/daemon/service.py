"""What the routes work with: consoles for those who ask, and who that is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from fastapi import Request

from fleetprompt.client.hooks import Hooks
from fleetprompt.client.identity import Identity
from fleetprompt.client.protocol import Console
from fleetprompt.daemon.access import Access
from fleetprompt.daemon.streams import Translated
from fleetprompt.engine.telemetry.exposition import Snapshot

ConsoleFor = Callable[[Identity], Console]
Measure = Callable[[], Snapshot]


class Service:
    """One daemon, as its routes see it."""

    def __init__(
        self,
        console_for: ConsoleFor,
        access: Access,
        hooks: Hooks,
        closing: asyncio.Event,
        measure: Measure | None = None,
    ) -> None:
        self.console_for = console_for
        self.access = access
        self.hooks = hooks
        self.closing = closing
        """Set when streams are to end."""
        self.measure = measure
        """Takes the metrics; None where none are kept."""
        self.translated = Translated()
        self.began = time.monotonic()


class Caller:
    """Who asks, and the console through which they do."""

    def __init__(self, identity: Identity, console: Console) -> None:
        self.identity = identity
        self.console = console

    @property
    def name(self) -> str:
        """Recorded as `by` with what they do."""
        return self.identity.name


def service_of(request: Request) -> Service:
    """The daemon of a request."""
    return request.app.state.service


async def caller(request: Request) -> Caller:
    """Who asks. Raises `HttpProblem` with 401, 403 or 421, `InvalidInput`."""
    service = service_of(request)
    service.access.check_page(request)
    identity = await service.access.identity(request)
    return Caller(identity, service.console_for(identity))
