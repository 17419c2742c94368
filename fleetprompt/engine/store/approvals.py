"""Approvals and votes on disk."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

import msgspec
import sqlalchemy as sa

from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.core.facts import ApprovalDecided, ApprovalRequested
from fleetprompt.engine.core.query import Query
from fleetprompt.engine.core.query_fields import APPROVAL_FIELDS
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import Append, Approval, Page, Vote
from fleetprompt.engine.store import projection
from fleetprompt.engine.store.dialect import Row
from fleetprompt.engine.store.filters import View, json_list
from fleetprompt.engine.store.listing import Listing
from fleetprompt.engine.store.projection import ApprovalFact, Ballot
from fleetprompt.engine.store.reading import Reader, find_ids, of_tenant
from fleetprompt.engine.store.tables import approvals, votes

_json = msgspec.json.Encoder().encode
_read_vote = msgspec.json.Decoder(Vote).decode
_read_approval = msgspec.json.Decoder(Approval).decode


def apply_fact(connection: sa.Connection, fact: ApprovalFact, entry: Append) -> None:
    """Let the rows follow a fact, within the transaction that appends it."""
    known = connection.execute(
        sa.select(approvals.c.run, approvals.c.tenant, approvals.c.level).where(approvals.c.id == fact.id)
    ).first()
    if known is not None and (known.run, known.tenant) != (entry.run, entry.tenant):
        return  # a fork carries copies of its original's facts; the approval stays the original's
    this = sa.and_(approvals.c.id == fact.id, approvals.c.tenant == entry.tenant)
    if isinstance(fact, ApprovalRequested):
        row = _row(projection.requested(fact, entry))
        if known is None:
            connection.execute(sa.insert(approvals).values(row))
        else:
            del row["requested_at"]
            connection.execute(sa.update(approvals).where(this).values(row))
    elif known is None:
        return
    elif isinstance(fact, ApprovalDecided):
        decided = {"status": fact.decision, "decided_at": fact.at, "reason": fact.reason}
        connection.execute(sa.update(approvals).where(this).values(decided))
    else:
        same = _of_level(fact.id, known.level, entry.tenant) & (votes.c.by == fact.by)
        data = connection.execute(sa.select(votes.c.data).where(same)).scalar()
        if data is None:
            _insert_vote(connection, projection.voted(fact, known.level), entry.tenant, "")
        elif (vote := projection.replaced(kept := _read_vote(data), fact, known.level)) is not kept:
            # That of the signal which brought the earlier one: nobody takes it back any more.
            connection.execute(sa.update(votes).where(same).values(at=vote.at, signal="", data=_json(vote)))


def insert_vote(connection: sa.Connection, signal: Signal, ballot: Ballot) -> None:
    """Count a vote that a signal brings. That of a person who has voted before takes the place of the earlier one when
    it is carried out, for the engine may refuse it; where the votes that are there decide, none does. Raises
    `Refused`."""
    vote = ballot.vote
    known = connection.execute(
        sa.select(approvals.c.status, approvals.c.level, approvals.c.data).where(
            approvals.c.id == vote.approval, approvals.c.tenant == signal.tenant
        )
    ).first()
    if known is None:
        raise Refused(f"there is no approval {vote.approval}")
    approval = _read_approval(known.data)
    problem = ballot.problem(known.status, approval.digest, known.level)
    if problem:
        raise Refused(problem)
    level = sa.select(votes.c.data).where(_of_level(vote.approval, known.level, signal.tenant))
    there = [_read_vote(data) for data in connection.execute(level).scalars()]
    if projection.corrects(vote, there, approval.quorum):
        return
    _insert_vote(connection, msgspec.structs.replace(vote, level=known.level), signal.tenant, signal.id)


def _of_level(approval: str, level: int, tenant: str) -> sa.ColumnElement[bool]:
    return sa.and_(votes.c.approval == approval, votes.c.level == level, votes.c.tenant == tenant)


def _insert_vote(connection: sa.Connection, vote: Vote, tenant: str, signal: str) -> None:
    connection.execute(
        sa.insert(votes).values(
            tenant=tenant,
            approval=vote.approval,
            level=vote.level,
            by=vote.by,
            at=vote.at,
            signal=signal,
            data=_json(vote),
        )
    )


class SqlApprovals:
    """The approvals projection and the votes."""

    def __init__(self, reader: Reader, zone: tzinfo) -> None:
        self._reader = reader
        columns: dict[str, Any] = {column.name: column for column in approvals.c}
        columns |= {
            "step": approvals.c.path,
            "created_at": approvals.c.requested_at,
            "expires_at": approvals.c.until,
        }
        lists = {"approvers": json_list(reader.dialect, approvals.c.approvers)}
        view = View(columns=columns, lists=lists, search=APPROVAL_FIELDS.search)
        self._listing = Listing(reader, view, (approvals.c.requested_at, approvals.c.id), zone)

    async def get(self, approval: str, tenant: str | None = None) -> Approval | None:
        """The approval of that id, if it is the tenant's."""
        given = sa.select(approvals).where(approvals.c.id == approval, *of_tenant(approvals, tenant))
        rows = await self._reader.rows(given)
        return _approval(rows[0]) if rows else None

    async def find(self, text: str, tenant: str = "default") -> builtins.list[str]:
        """Ids that equal, begin or end with a text: the equal one first, then newest first; at most ten."""
        return await self._reader.run(lambda connection: find_ids(connection, approvals, text, tenant))

    async def votes(self, approval: str, tenant: str | None = None) -> builtins.list[Vote]:
        """The votes of all levels, oldest first."""
        order = (votes.c.level, votes.c.at, votes.c.by)
        given = sa.select(votes.c.data).where(votes.c.approval == approval, *of_tenant(votes, tenant))
        rows = await self._reader.rows(given.order_by(*order))
        return [_read_vote(row.data) for row in rows]

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[builtins.list[Approval], str]:
        """Matching approvals and the cursor of the next page. Raises `InvalidInput` for a bad filter or cursor."""
        of_tenant = sa.select(approvals).where(approvals.c.tenant == tenant)
        found, cursor = await self._listing.page(of_tenant, query, page, now)
        return [_approval(row) for row in found], cursor

    async def ids(self, query: Query, *, now: float, tenant: str = "default") -> builtins.list[str]:
        """The ids of all matching approvals, the oldest first. Raises `InvalidInput` for a bad filter."""
        of_tenant = sa.select(approvals).where(approvals.c.tenant == tenant)
        return await self._listing.every(of_tenant, query, now, oldest_first=True)

    async def several(
        self, ids: Sequence[str], tenant: str = "default"
    ) -> builtins.list[tuple[Approval, builtins.list[Vote]]]:
        """The approvals of these ids, the oldest first, each with its votes of all levels."""
        wanted = sa.select(approvals).where(approvals.c.tenant == tenant, approvals.c.id.in_(ids))
        rows = await self._reader.rows(wanted.order_by(approvals.c.requested_at, approvals.c.id))
        found = {row.id: (_approval(row), list[Vote]()) for row in rows}
        cast = sa.select(votes.c.approval, votes.c.data).where(votes.c.tenant == tenant, votes.c.approval.in_(ids))
        for row in await self._reader.rows(cast.order_by(votes.c.level, votes.c.at, votes.c.by)):
            if row.approval in found:
                found[row.approval][1].append(_read_vote(row.data))
        return [*found.values()]


def _row(approval: Approval) -> dict[str, Any]:
    columns = {column.name: getattr(approval, column.name) for column in approvals.c if column.name != "data"}
    return columns | {"approvers": _json(approval.approvers).decode(), "data": _json(approval)}


def _approval(row: Row) -> Approval:
    return msgspec.structs.replace(
        _read_approval(row.data),
        status=row.status,
        requested_at=row.requested_at,
        decided_at=row.decided_at,
        reason=row.reason,
    )
