"""The numbers of the engine in this process, for whoever scrapes them: none of them asks the store."""

from __future__ import annotations

from collections.abc import Callable

from fleetprompt import __version__
from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.engine.runtime.stuck import STUCK_SECONDS, stuck_runs
from fleetprompt.engine.telemetry.exposition import Gauges, Snapshot, snapshot
from fleetprompt.engine.telemetry.metrics import Metrics


def measuring(console: EmbeddedConsole, metrics: Metrics, stuck_after: float = STUCK_SECONDS) -> Callable[[], Snapshot]:
    """Takes the numbers of an engine that `metrics` observes."""
    engine = console.engine

    def measure() -> Snapshot:
        drivers = engine.live.values()
        gauges = Gauges(
            version=__version__,
            workflows=[each.plan.name for each in engine.workflows.active],
            stuck=len(stuck_runs(engine, stuck_after)),
            signals=dict(engine.bus.admission.tally),
            live=len(drivers),
            effects=sum(len(driver.tasks) for driver in drivers),
            waiting=engine.slots.waiting,
            lag=engine.vitals.lag,
            facts=engine.feed.facts,
            troubles=engine.troubled,
        )
        return snapshot(metrics, gauges)

    return measure
