"""What Postgres does in its own way, and all SQL that only Postgres understands; see `dialect.py`."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON, asyncpg, insert
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.store.dialect import Dialect, Rows, names
from fleetprompt.engine.store.tables import PARTIAL, folded, memories, metadata

LOCK = "SELECT pg_advisory_xact_lock(hashtext('fleetprompt.' || current_schema()))"
"""Held from before a `seq` is given until it is visible: the feed of others never goes back. It also makes what was
read of claims true until the commit."""
_SIMPLE = "'simple'::regconfig"
"""Words as they are: of no language."""
UNSYNCED = "SET LOCAL synchronous_commit = off"
VERSION = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
"""Rises with every transaction that writes, of whatever process."""
POSITION = """
SELECT greatest(
    coalesce((SELECT max(seq) FROM journal), 0),
    coalesce((SELECT value FROM counters WHERE tenant = '' AND name = 'seq'), 0)
)
"""

_MEANINGS = {
    "08": ("the database cannot be reached", "check that the server runs and the URL is right"),
    "28": ("the database refuses this user", "check user and password in the URL"),
    "3D": ("there is no such database", "create it, or check the URL"),
    "42": ("the schema is not as it should be", "run `fleet db upgrade`"),
    "53": ("the server is out of resources", "free disk space or connections on the server"),
    "55": ("another process holds the database", "wait for it"),
    "57": ("the server is shutting down", "wait until it is back"),
    "58": ("the server's disk failed", "look at the log of the server"),
}


class PostgresDialect(Dialect):
    """Postgres over asyncpg."""

    url = "postgresql+asyncpg://"
    full_text = (f"CREATE INDEX memories_words ON memories USING gin (to_tsvector({_SIMPLE}, words))",)

    def __init__(self) -> None:
        self.compiler = asyncpg.dialect()
        for index, where in PARTIAL:
            index.dialect_options["postgresql"]["where"] = where

    def ignore(self, table: sa.Table, rows: Rows) -> sa.Executable:
        return insert(table).from_select(names(rows), rows).on_conflict_do_nothing()

    def upsert(self, table: sa.Table, rows: Rows) -> sa.Executable:
        statement = insert(table).from_select(names(rows), rows)
        key = {column.name for column in table.primary_key}
        changed = {name: statement.excluded[name] for name in names(rows) if name not in key}
        return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed)

    def explain(self, error: Exception, where: str) -> StoreUnavailable | None:
        if isinstance(error, DBAPIError):
            cause = error.orig.__cause__ if error.orig is not None else None
            state = str(getattr(error.orig, "sqlstate", None) or getattr(cause, "sqlstate", None) or "")
            if isinstance(error, (IntegrityError, DataError)) or state[:2] in ("22", "23"):
                return None
            text = str(error.orig)
        elif isinstance(error, OSError) or hasattr(error, "sqlstate"):
            state, text = str(getattr(error, "sqlstate", None) or "08"), str(error)
        else:
            return None
        message, hint = _MEANINGS.get(state[:2] or "08", ("the database failed", "look at the log of the server"))
        return StoreUnavailable(f"{message}: {text}", where=where, hint=hint)

    def is_conflict(self, error: Exception) -> bool:
        return isinstance(error, IntegrityError)

    def integrity(self, connection: sa.Connection) -> Iterator[str]:
        yield from ()

    def size(self, connection: sa.Connection) -> int:
        sizes = [sa.func.pg_total_relation_size(table.name) for table in metadata.sorted_tables]
        return sum(connection.execute(sa.select(*sizes)).one())

    def json_text(self, column: sa.ColumnElement[Any], key: str) -> sa.ColumnElement[Any]:
        return sa.cast(column, JSON)[key].astext

    def json_items(self, column: sa.ColumnElement[Any]) -> sa.TableValuedAlias:
        return sa.func.json_array_elements_text(sa.cast(column, JSON)).table_valued("value")

    def json_keys(self, column: sa.ColumnElement[Any]) -> sa.TableValuedAlias:
        return sa.func.json_object_keys(sa.cast(column, JSON)).table_valued("key").render_derived()

    def fold(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return folded(column)

    def bytewise(self, text: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return text.collate("C")

    def mostly(self, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        return condition

    def rarely(self, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        return condition

    def apart(self, rows: Rows) -> sa.Subquery:
        return rows.subquery()

    def packed(self, rows: Rows) -> Rows:
        return sa.select(sa.func.array(rows.scalar_subquery()))

    def unpack(self, value: Any) -> array[int]:
        return array("q", value)

    def equals(self, column: sa.ColumnElement[Any], text: str) -> sa.ColumnElement[bool]:
        return folded(column) == text

    def whole(self, number: sa.ColumnElement[float]) -> sa.ColumnElement[int]:
        # Its cast rounds.
        return sa.cast(sa.func.trunc(number), sa.BigInteger)

    def like(self, column: sa.ColumnElement[Any], pattern: str) -> sa.ColumnElement[bool]:
        return folded(column).like(pattern, escape="\\")

    def searching(self) -> None:
        """Its regular expressions are others than Python's."""

    def with_words(self, rows: Rows, words: Sequence[str]) -> Rows:
        simple: sa.ColumnElement[Any] = sa.literal_column(_SIMPLE)
        held = sa.func.to_tsvector(simple, memories.c.words)
        asked = sa.func.to_tsquery(simple, " | ".join(f"'{word}':*" for word in words))
        return rows.where(held.op("@@", is_comparison=True)(asked)).order_by(sa.func.ts_rank(held, asked).desc())
