"""Dead letters on disk."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Sequence
from datetime import tzinfo
from typing import Any

import sqlalchemy as sa
from msgspec.structs import asdict

from fleetprompt.engine.core.dead_letter import DeadLetter
from fleetprompt.engine.core.query import Query
from fleetprompt.engine.core.query_fields import DEAD_LETTER_FIELDS
from fleetprompt.engine.ports import Page
from fleetprompt.engine.store.dialect import Row
from fleetprompt.engine.store.filters import View
from fleetprompt.engine.store.listing import Listing
from fleetprompt.engine.store.reading import Reader
from fleetprompt.engine.store.statements import Session
from fleetprompt.engine.store.tables import dead_letters
from fleetprompt.engine.store.writer import Writer

_NAMES = [column.name for column in dead_letters.c]


class SqlDeadLetters:
    """See `ports.dead_letter.DeadLetters`. `zone` is where the days of filters begin."""

    def __init__(self, reader: Reader, writer: Writer, zone: tzinfo) -> None:
        self._reader = reader
        self._writer = writer
        self._listing = Listing(reader, _VIEW, (dead_letters.c.seq, dead_letters.c.id), zone)

    async def get(self, letter: str, tenant: str = "default") -> DeadLetter | None:
        """The letter of that id."""
        own = (dead_letters.c.tenant == tenant, dead_letters.c.id == letter)
        rows = await self._reader.rows(sa.select(dead_letters).where(*own))
        return _letter(rows[0]) if rows else None

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[builtins.list[DeadLetter], str]:
        """Matching letters, and the cursor of the next page."""
        rows, cursor = await self._listing.page(_of(tenant), query, page, now)
        return [_letter(row) for row in rows], cursor

    async def ids(self, query: Query, *, now: float, tenant: str = "default") -> builtins.list[str]:
        """The ids of all matching letters."""
        return await self._listing.every(_of(tenant), query, now)

    async def of_signals(self, signals: Sequence[str], tenant: str = "default") -> builtins.list[DeadLetter]:
        """The letters about these signals."""
        wanted = _of(tenant).where(dead_letters.c.signal.in_(signals)).order_by(dead_letters.c.seq)
        return [_letter(row) for row in await self._reader.rows(wanted)]

    async def dismiss(self, letters: Sequence[str], *, by: str, at: float, tenant: str = "default") -> int:
        """Let these be."""
        mine = sa.and_(dead_letters.c.tenant == tenant, dead_letters.c.id.in_(letters), dead_letters.c.status == "dead")

        def dismiss(session: Session) -> int:
            changed = sa.update(dead_letters).where(mine).values(status="dismissed", settled_at=at, by=by)
            return session.connection.execute(changed).rowcount

        return await self._writer.work(dismiss)


def bury(connection: sa.Connection, letters: Iterable[DeadLetter]) -> None:
    """Write letters; of one that is known the new attempt."""
    for letter in letters:
        known = sa.and_(dead_letters.c.tenant == letter.tenant, dead_letters.c.id == letter.id)
        values = {name: value for name, value in asdict(letter).items() if name != "seq"}
        earlier = connection.execute(sa.select(dead_letters.c.attempts).where(known)).scalar()
        if earlier is None:
            connection.execute(sa.insert(dead_letters).values(values))
        else:
            values["attempts"] = earlier + letter.attempts
            connection.execute(sa.update(dead_letters).where(known).values(values))


def revive(connection: sa.Connection, letters: Sequence[str], tenant: str) -> None:
    """Say of letters that what they are about was done at last."""
    if letters:
        dead = sa.and_(dead_letters.c.tenant == tenant, dead_letters.c.id.in_(letters), dead_letters.c.status == "dead")
        connection.execute(sa.update(dead_letters).where(dead).values(status="replayed"))


def _of(tenant: str) -> sa.Select[Any]:
    return sa.select(dead_letters).where(dead_letters.c.tenant == tenant)


def _letter(row: Row) -> DeadLetter:
    return DeadLetter(**{name: getattr(row, name) for name in _NAMES})


_VIEW = View(
    columns={**{name: dead_letters.c[name] for name in _NAMES}, "created_at": dead_letters.c.at},
    search=DEAD_LETTER_FIELDS.search,
)
