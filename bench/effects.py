"""The outside world of the crash measurements: a file to which every effect appends a line when it begins and ends.

One `write` of a short line to a file opened with O_APPEND survives a `kill -9` of the process that made it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Line(NamedTuple):
    """Something that an effect did."""

    what: str
    """`b`: it began. `e`: it has happened."""
    run: str
    step: str
    key: str
    at: int
    """Nanoseconds of CLOCK_MONOTONIC, the same clock in every process of the machine."""
    pid: int

    @property
    def work(self) -> tuple[str, str]:
        return self.run, self.step


CODE = """
import asyncio, os, time, zlib

_effects = os.open(os.environ["BENCH_EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_pid = os.getpid()
_together = int(os.environ.get("BENCH_TOGETHER", "0"))
_here = set()
_all = asyncio.Event()

def mark(what, run, step, key):
    line = f"{what} {run} {step} {key} {time.monotonic_ns()} {_pid}\\n"
    os.write(_effects, line.encode())

async def nap(seconds, run, step):
    if seconds:
        await asyncio.sleep(seconds * (0.75 + 0.5 * zlib.crc32(f"{run}/{step}".encode()) / 2**32))

async def together(run):
    _here.add(run)
    if len(_here) >= _together:
        _all.set()
    await _all.wait()
"""
NOTE = (
    CODE
    + """
async def note(number):
    mark("b", "-", str(number), "-")
"""
)
"""A function that tells when it was begun."""
"""For the functions under test. `mark` appends a line to the file that BENCH_EFFECTS names. `together` holds the first
steps back until BENCH_TOGETHER runs have come that far, so that all are in flight when the process is killed. `nap`
sleeps a quarter more or less than asked, differently in every step, so that runs which began together do not march."""


def read(path: Path) -> list[Line]:
    """The lines so far; a last one that is not whole is left out."""
    lines: list[Line] = []
    for text in path.read_text().splitlines(keepends=True):
        parts = text.split()
        if text.endswith("\n") and len(parts) == 6:
            what, run, step, key, at, pid = parts
            lines.append(Line(what, run, step, key, int(at), int(pid)))
    return lines


def of(lines: Iterable[Line], what: str, pid: int) -> list[Line]:
    """What one process began or ended."""
    return [line for line in lines if line.what == what and line.pid == pid]
