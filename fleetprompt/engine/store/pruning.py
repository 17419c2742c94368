"""Retention: old runs go with all that is theirs, in slices that the journal hardly notices.

Plans and workflows stay: they are small, and a live run may start a child whose plan no run names yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import sqlalchemy as sa

from fleetprompt.engine.store import projection
from fleetprompt.engine.store.budget_book import Reservation, forfeited, is_past, run_of
from fleetprompt.engine.store.budgets import NOTHING_RESERVED, read_budgets, read_reservation, write_budgets
from fleetprompt.engine.store.dialect import Dialect
from fleetprompt.engine.store.statements import Bulk, Session, Statements
from fleetprompt.engine.store.tables import (
    OWNED,
    PRUNED,
    UNDELIVERED,
    agent_sessions,
    approvals,
    blob_refs,
    blobs,
    budgets,
    claims,
    costs,
    counters,
    dead_letters,
    deliveries,
    firings,
    journal,
    kept_answers,
    logs,
    memories,
    reservations,
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
"""Signals, log chunks or budgets per slice."""
_LAST = "\U0010ffff"
"""Sorts behind whatever a name has in this place."""


class Pruning:
    """A chore of the writer. Times are epoch seconds; `logs_before` applies to the logs of finished runs that stay."""

    def __init__(
        self,
        dialect: Dialect,
        tenant: str,
        before: float,
        logs_before: float | None,
        workflows: Mapping[str, float] | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._tenant = tenant
        self._before = before
        self._logs_before = logs_before
        own = workflows or {}
        others = sa.and_(runs.c.finished_at < before, runs.c.workflow.not_in([*own]))
        self._over = sa.or_(
            others, *(sa.and_(runs.c.workflow == name, runs.c.finished_at < at) for name, at in own.items())
        )
        """Runs that ended so long ago that they go."""
        self._slice: Counter[str] = Counter()
        self._statements = Statements(dialect)
        days = [partial(self._days, prefix) for prefix in ("fleet/", "workflow/")]
        self._stages = [
            self._runs,
            *days,
            self._firings,
            self._letters,
            self._deliveries,
            self._kept_answers,
            self._signals,
            self._memories,
            *([self._logs] if logs_before is not None else []),
        ]
        self._after = 0
        self._after_scope = ""
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
            .where(runs.c.tenant == self._tenant, self._over)
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
        self._remember.execute(session, [("", "seq", session.position()), self._highest(connection, gone)])
        self._delete_blobs(connection, gone)
        asked = sa.select(approvals.c.id).where(approvals.c.run.in_(gone), approvals.c.tenant == self._tenant)
        self._delete(connection, votes, votes.c.approval.in_(asked))
        for table in (journal, waits, claims, results, logs, approvals, costs, agent_sessions):
            self._delete(connection, table, table.c.run.in_(gone))
        self._delete(connection, runs, runs.c.id.in_(gone))
        self._delete_budgets(session, gone)
        return True

    def _highest(self, connection: sa.Connection, gone: Sequence[str]) -> tuple[str, str, int]:
        """What is remembered of the highest fact of the tenant's that went, with these runs or before."""
        going = sa.select(sa.func.max(journal.c.seq)).where(journal.c.run.in_(gone), journal.c.tenant == self._tenant)
        before = sa.select(counters.c.value).where(counters.c.tenant == self._tenant, counters.c.name == PRUNED)
        return self._tenant, PRUNED, max(connection.execute(each).scalar() or 0 for each in (going, before))

    def _delete_budgets(self, session: Session, gone: Sequence[str]) -> None:
        """What the runs hold will never be settled: it may have been spent. Scopes stay while others hold something."""
        connection = session.connection
        made = sa.and_(reservations.c.run.in_(gone), reservations.c.tenant == self._tenant)
        found = [read_reservation(row) for row in connection.execute(sa.select(reservations).where(made))]
        if found:
            self._forfeit(session, [each for each in found if each.held])
            self._delete(connection, reservations, reservations.c.run.in_(gone))
        self._delete(connection, budgets, sa.and_(budgets.c.run.in_(gone), OWNED, NOTHING_RESERVED))
        others = {run_of(scope) for each in found for scope in each.scopes} - {"", *gone}
        if others:
            # Those that stayed when their run went.
            lives = sa.exists().where(runs.c.id == budgets.c.run, runs.c.tenant == budgets.c.tenant)
            self._delete(connection, budgets, sa.and_(budgets.c.run.in_(others), OWNED, ~lives, NOTHING_RESERVED))

    def _forfeit(self, session: Session, held: Sequence[Reservation]) -> None:
        scopes = {(self._tenant, scope) for each in held for scope in each.scopes}
        changed = read_budgets(self._statements, session, [*scopes])
        for each in held:
            for scope in each.scopes:
                key = (self._tenant, scope)
                if key in changed:
                    changed[key] = forfeited(changed[key], each.amounts)
        write_budgets(self._statements, session, changed)

    def _days(self, prefix: str, session: Session) -> bool:
        """Budgets of days that are over, of scopes that begin so."""
        connection = session.connection
        after = max(self._after_scope, prefix)
        shared = (
            sa.select(budgets.c.scope)
            .where(budgets.c.tenant == self._tenant, budgets.c.scope > after, budgets.c.scope < prefix + _LAST)
            .order_by(budgets.c.scope)
            .limit(ROWS)
        )
        scopes = [*connection.execute(shared).scalars()]
        if scopes:
            self._after_scope = scopes[-1]
        past = [scope for scope in scopes if is_past(scope, self._before)]
        if past:
            self._delete(connection, budgets, sa.and_(budgets.c.scope.in_(past), NOTHING_RESERVED))
        return len(scopes) == ROWS

    def _delete_blobs(self, connection: sa.Connection, gone: Sequence[str]) -> None:
        of_gone = sa.and_(blob_refs.c.run.in_(gone), blob_refs.c.tenant == self._tenant)
        freed = [*connection.execute(sa.select(blob_refs.c.digest).where(of_gone).distinct()).scalars()]
        self._delete(connection, blob_refs, blob_refs.c.run.in_(gone))
        needed = sa.exists().where(blob_refs.c.digest == blobs.c.digest, blob_refs.c.tenant == blobs.c.tenant)
        for at in range(0, len(freed), ROWS):
            self._delete(connection, blobs, sa.and_(blobs.c.digest.in_(freed[at : at + ROWS]), ~needed))

    def _firings(self, session: Session) -> bool:
        """Those whose runs are over: what still goes on is looked for among them."""
        own = sa.and_(runs.c.id == firings.c.run, runs.c.tenant == firings.c.tenant, runs.c.finished_at.is_(None))
        sent = sa.and_(signals.c.id == firings.c.signal, signals.c.tenant == firings.c.tenant, ~signals.c.routed)
        old = (
            sa.select(firings.c.seq)
            .where(firings.c.tenant == self._tenant, firings.c.seq > self._after, firings.c.at < self._before)
            .where(~sa.exists().where(own), ~sa.exists().where(sent))
            .order_by(firings.c.seq)
            .limit(ROWS)
        )
        found = [*session.connection.execute(old).scalars()]
        if found:
            self._after = found[-1]
            self._delete(session.connection, firings, firings.c.seq.in_(found))
        return len(found) == ROWS

    def _letters(self, session: Session) -> bool:
        """Those that failed last before that time, also those that nobody has looked after."""
        old = (
            sa.select(dead_letters.c.seq)
            .where(dead_letters.c.tenant == self._tenant, dead_letters.c.at < self._before)
            .order_by(dead_letters.c.seq)
            .limit(ROWS)
        )
        found = [*session.connection.execute(old).scalars()]
        if found:
            self._delete(session.connection, dead_letters, dead_letters.c.seq.in_(found))
        return len(found) == ROWS

    def _deliveries(self, session: Session) -> bool:
        """Those made before that time, also those to subscriptions that nobody has any more."""
        old = (
            sa.select(deliveries.c.seq)
            .where(deliveries.c.tenant == self._tenant, deliveries.c.created_at < self._before)
            .order_by(deliveries.c.seq)
            .limit(ROWS)
        )
        found = [*session.connection.execute(old).scalars()]
        if found:
            self._delete(session.connection, deliveries, deliveries.c.seq.in_(found))
        return len(found) == ROWS

    def _kept_answers(self, session: Session) -> bool:
        """All at once: what is left of them that nobody has sent anything after, see `kept_answers.GO`."""
        self._delete(session.connection, kept_answers, kept_answers.c.at < self._before)
        return False

    def _signals(self, session: Session) -> bool:
        connection = session.connection
        reached = sa.exists().where(
            results.c.signal == signals.c.id, results.c.tenant == signals.c.tenant, results.c.run != ""
        )
        underway = sa.exists().where(
            deliveries.c.signal == signals.c.id, deliveries.c.tenant == signals.c.tenant, UNDELIVERED
        )
        old = (
            sa.select(signals.c.seq, signals.c.id)
            .where(signals.c.tenant == self._tenant, signals.c.seq > self._after)
            .where(signals.c.at < self._before, signals.c.routed, ~reached, ~underway)
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

    def _memories(self, session: Session) -> bool:
        """Conversations that nobody was given since, and what had expired by then."""
        unused = sa.and_(memories.c.type == "conversation", memories.c.accessed_at < self._before)
        old = (
            sa.select(memories.c.seq)
            .where(memories.c.tenant == self._tenant, sa.or_(unused, memories.c.expires_at <= self._before))
            .limit(ROWS)
        )
        found = [*session.connection.execute(old).scalars()]
        if found:
            self._delete(session.connection, memories, memories.c.seq.in_(found))
        return len(found) == ROWS

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
