"""What operators have set for a whole fleet, and how far those have come who tell others of it."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

Position = Literal["on", "draining", "paused", "off"]
"""`draining`: no run begins, those that have begun go on. `paused`: nothing new starts, what is in flight finishes.
`off`: what is in flight is stopped, too."""
POSITIONS: tuple[Position, ...] = ("on", "draining", "paused", "off")
"""From the one that lets everything happen to the one that lets nothing happen."""
EVERYBODY = "*"
"""In place of a tenant: all of them."""


class Switch(Struct, frozen=True, kw_only=True):
    """The switch of a tenant, or of the whole fleet."""

    tenant: str
    position: Position = "on"
    by: str = ""
    reason: str = ""
    at: float = 0.0
    """When it was set, in epoch seconds."""


class Operations(Protocol):
    """See above."""

    async def switches(self) -> list[Switch]:
        """Every switch that was ever set."""
        ...

    async def set_switch(self, switch: Switch) -> None: ...

    async def cursor(self, name: str) -> int | None:
        """The position in the journal up to which somebody has told everything; None for who has told nothing yet."""
        ...

    async def set_cursor(self, name: str, position: int) -> None: ...
