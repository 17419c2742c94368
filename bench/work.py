"""The work that is measured, the same for everybody: runs of ten trivial async steps that hand a text on.

A step gets about 200 bytes and gives back about 200 bytes.
"""

from __future__ import annotations

from bench.task import Driven, Figures, spread

STEPS = 10
LIVE = 100
WARM = 5
"""Runs before the clock starts."""
PAYLOAD = "x" * 180
"""With its name and quotes about 200 bytes."""


def many(quick: bool) -> tuple[int, int]:
    """Runs, and how many at a time."""
    return (200 if quick else 1000), LIVE


def few(quick: bool) -> int:
    """Runs, one at a time."""
    return 20 if quick else 50


def figures(driven: Driven, asked: int, live: int, cpu: float) -> Figures:
    """What throughput (many at a time) and latency (one at a time) report; `cpu` is processor time in seconds."""
    found: Figures = {
        "runs": driven.done,
        "seconds": driven.seconds,
        "cpu_us_per_step": cpu / driven.done / STEPS * 1e6,
    }
    if driven.done < asked:
        found["notes"] = [f"{driven.done} of {asked} runs in {driven.seconds:.0f} s"]
    if live > 1:
        return found | {"steps_per_s": driven.done * STEPS / driven.seconds}
    return found | spread(driven.each, "run")
