"""What a face asks about the fleet's switch, and how it moves it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from fleetprompt.client.identity import DEFAULT_TENANT
from fleetprompt.engine.core.signal import SET_SWITCH, Result, Signal
from fleetprompt.engine.ports.operations import EVERYBODY, POSITIONS, Position, Switch

if TYPE_CHECKING:
    from fleetprompt.engine.ports import Store

MEANS: Final[dict[Position, str]] = {
    "on": "everything goes on",
    "draining": "no run begins; those that have begun go on",
    "paused": "nothing new starts; what is in flight finishes",
    "off": "what was in flight has been stopped, and nothing starts",
}
"""What a position means, for people."""


def is_whole(switch: Switch) -> bool:
    """Whether it is the switch of the whole fleet, and not of one tenant."""
    return switch.tenant in (EVERYBODY, DEFAULT_TENANT)


class Switching(ABC):
    """The part of a console that looks after the fleet's switch."""

    store: Store
    tenant: str

    @abstractmethod
    def _signal(self, type_: str, subject: str, data: dict[str, Any], by: str, key: str = "") -> Signal: ...
    @abstractmethod
    async def _send(self, signal: Signal) -> Result: ...

    async def switch(self) -> Switch:
        """The switch that counts here: of the tenant, or of the whole fleet where that lets less happen."""
        of = {each.tenant: each for each in await self.store.operations.switches()}
        own = of.get(self.tenant) or Switch(tenant=self.tenant)
        whole = of.get(EVERYBODY) or Switch(tenant=EVERYBODY)
        if self.tenant == DEFAULT_TENANT:
            return whole
        return max(own, whole, key=lambda each: POSITIONS.index(each.position))

    async def set_switch(self, position: Position, *, by: str, reason: str = "") -> Result:
        """Move it: that of the whole fleet by who is of the tenant `default`, else that of the tenant."""
        return await self._send(self._signal(SET_SWITCH, "", {"position": position, "reason": reason}, by))
