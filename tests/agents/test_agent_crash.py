"""Real SIGKILL at every commit of an agent's work: what must not be paid for or done twice is not.

The one window in which an answer is paid for again is between its arrival and its commit, and what it may have cost is
counted as uncertain.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from crash_kit import SCRIPT
from stub_server import start_stub

PROGRAM = Path(__file__).with_name("crash_kit.py")


@pytest.mark.long
@pytest.mark.crash
@pytest.mark.timeout(600)
def test_a_kill_at_any_commit(tmp_path: Path) -> None:
    with start_stub(tmp_path, SCRIPT) as stub:
        # In one process: before it forks anything it imports litellm, which takes longer than most that follows.
        command = [sys.executable, str(PROGRAM), str(tmp_path), stub.base, "safe", "never"]
        environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parents[2])}
        said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=590, check=False)
        assert said.returncode == 0, said.stderr[-3000:]
        calls = [each["headers"]["x-fleetprompt-call"] for each in stub.requests()]
    seen: dict[str, set[str]] = {"safe": set(), "never": set()}
    for end in map(json.loads, said.stdout.splitlines()):
        seen[end["repeat"]].add(check(end, calls))
    expected = {"as if nothing had happened", "an answer was paid for again"}
    assert seen["safe"] == expected | {"done twice, with the same key"}
    assert seen["never"] == expected | {"in doubt"}


def check(end: dict[str, Any], calls: list[str]) -> str:
    """Whether every promise was kept, and what it came to."""
    repeat = end["repeat"]
    requests = [call for call in calls if call.startswith(f"{end['run']}/")]
    assert end["status"] == "completed", end
    assert end["reserved"] == 0, end
    assert end["spent"][0] == end["spent"][1], end
    assert end["uncertain"][0] == end["uncertain"][1], end
    assert end["answered"] == 2, end
    # A request that was begun is counted, whether it was sent or not.
    assert end["answered"] <= len(requests) <= end["answered"] + end["broken"], end
    assert (end["uncertain"][0] > 0) == (end["broken"] > 0), end
    assert len({line.split()[0] for line in end["effects"]}) <= 1, "the key is the same for every attempt"
    if end["doubtful"]:
        assert repeat == "never"
        assert end["effects"] == end["effects_before"]
        assert len(end["effects"]) <= 1
        return "in doubt"
    assert 1 <= len(end["effects"]) <= (2 if repeat == "safe" else 1), end
    if len(end["effects"]) == 2:
        return "done twice, with the same key"
    return "an answer was paid for again" if len(requests) > end["answered"] else "as if nothing had happened"
