"""One engine per SQLite store: a lock on a file beside it, released by the kernel when the process dies.

The engine holds it exclusively and writes into the file who it is. Who looks whether an engine runs takes it shared,
for as long as looking takes: many can look at once, and a lock that can be had shared is held by no engine.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import FleetError, StoreUnavailable

PATIENCE = 5.0
"""Seconds that an engine waits for those who look. Each of them takes a fraction of a millisecond."""
LONGEST_PAUSE = 0.005


class EngineIsRunning(FleetError):
    """Another process holds the engine of this store."""

    def __init__(self, holder: Mapping[str, Any]) -> None:
        pid, host = holder.get("pid", "?"), str(holder.get("host", ""))
        where = f" on {host}" if host else ""
        super().__init__(
            f"another process (pid {pid}{where}, {holder.get('what', 'fleet')}) holds the engine of this store",
            hint="commands go to it by themselves; stop it to run the engine here",
        )
        self.holder = holder


class EngineLock:
    """The right to drive runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self, what: str) -> None:
        """Take the lock. Raises `EngineIsRunning`, and `StoreUnavailable` where it cannot be had.

        Blocks for a moment where others look, for `PATIENCE` at most.
        """
        fd = -1
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _lock(fd, self._path)
            os.ftruncate(fd, 0)
            os.pwrite(fd, json.dumps({"pid": os.getpid(), "what": what}).encode(), 0)
            self._fd = fd
        except OSError as error:
            raise StoreUnavailable(
                f"the lock of the engine cannot be taken: {error.strerror}",
                where=str(self._path),
                hint="check who owns the file and its folder, and the space on the disk",
            ) from error
        finally:
            if self._fd is None and fd >= 0:
                os.close(fd)

    def release(self) -> None:
        """Give the lock back."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None


def _lock(fd: int, path: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _have(fd, fcntl.LOCK_EX):
        if not _have(fd, fcntl.LOCK_SH):
            raise EngineIsRunning(_read(fd))
        fcntl.flock(fd, fcntl.LOCK_UN)
        if time.monotonic() > deadline:
            raise StoreUnavailable(
                "the lock of the engine cannot be taken: somebody keeps looking whether an engine runs",
                where=str(path),
                hint=f"try again; `fuser -v {path}` shows who has it open",
            )
        # Two that want to be the engine look, too: they must not do so in step.
        time.sleep(random.uniform(0, LONGEST_PAUSE))


def _have(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def engine_holder(path: Path) -> dict[str, Any] | None:
    """Who holds the engine: `{pid, what}`; None when nobody does."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return None if _have(fd, fcntl.LOCK_SH) else _read(fd)
    except OSError:
        return None
    finally:
        os.close(fd)


def engine_left(path: Path) -> bool:
    """Whether who held the engine last has given it back, rather than died."""
    try:
        return path.stat().st_size == 0
    except OSError:
        return False


def _read(fd: int) -> dict[str, Any]:
    try:
        return mapping(json.loads(os.pread(fd, 4096, 0) or b"{}"))
    except (OSError, ValueError):
        return {}
