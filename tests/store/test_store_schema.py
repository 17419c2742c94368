"""Creating, upgrading and refusing stores."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from store_kit import entry, fact, put, start

from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.ports import RunHead
from fleetprompt.engine.store import schema
from fleetprompt.engine.store.database import SqlStore
from fleetprompt.engine.store.dialect import SqliteDialect
from fleetprompt.engine.store.tables import metadata, runs

LATER = ("seq", "uncertain_nano", "mode", "agents")
"""Columns of runs that the first schema did not have."""


def _shape(path: Path) -> dict[str, str]:
    """Every table and index as the database has it, spelling aside."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    plain = {name: re.sub(r'[\s"]+', " ", sql).strip() for name, sql in rows if name != "alembic_version"}
    # SQLite writes a column that was added later in its own way.
    return {name: re.sub(r" (?=[,)])", "", sql) for name, sql in plain.items()}


def test_tables_and_migrations_lead_to_the_same_schema(tmp_path: Path) -> None:
    from fleetprompt.engine.store.migrations import upgrade

    schema.prepare(tmp_path / "created.db", SqliteDialect())
    (tmp_path / "migrated.db").touch()
    upgrade(tmp_path / "migrated.db")
    assert _shape(tmp_path / "created.db") == _shape(tmp_path / "migrated.db")
    with sqlite3.connect(tmp_path / "migrated.db") as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(schema.HEAD,)]
    connection.close()


async def test_a_store_of_the_first_schema_gets_the_numbers_of_its_runs(path: Path) -> None:
    from fleetprompt.engine.store.migrations import upgrade

    store = SqlStore(path)
    await store.open()
    await put(store, start("r2"), start("r1"), entry("r2", 2, fact(3)), start("r3", tenant="b"), start("lost"))
    heads = {run: await store.runs.get(run) for run in ("r1", "r2", "r3", "lost")}
    await store.close()
    older = path.with_name("older.db")
    older.touch()
    upgrade(older, "0001")
    names = ", ".join(f'"{column.name}"' for column in runs.c if column.name not in LATER)
    with closing(sqlite3.connect(older, isolation_level=None)) as connection:
        connection.execute("ATTACH ? AS later", (str(path),))
        connection.execute(f"INSERT INTO main.runs ({names}) SELECT {names} FROM later.runs ORDER BY id")
        connection.execute("INSERT INTO main.journal SELECT * FROM later.journal WHERE run != 'lost'")
    store = SqlStore(older)
    await store.open()
    assert [await store.runs.get(run) for run in ("r1", "r2", "r3")] == [heads["r1"], heads["r2"], heads["r3"]]
    assert [head.seq for head in heads.values() if head is not None] == [3, 1, 6, 8]
    lost = await store.runs.get("lost")
    assert lost is not None
    assert lost.seq < 0
    assert [await put(store, entry("r1", 2, fact(3)), start("r4"))] == [[8, 9]]
    assert (await store.check()).problems == ("run lost: 2 facts expected, 0 found",)
    await store.close()


def test_every_table_and_every_unique_key_has_the_tenant() -> None:
    for table in metadata.sorted_tables:
        assert not table.c.tenant.nullable, table.name
        keys = [list(table.primary_key.columns)] + [[*index.columns] for index in table.indexes if index.unique]
        for key in keys:
            if [str(column.type) for column in key] not in (["BIGINT"], ["INTEGER"]):
                assert table.c.tenant in key, (table.name, key)


def test_what_only_sqlite_understands_is_in_its_dialect_file() -> None:
    folder = Path(schema.__file__).parent
    others = [path for path in folder.rglob("*.py") if path.name != "dialect.py"]
    words = re.compile(r"PRAGMA|sqlite_master|json_each|fleet_found|\"BEGIN|INSERT OR|last_insert_rowid")
    assert not [(path.name, found) for path in others for found in words.findall(path.read_text())]
    assert words.search((folder / "dialect.py").read_text())


def test_a_run_has_a_column_for_every_field_in_its_order() -> None:
    assert [column.name for column in runs.c] == list(RunHead.__struct_fields__)


async def test_a_new_store_is_private(path: Path) -> None:
    store = SqlStore(path)
    await store.open()
    await put(store, start("r1"))
    assert path.parent.stat().st_mode & 0o777 == 0o700
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file
    await store.close()
    assert [file.name for file in path.parent.iterdir()] == ["fleet.db"]


def test_creating_is_fast_and_needs_no_alembic(path: Path) -> None:
    """Processor time, for other tests share the machine; the disk adds a millisecond or two."""
    program = f"""
import asyncio, sys, time
from pathlib import Path
from fleetprompt.engine.store.database import SqlStore

async def main():
    times = []
    for name in ("warm", "a", "b", "c", "a"):
        store = SqlStore(Path({str(path)!r}).with_name(name + ".db"))
        began = time.process_time()
        await store.open()
        times.append(time.process_time() - began)
        await store.close()
    print(min(times[1:4]))
    assert not [name for name in sys.modules if name.startswith("alembic")]

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.06


async def test_a_newer_schema_is_refused(path: Path) -> None:
    store = SqlStore(path)
    await store.open()
    await store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StoreUnavailable, match="schema 9999") as refused:
        await store.open()
    assert "upgrade FleetPrompt" in refused.value.hint
    with pytest.raises(StoreUnavailable):
        await store.runs.get("r1")


async def test_an_older_schema_is_upgraded_in_one_transaction(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqlStore(path)
    await store.open()
    await put(store, start("r1"))
    await store.close()
    later = path.parent / "versions"
    later.mkdir()
    (later / "9001_more.py").write_text(
        "from alembic import op\n"
        "import sqlalchemy as sa\n"
        f"revision, down_revision = '9001', '{schema.HEAD}'\n"
        "def upgrade():\n"
        "    op.add_column('runs', sa.Column('extra', sa.Text))\n"
        "    op.execute('SELECT missing FROM runs')\n"
    )
    from fleetprompt.engine.store import migrations

    monkeypatch.setattr(migrations, "VERSIONS", (*migrations.VERSIONS, later))
    monkeypatch.setattr(schema, "HEAD", "9001")
    before = _shape(path)
    with pytest.raises(StoreUnavailable, match="missing"):
        await store.open()
    assert _shape(path) == before
    (later / "9001_more.py").write_text((later / "9001_more.py").read_text().replace("SELECT missing", "SELECT id"))
    assert await store.upgrade() == "9001"
    assert "extra" in _shape(path)["runs"]
    await store.open()
    assert await store.runs.get("r1") is not None
    await store.close()


async def test_a_strange_file_is_not_touched(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match="not a FleetPrompt store"):
        await SqlStore(path).open()
    assert path.read_bytes() == before
    assert list(_shape(path)) == ["theirs"]
    path.write_bytes(b"this is a text file, and a long one\n" * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await SqlStore(path).open()


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        await SqlStore(tmp_path / "file" / "fleet.db").open()


def test_two_that_open_at_once_make_one_store(path: Path) -> None:
    program = f"""
import asyncio
from fleetprompt.engine.store.database import SqlStore

async def main():
    store = SqlStore({str(path)!r})
    await store.open()
    await store.close()

asyncio.run(main())
"""
    both = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) for _ in range(3)]
    for each in both:
        _, errors = each.communicate()
        assert each.returncode == 0, errors.decode()
    assert "journal" in _shape(path)


def test_an_index_that_filters_use_ignores_case(path: Path) -> None:
    schema.prepare(path, SqliteDialect())
    assert "NOCASE" in _shape(path)["runs_workflow"]
    assert isinstance(runs.c.workflow.type, sa.Text)
