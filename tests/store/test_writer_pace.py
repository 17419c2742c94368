"""What the writer does so that little is lost and nobody waits: it holds the loop back, and makes room in its log."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest
from store_kit import put, start, step

from fleetprompt.engine.store import session_sqlite, writer_sqlite
from fleetprompt.engine.store.database import SqlStore


def facts_in(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return connection.execute("SELECT count(*) FROM journal").fetchone()[0]
    finally:
        connection.close()


async def test_little_finished_work_is_not_durable(
    store: SqlStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that does not let go may have this much work on its way to the disk, and no more."""
    monkeypatch.setattr(writer_sqlite, "STAND_BACK", 120.0)
    monkeypatch.setattr(writer_sqlite, "STAKE", 1.0)
    reader = sqlite3.connect(path)
    futures: list[asyncio.Future[object]] = []
    for posted in range(1, 301):
        futures.append(store.journal.append(start(f"r{posted}", work=0.1)))
        recorded = reader.execute("SELECT count(*) FROM runs").fetchone()[0]
        assert posted - recorded <= 10
    reader.close()
    await asyncio.gather(*futures)


async def test_nobody_stands_back_for_work_that_is_cheap_to_repeat(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: object) -> None:
        pytest.fail("the loop stood back")

    monkeypatch.setattr(writer_sqlite.SqliteWriter, "_stand_back", never)
    await put(store, *(start(f"r{i}", work=0.00001) for i in range(500)))


async def test_a_disk_that_is_slow_holds_the_loop_up_once(
    store: SqlStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_sqlite, "STAND_BACK", 0.001)
    await put(store, start("first"))
    stood = 0
    stand_back = writer_sqlite.SqliteWriter._stand_back

    def counted(writer: writer_sqlite.SqliteWriter) -> None:
        nonlocal stood
        stood += 1
        stand_back(writer)

    monkeypatch.setattr(writer_sqlite.SqliteWriter, "_stand_back", counted)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    futures = [store.journal.append(start(f"r{i}", work=5.0)) for i in range(50)]
    assert stood == 1
    other.execute("ROLLBACK")
    other.close()
    await asyncio.gather(*futures)
    assert await store.journal.position() == 102
    await put(store, start("later", work=5.0))
    assert stood == 2


async def many(store: SqlStore, run: str, count: int) -> None:
    await put(store, start(run))
    for i in range(count):
        await store.journal.append(step(run, 2 + 2 * i, i))


async def test_a_log_with_room_is_read_like_any_other(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a `kill -9` the zeros that follow the last transaction mean nothing."""
    monkeypatch.setattr(session_sqlite, "ROOM", 4 * 1024 * 1024)
    store = SqlStore(path)
    await store.open()
    await many(store, "r1", 80)
    log = Path(f"{path}-wal")
    assert log.stat().st_size >= session_sqlite.ROOM
    killed = tmp_path / "killed.db"
    shutil.copy(path, killed)
    shutil.copy(log, f"{killed}-wal")
    await store.close()
    assert facts_in(killed) == facts_in(path) == 162
    again = SqlStore(killed)
    await again.open()
    await put(again, start("r2"))
    await again.close()
    assert facts_in(killed) == 164


async def test_two_writers_of_one_file_make_room_side_by_side(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_sqlite, "SLICE", 10_000)
    stores = [SqlStore(path), SqlStore(path)]
    for each in stores:
        await each.open()
    await asyncio.gather(*(many(each, f"r{i}", 200) for i, each in enumerate(stores)))
    for each in stores:
        await each.close()
    assert facts_in(path) == 804


async def test_a_log_that_cannot_be_lengthened_is_left_as_it_is(
    store: SqlStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is no reason to fail: what is written goes on to be written."""
    asked = 0

    def full(_: object, size: int) -> None:
        nonlocal asked
        asked += 1
        with Path(f"{path}-wal").open("r+b") as log:
            log.seek(size)
            log.write(b"\0" * 10_000)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(session_sqlite.SqliteSession, "_lengthen", full)
    await many(store, "r1", 60)
    assert asked == 1
    assert facts_in(path) == 122
