"""What holds for all tests: how they draw examples, on a machine of any speed, and that nothing slows them down."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples every time, so that a change is judged by what it changed; FLEET_EXPLORE=1 looks for new ones.
EXPLORE = bool(os.environ.get("FLEET_EXPLORE"))

# How long an example takes, or drawing it, says something about the machine and nothing about what is tested. Who names
# health checks of its own in `@settings` has to name this one, too: that list is in place of this one.
settings.register_profile(
    "fleet",
    derandomize=not EXPLORE,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("fleet")

MEMORY = Path("/dev/shm")
ROOM = 4 << 30
"""Bytes: several times what all tests of three sessions leave, which is as long as pytest keeps it."""


def _is_roomy(folder: Path) -> bool:
    if not os.access(folder, os.W_OK):
        return False
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize >= ROOM and not found.f_flag & os.ST_NOEXEC


# A kill takes nothing from a file system, and no test cuts the current, so that a disk would only be slow: stores wait
# for it with every commit, half of the time that their tests took.
if _is_roomy(MEMORY):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and found stays to the end: to look for garbage among it took a fifth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes long comes first, and each worker gets as much of it: begun last, one of them is waited for alone.

    So with the tests of the console, which wait half of their time: every other worker begins with its share of them
    while the rest work, so that there is never a core for which all wait.
    """
    workers: int = getattr(config, "workerinput", {}).get("workercount", 1)
    long = [item for item in items if item.get_closest_marker("long")]
    rest = [item for item in items if not item.get_closest_marker("long")]
    waiting = [item for item in rest if item.path.parent.name == "tui"]
    working = [item for item in rest if item.path.parent.name != "tui"]
    shares: list[pytest.Item] = []
    for worker in range(workers):
        # As the scheduler divides them.
        size = (len(items) - len(shares)) // (workers - worker)
        own = long[worker::workers]
        room = max(0, size - len(own))
        waits = waiting[: min(room, len(waiting) // (workers - worker))]
        works = working[: room - len(waits)]
        shares += own + (works + waits if worker % 2 else waits + works)
        waiting = waiting[len(waits) :]
        working = working[len(works) :]
    items[:] = shares + waiting + working


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """Nor is anything looked for at the end, which pytest does five times over: the process goes."""
    gc.freeze()
