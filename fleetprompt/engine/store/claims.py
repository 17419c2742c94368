"""Claims on disk: decided in order for a whole batch from what was read once, written as one difference.

Nobody else can write while a batch is decided (`BEGIN IMMEDIATE`, or the advisory lock), so that what was read stays
true until the commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from fleetprompt.engine.ports import Append, ClaimRefused, Holder, Take
from fleetprompt.engine.store import projection
from fleetprompt.engine.store.dialect import Rows
from fleetprompt.engine.store.reading import Question, Reader
from fleetprompt.engine.store.statements import Session, Statements
from fleetprompt.engine.store.tables import claims

Key = tuple[str, str, str, str]
"""tenant, scope, run, path: the key of a claim."""


class Ledger:
    """The claims that a batch of appends touches."""

    def __init__(self, statements: Statements, session: Session, entries: Sequence[Append]) -> None:
        self._statements = statements
        self._session = session
        self._used: dict[tuple[str, str], int] = {}
        self._held: dict[tuple[str, str], dict[Key, Holder]] = {}
        """By tenant and run."""
        self._stored: set[Key] = set()
        self._scopes: dict[tuple[str, str], dict[Key, Holder]] = {}
        self._touched: dict[Key, Holder | None] = {}
        self._load(entries)

    def _load(self, entries: Sequence[Append]) -> None:
        owners = {(entry.run, entry.tenant) for entry in entries}
        for run, tenant in owners:
            self._held[(tenant, run)] = {}
        for tenant, scope, run, path, amount, at in self._statements.claims_of_runs.fetch(self._session, [*owners]):
            key = (tenant, scope, run, path)
            self._stored.add(key)
            self._held[(tenant, run)][key] = Holder(run=run, path=path, amount=amount, at=at)
        scopes = {(entry.tenant, take.slot.scope) for entry in entries for take in entry.takes}
        scopes |= {key[:2] for held in self._held.values() for key in held}
        for tenant, scope, used in self._statements.claims_used.fetch(self._session, [*scopes]):
            self._used[(tenant, scope)] = used

    def settle(self, entry: Append) -> ClaimRefused | None:
        """Release and take what an entry asks for; a refusal leaves everything as it was."""
        undo: list[tuple[Key, Holder | None]] = []
        held = self._held[(entry.tenant, entry.run)]
        if entry.releases:
            every = "*" in entry.releases
            for key in [key for key in held if every or key[3] in entry.releases]:
                undo.append((key, held[key]))
                self._change(key, None)
        for take in entry.takes:
            key = (entry.tenant, take.slot.scope, entry.run, take.path)
            if key in held:
                continue
            if self._used[key[:2]] + take.slot.amount > take.slot.limit:
                refused = ClaimRefused(take.slot, self._holders(key[:2]))
                for changed, before in reversed(undo):
                    self._change(changed, before)
                return refused
            undo.append((key, None))
            self._change(key, _holder(take, entry))
        return None

    def _change(self, key: Key, holder: Holder | None) -> None:
        held = self._held[(key[0], key[2])]
        before = held.pop(key, None)
        if holder is not None:
            held[key] = holder
        self._used[key[:2]] += (holder.amount if holder else 0) - (before.amount if before else 0)
        self._touched[key] = holder

    def _holders(self, scope: tuple[str, str]) -> list[Holder]:
        stored = self._scopes.get(scope)
        if stored is None:
            rows = self._session.connection.execute(_of_scope(*scope))
            stored = {(*scope, row.run, row.path): Holder(*row) for row in rows}
            self._scopes[scope] = stored
        now = stored | {key: holder for key, holder in self._touched.items() if key[:2] == scope}
        return projection.sort_holders(holder for holder in now.values() if holder is not None)

    def write(self) -> None:
        """Make the tables say what was settled."""
        gone = [key for key in self._touched if key in self._stored]
        new = [(*key, holder.amount, holder.at) for key, holder in self._touched.items() if holder is not None]
        self._statements.claims_delete.execute(self._session, gone)
        self._statements.claims_insert.execute(self._session, new)


def _holder(take: Take, entry: Append) -> Holder:
    return Holder(run=entry.run, path=take.path, amount=take.slot.amount, at=entry.head.updated_at)


def _of_scope(tenant: Any, scope: Any) -> Rows:
    return sa.select(claims.c.run, claims.c.path, claims.c.amount, claims.c.at).where(
        claims.c.tenant == tenant, claims.c.scope == scope
    )


class SqlClaims:
    """Who holds what across runs."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._holders = Question(reader.dialect, _of_scope(sa.bindparam("whose"), sa.bindparam("wanted")))

    async def holders(self, scope: str, tenant: str = "default") -> list[Holder]:
        """By time, run and path."""
        rows = await self._reader.ask(self._holders, tenant, scope)
        return projection.sort_holders(Holder(*row) for row in rows)
