"""What an engine tells those who look at it: that something has changed, in few words."""

from __future__ import annotations

from msgspec import Struct


class Change(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What has changed since the change before; what it is now is read from the store."""

    runs: frozenset[str] = frozenset()
    """Ids of runs that have new facts, or that are held now. Empty when `lost`."""
    kinds: frozenset[str] = frozenset()
    """Tags of these facts, such as `ApprovalRequested`."""
    signals: bool = False
    """Signals were published or answered."""
    workflows: bool = False
    """Workflows were registered, paused, activated or archived."""
    troubles: bool = False
    """Something went wrong in the engine itself: see its health."""
    seq: int = 0
    """Position in the journal up to which everything is told."""
    lost: bool = False
    """More has changed than is listed: whatever was read before may be stale. Always so in the first change."""
    engine: bool = True
    """An engine drives the runs. It is a change of its own when one goes or comes."""
