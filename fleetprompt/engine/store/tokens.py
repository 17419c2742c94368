"""Tokens on disk."""

from __future__ import annotations

import builtins
from typing import Any

import sqlalchemy as sa
from msgspec.structs import asdict

from fleetprompt.engine.core.audit import AuditNote
from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.ports.token import Token
from fleetprompt.engine.store.audit import write
from fleetprompt.engine.store.dialect import Row
from fleetprompt.engine.store.reading import Reader
from fleetprompt.engine.store.statements import Session
from fleetprompt.engine.store.tables import tokens
from fleetprompt.engine.store.writer import Writer

_NAMES = [column.name for column in tokens.c if column.name != "digest"]


class SqlTokens:
    """See `ports.token.Tokens`."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer

    async def add(self, token: Token, digest: str, audit: AuditNote | None = None) -> None:
        """Keep a new one. Raises `Refused` where its id is taken."""

        def add(session: Session) -> None:
            connection = session.connection
            if connection.execute(sa.select(sa.exists().where(tokens.c.id == token.id))).scalar():
                raise Refused(f"there is a token {token.id} already")
            connection.execute(sa.insert(tokens).values(asdict(token) | {"digest": digest}))
            self._log(session, audit)

        await self._writer.work(add)

    async def find(self, id: str) -> tuple[Token, str] | None:
        """The token of that id, and its digest."""
        rows = await self._reader.rows(sa.select(tokens).where(tokens.c.id == id))
        return (_token(rows[0]), rows[0].digest) if rows else None

    async def list(self, tenant: str = "default") -> builtins.list[Token]:
        """The newest first."""
        of = sa.select(tokens).where(tokens.c.tenant == tenant)
        return [_token(row) for row in await self._reader.rows(of.order_by(tokens.c.created_at.desc(), tokens.c.id))]

    async def any_counts(self, now: float) -> bool:
        """Whether there is one that is worth something now."""
        lasts = sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now)
        of = sa.select(tokens.c.id).where(tokens.c.revoked_at.is_(None), lasts).limit(1)
        return bool(await self._reader.rows(of))

    async def revoke(
        self, id: str, *, by: str, at: float, tenant: str = "default", audit: AuditNote | None = None
    ) -> bool:
        """Make it worth nothing; False where there is none that is not."""
        mine = sa.and_(tokens.c.id == id, tokens.c.tenant == tenant, tokens.c.revoked_at.is_(None))

        def revoke(session: Session) -> bool:
            changed = sa.update(tokens).where(mine).values(revoked_at=at, revoked_by=by)
            if session.connection.execute(changed).rowcount != 1:
                return False
            self._log(session, audit)
            return True

        return await self._writer.work(revoke)

    def _log(self, session: Session, note: AuditNote | None) -> None:
        if note is not None:
            write(session, self._reader.dialect, [note])

    async def used(self, id: str, at: float) -> None:
        """Remember that it was used."""

        def used(session: Session) -> None:
            session.connection.execute(sa.update(tokens).where(tokens.c.id == id).values(last_used_at=at))

        await self._writer.work(used)


def _token(row: Row) -> Token:
    values: dict[str, Any] = {name: getattr(row, name) for name in _NAMES}
    return Token(**values)
