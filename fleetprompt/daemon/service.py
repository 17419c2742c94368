"""What the routes work with: consoles for those who ask, and who that is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from fastapi import Request
from msgspec import Struct

from fleetprompt.client.hooks import Hooks
from fleetprompt.client.identity import Identity
from fleetprompt.client.protocol import Console
from fleetprompt.daemon.access import Access
from fleetprompt.daemon.broadcast import Broadcast
from fleetprompt.daemon.caller import Caller, Origins
from fleetprompt.engine.ports.kept_answer import KeptAnswers
from fleetprompt.engine.telemetry.exposition import Snapshot

__all__ = ["Caller", "ConsoleFor", "Service", "caller", "service_of"]

ConsoleFor = Callable[[Identity], Console]
Measure = Callable[[], Snapshot]


class About(Struct, frozen=True):
    """What a daemon says of itself to consoles that attach."""

    project: str = ""
    groups_of: Callable[[str], list[str]] = lambda name: []
    """The groups of operators that a name belongs to."""


class Service:
    """One daemon, as its routes see it."""

    def __init__(
        self,
        console_for: ConsoleFor,
        access: Access,
        hooks: Hooks,
        closing: asyncio.Event,
        tasks: asyncio.TaskGroup,
        *,
        answers: KeptAnswers,
        measure: Measure | None = None,
    ) -> None:
        self.console_for = console_for
        self.access = access
        self.hooks = hooks
        self.closing = closing
        """Set when streams are to end."""
        self.answers = answers
        """What requests were answered that may be sent again."""
        self.measure = measure
        """Takes the metrics; None where none are kept."""
        self.about = About()
        self.origins = Origins()
        self.began = time.monotonic()
        self._tasks = tasks
        self._broadcasts: dict[str, tuple[Broadcast, asyncio.Task[None]]] = {}

    def caller(self, identity: Identity) -> Caller:
        """Somebody, with a console for them."""
        return Caller(identity, self.console_for(identity), self.origins)

    @contextmanager
    def following(self, tenant: str) -> Generator[Broadcast]:
        """What happens in the fleet of a tenant, read for all who follow it as long as somebody does."""
        found = self._broadcasts.get(tenant)
        if found is None or found[0].ended:
            cast = Broadcast(self.caller(Identity(name="stream", tenant=tenant, role="viewer", via="http")))
            found = self._broadcasts[tenant] = cast, self._tasks.create_task(cast.run())
        cast, task = found
        cast.listeners += 1
        try:
            yield cast
        finally:
            cast.listeners -= 1
            if not cast.listeners:
                task.cancel()
                if self._broadcasts.get(tenant) is found:
                    del self._broadcasts[tenant]


def service_of(request: Request) -> Service:
    """The daemon of a request."""
    return request.app.state.service


async def caller(request: Request) -> Caller:
    """Who asks. Raises `HttpProblem` with 401, 403 or 421, `InvalidInput`."""
    service = service_of(request)
    service.access.check_page(request)
    identity = await service.access.identity(request)
    return service.caller(identity)
