"""One engine per SQLite store: a lock on a file beside it, released by the kernel when the process dies."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import FleetError, StoreUnavailable

LOOKS = 4
LOOK_SECONDS = 0.02


class EngineIsRunning(FleetError):
    """Another process holds the engine of this store."""

    def __init__(self, holder: dict[str, Any]) -> None:
        pid = holder.get("pid", "?")
        super().__init__(
            f"another process (pid {pid}, {holder.get('what', 'fleet')}) holds the engine of this store",
            hint="commands go to it by themselves; stop it to run the engine here",
        )
        self.holder = holder


class EngineLock:
    """The right to drive runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self, what: str) -> None:
        """Take the lock. Raises `EngineIsRunning`, and `StoreUnavailable` where there can be no lock."""
        fd = -1
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if not _locked(fd):
                raise EngineIsRunning(_read(fd))
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


def _locked(fd: int) -> bool:
    """Whether the lock is ours now. Who only looks whether an engine runs holds it, too, but not for long."""
    for _ in range(LOOKS):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOOK_SECONDS)
        else:
            return True
    return False


def engine_holder(path: Path) -> dict[str, Any] | None:
    """Who holds the engine: `{pid, what}`; None when nobody does."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(fd)
    except OSError:
        return None
    else:
        return None
    finally:
        os.close(fd)


def _read(fd: int) -> dict[str, Any]:
    try:
        return mapping(json.loads(os.pread(fd, 4096, 0) or b"{}"))
    except (OSError, ValueError):
        return {}
