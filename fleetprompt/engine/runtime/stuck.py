"""Runs that do not get on: the engine holds them, or their work has told of nothing for long."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

STUCK_SECONDS = 1800.0
"""For so long work may be under way without any fact."""


def stuck_runs(engine: Engine, after: float = STUCK_SECONDS) -> dict[str, str]:
    """Live runs that are stuck, and why. Those whose agent goes in circles ask about it, and are not among them."""
    found = dict(engine.holds)
    now = engine.now()
    for run_id, driver in engine.live.items():
        quiet = now - driver.run.at
        if driver.tasks and quiet > after and run_id not in found:
            path = next(iter(driver.tasks))[0]
            found[run_id] = f"step {path} has told of nothing for {quiet / 60:,.0f} min"
    return found
