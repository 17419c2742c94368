"""Tokens: what programs and people elsewhere show instead of being at the keyboard. Their secrets are kept nowhere."""

from __future__ import annotations

import builtins
from typing import Protocol

from msgspec import Struct

from fleetprompt.engine.core.audit import AuditNote


class Token(Struct, frozen=True, kw_only=True):
    """What is known of one, without its secret. Times are epoch seconds."""

    id: str
    """Unique in the store, and part of what is shown: `fleet_<id>_<secret>`."""
    tenant: str
    name: str
    """Of the identity that it stands for."""
    role: str
    created_at: float
    created_by: str
    expires_at: float | None = None
    """From when on it is worth nothing; None: it is until somebody revokes it."""
    revoked_at: float | None = None
    revoked_by: str = ""
    last_used_at: float | None = None
    """To the hour."""


class Tokens(Protocol):
    """All tokens, each with the SHA-256 of what is shown."""

    async def add(self, token: Token, digest: str, audit: AuditNote | None = None) -> None:
        """Keep a new one, and what the audit log is to tell of it. Raises `Refused` where its id is taken, by whatever
        tenant."""
        ...

    async def find(self, id: str) -> tuple[Token, str] | None:
        """The token of that id, whosever it is, and its digest: only its secret says that somebody has it."""
        ...

    async def list(self, tenant: str = "default") -> builtins.list[Token]:
        """All of them, the newest first, also those that are worth nothing any more."""
        ...

    async def any_counts(self, now: float) -> bool:
        """Whether there is a token, of whatever tenant, that is worth something now."""
        ...

    async def revoke(
        self, id: str, *, by: str, at: float, tenant: str = "default", audit: AuditNote | None = None
    ) -> bool:
        """Make it worth nothing; False where the tenant has none of that id that is not revoked yet."""
        ...

    async def used(self, id: str, at: float) -> None:
        """Remember that it was used."""
        ...
