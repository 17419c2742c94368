"""What only Postgres can get wrong: several writers, a server that goes away, its own schema."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from store_kit import POSTGRES, drop, entry, fact, in_new_schema, put, start, step, take

from fleetprompt.engine.core.errors import FleetError, InvalidInput, StoreUnavailable
from fleetprompt.engine.ports import ClaimRefused, Conflict, Stored
from fleetprompt.engine.store import schema
from fleetprompt.engine.store.database import SqlStore
from fleetprompt.engine.store.migrations import run

pytestmark = pytest.mark.postgres
ADMIN = sa.make_url(POSTGRES or "postgresql:///").set(drivername="postgresql+asyncpg")


@pytest.fixture
async def store() -> AsyncIterator[SqlStore]:
    made = in_new_schema()
    await made.open()
    yield made
    await drop(made)


async def admin(store: SqlStore, *statements: str) -> list[Any]:
    """Run statements as somebody else, in the store's schema."""
    engine = create_async_engine(ADMIN)
    found: list[Any] = []
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f'SET search_path TO "{_name(store)}"')
        for statement in statements:
            result = await connection.exec_driver_sql(statement)
            found += result.all() if result.returns_rows else []
    await engine.dispose()
    return found


def _name(store: SqlStore) -> str:
    return store.where.partition("schema=")[2]


async def test_two_engines_share_a_journal_that_never_goes_back(store: SqlStore) -> None:
    other = SqlStore(f"{POSTGRES}?schema={_name(store)}")
    await other.open()
    seen: list[int] = []
    done = False

    async def follow() -> None:
        while not done or await store.journal.position() > seen[-1]:
            rows = await store.journal.since(seen[-1] if seen else 0, limit=100)
            seen.extend(row.seq for row in rows if isinstance(row, Stored))

    async def drive(through: SqlStore, run: str) -> None:
        await through.journal.append(start(run))
        for n in range(2, 40, 2):
            await through.journal.append(step(run, n, n))

    following = asyncio.ensure_future(follow())
    await asyncio.gather(*(drive(s, f"{name}{i}") for name, s in (("a", store), ("b", other)) for i in range(6)))
    done = True
    await following
    assert seen == list(range(1, 12 * 40 + 1))
    await other.close()


async def test_two_engines_respect_one_limit_and_one_run(store: SqlStore) -> None:
    other = SqlStore(f"{POSTGRES}?schema={_name(store)}")
    await other.open()
    tries = [
        s.journal.append(start(f"{i}-{j}", takes=(take("pool", 5),)))
        for i in range(20)
        for j, s in enumerate((store, other))
    ]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(each, ClaimRefused) for each in done) == 35
    await put(store, start("r1"))
    both = await asyncio.gather(
        *(s.journal.append(entry("r1", 2, fact(3))) for s in (store, other)), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in both) == ["Appended", "Conflict"]
    token = await store.changed(0)
    await put(other, start("r2"))
    assert await store.changed(token) != token
    await other.close()


async def test_a_broken_connection_is_replaced(store: SqlStore) -> None:
    await put(store, start("r1"))
    await store.runs.get("r1")
    ours = f"application_name = 'fleetprompt {_name(store)}'"
    killed = await admin(store, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}")
    assert len(killed) >= 2
    assert await store.runs.get("r1") is not None
    assert (await store.journal.append(entry("r1", 2, fact(3)))).seq == 3


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    absent = SqlStore("postgresql://nobody:secret@127.0.0.1:1/none", patience=0.1)
    with pytest.raises(StoreUnavailable, match="cannot be reached") as failed:
        await absent.open()
    assert "secret" not in str(failed.value) + failed.value.where


async def test_a_lock_that_is_never_given_back(tmp_path: Path, store: SqlStore) -> None:
    impatient = SqlStore(f"{POSTGRES}?schema={_name(store)}", patience=0.3)
    await impatient.open()
    engine = create_async_engine(ADMIN)
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock(hashtext('fleetprompt.{_name(store)}'))")
        with pytest.raises(StoreUnavailable, match="another process"):
            await impatient.journal.append(start("r1"))
    await engine.dispose()
    await put(impatient, start("r1"))
    await impatient.close()


async def test_what_postgres_cannot_hold_fails_alone(store: SqlStore) -> None:
    odd = [
        start("nul", head_={"error_message": "a\0b"}),
        start("half", head_={"error_message": "\ud800"}),
        start("huge", head_={"tokens": 2**70}),
    ]
    done = await asyncio.gather(
        *(store.journal.append(each) for each in (start("r1"), *odd, start("r2"))), return_exceptions=True
    )
    assert [isinstance(each, FleetError) for each in done] == [False, True, True, True, False]
    assert isinstance(done[1], InvalidInput)


async def test_a_newer_schema_is_refused(store: SqlStore) -> None:
    await admin(store, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreUnavailable, match="schema 9999"):
        await SqlStore(f"{POSTGRES}?schema={_name(store)}").open()


async def test_tables_and_migrations_lead_to_the_same_schema(store: SqlStore) -> None:
    columns = (
        "SELECT table_name, column_name, data_type, is_nullable, collation_name, column_default IS NULL "
        "FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY 1, ordinal_position"
    )
    indexes = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() ORDER BY 1"
    created = await admin(store, columns, indexes)
    await admin(store, f'DROP SCHEMA "{_name(store)}" CASCADE', f'CREATE SCHEMA "{_name(store)}"')
    settings = {"server_settings": {"search_path": _name(store)}}
    engine = create_async_engine(ADMIN, connect_args=settings)
    async with engine.begin() as connection:
        await connection.run_sync(run, "0001")
        kinds = await connection.execute(sa.text(_COLUMNS_OF_RUNS))
        for statement in _older_runs(dict(tuple(kind) for kind in kinds), "r2", "r1"):
            await connection.exec_driver_sql(statement)
        await connection.run_sync(run)
        numbers = await connection.execute(sa.text("SELECT id, seq FROM runs ORDER BY seq"))
        assert [tuple(row) for row in numbers] == [("r2", 1), ("r1", 3)]
        version = await connection.execute(sa.text("SELECT version_num FROM alembic_version"))
        assert version.scalar_one() == schema.HEAD
    await engine.dispose()
    migrated = await admin(store, columns, indexes)
    assert [row for row in created if "alembic" not in str(row)] == [
        row for row in migrated if "alembic" not in str(row)
    ]


_COLUMNS_OF_RUNS = (
    "SELECT column_name, data_type FROM information_schema.columns "
    "WHERE table_schema = current_schema() AND table_name = 'runs'"
)


def _older_runs(kinds: Mapping[str, str], *ids: str) -> Iterator[str]:
    """Rows of the first schema, whose columns are of these kinds: runs of two facts each."""
    for at, id_ in enumerate(ids):
        for n in (1, 2):
            yield f"INSERT INTO journal VALUES ({2 * at + n}, 'default', '{id_}', {n}, 'StepNoted', 0, '')"
        values = {name: "''" if kind == "text" else "0" for name, kind in kinds.items()}
        values |= {"id": f"'{id_}'", "tenant": "'default'"}
        yield f"INSERT INTO runs ({', '.join(values)}) VALUES ({', '.join(values.values())})"


async def test_appends_share_commits(store: SqlStore) -> None:
    await put(store, *(start(f"r{i}") for i in range(100)))
    before = store.journal.commits
    await asyncio.gather(*(store.journal.append(step(f"r{i}", 2, 1)) for i in range(100)))
    assert store.journal.commits - before <= 3
    with pytest.raises(Conflict):
        await store.journal.append(step("r1", 2, 1))
