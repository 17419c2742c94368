"""The writer's connection to a SQLite file, and the room in its log."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from fleetprompt.engine.store import dialect as sqlite
from fleetprompt.engine.store.remains import OpenFiles

ROOM = 32 * 1024 * 1024
"""Bytes that the log is made long enough for: as much as is written between two checkpoints of a busy store."""
SLICE = 512 * 1024
"""Bytes by which it is lengthened at a time: no commit takes noticeably longer for it."""


class SqliteSession:
    """The writer's connection: raw for what is hot, SQLAlchemy for the rest."""

    def __init__(self, path: str, patience: float, known: OpenFiles) -> None:
        """Raises `StoreLost` where the file is not the one that is `known`."""
        known.require_file()
        self._log = Path(path + "-wal")
        self._roomy = False
        """The log needs no more room, or there is none to be had."""
        # Several short waits, so that a lock that is given back is not missed for long.
        self.raw = sqlite.connect(sqlite.there(path), min(patience, sqlite.PATIENCE), uri=True)
        self._sync = True
        self.files = OpenFiles(Path(path), known)
        engine = sa.create_engine(
            "sqlite://", creator=lambda: self.raw, poolclass=StaticPool, isolation_level="AUTOCOMMIT"
        )
        # Made now: SQLAlchemy takes back whatever is open when it meets a connection first. Later it leaves it alone.
        self.connection = engine.connect()

    def execute(self, sql: str, parameters: Sequence[Any]) -> int:
        # The driver counts the rows of a statement only if it begins with INSERT, UPDATE or DELETE, not with WITH.
        before = self.raw.total_changes
        self.raw.execute(sql, parameters)
        return self.raw.total_changes - before

    def fetch(self, sql: str, parameters: Sequence[Any]) -> Sequence[Sequence[Any]]:
        return self.raw.execute(sql, parameters).fetchall()

    def position(self) -> int:
        """The highest `seq` ever given."""
        return self.raw.execute(sqlite.POSITION).fetchone()[0]

    def version(self) -> int:
        """A number that changes when another connection commits."""
        return self.raw.execute(sqlite.VERSION).fetchone()[0]

    def set_sync(self, sync: bool) -> None:
        """Whether a commit returns only when the disk has it."""
        if sync != self._sync:
            self.raw.execute(sqlite.SYNCED if sync else sqlite.UNSYNCED)
            self._sync = sync

    def checkpoint(self) -> None:
        """Empty the write-ahead log as far as readers allow; a failure is repeated by the commits that follow."""
        try:
            self.raw.execute(sqlite.CHECKPOINT)
        except sqlite3.Error:
            pass

    def make_room(self) -> None:
        """Lengthen the write-ahead log by a slice ahead of its use, until it has room for all between two checkpoints.

        To overwrite a file takes the disk half as long as to lengthen it, which changes what is known of the file too.
        Only within a transaction, before anything is written: nobody else touches the log meanwhile. SQLite takes no
        notice: what follows the last whole transaction of a log has no valid checksum (sqlite.org/walformat.html).
        """
        if self._roomy:
            return
        size = 0
        try:
            size = self._log.stat().st_size
            self._roomy = size >= ROOM
            if not self._roomy:
                self._lengthen(size)
        except OSError:
            # It is for speed alone, and what is left of the disk is better used for facts.
            self._roomy = True
            with suppress(OSError):
                os.truncate(self._log, size)

    def _lengthen(self, size: int) -> None:
        with self._log.open("r+b", buffering=0) as log:
            log.seek(size)
            log.write(bytes(SLICE))

    def close(self) -> None:
        """Disconnect; what is not committed is taken back."""
        self.raw.close()
