"""Upgrades of older stores, by alembic without an `alembic.ini`.

A change of `tables.py` adds a file `versions/NNNN_what.py`, raises `schema.HEAD` and never edits an earlier file.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.pool import NullPool


def upgrade(path: Path, revision: str = "head") -> None:
    """Bring the SQLite store at a path to a revision. Raises what the driver raises; then nothing has changed."""
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), poolclass=NullPool)
    with engine.connect() as connection:
        # SQLite takes changes of the schema back like any other, but the driver would begin too late for that.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        run(connection, revision)
        connection.commit()


def run(connection: sa.Connection, revision: str = "head") -> None:
    """Bring the store behind a connection to a revision, within the transaction that is open."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
