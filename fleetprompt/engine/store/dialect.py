"""What differs between databases, and all SQL that only SQLite understands; `dialect_postgres.py` is the other side."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.sqlite import insert, pysqlite
from sqlalchemy.engine.interfaces import Dialect as Compiler
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.sql.compiler import SQLCompiler

from fleetprompt.engine.core.errors import StoreLost, StoreUnavailable
from fleetprompt.engine.core.query_regex import found
from fleetprompt.engine.store import vec_sqlite
from fleetprompt.engine.store.tables import PARTIAL, memories

Rows = sa.Select[*tuple[Any, ...]]
"""A query of any shape."""
Row = sa.Row[*tuple[Any, ...]]
"""What a query of any shape finds."""
Search = Callable[[sa.ColumnElement[Any], str], sa.ColumnElement[bool]]


class Dialect(ABC):
    """What the store has to know about a kind of database."""

    url: str
    """How SQLAlchemy calls it."""
    compiler: Compiler
    full_text: tuple[str, ...]
    """The statements that make what the words of memories are found by."""

    def compile(self, statement: sa.Executable) -> str:
        """The text of a statement whose parameters are given by position, in the order they were made."""
        assert isinstance(statement, sa.ClauseElement)
        compiled = statement.compile(dialect=self.compiler)
        assert isinstance(compiled, SQLCompiler)
        if list(compiled.positiontup or ()) != list(compiled.params):
            raise ValueError(f"parameters out of order in {compiled}")
        return str(compiled)

    @abstractmethod
    def ignore(self, table: sa.Table, rows: Rows) -> sa.Executable:
        """Insert the rows that break no unique key."""

    @abstractmethod
    def upsert(self, table: sa.Table, rows: Rows) -> sa.Executable:
        """Insert the rows, or overwrite those with the same primary key."""

    @abstractmethod
    def explain(self, error: Exception, where: str) -> StoreUnavailable | None:
        """What an error of the driver means to a person; None when it is not the database that is at fault."""

    @abstractmethod
    def is_conflict(self, error: Exception) -> bool:
        """Whether an error of the driver says that a unique key is taken."""

    @abstractmethod
    def integrity(self, connection: sa.Connection) -> Iterator[str]:
        """What the database finds wrong with itself."""

    @abstractmethod
    def size(self, connection: sa.Connection) -> int:
        """Bytes that the database takes."""

    @abstractmethod
    def json_text(self, column: sa.ColumnElement[Any], key: str) -> sa.ColumnElement[Any]:
        """The text under a key of a JSON object, null where there is none."""

    @abstractmethod
    def json_items(self, column: sa.ColumnElement[Any]) -> sa.TableValuedAlias:
        """The texts of a JSON list as a table with one column, `value`."""

    @abstractmethod
    def json_keys(self, column: sa.ColumnElement[Any]) -> sa.TableValuedAlias:
        """The keys of a JSON object as a table with one column, `key`."""

    @abstractmethod
    def fold(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """A text to sort by without regard to the case of the letters A to Z."""

    @abstractmethod
    def bytewise(self, text: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """A text to sort by its bytes, wherever it comes from."""

    @abstractmethod
    def mostly(self, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        """A condition that most rows fulfil, which is no reason to look them up one by one."""

    @abstractmethod
    def rarely(self, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        """A condition that few rows fulfil: a reason to look them up if an index serves it."""

    @abstractmethod
    def apart(self, rows: Rows) -> sa.Subquery:
        """A query that is answered by itself, whatever is asked about its rows."""

    @abstractmethod
    def packed(self, rows: Rows) -> Rows:
        """The numbers in the only column of a query as one value, in their order: rows would hold the interpreter's
        lock for as long as it takes to make a hundred thousand of them. `unpack` reads it."""

    @abstractmethod
    def unpack(self, value: Any) -> array[int]:
        """The numbers in a packed value."""

    @abstractmethod
    def equals(self, column: sa.ColumnElement[Any], text: str) -> sa.ColumnElement[bool]:
        """Whether the column is a text; the letters A to Z, in lower case in the text, and no others in either case."""

    @abstractmethod
    def whole(self, number: sa.ColumnElement[float]) -> sa.ColumnElement[int]:
        """A number that is not negative without its fraction."""

    @abstractmethod
    def like(self, column: sa.ColumnElement[Any], pattern: str) -> sa.ColumnElement[bool]:
        """Whether the column is like a pattern (escaped by a backslash); letters as in `equals`."""

    @abstractmethod
    def searching(self) -> Search | None:
        """How a checked pattern of the filter language is found in a column; None where regular expressions have to
        be tried on what was read."""

    def distance(self, column: sa.ColumnElement[Any], vector: bytes) -> sa.ColumnElement[float] | None:
        """1 less the cosine between the packed vectors of a column and this one, NULL for those of another size; None
        where the database cannot tell."""
        return None

    @abstractmethod
    def with_words(self, rows: Rows, words: Sequence[str]) -> Rows:
        """Those rows of a query for memories that hold one of the words, or a word that begins so, the likeliest first.
        The words are letters and digits."""


class SqliteDialect(Dialect):
    """SQLite in WAL mode: one writer, readers that never wait."""

    url = "sqlite://"
    full_text = (
        "CREATE VIRTUAL TABLE memories_words USING fts5(words, content='memories', content_rowid='seq')",
        "CREATE TRIGGER memories_added AFTER INSERT ON memories BEGIN "
        "INSERT INTO memories_words(rowid, words) VALUES (new.seq, new.words); END",
        "CREATE TRIGGER memories_deleted AFTER DELETE ON memories BEGIN "
        "INSERT INTO memories_words(memories_words, rowid, words) VALUES ('delete', old.seq, old.words); END",
    )

    def __init__(self) -> None:
        self.compiler = pysqlite.dialect()
        for index, where in PARTIAL:
            index.dialect_options["sqlite"]["where"] = where

    def ignore(self, table: sa.Table, rows: Rows) -> sa.Executable:
        return _insert(table, rows).on_conflict_do_nothing()

    def upsert(self, table: sa.Table, rows: Rows) -> sa.Executable:
        statement = _insert(table, rows)
        key = {column.name for column in table.primary_key}
        changed = {name: statement.excluded[name] for name in names(rows) if name not in key}
        return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed)

    def explain(self, error: Exception, where: str) -> StoreUnavailable | None:
        error = error.orig if isinstance(error, DBAPIError) and isinstance(error.orig, Exception) else error
        if not isinstance(error, sqlite3.DatabaseError) or isinstance(error, _OURS):
            return None
        if "fts5" in str(error):
            hint = "use a Python whose SQLite has FTS5, or Postgres"
            return StoreUnavailable(f"SQLite {sqlite3.sqlite_version} has no full text search", where=where, hint=hint)
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        message, hint = _MEANINGS.get(code, (f"the database failed: {error}", "run `fleet db check`"))
        kind = StoreLost if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) else StoreUnavailable
        return kind(message, where=where, hint=hint)

    def is_conflict(self, error: Exception) -> bool:
        return isinstance(error, (sqlite3.IntegrityError, IntegrityError))

    def integrity(self, connection: sa.Connection) -> Iterator[str]:
        found = connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars().all()
        return (f"database: {problem}" for problem in found if problem != "ok")

    def size(self, connection: sa.Connection) -> int:
        return connection.exec_driver_sql(TAKEN).scalar_one() * connection.exec_driver_sql(PAGE).scalar_one()

    def json_text(self, column: sa.ColumnElement[Any], key: str) -> sa.ColumnElement[Any]:
        # A path cannot hold every key, a comparison can.
        each = sa.func.json_each(column).table_valued("key", "value")
        return sa.select(each.c.value).where(each.c.key == key).scalar_subquery()

    def json_items(self, column: sa.ColumnElement[Any]) -> sa.TableValuedAlias:
        return sa.func.json_each(column).table_valued("value")

    def json_keys(self, column: sa.ColumnElement[Any]) -> sa.TableValuedAlias:
        return sa.func.json_each(column).table_valued("key")

    def fold(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return column.collate("NOCASE")

    def bytewise(self, text: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return text

    def mostly(self, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        # Without a type: of a boolean it would be asked whether it equals 1, which no index serves.
        return sa.func.likely(condition)

    def rarely(self, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        return sa.func.unlikely(condition)

    def apart(self, rows: Rows) -> sa.Subquery:
        # What has a limit is not merged with the query around it, and keeps its order.
        return rows.limit(-1).subquery()

    def packed(self, rows: Rows) -> Rows:
        return sa.select(sa.func.json_group_array(self.apart(rows).c[0]))

    def unpack(self, value: Any) -> array[int]:
        return array("q", _numbers(value))

    def equals(self, column: sa.ColumnElement[Any], text: str) -> sa.ColumnElement[bool]:
        return self.fold(column) == text

    def whole(self, number: sa.ColumnElement[float]) -> sa.ColumnElement[int]:
        return sa.cast(number, sa.Integer)

    def like(self, column: sa.ColumnElement[Any], pattern: str) -> sa.ColumnElement[bool]:
        return column.like(pattern, escape="\\")

    def searching(self) -> Search:
        return lambda column, pattern: sa.func.fleet_found(pattern, column, type_=sa.Boolean)

    def distance(self, column: sa.ColumnElement[Any], vector: bytes) -> sa.ColumnElement[float] | None:
        if not vec_sqlite.extension():
            return None
        # Vectors of different sizes are an error there.
        alike = sa.func.length(column) == len(vector)
        return sa.case((alike, sa.func.vec_distance_cosine(column, vector, type_=sa.Float)))

    def with_words(self, rows: Rows, words: Sequence[str]) -> Rows:
        found = sa.table("memories_words", sa.column("rowid"), sa.column("rank"))
        asked = " OR ".join(f'"{word}"*' for word in words)
        holding = sa.literal_column("memories_words").op("MATCH", is_comparison=True)(asked)
        return rows.join(found, found.c.rowid == memories.c.seq).where(holding).order_by(found.c.rank)


_numbers = msgspec.json.Decoder(list[int]).decode
_OURS = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)
"""Errors about what was given, not about the database."""

POSITION = """
SELECT max(
    coalesce((SELECT max(seq) FROM journal), 0),
    coalesce((SELECT value FROM counters WHERE tenant = '' AND name = 'seq'), 0)
)
"""

VERSION = "PRAGMA data_version"
SYNCED = "PRAGMA synchronous = FULL"
BEGIN = "BEGIN IMMEDIATE"
TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"
ONE_FILE = "PRAGMA journal_mode = DELETE"
CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"
UNSYNCED = "PRAGMA synchronous = NORMAL"
PAGE = "PRAGMA page_size"
TAKEN = "PRAGMA page_count"
UNUSED = "PRAGMA freelist_count"
IS_MOVABLE = "PRAGMA auto_vacuum"
MOVABLE = 2
"""The answer for a file that can give back single pages: every page knows who refers to it."""
GIVE_BACK = "PRAGMA incremental_vacuum(1)"
COMPACT = ("PRAGMA auto_vacuum = INCREMENTAL", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")

_MEANINGS = {
    sqlite3.SQLITE_BUSY: ("another process holds the database", "wait for it, or see who it is with `fleet doctor`"),
    sqlite3.SQLITE_LOCKED: ("another process holds the database", "wait for it, or see who it is with `fleet doctor`"),
    sqlite3.SQLITE_FULL: ("there is no room to write", "free disk space; `fleet db prune` deletes old runs"),
    sqlite3.SQLITE_READONLY: ("the database cannot be written", "check who owns the file and its folder"),
    sqlite3.SQLITE_IOERR: ("the disk failed", "check the disk and its free space, then run `fleet db check`"),
    sqlite3.SQLITE_CORRUPT: ("the database is damaged", "`fleet db check` says where; restore a backup"),
    sqlite3.SQLITE_NOTADB: (
        "the file is not a database",
        "check the path; if it was the store, restore a backup, or move it away to begin anew",
    ),
    sqlite3.SQLITE_CANTOPEN: ("the database cannot be opened", "check that its folder exists and can be written"),
    sqlite3.SQLITE_PERM: ("the database cannot be opened", "check who owns the file and its folder"),
}

PATIENCE = 3.0
"""Seconds that a statement waits for another process."""

_PRAGMAS = ("busy_timeout = 3000", "temp_store = MEMORY")
_READER_PRAGMAS = (
    "query_only = ON",
    # What is read once more is in the cache of the system, which all connections share: a larger one of their own
    # makes no list faster, and each would keep it.
    "cache_size = -1024",
)
_WRITER_PRAGMAS = (
    "cache_size = -4096",
    "foreign_keys = OFF",
    "auto_vacuum = INCREMENTAL",  # of a new file; in others it changes nothing
    "journal_mode = WAL",
    "synchronous = FULL",
    "wal_autocheckpoint = 8000",
    "journal_size_limit = 67108864",
)


def is_busy(error: Exception) -> bool:
    """Whether waiting may help."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


MODE = "rw"


def there(path: str) -> str:
    """A path as SQLite opens it only where a file is (https://sqlite.org/uri.html): it would begin an empty one in
    the place of a store that was moved away."""
    return f"{Path(path).absolute().as_uri()}?mode={MODE}"


def connect(path: str, patience: float = PATIENCE, *, uri: bool = False) -> sqlite3.Connection:
    """The writer's connection; it opens transactions only when told to, and waits so many seconds for others."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256, uri=uri)
    for pragma in (*_PRAGMAS, *_WRITER_PRAGMAS):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(f"PRAGMA busy_timeout = {round(patience * 1000)}")
    return connection


def connect_plainly(path: str) -> sqlite3.Connection:
    """A connection to a file that may not be ours: it sets nothing in it."""
    return sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)


def connect_reader(path: str) -> sqlite3.Connection:
    """A connection that cannot change anything."""
    connection = sqlite3.connect(there(path), isolation_level=None, check_same_thread=False, uri=True)
    for pragma in (*_PRAGMAS, *_READER_PRAGMAS):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def checking_engine(path: str) -> sa.Engine:
    """A connection for one thread that reads everything."""
    return sa.create_engine("sqlite://", creator=lambda: connect_reader(path), isolation_level="AUTOCOMMIT")


def reading_engine(path: str) -> AsyncEngine:
    """The pool of connections for reading: few, for each has a thread and a cache."""
    engine = create_async_engine(
        sa.URL.create("sqlite+aiosqlite", database=Path(path).absolute().as_uri(), query={"mode": MODE, "uri": "true"}),
        pool_size=3,
        max_overflow=1,
        pool_reset_on_return=None,  # there is no transaction to take back
        isolation_level="AUTOCOMMIT",
        connect_args={"cached_statements": 64},
    )

    def prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in (*_PRAGMAS, *_READER_PRAGMAS):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
        connection.create_function("fleet_found", 2, found, deterministic=True)
        vec_sqlite.load(connection)

    event.listen(engine.sync_engine, "connect", prepare)
    return engine


def names(rows: Rows) -> list[str]:
    """The names of a query's columns."""
    return [column.name for column in rows.selected_columns if isinstance(column, sa.ColumnClause)]


def _insert(table: sa.Table, rows: Rows) -> Any:
    return insert(table).from_select(names(rows), rows)
