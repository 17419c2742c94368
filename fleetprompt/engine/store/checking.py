"""The examination of a store: what the database says of itself, rows that belong to nothing, facts nobody can read."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from fleetprompt.engine.core import codec
from fleetprompt.engine.core.facts import AnyFact, RunForked
from fleetprompt.engine.core.spending import spending
from fleetprompt.engine.ports import Health
from fleetprompt.engine.store import budget_book, projection
from fleetprompt.engine.store.budget_book import Reservation
from fleetprompt.engine.store.budgets import NOTHING_RESERVED, read_budget, read_reservation
from fleetprompt.engine.store.dialect import Dialect
from fleetprompt.engine.store.tables import (
    agent_sessions,
    approvals,
    blobs,
    budgets,
    claims,
    costs,
    journal,
    logs,
    metadata,
    reservations,
    results,
    runs,
    signals,
    votes,
    waits,
)

SHOWN = 20
"""Problems of one kind that are reported one by one."""
AT_A_TIME = 1_000
Spending = tuple[str, str, str]
"""Tenant, run and kind of what was spent."""
_KINDS = ("nano-USD", "tokens", "uncertain nano-USD")


def examine(connection: sa.Connection, dialect: Dialect) -> Health:
    """Read the whole store and say what is wrong with it."""
    checks = (dialect.integrity, _orphans, _lengths, _facts, _budgets, _blobs, _logs)
    problems = [problem for check in checks for problem in _short(_readable(check, connection))]
    counts: dict[str, int] = {}
    for table in metadata.sorted_tables:
        problems += _readable(lambda connection, table=table: _count(connection, table, counts), connection)
    return Health(
        ok=not problems,
        schema=connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one(),
        problems=tuple(dict.fromkeys(problems)),
        counts=counts,
        bytes=dialect.size(connection),
    )


def _readable(check: Callable[[sa.Connection], Iterator[str]], connection: sa.Connection) -> Iterator[str]:
    """What a check finds; that a damaged part cannot be read is one more problem, not the end of the examination."""
    try:
        yield from check(connection)
    except DatabaseError as error:
        yield f"database: {error.orig}"


def _count(connection: sa.Connection, table: sa.Table, counts: dict[str, int]) -> Iterator[str]:
    counts[table.name] = connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
    yield from ()


def _short(problems: Iterator[str]) -> Iterator[str]:
    more = 0
    for number, problem in enumerate(problems):
        if number < SHOWN:
            yield problem
        else:
            more += 1
    if more:
        yield f"… and {more} more like this"


def _orphans(connection: sa.Connection) -> Iterator[str]:
    owned = (
        (journal, runs, journal.c.run == runs.c.id),
        (waits, runs, waits.c.run == runs.c.id),
        (claims, runs, claims.c.run == runs.c.id),
        (approvals, runs, approvals.c.run == runs.c.id),
        (costs, runs, costs.c.run == runs.c.id),
        (agent_sessions, runs, agent_sessions.c.run == runs.c.id),
        (reservations, runs, reservations.c.run == runs.c.id),
        (votes, approvals, votes.c.approval == approvals.c.id),
        (results, signals, results.c.signal == signals.c.id),
    )
    for table, owner, same in owned:
        exists = sa.exists().where(same, table.c.tenant == owner.c.tenant)
        lost = connection.execute(sa.select(sa.func.count()).select_from(table).where(~exists)).scalar_one()
        if lost:
            yield f"{table.name}: {lost} rows belong to nothing in {owner.name}"


def _lengths(connection: sa.Connection) -> Iterator[str]:
    """Runs whose journal is not what their head says."""
    held = (
        sa.select(
            journal.c.run, journal.c.tenant, sa.func.count().label("facts"), sa.func.max(journal.c.n).label("last")
        )
        .group_by(journal.c.run, journal.c.tenant)
        .subquery()
    )
    same = sa.and_(held.c.run == runs.c.id, held.c.tenant == runs.c.tenant)
    facts = sa.func.coalesce(held.c.facts, 0)
    wrong = sa.or_(facts != runs.c.n, sa.func.coalesce(held.c.last, 0) != runs.c.n)
    query = sa.select(runs.c.id, runs.c.n, facts).select_from(runs.outerjoin(held, same)).where(wrong)
    for run, n, found in connection.execute(query):
        yield f"run {run}: {n} facts expected, {found} found"


def _facts(connection: sa.Connection) -> Iterator[str]:
    """Facts that cannot be read, values that they say are kept as blobs but are not, and spending that they tell of
    and `costs` does not."""
    after = 0
    told: Counter[Spending] = Counter()
    query = sa.select(journal.c.seq, journal.c.tenant, journal.c.run, journal.c.n, journal.c.data)
    while rows := connection.execute(query.where(journal.c.seq > after).order_by(journal.c.seq).limit(AT_A_TIME)).all():
        for _, tenant, run, n, data in rows:
            try:
                fact = codec.decode(data)
            except codec.CorruptFact as error:
                yield f"run {run}, fact {n}: {error}"
                continue
            blob = getattr(fact, "blob", None)
            _tell(told, tenant, run, fact)
            if (
                blob is not None
                and not connection.execute(
                    sa.select(blobs.c.size).where(blobs.c.digest == blob.digest, blobs.c.tenant == tenant)
                ).first()
            ):
                yield f"run {run}, fact {n}: its value {blob.digest} is missing"
        after = rows[-1].seq
    yield from _differences(told, connection)


def _tell(told: Counter[Spending], tenant: str, run: str, fact: AnyFact) -> None:
    """Add what a fact says was spent. What stands before a fork was copied, and another run has spent it."""
    if isinstance(fact, RunForked):
        for kind in _KINDS:
            told.pop((tenant, run, kind), None)
    elif spent := spending(fact):
        for kind, amount in zip(_KINDS, (spent.cost_nano, spent.tokens, spent.uncertain_nano), strict=True):
            told[(tenant, run, kind)] += amount


def _differences(told: Counter[Spending], connection: sa.Connection) -> Iterator[str]:
    sums = (sa.func.sum(costs.c.cost_nano), sa.func.sum(costs.c.tokens), sa.func.sum(costs.c.uncertain_nano))
    query = sa.select(costs.c.tenant, costs.c.run, *sums).group_by(costs.c.tenant, costs.c.run)
    kept: Counter[Spending] = Counter()
    for row in connection.execute(query):
        kept.update({(row[0], row[1], kind): int(row[at]) for at, kind in enumerate(_KINDS, 2)})
    for key in sorted(told.keys() | kept.keys()):
        if told[key] != kept[key]:
            yield f"run {key[1]}: its facts tell of {told[key]} {key[2]}, its costs of {kept[key]}"


def _budgets(connection: sa.Connection) -> Iterator[str]:
    """Reservations that nobody will settle, and budgets that say something else than the reservations."""
    same = sa.and_(runs.c.id == reservations.c.run, runs.c.tenant == reservations.c.tenant)
    query = sa.select(reservations, runs.c.status).join(runs, same, isouter=True)
    held: dict[Reservation, str] = {}
    rows: Sequence[Sequence[Any]] = connection.execute(query.where(reservations.c.state == "held")).all()
    for row in rows:
        held[read_reservation(row[:-1])] = row[-1] if row[-1] in projection.FINAL else ""
    reserving = sa.select(budgets).where(sa.not_(NOTHING_RESERVED))
    found = {(row.tenant, row.scope): read_budget(row) for row in connection.execute(reserving)}
    yield from budget_book.problems(found, held)


def _blobs(connection: sa.Connection) -> Iterator[str]:
    for digest, tenant in connection.execute(sa.select(blobs.c.digest, blobs.c.tenant)).all():
        same = (blobs.c.digest == digest, blobs.c.tenant == tenant)
        data = bytes(connection.execute(sa.select(blobs.c.data).where(*same)).scalar_one())
        if sha256(data).hexdigest() != digest and _canonical_digest(data) != digest:
            yield f"blob {digest}: its content has another digest"


def _canonical_digest(data: bytes) -> str:
    try:
        return codec.digest(msgspec.json.decode(data))
    except msgspec.DecodeError:
        return ""


def _logs(connection: sa.Connection) -> Iterator[str]:
    after = 0
    query = sa.select(logs.c.id, logs.c.run, logs.c.path, logs.c.data).order_by(logs.c.id).limit(AT_A_TIME // 10)
    while rows := connection.execute(query.where(logs.c.id > after)).all():
        for id_, run, path, data in rows:
            try:
                zlib.decompress(data)
            except zlib.error as error:
                yield f"run {run}, log of {path or 'the run'}, chunk {id_}: {error}"
        after = rows[-1].id
