"""Runs as a console lists them: every number in some order at once, rows by number, counts, values to complete with.

Where the database cannot try the regular expressions of a filter, they are tried here, on runs that fulfil the rest.
"""

from __future__ import annotations

import builtins
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import tzinfo

import msgspec
import sqlalchemy as sa

from fleetprompt.engine.core.query import Query
from fleetprompt.engine.ports import Order, RunHead
from fleetprompt.engine.store.dialect import Row, Rows
from fleetprompt.engine.store.filters import Condition, Expression, Filter, like_prefix
from fleetprompt.engine.store.live_values import NEWEST, Wanted, wanted
from fleetprompt.engine.store.reading import Question, Reader
from fleetprompt.engine.store.run_rows import read_head, run_view
from fleetprompt.engine.store.tables import runs

AT_A_TIME = 500
"""Runs that are looked up, or tried by a regular expression, at a time: few enough not to be noticed by the loop."""

_json = msgspec.json.Encoder().encode
_COLUMNS: dict[str, Expression] = {
    "created": runs.c.created_at,
    "updated": runs.c.updated_at,
    "status": runs.c.status,
    "workflow": runs.c.workflow,
    "cost": runs.c.cost_nano,
    "tokens": runs.c.tokens,
}
_INDEXED = ("status", "workflow")
"""Orders in which an index has all runs of a tenant, but not what else a filter looks at."""
_NEWEST_FIRST = (runs.c.created_at.desc(), runs.c.seq.desc())


class RunIndex:
    """The part of `ports.Runs` that a console asks. `zone` is where the days of filters begin."""

    def __init__(self, reader: Reader, zone: tzinfo) -> None:
        self._reader = reader
        self._zone = zone
        self._view = run_view(reader.dialect)
        of_tenant = reader.dialect.mostly(runs.c.tenant == sa.bindparam("tenant"))
        among = self._is_among(runs.c.seq, sa.bindparam("seqs", type_=sa.Text()))
        by_number = sa.select(runs).where(of_tenant, among)
        self._by_number = Question(reader.dialect, by_number)

    async def index(self, query: Query, order: Order, *, now: float, tenant: str = "default") -> array[int]:
        """See `ports.Runs.index`."""
        where, test = self._conditions(query, now, tenant)
        seqs = await self._numbers(self._sorted(order, where, now))
        if test is None:
            return seqs
        found = array("q")
        async for rows in self._passing([], seqs, test):
            found.extend(row.seq for row in rows)
        return found

    async def heads(self, seqs: Sequence[int], *, tenant: str = "default") -> builtins.list[RunHead | None]:
        """See `ports.Runs.heads`."""
        found: dict[int, RunHead] = {}
        for at in range(0, len(seqs), AT_A_TIME):
            rows = await self._reader.ask(self._by_number, tenant, _text(seqs[at : at + AT_A_TIME]))
            found |= {head.seq: head for head in map(read_head, rows)}
        return [found.get(seq) for seq in seqs]

    async def matching(
        self, ids: Sequence[str], query: Query, *, now: float, tenant: str = "default"
    ) -> builtins.list[tuple[RunHead, bool]]:
        """See `ports.Runs.matching`."""
        where, terms = self._filter(now).where(query)
        test = self._filter(now).passes(terms)
        holds = sa.func.coalesce(sa.and_(sa.true(), *where), sa.false()).label("holds")
        found: dict[str, tuple[RunHead, bool]] = {}
        for at in range(0, len(ids), AT_A_TIME):
            among = self._is_among(runs.c.id, sa.literal(_text(ids[at : at + AT_A_TIME])))
            statement = sa.select(runs, holds, *self._searched()).where(runs.c.tenant == tenant, among)
            for row in await self._reader.rows(statement):
                head = read_head(row)
                found[head.id] = head, bool(row.holds) and test(row)
        return [found[id_] for id_ in ids if id_ in found]

    async def tally(self, query: Query, *, now: float, tenant: str = "default") -> dict[str, int]:
        """See `ports.Runs.tally`."""
        where, test = self._conditions(query, now, tenant)
        if test is None:
            matching = sa.select(runs.c.status).where(*where)
            # An index has everything by status; what is filtered is found in its own way first.
            found = matching.subquery() if len(where) == 1 else self._reader.dialect.apart(matching)
            statement = sa.select(found.c.status, sa.func.count().label("runs")).group_by(found.c.status)
            return {row.status: row.runs for row in await self._reader.rows(statement)}
        counts: Counter[str] = Counter()
        seqs = await self._numbers(sa.select(runs.c.seq).where(*where))
        async for rows in self._passing([runs.c.status], seqs, test):
            counts.update(row.status for row in rows)
        return dict(counts)

    async def values(
        self, field: str, query: Query, prefix: str = "", limit: int = 20, *, now: float, tenant: str = "default"
    ) -> builtins.list[tuple[str, int]]:
        """See `ports.Runs.values`."""
        asked = wanted(field)
        where, test = self._conditions(query, now, tenant)
        if asked is None:
            return []
        held = sa.select(runs.c.seq, runs.c[asked.column].label("held"))
        if test is None:
            held = held.where(*where).order_by(*_NEWEST_FIRST).limit(NEWEST)
        else:
            held = held.where(self._is_among(runs.c.seq, sa.literal(_text(await self._newest(where, test)))))
        statement = self._counted(held.subquery(), asked, prefix)
        return [(value, count) for value, count in await self._reader.rows(statement.limit(limit))]

    def _filter(self, now: float) -> Filter:
        return Filter(self._reader.dialect, self._view, now, self._zone)

    def _conditions(
        self, query: Query, now: float, tenant: str
    ) -> tuple[builtins.list[Condition], Callable[[Row], bool] | None]:
        """What runs must fulfil in the database, and the test that is left for those that do."""
        where, terms = self._filter(now).where(query)
        test = self._filter(now).passes(terms) if terms else None
        dialect = self._reader.dialect
        return [dialect.mostly(runs.c.tenant == tenant), *map(dialect.rarely, where)], test

    def _is_among(self, column: Expression, listed: Expression) -> Condition:
        """Whether a value is in a JSON list: one parameter, so that the statement is the same for any length."""
        value = self._reader.dialect.json_items(listed).c.value
        return column.in_(sa.select(sa.cast(value, column.type)))

    def _searched(self) -> builtins.list[Expression]:
        return [column.label(name) for name, column in self._view.searched.items()]

    def _sorted(self, order: Order, where: Sequence[Condition], now: float) -> Rows:
        """The numbers in an order."""
        dialect = self._reader.dialect
        if order.by == "duration":
            column = sa.func.coalesce(runs.c.finished_at, sa.literal(now, sa.Double())) - runs.c.started_at
        else:
            column = _COLUMNS[order.by]
        number: Expression = runs.c.seq
        statement = sa.select(number)
        if order.by == "created" or (order.by in _INDEXED and len(where) == 1):
            statement = statement.where(*where)
        else:
            # Or SQLite would read the rows in the order of some index, one by one.
            found = dialect.apart(sa.select(number, column.label("key")).where(*where))
            number, column = found.c.seq, found.c.key
            statement = sa.select(number)
        key = dialect.fold(column) if order.by == "workflow" else column
        direction = key.desc() if order.descending else key.asc()
        if order.by == "duration":
            direction = direction.nulls_last()
        return statement.order_by(direction, number.desc())

    async def _numbers(self, statement: Rows) -> array[int]:
        dialect = self._reader.dialect
        rows = await self._reader.rows(dialect.packed(statement))
        return dialect.unpack(rows[0][0])

    async def _passing(
        self, columns: Sequence[Expression], seqs: Sequence[int], test: Callable[[Row], bool]
    ) -> AsyncIterator[builtins.list[Row]]:
        """The rows of those numbers that pass a test, in portions, in the order of the numbers."""
        for at in range(0, len(seqs), AT_A_TIME):
            some = seqs[at : at + AT_A_TIME]
            among = self._is_among(runs.c.seq, sa.literal(_text(some)))
            rows = await self._reader.rows(sa.select(runs.c.seq, *columns, *self._searched()).where(among))
            passed = {row.seq: row for row in rows if test(row)}
            yield [passed[seq] for seq in some if seq in passed]

    async def _newest(self, where: Sequence[Condition], test: Callable[[Row], bool]) -> builtins.list[int]:
        newest = await self._numbers(sa.select(runs.c.seq).where(*where).order_by(*_NEWEST_FIRST))
        found: list[int] = []
        async for rows in self._passing([], newest, test):
            found += [row.seq for row in rows]
            if len(found) >= NEWEST:
                break
        return found[:NEWEST]

    def _counted(self, held: sa.Subquery, asked: Wanted, prefix: str) -> Rows:
        """The values in column `held`, each with the number of runs that have it."""
        dialect = self._reader.dialect
        if asked.shape == "list":
            items = dialect.json_items(held.c.held)
            each = sa.select(held.c.seq, items.c.value).select_from(held.join(items, sa.true())).distinct()
        elif asked.shape == "keys":
            keys = dialect.json_keys(held.c.held)
            each = sa.select(held.c.seq, keys.c.key.label("value")).select_from(held.join(keys, sa.true()))
        elif asked.shape == "key":
            each = sa.select(held.c.seq, dialect.json_text(held.c.held, asked.key).label("value"))
        else:
            each = sa.select(held.c.seq, held.c.held.label("value"))
        found = each.subquery()
        value, count = found.c.value, sa.func.count()
        begins = [like_prefix(dialect, value, prefix)] if prefix else []
        statement = sa.select(value, count).where(value != "", *begins).group_by(value)
        return statement.order_by(count.desc(), dialect.bytewise(value))


def _text(values: Sequence[int] | Sequence[str]) -> str:
    return _json(builtins.list(values)).decode()
