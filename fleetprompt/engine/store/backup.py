"""Copies of a SQLite store, made while it is in use."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from fleetprompt.engine.core.errors import Refused, StoreUnavailable
from fleetprompt.engine.store import dialect as sqlite
from fleetprompt.engine.store.dialect import SqliteDialect
from fleetprompt.engine.store.remains import require_whole


def backup(source: Path, target: Path) -> int:
    """Copy a store to a new file; its size in bytes. Blocks. Raises `Refused` when the file exists, and
    `StoreUnavailable` when the copy fails; then nothing is left of it."""
    if target.exists():
        raise Refused(f"{target} exists", hint="give another name, or move it away")
    require_whole(source)
    if not source.exists():
        raise StoreUnavailable("there is no store", where=str(source))
    where = source
    try:
        with closing(sqlite.connect_reader(str(source))) as original:
            # What is wrong with the store itself is not said of its copy.
            original.execute(sqlite.TABLES).fetchone()
            where = target
            target.touch(mode=0o600)
            _copy(original, target)
    except (OSError, sqlite3.Error) as error:
        if where is target:
            target.unlink(missing_ok=True)
        raise SqliteDialect().explain(error, str(where)) or _not_written(error, target) from error
    return target.stat().st_size


def _not_written(error: Exception, target: Path) -> StoreUnavailable:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    hint = "check its folder, who owns it, and the space on its disk"
    return StoreUnavailable(f"the copy cannot be written: {reason.lower()}", where=str(target), hint=hint)


def _copy(original: sqlite3.Connection, target: Path) -> None:
    with closing(sqlite3.connect(target)) as copy:
        # In one go: between two parts SQLite would begin anew whenever somebody has written. Writers do not wait
        # for it, as it reads what stood in the store when it began.
        original.backup(copy)
        # One file, without a log beside it.
        copy.execute(sqlite.ONE_FILE)
