"""Looking after a store: without an engine, beside one, or instead of one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from fleetprompt.client.opening import Place, open_store
from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.engine.ports import Health, Page, Store
from fleetprompt.engine.runtime.lock import EngineLock
from fleetprompt.engine.store.room import Room

BATCH = 1000


@asynccontextmanager
async def store_of(place: Place) -> AsyncGenerator[Store]:
    """The store of a place, connected, and upgraded if it was older. Raises `StoreUnavailable`."""
    store = open_store(place)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def check(place: Place) -> Health:
    """Read the whole store and say what is wrong with it."""
    async with store_of(place) as store:
        return await store.check()


async def backup(place: Place, target: Path) -> int:
    """Copy the store to a new file while it is in use; its size in bytes. Raises `Refused`."""
    from fleetprompt.engine.store.database import SqlStore

    store = open_store(place)
    if not isinstance(store, SqlStore):
        raise Refused("only a SQLite store can be copied like this", hint="use the tools of the database server")
    return await store.backup(target)


async def prune(
    place: Place, *, before: float, logs_before: float | None = None, vacuum: bool = False
) -> tuple[dict[str, int], Room]:
    """Delete finished runs that ended before a time, with all that is theirs; counts by table, and what became of the
    room. `vacuum` writes the whole store anew: raises `EngineIsRunning`, as nobody could write meanwhile."""
    from fleetprompt.engine.store.database import SqlStore

    lock = EngineLock(place.lock) if vacuum else None
    async with store_of(place) as store:
        if lock is not None:
            lock.acquire("fleet db prune --vacuum")
        try:
            counts = await store.prune(before=before, logs_before=logs_before)
            room = await store.shrink(whole=vacuum) if isinstance(store, SqlStore) else Room()
        finally:
            if lock is not None:
                lock.release()
    return counts, room


async def prunable(place: Place, *, before: float, now: float) -> int:
    """How many finished runs ended before a time."""
    query = parse("status:completed,failed,cancelled,timeout", RUN_FIELDS)
    count = 0
    async with store_of(place) as store:
        cursor = ""
        while True:
            page = Page(limit=BATCH, cursor=cursor, oldest_first=True)
            heads, cursor = await store.runs.list(query, page, now=now)
            count += sum(head.finished_at is not None and head.finished_at < before for head in heads)
            # Oldest first by creation: what was created later cannot have ended before.
            if not cursor or not heads or heads[-1].created_at > before:
                return count


def newest_schema() -> str:
    """The version of the schema that this program makes."""
    from fleetprompt.engine.store.schema import HEAD

    return HEAD
