"""One engine per store: who holds it, who is told so, and what stands in the way of a lock. Real files."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleetprompt.client.opening import Place, make_state, open_console
from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.runtime import lock as engine_lock
from fleetprompt.engine.runtime.lock import EngineIsRunning, EngineLock, engine_holder
from fleetprompt.engine.store.runs import SqlRuns


def place(root: Path, database: str = "") -> Place:
    state = root / ".fleet"
    return Place(root=root, state=state, database=database or str(state / "fleet.db"))


@contextmanager
def looked_at(path: Path) -> Iterator[None]:
    """While this lasts, somebody looks whether an engine runs."""
    fd = os.open(path, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_SH)
    yield
    os.close(fd)


def test_the_second_engine_is_told_who_the_first_one_is(tmp_path: Path) -> None:
    path = tmp_path / "engine.lock"
    first = EngineLock(path)
    first.acquire("fleet run")
    assert engine_holder(path) == {"pid": os.getpid(), "what": "fleet run"}
    with pytest.raises(EngineIsRunning, match=rf"pid {os.getpid()}, fleet run") as refused:
        EngineLock(path).acquire("fleet recover")
    assert refused.value.hint
    first.release()
    assert engine_holder(path) is None
    first.acquire("fleet recover")
    first.release()


def test_who_only_looks_keeps_no_engine_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "engine.lock"
    path.touch()
    left = 100
    looks = looked_at(path)
    looks.__enter__()

    def look_on(_: float) -> None:
        nonlocal left
        left -= 1
        if not left:
            looks.__exit__(None, None, None)

    monkeypatch.setattr(engine_lock.time, "sleep", look_on)
    lock = EngineLock(path)
    lock.acquire("fleet")
    assert left == 0
    lock.release()


def test_lookers_who_never_stop_are_not_taken_for_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "engine.lock"
    path.touch()
    monkeypatch.setattr(engine_lock, "PATIENCE", 0.0)
    with looked_at(path), pytest.raises(StoreUnavailable, match="looking") as failed:
        EngineLock(path).acquire("fleet")
    assert str(path) in failed.value.hint


def test_who_finds_an_engine_does_not_wait_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: float) -> None:
        raise AssertionError("an engine was waited for")

    first = EngineLock(tmp_path / "engine.lock")
    first.acquire("fleet run")
    monkeypatch.setattr(engine_lock.time, "sleep", never)
    with pytest.raises(EngineIsRunning):
        EngineLock(tmp_path / "engine.lock").acquire("fleet run")
    first.release()


def test_two_who_look_all_the_time_never_refuse_an_engine_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "engine.lock"
    path.touch()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            engine_holder(path)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(100):
            lock = EngineLock(path)
            lock.acquire("fleet")
            assert engine_holder(path) is not None
            lock.release()
    finally:
        over.set()
        for looker in lookers:
            looker.join()


def test_a_lock_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "engine.lock").mkdir()
    for path in (tmp_path / "engine.lock", tmp_path / "missing" / "engine.lock"):
        with pytest.raises(StoreUnavailable, match="lock") as failed:
            EngineLock(path).acquire("fleet")
        assert (failed.value.where, bool(failed.value.hint)) == (str(path), True)
        assert engine_holder(path) is None


def test_a_state_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / ".fleet").write_text("in the way")
    with pytest.raises(StoreUnavailable) as failed:
        make_state(tmp_path / ".fleet")
    assert failed.value.hint


def test_a_store_has_one_lock_whoever_opens_it_and_by_whatever_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    (home / ".fleet").mkdir(parents=True)
    other.mkdir()
    (other / "link.db").symlink_to(home / ".fleet" / "fleet.db")
    (other / "there").symlink_to(home)
    monkeypatch.chdir(home)
    ways = (".fleet/fleet.db", f"sqlite:///{home}/.fleet/../.fleet/fleet.db", str(other / "link.db"))
    places = [place(home), *(place(other, way) for way in ways), place(other / "there")]
    assert {each.lock for each in places} == {home / ".fleet" / "engine.lock"}
    assert {each.socket for each in places} == {home / ".fleet" / "engine.sock"}
    assert place(home, str(home / "b.db")).lock != place(home, str(home / "a.db")).lock


async def test_an_engine_that_cannot_open_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise StoreUnavailable("the database is damaged")

    where = place(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(SqlRuns, "unfinished", broken)
        with pytest.raises(StoreUnavailable, match="damaged"):
            await open_console(where, "engine", recover=True)
    assert where.lock is not None
    assert engine_holder(where.lock) is None
    assert not [thread for thread in threading.enumerate() if thread.name == "fleet-writer"]
    console = await open_console(where, "engine", recover=True)
    await console.close()
