"""Grants for workflows on disk."""

from __future__ import annotations

import builtins
from typing import Any

import msgspec
import sqlalchemy as sa

from fleetprompt.engine.ports.grant import WorkflowGrant
from fleetprompt.engine.store.dialect import Row
from fleetprompt.engine.store.reading import Reader
from fleetprompt.engine.store.statements import Session
from fleetprompt.engine.store.tables import grants
from fleetprompt.engine.store.writer import Writer

_encode = msgspec.json.Encoder().encode


def grant_row(grant: WorkflowGrant) -> tuple[Any, ...]:
    """A grant as a row of `grants`."""
    values = msgspec.structs.asdict(grant) | {"subject": _encode(grant.subject).decode()}
    return tuple(values[column.name] for column in grants.c)


class SqlGrants:
    """See `ports.grant.Grants`."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer

    async def valid(self, workflow: str, tenant: str = "default") -> list[WorkflowGrant]:
        """Those that hold for a workflow, the oldest first."""
        of = sa.select(grants).where(grants.c.tenant == tenant, grants.c.workflow == workflow)
        return await self._read(of.where(grants.c.revoked_at.is_(None)).order_by(grants.c.at, grants.c.id))

    async def list(self, tenant: str = "default") -> builtins.list[WorkflowGrant]:
        """All of them, the newest first."""
        return await self._read(
            sa.select(grants).where(grants.c.tenant == tenant).order_by(grants.c.at.desc(), grants.c.id)
        )

    async def _read(self, of: sa.Select[Any]) -> builtins.list[WorkflowGrant]:
        return [_grant(row) for row in await self._reader.rows(of)]

    async def revoke(self, id: str, *, by: str, at: float, tenant: str = "default") -> bool:
        """Take one back; False where there is none that holds."""
        held = sa.and_(grants.c.id == id, grants.c.tenant == tenant, grants.c.revoked_at.is_(None))

        def revoke(session: Session) -> bool:
            changed = sa.update(grants).where(held).values(revoked_at=at, revoked_by=by)
            return session.connection.execute(changed).rowcount == 1

        return await self._writer.work(revoke)


def _grant(row: Row) -> WorkflowGrant:
    values = {column.name: getattr(row, column.name) for column in grants.c}
    return WorkflowGrant(**(values | {"subject": msgspec.json.decode(values["subject"])}))
