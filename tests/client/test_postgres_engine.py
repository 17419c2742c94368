"""A store on a Postgres server drives from one place at a time, whichever project and machine opens it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from client_kit import start_of

from fleetprompt.client.attached import AttachedConsole
from fleetprompt.client.diagnosis import diagnose
from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.opening import Place, open_console, open_store
from fleetprompt.engine.runtime.lock import EngineIsRunning

POSTGRES = os.environ.get("FLEET_TEST_POSTGRES_URL", "")
pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(not POSTGRES, reason="POSTGRES WAS NOT TESTED: set FLEET_TEST_POSTGRES_URL"),
]


@pytest.fixture
async def database() -> AsyncIterator[str]:
    import asyncpg

    schema = f"engine_{uuid4().hex}"
    yield f"{POSTGRES}?schema={schema}"
    connection: Any = await asyncpg.connect(POSTGRES)
    await connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
    await connection.close()


def project(folder: Path, database: str) -> Place:
    """A project of its own, such as on another machine: with its own lock and socket."""
    folder.mkdir()
    return Place(root=folder, state=folder / ".fleet", database=database)


async def eventually(test: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it is so."""
    for _ in range(2400):
        if await test():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come about")


async def test_there_is_one_engine_for_a_store_however_many_projects_open_it(tmp_path: Path, database: str) -> None:
    here, there = project(tmp_path / "here", database), project(tmp_path / "there", database)
    first = await open_console(here, "engine", what="fleet serve")
    assert isinstance(first, EmbeddedConsole)
    try:
        with pytest.raises(EngineIsRunning, match=f"pid {os.getpid()} on .*fleet serve"):
            await open_console(there, "engine")
        beside = await open_console(there, "prefer")
        assert isinstance(beside, AttachedConsole)
        assert (beside.where, (await beside.health()).state) == ("attached", "elsewhere")
        assert [each.status for each in await diagnose(there) if each.what == "engine"] == ["ok"]
        await beside.close()
    finally:
        await first.close()
    second = await open_console(there, "engine")
    await second.close()


FLOW = "name: flow\nsteps:\n  - {id: one, type: transform, output: 1}\n"


async def test_a_run_started_from_elsewhere_is_driven_by_who_holds_the_engine(tmp_path: Path, database: str) -> None:
    here, there = project(tmp_path / "here", database), project(tmp_path / "there", database)
    file = tmp_path / "flow.yaml"
    file.write_text(FLOW)
    engine = await open_console(here, "engine")
    console = await open_console(there, "attach")
    try:
        run = await console.start(start_of(file))

        async def done() -> bool:
            return (await console.run(run)).status == "completed"

        await eventually(done)
    finally:
        await console.close()
        await engine.close()


async def test_a_lock_that_a_broken_connection_took_along_is_had_again(tmp_path: Path, database: str) -> None:
    import asyncpg

    store = open_store(project(tmp_path / "here", database))
    lease, looking = store.lease(), store.lease()
    assert lease is not None
    assert looking is not None
    assert await lease.acquire("fleet serve") is None
    server: Any = await asyncpg.connect(POSTGRES)
    mine = f"fleetprompt engine {os.getpid()}@%"
    holding = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE $1"
    first = await server.fetchval(holding, mine)
    await server.execute("SELECT pg_terminate_backend($1)", first)

    async def had() -> bool:
        return (await server.fetchval(holding, mine)) not in (None, first) and await looking.holder() is not None

    async def given_back() -> bool:
        return await looking.holder() is None

    await eventually(had)
    assert (await looking.holder() or {}).get("what") == "fleet serve"
    await lease.release()
    await eventually(given_back)
    await server.close()


async def test_who_has_lost_the_lock_to_another_engine_says_so_and_has_it_again_when_that_ends(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import asyncpg

    monkeypatch.setattr("fleetprompt.engine.store.lease.AGAIN_SECONDS", 0.2)
    place = project(tmp_path / "here", database)
    lease = open_store(place).lease()
    assert lease is not None
    assert await lease.acquire("fleet serve") is None
    server: Any = await asyncpg.connect(POSTGRES)
    name = "fleetprompt engine 4711@elsewhere fleet"
    other: Any = await asyncpg.connect(POSTGRES, server_settings={"application_name": name})
    held = """SELECT pid, (classid::bigint << 32) | objid::bigint AS key FROM pg_locks JOIN pg_stat_activity USING (pid)
              WHERE locktype = 'advisory' AND granted AND application_name LIKE $1"""
    first = await server.fetchrow(held, f"fleetprompt engine {os.getpid()}@%")
    # The server gives it to who has waited for it.
    waiting = asyncio.ensure_future(other.execute("SELECT pg_advisory_lock($1)", first["key"]))
    asking = "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND locktype = 'advisory' AND NOT granted)"
    await eventually(lambda: server.fetchval(asking, other.get_server_pid()))
    await server.execute("SELECT pg_terminate_backend($1)", first["pid"])
    await waiting

    async def said() -> bool:
        return "another engine has it" in caplog.text

    await eventually(said)
    assert "4711" in caplog.text
    await other.close()

    async def had() -> bool:
        return "it is had again" in caplog.text

    await eventually(had)
    [again] = await server.fetch(held, f"fleetprompt engine {os.getpid()}@%")
    assert again["key"] == first["key"]
    assert caplog.text.count("another engine has it") == 1, "told once"
    await lease.release()
    await server.close()
