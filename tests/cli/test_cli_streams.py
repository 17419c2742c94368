"""Readers that hang up, disks without room, streams that are closed: no traceback, and no run is lost by it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_kit import Fleet, environment


def test_a_reader_that_hangs_up_ends_it_quietly(fleet: Fleet) -> None:
    fleet.ok("run", "quick.yaml")
    for command in (["facts", "last", "--json"], ["runs"], ["schema"], ["run", "--help"]):
        assert unread(fleet, *command) == (141, ""), command
    code, err = unread(fleet, "run", "quick.yaml")
    run = fleet.runs()[0]
    assert (code, err) == (141, f"the output has gone: `fleet recover` goes on with {run['id'][-8:]}\n")
    assert fleet("recover", "-q").code == 0
    assert fleet.runs()[0]["status"] == "completed"


def unread(fleet: Fleet, *command: str) -> tuple[int, str]:
    """A command whose reader has gone before it began: its exit code, and what it complains about."""
    reading, writing = os.pipe()
    os.close(reading)
    process = fleet.process(*command, stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=120)
    return process.returncode, err.decode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
@pytest.mark.parametrize("command", ["runs", "runs --json", "--help", "run quick.yaml"])
def test_no_room_for_output_is_said_so(fleet: Fleet, command: str) -> None:
    fleet.ok("run", "quick.yaml", "-q")
    with Path("/dev/full").open("wb") as full:
        process = fleet.process(*command.split(), stdout=full)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 74, err
    assert err.decode().endswith("fleet: the output cannot be written: no space left on device\n")
    assert b"Traceback" not in err


def test_streams_that_are_closed_are_no_reason_to_fail(fleet: Fleet) -> None:
    shell = f"{sys.executable} -m fleetprompt.cli run quick.yaml <&- >&- 2>&-"
    done = subprocess.run(["sh", "-c", shell], cwd=fleet.root, env=environment(), timeout=120, check=False)
    assert done.returncode == 0
    assert fleet.runs()[0]["status"] == "completed"
    assert "in order" in fleet.ok("db", "check")
