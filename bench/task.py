"""What a measurement is given, and how its figures come back from the process it runs in."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

Figures = dict[str, Any]
"""What a measurement found: numbers by name, and `notes` (a list of texts) where something has to be said."""


@dataclass
class Task:
    """One measurement of one subject."""

    folder: str
    """Empty, on the disk under test; deleted afterwards."""
    shared: str
    """For what the repeats of a measurement have in common, such as a database that takes long to fill."""
    quick: bool = False
    store: str = "sqlite"
    given: dict[str, Figures] = field(default_factory=dict)
    """What the subjects before this one found in the same round."""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return Path(self.folder)

    def text(self) -> str:
        """For the command line of another process."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Task:
        return cls(**json.loads(text))


@dataclass
class Driven:
    """What came of running something many times."""

    done: int
    seconds: float
    each: list[float]
    """Seconds of every run, in order of completion."""


async def drive(one: Callable[[int], Awaitable[object]], runs: int, live: int, seconds: float = 600.0) -> Driven:
    """Do `one(i)` for i < runs, `live` at a time. After `seconds` nothing more is begun: a slow peer does fewer."""
    numbers = iter(range(runs))
    each: list[float] = []
    began = time.perf_counter()

    async def worker() -> None:
        for i in numbers:
            at = time.perf_counter()
            if at - began > seconds:
                return
            await one(i)
            each.append(time.perf_counter() - at)

    await asyncio.gather(*(worker() for _ in range(min(live, runs))))
    return Driven(len(each), time.perf_counter() - began, each)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies, by interpolation."""
    if len(values) < 2:
        return values[0] if values else float("nan")
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]


def spread(values: Sequence[float], name: str) -> Figures:
    """p50 and p95 in milliseconds of values in seconds."""
    return {f"{name}_p50_ms": percentile(values, 0.5) * 1e3, f"{name}_p95_ms": percentile(values, 0.95) * 1e3}


def spawn(module: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """A further process of the same measurement, with the same interpreter."""
    return subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=ROOT, text=True, **options)


def main() -> None:
    """Entry of the process: `python -m bench.task MODULE:FUNCTION TASK RESULT`."""
    import importlib
    import resource

    module, _, name = sys.argv[1].partition(":")
    task = Task.read(sys.argv[2])
    figures: Figures = getattr(importlib.import_module(module), name)(task)
    figures["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024 if sys.platform != "darwin" else 2**20
    )
    Path(sys.argv[3]).write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
