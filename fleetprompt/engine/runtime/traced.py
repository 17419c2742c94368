"""Signals that leave a run say where in a trace they come from."""

from __future__ import annotations

from msgspec.structs import replace

from fleetprompt.engine.core import tracing
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.core.state import Run


def traced(run: Run, signal: Signal) -> Signal:
    """The signal with the place of the step that sends it, or of the run."""
    created = run.created
    if created is None or signal.traceparent:
        return signal
    step = run.steps.get(signal.source.removeprefix(f"run/{run.id}/"))
    spot = tracing.of_step(created, step) if step is not None else tracing.of_run(created)
    return replace(signal, traceparent=spot.traceparent)
