"""Copies of a SQLite store, made while it is in use."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from fleetprompt.engine.core.errors import Refused, StoreUnavailable
from fleetprompt.engine.store import dialect as sqlite


def backup(source: Path, target: Path) -> int:
    """Copy a store to a new file; its size in bytes. Blocks. Raises `Refused` when the file exists, and
    `StoreUnavailable` when the copy fails; then nothing is left of it."""
    if target.exists():
        raise Refused(f"{target} exists", hint="give another name, or move it away")
    if not source.exists():
        raise StoreUnavailable("there is no store", where=str(source))
    try:
        target.touch(mode=0o600)
        _copy(source, target)
    except (OSError, sqlite3.Error) as error:
        target.unlink(missing_ok=True)
        raise StoreUnavailable(f"the copy failed: {error}", where=str(target), hint="check the disk") from error
    return target.stat().st_size


def _copy(source: Path, target: Path) -> None:
    original = sqlite.connect_reader(str(source))
    try:
        copy = sqlite3.connect(target)
        try:
            # In one go: between two parts SQLite would begin anew whenever somebody has written. Writers do not wait
            # for it, as it reads what stood in the store when it began.
            original.backup(copy)
            # One file, without a log beside it.
            copy.execute(sqlite.ONE_FILE)
        finally:
            copy.close()
    finally:
        original.close()
