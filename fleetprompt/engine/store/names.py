"""Names of the workflows that a store knows, for checks that must not open one: nothing is made, migrated or locked."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from fleetprompt.engine.core.errors import StoreUnavailable


def workflow_names(file: Path, tenant: str = "default") -> frozenset[str]:
    """Those that are not archived; none where there is no store yet. Raises `StoreUnavailable`."""
    if not file.is_file() or not file.stat().st_size:
        return frozenset()
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=1.0)) as connection:
            rows = connection.execute("SELECT name FROM workflows WHERE tenant = ? AND status <> 'archived'", (tenant,))
            return frozenset(str(name) for (name,) in rows)
    except sqlite3.Error as error:
        hint = "`fleet doctor` looks at it"
        raise StoreUnavailable(f"the store cannot be read: {error}", where=str(file), hint=hint) from error
