"""Answers to requests that may be sent again: who sends one again is answered as the first time."""

from __future__ import annotations

from typing import Final, Protocol

from msgspec import Struct

MOST_ANSWERS: Final = 100_000
"""Answers that are kept of a tenant, a hundredth more or less: the latest. Who sends more in a day fills no disk."""


class KeptAnswer(Struct, frozen=True, kw_only=True):
    """What a request was answered."""

    tenant: str
    key: str
    """Digest of who has asked, where, and under which key."""
    request: str
    """Digest of what was asked."""
    at: float
    """When it was kept, in epoch seconds."""
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class KeptAnswers(Protocol):
    """By tenant and key."""

    async def find(self, key: str, *, since: float, tenant: str = "default") -> KeptAnswer | None:
        """The answer that was kept for a key, unless it is older. Raises `StoreUnavailable`."""
        ...

    async def keep(self, answer: KeptAnswer, *, since: float) -> None:
        """Keep one, in the place of another of its key. Some of those that are older go, whosever they are: more than
        come, and of its tenant those that are not among the latest `MOST_ANSWERS`. Raises `StoreUnavailable`."""
        ...
