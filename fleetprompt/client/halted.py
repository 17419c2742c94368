"""What keeps all runs of a fleet from going on. PURE, and without what only runs need: every frame says it."""

from __future__ import annotations

from fleetprompt.engine.ports.operations import Position


def halted_by(position: Position, *, began: bool, child: bool, engine: bool = True) -> str:
    """Why nothing new starts in a run that is not over, where that is not up to the run; empty where it may. `child`:
    another run has started it, to which it belongs. `engine`: there is one that drives runs."""
    if position == "draining" and not began and not child:
        return "the fleet is draining"
    if position in ("paused", "off"):
        return f"the fleet is {position}"
    return "" if engine else "no engine runs"
