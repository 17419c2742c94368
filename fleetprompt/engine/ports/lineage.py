"""Where a signal came from, and what came of it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports.journal import RunHead


class Kin(Struct, frozen=True, kw_only=True):
    """A signal or a run in the lineage of a signal."""

    id: str
    how: Literal["caused", "emitted", "started", "reached"]
    """What links cause and effect: a signal `caused` a signal, a run `emitted` one, a signal `started` a run or
    `reached` one that was there."""
    depth: int
    """How many links away from the signal that was asked about; 1 is next to it."""
    signal: Signal | None = None
    run: RunHead | None = None
    """With neither it is no longer in the store."""


class Lineage(Struct, frozen=True, kw_only=True):
    """The kin of a signal, as far as the store has them."""

    signal: Signal
    causes: tuple[Kin, ...]
    """What led to it: its cause, the cause of that, and so on."""
    effects: tuple[Kin, ...]
    """What it led to, as a tree: behind each one what followed from it, one link deeper. Of a run that was there
    before, only what it emitted after the signal that reached it. Each stands once, below the cause that was found
    first."""
    family: tuple[Signal, ...]
    """Signals of the same correlation, itself among them, the oldest first."""
    more: frozenset[Literal["causes", "effects", "family"]] = frozenset()
    """Which of these were longer, and were cut: causes after 100, effects after 500 or 30 links, family after 200."""
