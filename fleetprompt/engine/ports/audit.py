"""The audit log: a chain of entries for each tenant, see `core/audit.py`."""

from __future__ import annotations

import builtins
from typing import Protocol

from msgspec import Struct

from fleetprompt.engine.core.audit import AuditEntry, AuditNote, Verdict


class AuditQuery(Struct, frozen=True, kw_only=True):
    """Which entries: all that are named have to fit."""

    since: float = 0.0
    """Epoch seconds."""
    by: str = ""
    action: str = ""
    object: str = ""
    outcome: str = ""
    before: int = 0
    """Only those before this place; 0: from the newest."""
    limit: int = 100


class Audit(Protocol):
    """What changes something writes its entry in the transaction of the change: this is for what changes no row."""

    async def add(self, note: AuditNote) -> AuditEntry:
        """Write an entry of its own."""
        ...

    async def list(self, query: AuditQuery, tenant: str = "default") -> builtins.list[AuditEntry]:
        """The newest first."""
        ...

    async def verify(self, tenant: str = "default", known: str = "") -> Verdict:
        """Walk through the whole chain. `known`: a head that was kept elsewhere."""
        ...

    async def prune(self, before: float, note: AuditNote) -> int:
        """Delete the tenant's entries before a time (but for the last entry) and say so in the chain; how many."""
        ...
