"""What a face asks about the memory of agents, adds to it, and has forgotten."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import InvalidInput, NotFound
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.memory_names import scope_of, type_of
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports import Clock, Store
from fleetprompt.engine.ports.memory import Memory, Which


class Remembering(ABC):
    """The part of a console that looks after memories."""

    store: Store
    clock: Clock
    tenant: str

    @abstractmethod
    def _signal(self, type_: str, subject: str, data: dict[str, Any], by: str, key: str = "") -> Signal:
        """A command."""

    @abstractmethod
    async def _send(self, signal: Signal) -> Result:
        """Publish a signal and wait for what comes of it."""

    async def memories(
        self, text: str = "", *, scope: str = "", type: str = "", tag: str = "", limit: int = 50, before: int = 0
    ) -> list[Memory]:
        """What fits a text best, by its words; without one, the newest first."""
        which = Which(tenant=self.tenant, scope=scope, type=type, tag=tag, at=self.clock.now())
        if text:
            return await self.store.memories.search(text, which, limit=limit)
        return await self.store.memories.list(which, limit=limit, before=before)

    async def memory(self, text: str) -> Memory:
        """The one memory that the text means. Raises `NotFound`, `InvalidInput`."""
        ids = await self.store.memories.find(text, self.tenant)
        found = await self.store.memories.get(text if text in ids or not ids else ids[0], self.tenant)
        if found is None:
            raise NotFound(f"there is no memory {inert(text[:80])}", hint="`fleet memory` lists them")
        if len(ids) > 1 and text not in ids:
            raise InvalidInput(
                f"{inert(text)} means several memories: {', '.join(ids[:5])}", hint="give more of the id"
            )
        return found

    async def remember(self, text: str, *, scope: str, by: str, type: str = "fact", tags: Sequence[str] = ()) -> Result:
        """Add to a memory; `data` of the result has its id as `memory`, and whether it is `new`. Raises
        `InvalidInput` for a scope or a type that is none."""
        # Where no engine runs, nobody would be there to hear that a later one has refused it.
        data = {"text": text, "scope": scope_of(scope), "type": type_of(type), "tags": list(tags)}
        return await self._send(self._signal(types.REMEMBER, scope, data, by))

    async def forget(self, ids: Sequence[str], *, by: str) -> Result:
        """Delete memories."""
        return await self._send(self._signal(types.FORGET, "", {"memories": list(ids)}, by))


def without_secrets(state: Path, *texts: str) -> list[str]:
    """Texts without the secrets of a project, before they are written anywhere. `state`: its `.fleet`."""
    from fleetprompt.engine.runtime.secrets import Secrets

    secrets = Secrets(state / "secrets.toml")
    return [secrets.redact(text) for text in texts]
