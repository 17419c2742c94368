"""Retention: old runs go with all that is theirs, in slices that the journal hardly notices.

Plans and workflows stay: they are small, and a live run may start a child whose plan no run names yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import sqlalchemy as sa

from fleetprompt.engine.store import projection
from fleetprompt.engine.store.dialect import Dialect
from fleetprompt.engine.store.statements import Bulk, Session
from fleetprompt.engine.store.tables import (
    approvals,
    blob_refs,
    blobs,
    claims,
    costs,
    counters,
    journal,
    logs,
    results,
    runs,
    signals,
    votes,
    waits,
)

RUNS = 50
FACTS = 5_000
"""Of so many runs and facts a slice deletes whole runs."""
ROWS = 500
"""Signals or log chunks per slice."""


class Pruning:
    """A chore of the writer. Times are epoch seconds; `logs_before` applies to the logs of finished runs that stay."""

    def __init__(self, dialect: Dialect, tenant: str, before: float, logs_before: float | None) -> None:
        self.counts: Counter[str] = Counter()
        self._tenant = tenant
        self._before = before
        self._logs_before = logs_before
        self._slice: Counter[str] = Counter()
        self._stages = [self._runs, self._signals, *([self._logs] if logs_before is not None else [])]
        self._after = 0
        self._remember = Bulk(
            dialect, [*counters.c], lambda given: dialect.upsert(counters, sa.select(given).where(sa.true()))
        )

    def perform(self, session: Session) -> bool:
        """Delete a slice; whether there is more."""
        self._slice = Counter()
        if not self._stages[0](session):
            self._stages.pop(0)
            self._after = 0
        return bool(self._stages)

    def settled(self, *, durable: bool) -> None:
        """Count what is really gone."""
        if durable:
            self.counts += self._slice

    def _runs(self, session: Session) -> bool:
        connection = session.connection
        awaited = sa.exists().where(waits.c.on == "child", waits.c.ref == runs.c.id, waits.c.tenant == runs.c.tenant)
        old = (
            sa.select(runs.c.id, runs.c.n)
            .where(runs.c.tenant == self._tenant, runs.c.finished_at < self._before)
            .where(runs.c.status.in_(projection.FINAL), ~awaited)
            .order_by(runs.c.finished_at)
            .limit(RUNS)
        )
        gone: list[str] = []
        facts = 0
        for run, n in connection.execute(old):
            gone.append(run)
            facts += n
            if facts > FACTS:
                break
        if not gone:
            return False
        self._remember.execute(session, [("", "seq", session.position())])
        self._delete_blobs(connection, gone)
        asked = sa.select(approvals.c.id).where(approvals.c.run.in_(gone), approvals.c.tenant == self._tenant)
        self._delete(connection, votes, votes.c.approval.in_(asked))
        for table in (journal, waits, claims, results, logs, approvals, costs):
            self._delete(connection, table, table.c.run.in_(gone))
        self._delete(connection, runs, runs.c.id.in_(gone))
        return True

    def _delete_blobs(self, connection: sa.Connection, gone: Sequence[str]) -> None:
        of_gone = sa.and_(blob_refs.c.run.in_(gone), blob_refs.c.tenant == self._tenant)
        freed = [*connection.execute(sa.select(blob_refs.c.digest).where(of_gone).distinct()).scalars()]
        self._delete(connection, blob_refs, blob_refs.c.run.in_(gone))
        needed = sa.exists().where(blob_refs.c.digest == blobs.c.digest, blob_refs.c.tenant == blobs.c.tenant)
        for at in range(0, len(freed), ROWS):
            self._delete(connection, blobs, sa.and_(blobs.c.digest.in_(freed[at : at + ROWS]), ~needed))

    def _signals(self, session: Session) -> bool:
        connection = session.connection
        reached = sa.exists().where(
            results.c.signal == signals.c.id, results.c.tenant == signals.c.tenant, results.c.run != ""
        )
        old = (
            sa.select(signals.c.seq, signals.c.id)
            .where(signals.c.tenant == self._tenant, signals.c.seq > self._after)
            .where(signals.c.at < self._before, signals.c.routed, ~reached)
            .order_by(signals.c.seq)
            .limit(ROWS)
        )
        rows = connection.execute(old).all()
        ids = [row.id for row in rows]
        if ids:
            self._after = rows[-1].seq
            self._delete(connection, results, results.c.signal.in_(ids))
            self._delete(connection, signals, signals.c.id.in_(ids))
        return len(ids) == ROWS

    def _logs(self, session: Session) -> bool:
        of_finished = sa.and_(runs.c.id == logs.c.run, runs.c.tenant == logs.c.tenant)
        old = (
            sa.select(logs.c.id)
            .join(runs, of_finished)
            .where(logs.c.tenant == self._tenant, logs.c.id > self._after, logs.c.at < self._logs_before)
            .where(runs.c.status.in_(projection.FINAL))
            .order_by(logs.c.id)
            .limit(ROWS)
        )
        ids = [*session.connection.execute(old).scalars()]
        if ids:
            self._after = ids[-1]
            self._delete(session.connection, logs, logs.c.id.in_(ids))
        return len(ids) == ROWS

    def _delete(self, connection: sa.Connection, table: sa.Table, where: sa.ColumnElement[bool]) -> None:
        deleted = connection.execute(sa.delete(table).where(table.c.tenant == self._tenant, where)).rowcount
        if deleted:
            self._slice[table.name] += deleted
