"""What a face asks about one signal: what came of it, where it stands among others, and to have it once more."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

import uuid_utils
from msgspec.structs import replace

from fleetprompt.client.auditing import Auditing
from fleetprompt.client.identity import Face
from fleetprompt.client.protocol import Published, Where
from fleetprompt.engine.core import starters
from fleetprompt.engine.core.errors import NotFound
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports import Lineage
from fleetprompt.engine.runtime.admission import Origin

ROUTED_SECONDS = 2.0
"""How long to wait for what comes of a signal, where an engine runs."""
LOOK_SECONDS = 0.05


class Replaying(Auditing, ABC):
    """The part of a console that looks after single signals."""

    where: Where
    face: Face

    @abstractmethod
    async def admitted(self, signal: Signal, origin: Origin) -> tuple[Signal, bool]:
        """Publish a signal from there; as stored, and whether it was seen before. Raises what keeps it out."""

    async def publish(self, signal: Signal) -> tuple[Signal, bool]:
        """Publish a signal from outside."""
        return await self.admitted(replace(signal, audit=self.noted_signal(signal)), "outside")

    @abstractmethod
    async def signal(self, id_: str) -> tuple[Signal, bool, list[Result]]:
        """A signal, whether it is routed, and what came of it."""

    async def answers(self, ids: Sequence[str]) -> dict[str, tuple[bool, list[Result]]]:
        """Whether each of these signals is routed, and what came of it; those that are gone are left out."""
        return await self.store.signals.answers(ids, self.tenant)

    async def lineage(self, id_: str) -> Lineage:
        """Where a signal came from and what came of it."""
        found = await self.store.signals.lineage(id_, self.tenant)
        if found is None:
            raise NotFound(f"there is no signal {id_}", hint="`fleet signals` lists them")
        return found

    async def outcome(self, id_: str) -> tuple[bool, list[Result]]:
        """Whether a signal is routed and what came of it, as far as that is known after a moment."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (ROUTED_SECONDS if self.where != "none" else 0)
        while True:
            _, routed, results = await self.signal(id_)
            if routed or loop.time() > deadline:
                return routed, results
            await asyncio.sleep(LOOK_SECONDS)

    async def replay(self, id_: str, *, by: str, only: str = "", key: str = "", deliver: bool = False) -> Published:
        """Publish a copy of a signal as a new one, whose cause is the old one. The old key is not copied, for then it
        would not count."""
        old, _, _ = await self.signal(id_)
        copy = Signal(
            id=str(uuid_utils.uuid7()),
            type=old.type,
            source=f"replay/{by or 'unknown'}",
            at=self.clock.now(),
            data=old.data,
            subject=old.subject,
            tenant=self.tenant,
            correlation=old.correlation,
            causation=old.id,
            by=by,
            starters=starters.of_signal(old),
            replay_of=old.id,
            key=key,
            only=only,
            muted=not deliver,
            extensions=old.extensions,
            audit=self.noted("replay", f"signal {old.type}", old.id, {"only": only, "deliver": deliver}, by),
        )
        stored, duplicate = await self.admitted(copy, "replay")
        routed, results = await self.outcome(stored.id)
        return Published(stored, duplicate=duplicate, routed=routed, results=tuple(results))
