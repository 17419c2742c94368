"""Real SIGKILL at every commit of one workflow: whatever it interrupts, the end is the same."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.crash.engines import ROOT, environment

WORKERS = 2
"""Each of them loads everything first."""
MEMORY = Path("/dev/shm")
"""SIGKILL takes nothing from a file system, so a disk would only be slow."""


@pytest.mark.long
@pytest.mark.crash
@pytest.mark.timeout(600)
def test_a_kill_at_any_commit_changes_nothing_about_the_end() -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        workers = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.crash.points", folder, str(first), str(WORKERS)],
                cwd=ROOT,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for first in range(1, WORKERS + 1)
        ]
        said = [worker.communicate() for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * WORKERS, said
    ends = [json.loads(line) for out, _ in said for line in out.splitlines()]
    uncrashed = ends[0]
    assert uncrashed["point"] == ""
    for end in ends:
        assert end["broken"] == [], end
        assert (end["status"], end["steps"]) == (uncrashed["status"], uncrashed["steps"]), end["point"]
    # A run of this many effects has at least as many commits, and some of them leave something in doubt.
    assert len(ends) > 2 * 15
    assert any(end["doubts"] for end in ends)
