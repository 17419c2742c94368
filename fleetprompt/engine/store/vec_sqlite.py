"""sqlite-vec: vectors compared inside SQLite, where it is installed (extra `vectors`) and Python can load extensions.

Many builds of Python cannot (https://docs.python.org/3/library/sqlite3.html#sqlite3.Connection.enable_load_extension):
there NumPy compares the same vectors, see `vectors.py`, and finds the same.
"""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from importlib.util import find_spec
from typing import Any


@lru_cache
def extension() -> str:
    """Where the extension lies; empty where it cannot be used."""
    if not hasattr(sqlite3.Connection, "enable_load_extension") or find_spec("sqlite_vec") is None:
        return ""
    from importlib import import_module

    path = str(import_module("sqlite_vec").loadable_path())
    try:
        _load(sqlite3.connect(":memory:"), path)
    except sqlite3.Error:
        # It is of another architecture, or SQLite was built without extensions.
        return ""
    return path


def _load(connection: sqlite3.Connection, path: str) -> None:
    connection.enable_load_extension(True)
    connection.load_extension(path)
    connection.close()


def load(connection: Any) -> None:
    """Load it into a new connection of SQLAlchemy's pool, if it can be used. Nothing else can be loaded afterwards."""
    path = extension()
    if not path:
        return

    async def into(driver: Any) -> None:
        await driver.enable_load_extension(True)
        await driver.load_extension(path)
        await driver.enable_load_extension(False)

    connection.run_async(into)
