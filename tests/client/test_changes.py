"""Changes beside an engine: told by its socket, and looked for in the store while there is none. Real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from client_kit import ME, Heard, attached, embedded, place_at, start_of, until

from fleetprompt.client import listening
from fleetprompt.client.attached import AttachedConsole
from fleetprompt.client.opening import Place
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.runtime.lock import EngineLock

WAITS = """
name: waits
steps: [{id: w, type: wait, signal: go}]
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "LOOK_SECONDS", 0.02)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "waits.yaml").write_text(WAITS)
    return place_at(tmp_path)


@pytest.fixture
async def beside(place: Place) -> AsyncIterator[AttachedConsole]:
    console = await attached(place)
    yield console
    await console.close()


def file(place: Place) -> Path:
    return place.root / "waits.yaml"


def go(n: int = 0) -> Signal:
    return Signal(id=f"go-{n}", type="go", source="test", at=0.0)


async def test_what_an_engine_does_is_told_in_another_process(place: Place, beside: AttachedConsole) -> None:
    engine = await embedded(place)
    listeners = [Heard(beside), Heard(beside), Heard(engine)]
    for heard in listeners:
        first = await heard.until(lambda change: True)
        assert (first.lost, first.engine) == (True, True)
    await until(lambda: engine.engine.feed.readers == len(listeners))
    run = await engine.start(start_of(file(place)))
    position = await engine.store.journal.position()
    for heard in listeners:
        change = await heard.until(lambda change: change.seq == position)
        assert change.runs == {run}
        assert change.engine
        assert not change.lost
    await engine.publish(go())
    for heard in listeners:
        await heard.until(lambda change: "RunFinished" in change.kinds)
    await engine.set_workflow("waits", "paused", by=ME)
    for heard in listeners:
        await heard.until(lambda change: change.workflows)
        await heard.end()
    await engine.close()


async def test_an_engine_that_goes_and_comes_back_is_told_and_what_it_did_meanwhile(
    place: Place, beside: AttachedConsole
) -> None:
    heard = Heard(beside)
    assert not (await heard.until(lambda change: True)).engine
    for n in range(3):
        engine = await embedded(place)
        await heard.until(lambda change: change.engine)
        run = await engine.start(start_of(file(place)))
        await heard.until(lambda change, run=run: run in change.runs)
        await engine.close()
        await heard.until(lambda change: not change.engine)
        assert n == 2 or beside.where == "none"
    await heard.end()


async def test_what_was_done_while_the_engine_was_looked_for_is_told_and_not_lost(
    place: Place, beside: AttachedConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard(beside)
    await heard.until(lambda change: True)
    monkeypatch.setattr(listening, "LOOK_SECONDS", 0.5)
    await asyncio.sleep(0.05)
    engine = await embedded(place)
    runs = {await engine.start(start_of(file(place))) for _ in range(3)}
    await engine.close()
    engine = await embedded(place)
    told: set[str] = set()
    while not runs <= told:
        change = await heard.until(lambda change: change.runs)
        assert not change.lost
        told |= change.runs
    await heard.end()
    await engine.close()


async def test_an_engine_that_cannot_be_reached_is_followed_in_the_store(place: Place, beside: AttachedConsole) -> None:
    assert place.socket is not None
    engine = await embedded(place)
    place.socket.unlink()
    heard = Heard(beside)
    assert (await heard.until(lambda change: True)).engine
    run = await engine.start(start_of(file(place)))
    change = await heard.until(lambda change: change.runs)
    assert change.runs == {run}
    assert "RunCreated" in change.kinds
    assert not change.lost
    await heard.end()
    await engine.close()


async def test_an_engine_that_hangs_does_not_keep_changes_back(
    place: Place, beside: AttachedConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "ANSWER_SECONDS", 0.05)
    assert place.socket is not None
    assert place.lock is not None

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    lock = EngineLock(place.lock)
    lock.acquire("hangs")
    async with await asyncio.start_unix_server(hang, place.socket):
        heard = Heard(beside)
        assert (await heard.until(lambda change: True)).engine
        other = await attached(place)
        await other.store.signals.publish(go())
        await heard.until(lambda change: change.signals)
        await heard.end()
        await other.close()
    lock.release()


async def test_more_than_can_be_read_in_passing_is_lost(
    place: Place, beside: AttachedConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "MOST_READS", 1)
    heard = Heard(beside)
    await heard.until(lambda change: True)
    engine = await embedded(place)
    assert place.socket is not None
    place.socket.unlink()
    await engine.start(start_of(file(place)))
    change = await heard.until(lambda change: change.lost)
    assert change.runs == frozenset()
    await engine.close()
    await heard.until(lambda change: change.seq == position(place))
    await heard.end()


def position(place: Place) -> int:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(place.database)) as connection:
        return connection.execute("SELECT max(seq) FROM journal").fetchone()[0]


async def test_without_an_engine_its_own_signals_are_told_too(beside: AttachedConsole) -> None:
    heard = Heard(beside)
    await heard.until(lambda change: True)
    await beside.command(types.CANCEL, "run", by=ME)
    change = await heard.until(lambda change: change.signals)
    assert not change.engine
    await heard.end()


async def test_runs_that_another_process_has_pruned_make_everything_stale(
    place: Place, beside: AttachedConsole
) -> None:
    engine = await embedded(place)
    run = await engine.start(start_of(file(place)))
    await engine.publish(go())
    await engine.engine.wait(run)
    listeners = [Heard(engine), Heard(beside)]
    for heard in listeners:
        await heard.until(lambda change: change.lost)
    other = await attached(place)
    assert (await other.store.prune(before=1e12))["runs"] == 1
    for heard in listeners:
        await heard.until(lambda change: change.lost)
        await heard.end()
    await other.close()
    await engine.close()


async def test_a_store_that_cannot_be_read_for_a_while_is_read_again(
    place: Place, beside: AttachedConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard(beside)
    await heard.until(lambda change: True)
    asked = 0

    async def away(token: int) -> int:
        nonlocal asked
        asked += 1
        raise StoreUnavailable("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(beside.store, "changed", away)
        await until(lambda: asked >= 2)
    assert (await heard.until(lambda change: True)).lost
    await heard.end()


@pytest.mark.parametrize("connecting", [True, False])
async def test_it_ends_when_the_console_is_closed_although_the_engine_goes_on(
    place: Place, monkeypatch: pytest.MonkeyPatch, connecting: bool
) -> None:
    engine, console = await embedded(place), await attached(place)
    connect = asyncio.open_unix_connection

    async def connect_and_close(*args: Any, **options: Any) -> Any:
        found = await connect(*args, **options)
        await console.close()
        return found

    if connecting:
        monkeypatch.setattr(asyncio, "open_unix_connection", connect_and_close)
    heard = Heard(console)
    await heard.until(lambda change: change.engine)
    if not connecting:
        await until(lambda: engine.engine.feed.readers > 0)
        await console.close()
    await heard.over()
    await until(lambda: engine.engine.feed.readers == 0)
    await engine.close()
