"""Reads for which nobody waits any more: of a list that is asked for anew with each letter, of a console that ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import sqlalchemy as sa

from fleetprompt.engine.store.database import SqlStore

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def endless(connection: sa.Connection) -> object:
    return connection.exec_driver_sql(ENDLESS).all()


async def begun(store: SqlStore, query: Callable[[sa.Connection], object]) -> asyncio.Task[object]:
    """A read that a connection is at."""
    at = asyncio.Event()

    def noted(connection: sa.Connection) -> object:
        at.set()
        return query(connection)

    reading: asyncio.Task[object] = asyncio.create_task(store._backend.reader.run(noted))  # type: ignore[arg-type]
    await at.wait()
    return reading


async def given_up(reading: asyncio.Task[object]) -> None:
    """Called off as a worker is that is left: once, and once more when the loop ends."""
    reading.cancel()
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()


async def test_nothing_is_left_of_reads_that_were_given_up_when_the_store_is_closed(store: SqlStore) -> None:
    before = asyncio.all_tasks()
    for _ in range(3):
        await given_up(await begun(store, endless))
    await store.close()
    assert asyncio.all_tasks() == before


async def test_reads_that_wait_for_a_connection_are_given_up_too(store: SqlStore) -> None:
    at_work = [await begun(store, endless) for _ in range(3)]
    asked: list[str] = []
    waiting = [asyncio.create_task(store._backend.reader.run(lambda _: asked.append("read"))) for _ in range(3)]
    await asyncio.sleep(0)
    for reading in (*waiting, *at_work):
        await given_up(reading)
    await store.close()
    assert not asked


async def test_a_connection_is_used_again_after_a_read_that_was_given_up(store: SqlStore) -> None:
    engine = store._backend.reader._engine
    assert engine is not None
    await store._backend.reader.run(lambda connection: connection.exec_driver_sql("SELECT 1").all())
    made: list[object] = []
    sa.event.listen(engine.sync_engine, "connect", lambda connection, _: made.append(connection))
    reading = await begun(store, endless)
    reading.cancel()
    await asyncio.wait([reading])
    assert await store._backend.reader.run(lambda c: c.exec_driver_sql("SELECT 2").scalar_one()) == 2
    assert not made
