"""The version of the schema: what a store has, what this program needs, and how the one becomes the other.

A new store is made from `tables.py` and stamped, without alembic, whose import alone takes longer than opening a store
may. Alembic runs when a store is older; a test proves that both ways lead to the same tables.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.store import dialect as sqlite
from fleetprompt.engine.store.dialect import Dialect
from fleetprompt.engine.store.remains import require_whole
from fleetprompt.engine.store.tables import metadata

HEAD = "0019"
"""The version that `tables.py` describes: the last one in `migrations/versions`."""

OLDEST = (3, 33, 0)
"""The first SQLite that updates a table from given rows."""


def ddl(dialect: Dialect) -> list[str]:
    """The statements that make an empty database a store of today."""
    statements: list[str] = []

    def collect(statement: Any, *_: Any, **__: Any) -> None:
        statements.append(str(statement.compile(dialect=dialect.compiler)))

    metadata.create_all(sa.create_mock_engine(dialect.url, collect), checkfirst=False)
    statements += dialect.full_text
    statements.append("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    statements.append(f"INSERT INTO alembic_version VALUES ('{HEAD}')")
    return statements


def is_current(version: str, where: str) -> bool:
    """Whether a store needs no upgrade. Raises `StoreUnavailable` for one that this program is too old for."""
    if version > HEAD:
        raise StoreUnavailable(
            f"the store has schema {version}, this FleetPrompt knows {HEAD} and nothing later",
            where=where,
            hint="upgrade FleetPrompt, or use another store with --db",
        )
    return version == HEAD


def prepare(path: Path, dialect: Dialect) -> None:
    """Make a SQLite file, its folder and its tables, or upgrade it. Raises `StoreUnavailable`. Blocks."""
    where = str(path)
    if sqlite3.sqlite_version_info < OLDEST:
        text = ".".join(map(str, OLDEST))
        raise StoreUnavailable(f"SQLite is {sqlite3.sqlite_version}, {text} is needed", hint="use a newer Python")
    require_whole(path)
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
        if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
            hint = "check who owns the file and its folder"
            raise StoreUnavailable("the database cannot be written", where=where, hint=hint)
        with closing(sqlite.connect_plainly(where)) as connection:
            version = _version(connection, path)
        if not version:
            with closing(sqlite.connect(where)) as connection:
                version = _create(connection, dialect, path)
    except (OSError, sqlite3.Error) as error:
        raise dialect.explain(error, where) or StoreUnavailable(str(error), where=where) from error
    if not is_current(version, where):
        _upgrade(path, dialect)


def _upgrade(path: Path, dialect: Dialect) -> None:
    from fleetprompt.engine.store.migrations import upgrade

    try:
        upgrade(path)
    except DBAPIError as error:
        raise dialect.explain(error, str(path)) or error from error


def prepare_postgres(connection: sa.Connection, dialect: Dialect, name: str, where: str) -> None:
    """Make or upgrade the tables of a Postgres store in its schema, within the transaction that is open.

    Raises `StoreUnavailable` for a newer schema.
    """
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('fleetprompt.schema'))")
    if name:
        connection.exec_driver_sql(f'CREATE SCHEMA IF NOT EXISTS "{name}"')
    if connection.exec_driver_sql("SELECT to_regclass('alembic_version')").scalar() is None:
        for statement in ddl(dialect):
            connection.exec_driver_sql(statement)
        return
    version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
    if not is_current(version, where):
        from fleetprompt.engine.store.migrations import run

        run(connection)


def _create(connection: sqlite3.Connection, dialect: Dialect, path: Path) -> str:
    connection.execute(sqlite.BEGIN)
    # Another process may have been faster.
    if version := _version(connection, path):
        connection.execute("ROLLBACK")
        return version
    for statement in ddl(dialect):
        connection.execute(statement)
    connection.execute("COMMIT")
    return HEAD


def _version(connection: sqlite3.Connection, path: Path) -> str:
    """The version of a store; empty for an empty database."""
    tables = {name for (name,) in connection.execute(sqlite.TABLES)}
    if not tables:
        return ""
    if "alembic_version" not in tables or "journal" not in tables:
        raise StoreUnavailable(
            "this is a database, but not a FleetPrompt store", where=str(path), hint="check the path"
        )
    return connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
