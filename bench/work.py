"""The work that is measured, the same for everybody: runs of ten trivial async steps that hand a text on.

A step gets about 200 bytes and gives back about 200 bytes.
"""

from __future__ import annotations

from bench.task import Driven, Figures

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


def rate(driven: Driven) -> Figures:
    """What a throughput measurement reports."""
    return {"steps_per_s": driven.done * STEPS / driven.seconds, "runs": driven.done, "seconds": driven.seconds}
