"""How an engine is: the same figures wherever it is, and what can be seen of one that does not answer."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from client_kit import attached, embedded, place_at, start_of

from fleetprompt.client.diagnosis import Finding, diagnose
from fleetprompt.client.identity import Identity, Role
from fleetprompt.client.opening import Place
from fleetprompt.client.store_console import TOLD_ELSEWHERE
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import FleetError, StoreUnavailable
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import GroupHealth, PoolHealth
from fleetprompt.engine.runtime import wire
from fleetprompt.engine.runtime.lock import EngineLock
from fleetprompt.engine.store.database import SqlStore

WORKS = """
name: works
concurrency: {group: one, limit: 1}
steps:
  - {id: work, type: shell, argv: [sleep, "60"], repeat: safe}
"""
WAITS = """
name: waits
steps: [{id: w, type: wait, signal: go, timeout: 1h}]
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "works.yaml").write_text(WORKS)
    (tmp_path / "waits.yaml").write_text(WAITS)
    return place_at(tmp_path, grace=0.1)


async def test_both_consoles_say_the_same(place: Place) -> None:
    engine, beside = await embedded(place), await attached(place)
    await engine.start(start_of(place.root / "works.yaml"))
    await engine.start(start_of(place.root / "works.yaml"))
    await engine.start(start_of(place.root / "waits.yaml"))
    while not (health := await engine.health()).effects or health.appending:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    engine.engine.trouble("here", FleetError("something broke"))
    engine.engine.hold("run-x", FleetError("its journal is damaged"))
    inside, outside = await engine.health(), await beside.health()
    for health in (inside, outside):
        assert (health.state, health.pid, health.what, health.closing) == ("running", os.getpid(), "fleet", False)
        assert (health.live_runs, health.effects, health.waiting_for_slots) == (2, 1, 1)
        assert health.pools["shell"] == PoolHealth(32, 1, 0)
        assert health.groups == (GroupHealth("group:one", 1, 1),)
        assert health.timers == 1
        assert health.facts == health.store.position == await engine.store.journal.position()
        assert health.commits == engine.store.journal.commits > 0
        assert health.store.where == place.database
        assert health.store.bytes == Path(place.database).stat().st_size
        assert health.store.log_bytes == Path(f"{place.database}-wal").stat().st_size
        assert [(trouble.where, trouble.what) for trouble in health.troubles] == [
            ("here", "something broke"),
            ("run run-x is held", "its journal is damaged"),
        ]
        assert health.holds == {"run-x": "its journal is damaged"}
        assert health.uptime > 0
    assert await beside.holds() == await engine.holds() == {"run-x": "its journal is damaged"}
    await engine.close()
    await beside.close()


async def test_what_went_wrong_is_told_over_the_network_where_it_can_be_about_nobody_else(place: Place) -> None:
    console = await embedded(place)
    console.engine.trouble("here", FleetError("something broke"))

    async def told(role: Role, tenant: str = "default") -> list[tuple[str, str]]:
        other = console.bound(Identity(name="ana", tenant=tenant, role=role, via="http"))
        return [(trouble.where, trouble.what) for trouble in (await other.health()).troubles]

    whole, part = [("here", "something broke")], [("engine", TOLD_ELSEWHERE)]
    assert await told("admin") == await told("operator") == whole
    assert await told("viewer") == await told("approver") == part
    for tenant in ("default", "acme"):
        sent = Signal(id=tenant, type="a.b", source="test", at=console.engine.now(), tenant=tenant)
        await console.store.signals.publish(sent)
    assert await told("admin") == await told("admin", "acme") == part
    await console.close()


async def test_a_store_that_others_keep_from_being_written_is_told_of_all_the_same(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is to be written waits for as long as others write.
    monkeypatch.setitem(SqlStore.__init__.__kwdefaults__, "patience", 100_000.0)
    engine = await embedded(place)
    run = await engine.start(start_of(place.root / "waits.yaml"))
    with closing(sqlite3.connect(place.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        cancelling = asyncio.get_running_loop().create_task(engine.command(types.CANCEL, run, by="ana"))
        await asyncio.sleep(0)
        async with asyncio.timeout(120):
            health = await engine.health()
        assert (health.state, health.store.error) == ("running", "")
        assert health.store.position > 0
        assert not cancelling.done()
        other.execute("ROLLBACK")
    assert (await cancelling).status == "accepted"
    await engine.close()


async def test_what_nobody_has_routed_is_counted(place: Place) -> None:
    beside = await attached(place)
    for n in range(3):
        await beside.publish(Signal(id=f"go-{n}", type="go", source="test", at=0.0))
    with closing(sqlite3.connect(place.database, isolation_level=None)) as other:
        # Nobody reads them for that: together they may be as large as the memory.
        other.execute("UPDATE signals SET data = x'7b'")
    health = await beside.health()
    assert (health.state, health.store.unrouted, health.pid) == ("none", 3, 0)
    assert health.store.bytes > 0
    assert await beside.holds() == {}
    await beside.close()


async def test_an_engine_that_hangs_is_silent(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "HEALTH_SECONDS", 0.05)
    assert place.lock is not None
    assert place.socket is not None
    beside = await attached(place)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    lock = EngineLock(place.lock)
    lock.acquire("fleet run")
    async with await asyncio.start_unix_server(hang, place.socket):
        health = await beside.health()
        assert (health.state, health.pid, health.what) == ("silent", os.getpid(), "fleet run")
        assert await beside.holds() == {}
    lock.release()
    await beside.close()


async def test_an_engine_of_another_version_that_does_not_know_the_question_is_silent(place: Place) -> None:
    assert place.lock is not None
    assert place.socket is not None
    beside = await attached(place)

    async def puzzled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"error":"unknown op"}\n')
        writer.close()

    lock = EngineLock(place.lock)
    lock.acquire("fleet run")
    async with await asyncio.start_unix_server(puzzled, place.socket):
        assert (await beside.health()).state == "silent"
        assert await beside.holds() == {}
    lock.release()
    await beside.close()


async def test_a_store_that_cannot_be_read_takes_nothing_from_the_rest(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await embedded(place)

    async def away() -> int:
        raise StoreUnavailable("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(engine.store.journal, "position", away)
        health = await engine.health()
    assert (health.state, health.store.where, health.store.position) == ("running", place.database, 0)
    await engine.close()


async def engine_finding(place: Place) -> Finding:
    return next(finding for finding in await diagnose(place) if finding.what == "engine")


async def test_the_doctor_tells_what_the_engine_says_of_itself(place: Place) -> None:
    assert (await engine_finding(place)).status == "ok"
    engine = await embedded(place)
    found = await engine_finding(place)
    assert (found.status, "and answers" in found.text, "0 live runs" in found.text) == ("ok", True, True)
    engine.engine.trouble("signals", FleetError("database is locked"))
    found = await engine_finding(place)
    assert (found.status, "signals: database is locked" in found.text) == ("warn", True)
    engine.engine.hold("run-x", FleetError("its journal is damaged"))
    found = await engine_finding(place)
    assert (found.status, "1 run held" in found.text, "its journal is damaged" in found.text) == ("warn", True, True)
    await engine.close()


async def test_a_run_that_is_held_elsewhere_is_known_here(place: Place) -> None:
    engine = await embedded(place)
    run = await engine.start(start_of(place.root / "waits.yaml"))
    await engine.close()
    with closing(sqlite3.connect(place.database)) as store:
        store.execute("UPDATE journal SET data = X'00' WHERE n = 2")
        store.commit()
    engine, beside = await embedded(place), await attached(place)
    await engine.adopt(run)
    assert "damaged at fact 2" in (await beside.holds())[run]
    await beside.close()
    await engine.close()
