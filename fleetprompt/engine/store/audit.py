"""The audit log on disk: entries are written in the transaction of what they tell of, by the head of their chain."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from msgspec.structs import asdict, astuple, replace

from fleetprompt.engine.core.audit import PRUNED, AuditEntry, AuditNote, Head, Verdict, Walk, kept, sealed
from fleetprompt.engine.ports.audit import AuditQuery
from fleetprompt.engine.store.dialect import Dialect, Row
from fleetprompt.engine.store.reading import Reader
from fleetprompt.engine.store.statements import Bulk, Session
from fleetprompt.engine.store.tables import audit, audit_heads
from fleetprompt.engine.store.writer import Writer

PORTION = 1_000
"""Entries that are read at a time."""
_NAMES = [column.name for column in audit.c]


def write(session: Session, dialect: Dialect, notes: Sequence[AuditNote]) -> list[AuditEntry]:
    """Write entries within the transaction that changes what they tell of. Until it ends nobody else writes to the same
    chains: on Postgres the rows of their heads are locked, SQLite has one writer."""
    written: list[AuditEntry] = []
    # In the same order by everybody, so that nobody waits for each other.
    for tenant in sorted({note.tenant for note in notes}):
        head = _locked(session, dialect, tenant)
        for note in notes:
            if note.tenant == tenant:
                entry, head = sealed(note, head)
                written.append(entry)
        _move(session.connection, tenant, head)
    _bulks(dialect)[1].execute(session, [tuple(getattr(entry, name) for name in _NAMES) for entry in written])
    return written


@cache
def _bulks(dialect: Dialect) -> tuple[Bulk, Bulk]:
    """The statements that begin a chain where there is none, and that write entries."""

    def begin(given: sa.CTE) -> sa.Executable:
        return dialect.ignore(audit_heads, sa.select(given).where(sa.true()))

    def add(given: sa.CTE) -> sa.Executable:
        return sa.insert(audit).from_select(_NAMES, sa.select(given))

    return Bulk(dialect, [*audit_heads.c], begin), Bulk(dialect, [*audit.c], add)


def _locked(session: Session, dialect: Dialect, tenant: str) -> Head:
    _bulks(dialect)[0].execute(session, [(tenant, *astuple(Head()))])
    connection = session.connection
    row = connection.execute(sa.select(audit_heads).where(audit_heads.c.tenant == tenant).with_for_update()).one()
    return _head(row)


def _move(connection: sa.Connection, tenant: str, head: Head) -> None:
    connection.execute(sa.update(audit_heads).where(audit_heads.c.tenant == tenant).values(asdict(head)))


class SqlAudit:
    """See `ports.audit.Audit`."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer

    async def add(self, note: AuditNote) -> AuditEntry:
        """Write an entry of its own."""
        [entry] = await self._writer.work(lambda session: write(session, self._reader.dialect, [note]))
        return entry

    async def list(self, query: AuditQuery, tenant: str = "default") -> builtins.list[AuditEntry]:
        """The newest first."""
        of = sa.select(audit).where(audit.c.tenant == tenant, audit.c.at >= query.since)
        if query.before:
            of = of.where(audit.c.seq < query.before)
        for name in ("by", "action", "object", "outcome"):
            if wanted := getattr(query, name):
                of = of.where(audit.c[name] == kept(wanted))
        rows = await self._reader.rows(of.order_by(audit.c.seq.desc()).limit(query.limit))
        return [_entry(row) for row in rows]

    async def verify(self, tenant: str = "default", known: str = "") -> Verdict:
        """Walk through the whole chain. What is written meanwhile is left for the next time."""
        # In one statement: the head, and the last entry there is, are those of one moment.
        last = (
            sa.select(sa.func.coalesce(sa.func.max(audit.c.seq), 0).label("last"))
            .where(audit.c.tenant == tenant)
            .subquery()
        )
        [found] = await self._reader.rows(
            sa.select(last.c.last, audit_heads).select_from(last.outerjoin(audit_heads, audit_heads.c.tenant == tenant))
        )
        walk = Walk(_head(found) if found.tenant is not None else Head(), known)
        of = sa.select(audit).where(audit.c.tenant == tenant, audit.c.seq <= found.last).order_by(audit.c.seq)
        rows = await self._reader.rows(of.limit(PORTION))
        while walk.take(map(_entry, rows)) and len(rows) == PORTION:
            rows = await self._reader.rows(of.where(audit.c.seq > rows[-1].seq).limit(PORTION))
        return walk.verdict()

    async def prune(self, before: float, note: AuditNote) -> int:
        """Delete the entries before a time, and say so in the chain."""
        tenant, dialect = note.tenant, self._reader.dialect

        def prune(session: Session) -> int:
            connection = session.connection
            head = _locked(session, dialect, tenant)
            mine = audit.c.tenant == tenant
            stays = sa.select(sa.func.min(audit.c.seq)).where(mine, audit.c.at >= before)
            first = connection.execute(stays).scalar()
            upto = (first if first is not None else head.seq) - 1
            last = connection.execute(sa.select(audit.c.hash).where(mine, audit.c.seq == upto)).scalar()
            if last is None:
                return 0
            gone = connection.execute(sa.delete(audit).where(mine, audit.c.seq <= upto)).rowcount
            _move(connection, tenant, replace(head, base_seq=upto, base_hash=last))
            write(session, dialect, [replace(note, action=PRUNED, kind="audit", object=str(upto), detail=last)])
            return gone

        return await self._writer.work(prune)


def _entry(row: Row) -> AuditEntry:
    values: dict[str, Any] = {name: getattr(row, name) for name in _NAMES}
    return AuditEntry(**values)


def _head(row: Any) -> Head:
    return Head(seq=row.seq, hash=row.hash, base_seq=row.base_seq, base_hash=row.base_hash)
