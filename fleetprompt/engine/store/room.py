"""The room that deleted rows leave in a SQLite file, and how the disk gets it back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from fleetprompt.engine.store import dialect as sqlite
from fleetprompt.engine.store.dialect import SqliteDialect
from fleetprompt.engine.store.session_sqlite import SqliteSession
from fleetprompt.engine.store.statements import Session

PAGES = 500
"""Pages that a slice gives back: a few milliseconds, for which appends wait."""


class Room(Struct, frozen=True):
    """What became of the room in a store, in bytes."""

    freed: int = 0
    """The store takes so much less."""
    left: int = 0
    """So much of it is still unused: new rows will use it."""


class GivingBack:
    """A chore of the writer: moves the pages at the end of the file into unused ones, and cuts the file off.

    Files that were made before there was this chore do not know where their pages belong; they stay as they are.
    """

    def perform(self, session: Session) -> bool:
        """Give back a slice; whether there is more."""
        assert isinstance(session, SqliteSession)
        raw = session.raw
        if raw.execute(sqlite.IS_MOVABLE).fetchone()[0] != sqlite.MOVABLE:
            return False
        before = _number(raw, sqlite.UNUSED)
        for _ in range(min(before, PAGES)):
            # The driver stops after the first page, however many are asked for.
            raw.execute(sqlite.GIVE_BACK)
        return 0 < _number(raw, sqlite.UNUSED) < before

    def settled(self, *, durable: bool) -> None:
        """Nothing is counted: the file says how large it is."""


def compact(path: Path) -> None:
    """Write the whole file anew, without unused pages. Raises `StoreUnavailable`. Blocks, and so does it everybody
    who wants to write; needs twice the room meanwhile."""
    try:
        with closing(sqlite.connect_plainly(str(path))) as connection:
            for statement in sqlite.COMPACT:
                connection.execute(statement).fetchall()
    except sqlite3.Error as error:
        raise SqliteDialect().explain(error, str(path)) or error from error


def measure(path: Path) -> tuple[int, int]:
    """The bytes that a store takes, once its log is emptied, and those of them that are unused."""
    try:
        with closing(sqlite.connect_plainly(str(path))) as connection:
            connection.execute(sqlite.CHECKPOINT).fetchall()
            page = _number(connection, sqlite.PAGE)
            return _number(connection, sqlite.TAKEN) * page, _number(connection, sqlite.UNUSED) * page
    except sqlite3.Error as error:
        raise SqliteDialect().explain(error, str(path)) or error from error


def _number(connection: sqlite3.Connection, question: str) -> int:
    return connection.execute(question).fetchone()[0]
