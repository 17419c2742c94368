"""How the words of a run came about: said by a model, by one on this machine, by a script, or by a recording."""

from __future__ import annotations

UNREAL = frozenset({"simulated", "replay"})
"""Modes in which no model was asked: nothing was spent, and how long it took says nothing."""


def joined(before: str, added: str) -> str:
    """The mode of a whole to which something in another mode is added; empty: nothing was said yet.

    Models anywhere are `live` together, simulations with recordings are `simulated`; some of both is `mixed`.
    """
    if not before or before == added:
        return added
    if not added or before == "mixed":
        return before
    if (before in UNREAL) != (added in UNREAL):
        return "mixed"
    return "simulated" if before in UNREAL else "live"


def is_unreal(mode: str) -> bool:
    """Whether no model has said any of it."""
    return mode in UNREAL


def has_unreal(mode: str) -> bool:
    """Whether some of it was said by no model."""
    return mode in UNREAL or mode == "mixed"
