"""One engine per Postgres store: an advisory lock, which the server takes back when the connection of its holder ends.

An engine whose connection broke takes the lock again. Where another one was faster, both write for a while, and
the journal lets one of them win each run: nothing is done twice that must not be.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs] (it has none)

from fleetprompt.engine.core.errors import StoreUnavailable

AGAIN_SECONDS = 5
"""Between two attempts to have a lock again that a broken connection took along."""
_log = logging.getLogger(__name__)
_MARK = "fleetprompt engine"
_HOLDER = """
SELECT activity.application_name FROM pg_locks AS locks JOIN pg_stat_activity AS activity USING (pid)
WHERE locks.locktype = 'advisory' AND locks.granted AND locks.objsubid = 1
  AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND ((locks.classid::bigint << 32) | locks.objid::bigint) = $1
"""


class EngineLease:
    """The right to drive the runs of a schema of a database."""

    def __init__(self, dsn: str, schema: str, explain: Callable[[Exception], StoreUnavailable | None]) -> None:
        self._dsn = dsn
        self._explain = explain
        digest = hashlib.sha256(f"{_MARK} {schema}".encode()).digest()
        self._key = int.from_bytes(digest[:8], "big", signed=True)
        self._connection: Any = None
        self._again: asyncio.Task[None] | None = None
        self._what = ""

    async def acquire(self, what: str) -> Mapping[str, Any] | None:
        """Take it. None when it is had, else who holds it: `pid`, `host`, `what`. Raises `StoreUnavailable`."""
        self._what = what
        # 63 bytes are what the server keeps of a name.
        name = f"{_MARK} {os.getpid()}@{socket.gethostname()[:20]} {what}"[:63]
        connection = await self._connect(name)
        try:
            if await connection.fetchval("SELECT pg_try_advisory_lock($1)", self._key):
                connection.add_termination_listener(self._lost)
                self._connection = connection
                return None
            return await self._read(connection) or {"what": "fleet"}
        except (OSError, asyncpg.PostgresError) as error:
            raise self._explained(error) from error
        finally:
            if self._connection is not connection:
                await _close(connection)

    async def holder(self) -> Mapping[str, Any] | None:
        """Who holds it; None when nobody does. Raises `StoreUnavailable`."""
        connection = await self._connect(f"fleetprompt looks {os.getpid()}")
        try:
            return await self._read(connection)
        except (OSError, asyncpg.PostgresError) as error:
            raise self._explained(error) from error
        finally:
            await _close(connection)

    async def release(self) -> None:
        """Give it back."""
        task, self._again = self._again, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.remove_termination_listener(self._lost)
            await _close(connection)

    async def _connect(self, name: str) -> Any:
        try:
            return await cast("Any", asyncpg).connect(
                self._dsn, server_settings={"application_name": name}, timeout=AGAIN_SECONDS
            )
        except (OSError, asyncpg.PostgresError) as error:
            raise self._explained(error) from error

    async def _read(self, connection: Any) -> Mapping[str, Any] | None:
        name = await connection.fetchval(_HOLDER, self._key)
        if name is None:
            return None
        who, _, what = str(name).removeprefix(_MARK).strip().partition(" ")
        pid, _, host = who.partition("@")
        return {"pid": int(pid) if pid.isdecimal() else 0, "host": host, "what": what or "fleet"}

    def _lost(self, _connection: Any) -> None:
        self._connection = None
        self._again = asyncio.get_running_loop().create_task(self._have_again(), name="fleet-lease")

    async def _have_again(self) -> None:
        told = ""
        while True:
            try:
                other = await self.acquire(self._what)
                why = f"another engine has it, and both write: {dict(other)}" if other is not None else ""
            except Exception as error:
                # Whatever it is: who gave up here would drive runs beside another engine for good.
                why = str(error) or type(error).__name__
            if why != told:
                told = why
                _log.warning("the lock of the engine was lost with its connection; %s", why or "it is had again")
            if not why:
                return
            await asyncio.sleep(AGAIN_SECONDS)

    def _explained(self, error: Exception) -> Exception:
        return self._explain(error) or error


async def _close(connection: Any) -> None:
    with suppress(OSError, asyncpg.PostgresError):
        await connection.close(timeout=AGAIN_SECONDS)


__all__ = ["EngineLease"]
