"""The audit log of the memory store."""

from __future__ import annotations

import builtins

from msgspec.structs import replace

from fleetprompt.engine.core.audit import PRUNED, AuditEntry, AuditNote, Head, Verdict, Walk, kept, sealed
from fleetprompt.engine.ports.audit import AuditQuery
from fleetprompt.engine.store.memory_state import State


def write(state: State, note: AuditNote) -> AuditEntry:
    """Write an entry, with the change that it tells of."""
    entry, head = sealed(note, state.audit_heads.get(note.tenant, Head()))
    state.audit[note.tenant, entry.seq] = entry
    state.audit_heads[note.tenant] = head
    return entry


class MemoryAudit:
    """See `ports.audit.Audit`."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def add(self, note: AuditNote) -> AuditEntry:
        """Write an entry of its own."""
        return write(self._state, note)

    async def list(self, query: AuditQuery, tenant: str = "default") -> builtins.list[AuditEntry]:
        """The newest first."""
        wanted = {
            name: kept(value) for name in ("by", "action", "object", "outcome") if (value := getattr(query, name))
        }
        found = [
            entry
            for entry in reversed(self._of(tenant))
            if entry.at >= query.since
            and (not query.before or entry.seq < query.before)
            and all(getattr(entry, name) == value for name, value in wanted.items())
        ]
        return found[: query.limit]

    async def verify(self, tenant: str = "default", known: str = "") -> Verdict:
        """Walk through the whole chain."""
        walk = Walk(self._state.audit_heads.get(tenant, Head()), known)
        walk.take(self._of(tenant))
        return walk.verdict()

    async def prune(self, before: float, note: AuditNote) -> int:
        """Delete the entries before a time, and say so in the chain."""
        state, tenant = self._state, note.tenant
        entries = self._of(tenant)
        gone = next((at for at, entry in enumerate(entries) if entry.at >= before), max(len(entries) - 1, 0))
        if not gone:
            return 0
        last = entries[gone - 1]
        for entry in entries[:gone]:
            del state.audit[tenant, entry.seq]
        state.audit_heads[tenant] = replace(state.audit_heads[tenant], base_seq=last.seq, base_hash=last.hash)
        write(state, replace(note, action=PRUNED, kind="audit", object=str(last.seq), detail=last.hash))
        return gone

    def _of(self, tenant: str) -> builtins.list[AuditEntry]:
        return sorted(
            (entry for (of, _), entry in self._state.audit.items() if of == tenant), key=lambda entry: entry.seq
        )
