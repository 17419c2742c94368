"""Who asks, and the console through which they do."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from fleetprompt.client.identity import Identity
from fleetprompt.client.protocol import Console
from fleetprompt.daemon.step_ids import OWN, Ids
from fleetprompt.engine.core.errors import NotFound

if TYPE_CHECKING:
    from fleetprompt.client.importing import Origin

KEPT_ORIGINS = 1_000


class Origins:
    """What those who sent a plan call its parts, of the plans that were asked for last."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Origin | None] = OrderedDict()

    async def of(self, console: Console, tenant: str, digest: str) -> Origin | None:
        """Those of a plan; None for a plan of our own. Raises `NotFound`."""
        key = tenant, digest
        if key not in self._known:
            self._known[key] = await console.origin(digest)
            if len(self._known) > KEPT_ORIGINS:
                self._known.popitem(last=False)
        return self._known[key]


class Caller:
    """Who asks, and the console through which they do."""

    def __init__(self, identity: Identity, console: Console, origins: Origins) -> None:
        self.identity = identity
        self.console = console
        self._origins = origins

    @property
    def name(self) -> str:
        """Recorded as `by` with what they do."""
        return self.identity.name

    async def origin(self, digest: str) -> Origin | None:
        """What those who sent a plan call its parts; None for a plan of our own. Raises `NotFound`."""
        return await self._origins.of(self.console, self.identity.tenant, digest)

    async def ids(self, digest: str) -> Ids:
        """The ids of a plan's steps in the words of its author. A plan that is gone has its own."""
        try:
            origin = await self.origin(digest)
        except NotFound:
            return OWN
        return Ids(origin.ids) if origin is not None else OWN
