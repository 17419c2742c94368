"""Looking after a store: without an engine, beside one, or instead of one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from fleetprompt.client.identity import DEFAULT_TENANT
from fleetprompt.client.opening import Place, open_store
from fleetprompt.engine.core.audit import AuditNote
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
    place: Place,
    *,
    before: float,
    logs_before: float | None = None,
    vacuum: bool = False,
    workflows: Mapping[str, float] | None = None,
    tenant: str = DEFAULT_TENANT,
    audit: AuditNote | None = None,
    audit_before: float | None = None,
) -> tuple[dict[str, int], Room]:
    """Delete finished runs that ended before a time, with all that is theirs; counts by table, and what became of the
    room. `workflows`: times of their own for the runs of some, by pattern. `vacuum` writes the whole store anew: raises
    `EngineIsRunning`, as nobody could write meanwhile. `audit` is what the audit log is told of it, whose own entries
    before `audit_before` are deleted as well."""
    from fleetprompt.engine.store.database import SqlStore

    lock = EngineLock(place.lock) if vacuum else None
    async with store_of(place) as store:
        if lock is not None:
            lock.acquire("fleet db prune --vacuum")
        try:
            own = await _own(store, workflows or {}, tenant)
            counts = await store.prune(before=before, logs_before=logs_before, workflows=own, tenant=tenant)
            if audit is not None:
                if audit_before is not None:
                    counts["audit"] = await store.audit.prune(audit_before, audit)
                await store.audit.add(audit)
            room = await store.shrink(whole=vacuum) if isinstance(store, SqlStore) else Room()
        finally:
            if lock is not None:
                lock.release()
    return counts, room


async def _own(store: Store, patterns: Mapping[str, float], tenant: str) -> dict[str, float]:
    """The times of workflows that a pattern is about; of several patterns the first counts."""
    names = [each.name for each in await store.catalog.workflows(tenant)] if patterns else []
    found = {name: next((p for p in patterns if fnmatchcase(name, p)), None) for name in names}
    return {name: patterns[pattern] for name, pattern in found.items() if pattern is not None}


async def prunable(
    place: Place,
    *,
    before: float,
    now: float,
    workflows: Mapping[str, float] | None = None,
    tenant: str = DEFAULT_TENANT,
) -> int:
    """How many finished runs ended before a time. `workflows`: as for `prune`."""
    query = parse("status:completed,failed,cancelled,timeout", RUN_FIELDS)
    count = 0
    async with store_of(place) as store:
        own = await _own(store, workflows or {}, tenant)
        latest = max((before, *own.values()))
        cursor = ""
        while True:
            page = Page(limit=BATCH, cursor=cursor, oldest_first=True)
            heads, cursor = await store.runs.list(query, page, now=now, tenant=tenant)
            count += sum(
                head.finished_at is not None and head.finished_at < own.get(head.workflow, before) for head in heads
            )
            # Oldest first by creation: what was created later cannot have ended before.
            if not cursor or not heads or heads[-1].created_at > latest:
                return count


def newest_schema() -> str:
    """The version of the schema that this program makes."""
    from fleetprompt.engine.store.schema import HEAD

    return HEAD
