"""Upgrades of older stores, by alembic without an `alembic.ini`.

A change of `tables.py` adds a file `versions/NNNN_what.py`, raises `schema.HEAD` and never edits an earlier file.
"""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from fleetprompt.engine.store.dialect import BEGIN, connect

HERE = Path(__file__).parent
VERSIONS: tuple[Path, ...] = (HERE / "versions",)
"""Folders with migrations."""


def upgrade(path: Path, revision: str = "head") -> None:
    """Bring the SQLite store at a path to a revision. Raises what the driver raises; then nothing has changed."""
    engine = sa.create_engine("sqlite://", creator=lambda: connect(str(path)), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            # SQLite takes changes of the schema back like any other, but only within a transaction that we begin.
            connection.exec_driver_sql(BEGIN)
            run(connection, revision)
            connection.exec_driver_sql("COMMIT")
    finally:
        engine.dispose()


def run(connection: sa.Connection, revision: str = "head") -> None:
    """Bring the store behind a connection to a revision, within the transaction that is open."""
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.set_main_option("version_locations", os.pathsep.join(map(str, VERSIONS)))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
