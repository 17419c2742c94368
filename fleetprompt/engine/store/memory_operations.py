"""Switches and cursors of the memory store."""

from __future__ import annotations

from fleetprompt.engine.ports.operations import Switch
from fleetprompt.engine.store.memory_state import State


class MemoryOperations:
    """See `ports.operations.Operations`."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def switches(self) -> list[Switch]:
        """Every switch that was ever set."""
        return [self._state.switches[tenant] for tenant in sorted(self._state.switches)]

    async def set_switch(self, switch: Switch) -> None:
        """Put a switch in the place of the one before it."""
        self._state.switches[switch.tenant] = switch

    async def cursor(self, name: str) -> int | None:
        """Up to where somebody has told everything."""
        return self._state.cursors.get(name)

    async def set_cursor(self, name: str, position: int) -> None:
        """Remember it."""
        self._state.cursors[name] = position
