"""Runs measurements: each subject in a process of its own, the subjects of a measure in turn, repeat by repeat.

In turn, so that a machine that becomes busy meanwhile slows them all; in processes, so that none warms or burdens
another. A subject that fails is reported and the rest goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.catalog import FLOOR, Measure, Subject
from bench.machine import installed
from bench.task import ROOT, Figures, Task

LONGEST = 600.0
"""Seconds that one measurement of one subject may take."""
PAST = "bench-past-"
"""How the folders of stores begin that several measures use."""
QUIET = {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false", "PYTHONWARNINGS": "ignore"}


def environment(folder: Path) -> dict[str, str]:
    """What measured processes see. Byte code is kept, as on any machine in use, in a place that goes away."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | QUIET | {"PYTHONPYCACHEPREFIX": str(folder / "bench-bytecode")}


@dataclass
class Found:
    """What the repeats of a subject found."""

    samples: list[Figures] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def values(self, name: str) -> list[float]:
        """The values of a figure, repeat by repeat."""
        return [sample[name] for sample in self.samples if isinstance(sample.get(name), int | float)]

    def median(self, name: str) -> float | None:
        values = self.values(name)
        return statistics.median(values) if values else None


@dataclass
class Session:
    """The settings of this run of the benchmarks."""

    folder: Path
    repeat: int
    quick: bool
    store: str
    python: str
    """Interpreter for the peers."""
    peers: bool

    def measure(self, measure: Measure) -> dict[str, Found]:
        """The findings by subject."""
        subjects = self._subjects(measure)
        found = {subject.name: Found() for subject in measure.subjects}
        for subject in measure.subjects:
            if subject not in subjects:
                found[subject.name].notes.append("not installed" if subject.needs and self.peers else "left out")
        shared = tempfile.mkdtemp(prefix=f"bench-{measure.name}-", dir=self.folder)
        try:
            for i in range(self.repeat):
                self._round(measure, subjects, found, shared, f"{i + 1}/{self.repeat}")
        finally:
            shutil.rmtree(shared, ignore_errors=True)
        return found

    def close(self) -> None:
        """Remove what the measures shared."""
        for left in (self.folder / "bench-bytecode", *self.folder.glob(f"{PAST}*")):
            shutil.rmtree(left, ignore_errors=True)

    def _subjects(self, measure: Measure) -> list[Subject]:
        wanted = [subject.needs for subject in measure.subjects if subject.needs]
        there = installed(self.python, wanted) if wanted and self.peers else {}
        # The floor repeats what ours left on disk.
        without = FLOOR if self.store == "memory" and measure.name in ("throughput", "latency") else ""
        return [
            subject
            for subject in measure.subjects
            if subject.name != without and (not subject.needs or subject.needs in there)
        ]

    def _round(
        self, measure: Measure, subjects: list[Subject], found: dict[str, Found], shared: str, which: str
    ) -> None:
        given: dict[str, Figures] = {}
        folders: list[str] = []
        for subject in subjects:
            print(f"{measure.name} {which} {subject.name}", file=sys.stderr, flush=True)
            folder = tempfile.mkdtemp(prefix="bench-", dir=self.folder)
            folders.append(folder)
            task = Task(folder, shared, self.quick, self.store, given, dict(measure.options))
            figures = self._run(subject, task)
            notes = figures.pop("notes", [])
            found[subject.name].notes += [note for note in notes if note not in found[subject.name].notes]
            if figures:
                given[subject.name] = figures
                found[subject.name].samples.append(figures)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, subject: Subject, task: Task) -> Figures:
        result = task.path / "result.json"
        process = subprocess.Popen(
            [
                self.python if subject.needs else sys.executable,
                "-m",
                "bench.task",
                subject.function,
                task.text(),
                result,
            ],
            cwd=ROOT,
            env=environment(self.folder),
            stdout=sys.stderr,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            _, errors = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return {"notes": [f"not done after {LONGEST:.0f} s"]}
        if result.exists():
            figures: dict[str, Any] = json.loads(result.read_text())
            return figures
        last = errors.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        print(errors, file=sys.stderr)
        return {"notes": [f"failed: {last[0][:200]}"]}
