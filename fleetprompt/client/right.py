"""The right of a process to drive the runs of a store: there is one engine for each."""

from __future__ import annotations

from fleetprompt.engine.ports import Lease
from fleetprompt.engine.runtime.lock import EngineIsRunning, EngineLock


class EngineRight:
    """Told by a lock on this machine and, where the store is on a server, by the database for all machines."""

    def __init__(self, lock: EngineLock, lease: Lease | None) -> None:
        self._lock = lock
        self._lease = lease

    async def acquire(self, what: str) -> None:
        """Take it. Raises `EngineIsRunning` where another process has it, and `StoreUnavailable`."""
        self._lock.acquire(what)
        try:
            holder = await self._lease.acquire(what) if self._lease is not None else None
        except BaseException:
            self._lock.release()
            raise
        if holder is not None:
            self._lock.release()
            raise EngineIsRunning(holder)

    async def release(self) -> None:
        """Give it back."""
        try:
            if self._lease is not None:
                await self._lease.release()
        finally:
            self._lock.release()
