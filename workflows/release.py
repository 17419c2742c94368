"""What release-gate does without a model: rehearse a migration on a copy, and tell tables apart."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from project_path import in_project

from fleetprompt.engine.steps.python import Permanent, StepContext


def rehearse(database: str, up: str, down: str, context: StepContext | None = None) -> dict[str, Any]:
    """Migrate a copy of a SQLite database up and down again. Raises `Permanent` where that fails."""
    with closing(_opened(database, context)) as real, closing(sqlite3.connect(":memory:")) as copy:
        real.backup(copy)
        before = _tables(copy)
        for name, script in (("up", up), ("down", down)):
            try:
                copy.executescript(script)
            except sqlite3.Error as error:
                raise Permanent(f"the migration fails on a copy of {database} ({name}): {error}") from None
            if name == "up":
                after = _tables(copy)
        return {"up": up, "down": down, "before": before, "after": after, "reversible": _tables(copy) == before}


def tables(database: str, context: StepContext | None = None) -> str:
    """A digest of the tables and indexes of a SQLite database."""
    with closing(_opened(database, context)) as db:
        return _tables(db)


def _opened(database: str, context: StepContext | None) -> sqlite3.Connection:
    path: Path = in_project(database, context)
    if not path.is_file():
        raise Permanent(f"there is no database {database}; `fleet demo up` makes it")
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)


def _tables(db: sqlite3.Connection) -> str:
    """By their columns: the text of a table that was altered and altered back is not what it was."""
    try:
        names = db.execute(
            "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
        ).fetchall()
        columns = [
            db.execute(f"SELECT * FROM pragma_{kind}_info(?)", (name,)).fetchall()
            for type_, name in names
            for kind in (("table" if type_ in ("table", "view") else "index"),)
        ]
    except sqlite3.Error as error:
        raise Permanent(f"the tables cannot be read: {error}") from None
    return hashlib.sha256(repr((names, columns)).encode()).hexdigest()
