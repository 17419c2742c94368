"""A project whose store was emptied: nobody is given a new one in its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from client_kit import ME, attached, embedded, place_at

from fleetprompt.client.diagnosis import diagnose
from fleetprompt.client.opening import Place, make_state, open_console, open_store
from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.runtime.lock import EngineLock


@pytest.fixture
async def used(tmp_path: Path) -> Place:
    """A project where an engine has worked, and was closed."""
    place = place_at(tmp_path)
    await (await embedded(place)).close()
    return place


def emptied(place: Place) -> Path:
    file = place.file
    assert file is not None
    os.truncate(file, 0)
    return file


@pytest.mark.parametrize("mode", ["engine", "prefer", "attach"])
async def test_a_store_that_was_emptied_is_refused_until_it_is_deleted(used: Place, mode: str) -> None:
    file = emptied(used)
    with pytest.raises(StoreUnavailable, match="engine has worked") as refused:
        await open_console(used, mode)  # type: ignore[arg-type]
    assert (refused.value.where, "delete fleet.db" in refused.value.hint) == (str(file), True)
    assert file.stat().st_size == 0
    file.unlink()
    await (await embedded(used)).close()
    await (await attached(used)).close()


async def test_an_empty_file_where_no_engine_has_worked_becomes_a_store(tmp_path: Path) -> None:
    place = place_at(tmp_path)
    make_state(place.state)
    assert place.file is not None
    place.file.touch()
    console = await embedded(place)
    assert await console.count("") == 0
    await console.close()


async def test_a_store_that_an_engine_is_about_to_make_is_not_taken_for_a_lost_one(tmp_path: Path) -> None:
    place = place_at(tmp_path)
    make_state(place.state)
    assert place.lock is not None
    assert place.file is not None
    lock = EngineLock(place.lock)
    lock.acquire(ME)
    place.file.touch()
    store = open_store(place)
    await store.open()
    await store.close()
    lock.release()


async def test_a_diagnosis_tells_of_a_lost_store(used: Place) -> None:
    file = emptied(used)
    for _ in ("emptied", "moved, with its log left"):
        (found,) = [each for each in await diagnose(used) if each.what == "store"]
        assert (found.status, "start anew" in found.remedy) == ("fail", True)
        file.unlink(missing_ok=True)
        file.with_name("fleet.db-wal").write_bytes(b"something")
