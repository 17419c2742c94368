"""A project whose store was emptied: nobody is given a new one in its place."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from client_kit import ME, Heard, attached, embedded, lose, place_at, start_of, until

from fleetprompt.client.attached import AttachedConsole
from fleetprompt.client.diagnosis import diagnose
from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.opening import Place, make_state, open_console, open_store
from fleetprompt.engine.core.errors import StoreLost, StoreUnavailable
from fleetprompt.engine.core.plan import Block, Plan
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


@pytest.mark.parametrize("fault", ["deleted", "replaced", "cut off"])
@pytest.mark.parametrize("driven", [True, False])
async def test_a_store_that_is_lost_while_it_is_open_is_told_once_and_nothing_more_is_promised(
    tmp_path: Path, fault: str, driven: bool
) -> None:
    (tmp_path / "waits.yaml").write_text("name: waits\nsteps: [{id: w, type: wait, signal: go}]\n")
    place = place_at(tmp_path)
    console = await (embedded if driven else attached)(place)
    await console.start(start_of(tmp_path / "waits.yaml"))
    heard = Heard(console)
    await heard.until(lambda change: change.lost)
    assert (await console.health()).store.error == ""
    lose(place, fault)
    await heard.until(lambda change: change.troubles)
    store = (await console.health()).store
    assert store.lost
    assert "while it was open" in store.error
    assert "put the store or a backup back" in store.hint
    with pytest.raises(StoreLost):
        await console.store.catalog.put(Plan(name="other", root=Block("", ())), source="")
    await looked_again(console)
    assert not [change for change in heard.changes if change.troubles]
    await heard.end()
    await console.close()


async def test_a_store_that_is_moved_away_and_back_goes_on(tmp_path: Path) -> None:
    place = place_at(tmp_path)
    console = await embedded(place)
    heard = Heard(console)
    await heard.until(lambda change: change.lost)
    assert place.file is not None
    place.file.rename(tmp_path / "away.db")
    await heard.until(lambda change: change.troubles)
    assert (await console.health()).store.lost
    (tmp_path / "away.db").rename(place.file)
    await heard.until(lambda change: change.lost)
    assert not (await console.health()).store.lost
    await console.store.catalog.put(Plan(name="other", root=Block("", ())), source="")
    await heard.end()
    await console.close()


@pytest.mark.parametrize("fault", ["deleted", "replaced", "cut off"])
async def test_a_store_that_is_lost_before_anything_was_written_to_it_is_told_as_later(used: Place, fault: str) -> None:
    store = open_store(used)
    await store.open()
    lose(used, fault)
    with pytest.raises(StoreLost, match="while it was open"):
        await store.catalog.put(Plan(name="other", root=Block("", ())), source="")
    await store.close()
    if fault == "replaced":
        store = open_store(used)
        await store.open()
        assert await store.catalog.workflows() == []
        await store.close()


async def looked_again(console: EmbeddedConsole | AttachedConsole) -> None:
    """Until the store was looked at twice more."""
    looks = 0
    changed = console.store.changed

    async def counted(token: int) -> int:
        nonlocal looks
        looks += 1
        return await changed(token)

    console.store.changed = counted  # type: ignore[method-assign]
    await until(lambda: looks > 2)


async def test_connections_made_meanwhile_begin_no_file_in_the_place_of_one_that_was_moved(
    used: Place,
) -> None:
    console = await embedded(used)
    file = used.file
    assert file is not None
    file.rename(away := file.with_name("away.db"))
    reads = [console.count(f"wf:{name}") for name in "abcdef"]
    await asyncio.gather(*reads, return_exceptions=True)
    assert not file.exists()
    away.rename(file)
    await console.close()
