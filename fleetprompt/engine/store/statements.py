"""The statements of the writer: built with SQLAlchemy, compiled once, each over many rows at a time.

One call of the driver for many rows, because SQLite gives the interpreter's lock away in every call and gets it back
only when the event loop's thread lets go of it (measured: row by row, a busy loop makes a commit ten times slower).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol

import sqlalchemy as sa

from fleetprompt.engine.store import tables
from fleetprompt.engine.store.dialect import Dialect, Rows
from fleetprompt.engine.store.tables import RUN_IMMUTABLE, RUN_PROGRESS

SIZES = (128, 96, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1)
"""Rows per statement: few enough to be prepared once each, close enough that two or three statements do."""


class Session(Protocol):
    """An open transaction of the writer."""

    @property
    def connection(self) -> sa.Connection:
        """The same transaction for SQLAlchemy."""
        ...

    def position(self) -> int:
        """The highest `seq` ever given."""
        ...

    def execute(self, sql: str, parameters: Sequence[Any]) -> int:
        """Run a compiled statement; the number of rows it changed."""
        ...

    def fetch(self, sql: str, parameters: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """Run a compiled query; its rows."""
        ...


class Bulk:
    """A statement over rows of one shape."""

    def __init__(self, dialect: Dialect, columns: Sequence[sa.Column[Any]], build: Callable[[sa.CTE], sa.Executable]):
        self._dialect = dialect
        self._columns = columns
        self._build = build
        self._sizes: dict[int, str] = {}

    def execute(self, session: Session, rows: Sequence[tuple[Any, ...]]) -> int:
        """The number of rows changed in all."""
        if not rows:
            return 0
        return sum(session.execute(sql, parameters) for sql, parameters in self._calls(rows))

    def fetch(self, session: Session, rows: Sequence[tuple[Any, ...]]) -> list[Sequence[Any]]:
        """What the query finds for all the rows."""
        return [found for sql, parameters in self._calls(rows) for found in session.fetch(sql, parameters)]

    def _calls(self, rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
        at, left = 0, len(rows)
        for size in SIZES:
            while left >= size:
                yield self._sql(size), list(chain.from_iterable(rows[at : at + size]))
                at += size
                left -= size

    def _sql(self, size: int) -> str:
        sql = self._sizes.get(size)
        if sql is None:
            sql = self._sizes[size] = _repeat(self._single(), size, len(self._columns))
        return sql

    def _single(self) -> str:
        columns = [sa.column(column.name, column.type) for column in self._columns]
        row = tuple(sa.bindparam(column.name, type_=column.type) for column in self._columns)
        return self._dialect.compile(self._build(sa.values(*columns, name="given").data([row]).cte("given")))


def _repeat(sql: str, size: int, width: int) -> str:
    """The statement for one row as one for many; compiling it for many would take ten milliseconds."""
    head, _, rest = sql.partition("(VALUES (")
    row, _, tail = rest.partition(")")
    rows = (_NUMBERED.sub(lambda match, shift=at * width: f"${int(match[1]) + shift}", row) for at in range(size))
    return f"{head}(VALUES ({'), ('.join(rows)}){tail}"


_NUMBERED = re.compile(r"\$(\d+)")


AFTER = sa.Column("after", tables.journal.c.n.type)
"""How many facts a run must hold before the update."""


class Statements:
    """Every statement of an append, for one database."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect

        def bulk(columns: Sequence[sa.Column[Any]], build: Callable[[sa.CTE], sa.Executable]) -> Bulk:
            return Bulk(dialect, columns, build)

        def every(table: sa.Table, *without: str) -> list[sa.Column[Any]]:
            return [column for column in table.c if column.name not in without]

        t = tables
        self.journal = bulk(every(t.journal), lambda given: _insert(t.journal, given))
        self.run_insert = bulk(every(t.runs), lambda given: dialect.ignore(t.runs, _new(t.runs, given)))
        self.run_update = bulk(
            [t.runs.c.id, t.runs.c.tenant, AFTER, *(c for c in t.runs.c if c.name not in RUN_IMMUTABLE)], _update_runs
        )
        progress = [t.runs.c[name] for name in RUN_PROGRESS]
        self.run_progress = bulk([t.runs.c.id, t.runs.c.tenant, AFTER, *progress], _update_runs)
        self.run_facts = bulk([t.runs.c.id], _run_facts)
        self.waits_delete = bulk(_key(t.waits), lambda given: _delete(t.waits, given))
        self.waits_upsert = bulk(every(t.waits), lambda given: dialect.upsert(t.waits, _all(given)))
        self.claims_of_runs = bulk([t.claims.c.run, t.claims.c.tenant], _claims_of_runs)
        self.claims_used = bulk([t.claims.c.tenant, t.claims.c.scope], _claims_used)
        self.claims_delete = bulk(_key(t.claims), lambda given: _delete(t.claims, given))
        self.claims_insert = bulk(every(t.claims), lambda given: _insert(t.claims, given))
        self.budgets_read = bulk([t.budgets.c.tenant, t.budgets.c.scope], _budgets_read)
        self.budgets_upsert = bulk(every(t.budgets), lambda given: dialect.upsert(t.budgets, _all(given)))
        self.reservations_read = bulk([t.reservations.c.tenant, t.reservations.c.id], _reservations_read)
        self.reservations_upsert = bulk(
            every(t.reservations), lambda given: dialect.upsert(t.reservations, _all(given))
        )
        self.signals_insert = bulk(
            every(t.signals, "seq"), lambda given: dialect.ignore(t.signals, _new(t.signals, given))
        )
        self.deliveries_insert = bulk(
            every(t.deliveries, "seq"), lambda given: dialect.ignore(t.deliveries, _of_stored(given))
        )
        self.firings_insert = bulk(every(t.firings, "seq"), lambda given: dialect.ignore(t.firings, _all(given)))
        self.signal_rows = bulk([t.signals.c.id], _signal_rows)
        self.signal_places = bulk([t.signals.c.id], _signal_places)
        self.routed = bulk([t.signals.c.id, t.signals.c.tenant], _mark_routed)
        self.results_upsert = bulk(every(t.results), lambda given: dialect.upsert(t.results, _all(given)))
        self.votes_withdraw = bulk([t.votes.c.signal, t.votes.c.tenant], _withdraw_votes)
        self.blobs_insert = bulk(every(t.blobs), lambda given: dialect.ignore(t.blobs, _all(given)))
        self.costs_insert = bulk(every(t.costs), lambda given: _insert(t.costs, given))
        sessions = t.agent_sessions
        self.sessions_at = bulk([sessions.c.run, sessions.c.path, sessions.c.tenant], _sessions_at)
        self.sessions_open = bulk([sessions.c.run, sessions.c.tenant], _sessions_open)
        self.sessions_upsert = bulk(every(sessions), lambda given: dialect.upsert(sessions, _all(given)))
        self.grants_insert = bulk(every(t.grants), lambda given: dialect.ignore(t.grants, _all(given)))
        self.refs_insert = bulk(every(t.blob_refs), lambda given: dialect.ignore(t.blob_refs, _all(given)))


def _key(table: sa.Table) -> list[sa.Column[Any]]:
    return list(table.primary_key.columns)


def _all(given: sa.CTE) -> Rows:
    # SQLite cannot tell ON CONFLICT from a join's ON unless the SELECT has a WHERE.
    return sa.select(given).where(sa.true())


def _new(table: sa.Table, given: sa.CTE) -> Rows:
    """The rows whose id no tenant has: what is looked up by id alone must be unique without its tenant."""
    return sa.select(given).where(~sa.exists().where(table.c.id == given.c.id))


def _of_stored(given: sa.CTE) -> Rows:
    """The rows whose signal is in the store: one with a key that was there before is not."""
    signals = tables.signals
    same = (signals.c.id == given.c.signal, signals.c.tenant == given.c.tenant)
    return sa.select(given).where(sa.exists().where(*same))


def _insert(table: sa.Table, given: sa.CTE) -> sa.Insert:
    return sa.insert(table).from_select([column.name for column in given.c], sa.select(given))


def _delete(table: sa.Table, given: sa.CTE) -> sa.Delete:
    columns: list[sa.Column[Any]] = [table.c[column.name] for column in given.c]
    return sa.delete(table).where(sa.tuple_(*columns).in_(sa.select(given)))


def _update_runs(given: sa.CTE) -> sa.Update:
    runs = tables.runs
    changed = {column.name: column for column in given.c if column.name not in ("id", "tenant", "after")}
    return (
        sa.update(runs)
        .values(changed)
        .where(runs.c.id == given.c.id, runs.c.tenant == given.c.tenant, runs.c.n == given.c.after)
    )


def _run_facts(given: sa.CTE) -> Rows:
    runs = tables.runs
    return sa.select(runs.c.n, runs.c.tenant).join(given, runs.c.id == given.c.id)


def _claims_of_runs(given: sa.CTE) -> Rows:
    claims = tables.claims
    return sa.select(claims).join(given, sa.and_(claims.c.run == given.c.run, claims.c.tenant == given.c.tenant))


def _claims_used(given: sa.CTE) -> Rows:
    claims = tables.claims
    same = sa.and_(claims.c.tenant == given.c.tenant, claims.c.scope == given.c.scope)
    used = sa.select(sa.func.sum(claims.c.amount)).where(same).scalar_subquery()
    return sa.select(
        given.c.tenant, given.c.scope, sa.cast(sa.func.coalesce(used, sa.literal_column("0")), sa.BigInteger)
    )


def _budgets_read(given: sa.CTE) -> Rows:
    budgets = tables.budgets
    same = sa.and_(budgets.c.tenant == given.c.tenant, budgets.c.scope == given.c.scope)
    return sa.select(budgets).join(given, same)


def _reservations_read(given: sa.CTE) -> Rows:
    reservations = tables.reservations
    same = sa.and_(reservations.c.tenant == given.c.tenant, reservations.c.id == given.c.id)
    return sa.select(reservations).join(given, same)


def _sessions_at(given: sa.CTE) -> Rows:
    sessions = tables.agent_sessions
    same = [sessions.c[name] == given.c[name] for name in ("run", "path", "tenant")]
    return sa.select(sessions).join(given, sa.and_(*same))


def _sessions_open(given: sa.CTE) -> Rows:
    sessions = tables.agent_sessions
    same = sa.and_(sessions.c.run == given.c.run, sessions.c.tenant == given.c.tenant)
    return sa.select(sessions).join(given, same).where(tables.UNENDED)


def _signal_rows(given: sa.CTE) -> Rows:
    signals = tables.signals
    return sa.select(signals.c.seq, signals.c.tenant).join(given, signals.c.id == given.c.id)


def _signal_places(given: sa.CTE) -> Rows:
    signals = tables.signals
    return sa.select(signals.c.id, signals.c.seq).join(given, signals.c.id == given.c.id)


def _mark_routed(given: sa.CTE) -> sa.Update:
    signals = tables.signals
    return (
        sa.update(signals)
        .values(routed=sa.true())
        .where(signals.c.id == given.c.id, signals.c.tenant == given.c.tenant)
    )


def _withdraw_votes(given: sa.CTE) -> sa.Delete:
    votes = tables.votes
    return sa.delete(votes).where(
        votes.c.signal != sa.literal_column("''"), sa.tuple_(votes.c.signal, votes.c.tenant).in_(sa.select(given))
    )
