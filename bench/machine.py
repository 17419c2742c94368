"""The conditions of a measurement: what ran it, on which disk, and how busy it was."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.task import ROOT

MEMORY = {"tmpfs", "ramfs"}


def disk_folder(wanted: str = "") -> Path:
    """A folder on a real disk: the one that is wanted, else the first of the usual ones that is not in memory."""
    if wanted:
        return Path(wanted).resolve()
    places = [Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd()]
    return next((place for place in places if place.is_dir() and filesystem(place) not in MEMORY), places[0])


def filesystem(path: Path) -> str:
    """The type of the file system that holds a path; `?` where it cannot be told."""
    best, kind = "", "?"
    try:
        lines = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return kind
    for line in lines:
        _, at, type_, *_ = line.split()
        if path.resolve().is_relative_to(at) and len(at) >= len(best):
            best, kind = at, type_
    return kind


def sync_ms(folder: Path, times: int = 200) -> float:
    """What the disk needs to make 4 KiB durable: the median, in milliseconds."""
    took: list[float] = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(times):
            at = time.perf_counter()
            os.write(file.fileno(), b"x" * 4096)
            os.fsync(file.fileno())
            took.append(time.perf_counter() - at)
    return statistics.median(took) * 1e3


def conditions(folder: Path) -> dict[str, Any]:
    """What has to be known to compare figures."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _commit(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "folder": str(folder),
        "filesystem": filesystem(folder),
        "sync_ms": sync_ms(folder),
        "load_before": os.getloadavg(),
    }


def installed(python: str, packages: Iterable[str]) -> dict[str, str]:
    """Those of the packages that an interpreter has, and their versions."""
    code = """
import importlib.metadata, sys
for name in sys.argv[1:]:
    try:
        print(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        pass
"""
    done = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True, check=False, cwd=ROOT)
    return dict(line.split() for line in done.stdout.splitlines())


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "?"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "fleetprompt") else "")
    except (OSError, subprocess.CalledProcessError):
        return "?"
