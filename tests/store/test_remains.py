"""A store of which a part is missing: it is said, and what is left is not touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from store_kit import put, start

from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.store.database import SqlStore


@pytest.fixture
async def left(tmp_path: Path) -> Path:
    """A store as a killed engine leaves it: file, log and index."""
    (tmp_path / "used").mkdir()
    (tmp_path / "left").mkdir()
    store = SqlStore(tmp_path / "used" / "fleet.db")
    await store.open()
    for i in range(20):
        await put(store, start(f"r{i}"))
    for file in (tmp_path / "used").iterdir():
        shutil.copy(file, tmp_path / "left" / file.name)
    await store.close()
    path = tmp_path / "left" / "fleet.db"
    assert sorted(file.name for file in path.parent.iterdir()) == ["fleet.db", "fleet.db-shm", "fleet.db-wal"]
    return path


def sizes(path: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in path.parent.iterdir()}


async def refused(path: Path) -> str:
    """What is said; and nothing has changed."""
    before = sizes(path)
    store = SqlStore(path)
    said: set[str] = set()
    for door in (store.open, store.upgrade, lambda: store.backup(path.parent / "copy.db")):
        with pytest.raises(StoreUnavailable) as error:
            await door()
        assert error.value.where == str(path)
        assert error.value.hint
        said.add(error.value.message)
    assert sizes(path) == before
    (message,) = said
    return message


async def test_what_a_killed_engine_left_is_opened(left: Path) -> None:
    store = SqlStore(left)
    await store.open()
    assert (await store.check()).counts["runs"] == 20
    await store.close()


async def test_a_store_that_was_cut_off_is_refused_and_its_log_is_kept(left: Path) -> None:
    os.truncate(left, 0)
    assert "empty" in await refused(left)
    left.unlink()
    assert "gone" in await refused(left)
    left.with_name("fleet.db-wal").unlink()
    left.touch()
    assert "empty" in await refused(left)
    left.with_name("fleet.db-shm").unlink()
    await SqlStore(left).upgrade()


async def test_a_log_that_was_deleted_is_missed(left: Path) -> None:
    left.with_name("fleet.db-wal").unlink()
    assert "committed last is lost" in await refused(left)
    left.with_name("fleet.db-shm").unlink()
    store = SqlStore(left)
    await store.open()
    assert (await store.check()).ok
    await store.close()


async def test_an_empty_file_alone_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "mine.db").touch()
    store = SqlStore(tmp_path / "mine.db")
    await store.open()
    assert (await store.check()).ok
    await store.close()
