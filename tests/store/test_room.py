"""What was deleted takes no room on the disk any more."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from store_kit import NOW, finish, put, start

from fleetprompt.engine.store import dialect
from fleetprompt.engine.store.database import SqlStore

RUNS = 120
VALUE = "x" * 20_000


async def fill(store: SqlStore, runs: int = RUNS) -> None:
    for i in range(runs):
        run = f"r{i:03}"
        opening = start(run, blobs=((f"{i:064}", VALUE.encode()),))
        await put(store, opening)
        await put(store, finish(run, len(opening.facts)))


def size(path: Path) -> int:
    return path.stat().st_size


async def test_the_file_of_a_store_shrinks_while_it_is_in_use(store: SqlStore, path: Path) -> None:
    await fill(store)
    before = size(path) + size(path.with_name("fleet.db-wal"))
    assert (await store.prune(before=NOW + 1_000))["runs"] == RUNS
    appends = asyncio.gather(*(put(store, start(f"new-{i}")) for i in range(50)))
    room = await store.shrink()
    await appends
    assert room.freed > RUNS * len(VALUE)
    assert room.left == 0
    again = await store.shrink()
    assert again.left == 0
    assert size(path) < RUNS * len(VALUE) // 4 < before
    health = await store.check()
    assert (health.ok, health.counts["runs"]) == (True, 50)


async def test_a_file_that_was_made_without_is_written_anew_on_demand(path: Path) -> None:
    store = SqlStore(path)
    await store.upgrade()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")
        assert connection.execute(dialect.IS_MOVABLE).fetchone() == (0,)
    await store.open()
    await fill(store)
    await store.prune(before=NOW + 1_000)
    room = await store.shrink()
    assert (room.freed, room.left > RUNS * len(VALUE)) == (0, True)
    room = await store.shrink(whole=True)
    assert (room.freed > RUNS * len(VALUE), room.left) == (True, 0)
    assert size(path) < RUNS * len(VALUE) // 4
    # From now on it can give back single pages.
    await fill(store)
    await store.prune(before=NOW + 1_000)
    assert (await store.shrink()).freed > RUNS * len(VALUE)
    assert (await store.check()).ok
    await store.close()
