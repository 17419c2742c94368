"""Switches and cursors on disk."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from msgspec.structs import asdict

from fleetprompt.engine.ports.operations import Switch
from fleetprompt.engine.store.reading import Reader
from fleetprompt.engine.store.statements import Session
from fleetprompt.engine.store.tables import counters, switches
from fleetprompt.engine.store.writer import Writer


class SqlOperations:
    """See `ports.operations.Operations`."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer

    async def switches(self) -> list[Switch]:
        """Every switch that was ever set."""
        names = [column.name for column in switches.c]
        rows = await self._reader.rows(sa.select(switches).order_by(switches.c.tenant))
        return [Switch(**{name: getattr(row, name) for name in names}) for row in rows]

    async def set_switch(self, switch: Switch) -> None:
        """Put a switch in the place of the one before it."""
        await self._writer.work(lambda session: _put(session, switches, ("tenant",), asdict(switch)))

    async def cursor(self, name: str) -> int | None:
        """Up to where somebody has told everything."""
        mine = sa.select(counters.c.value).where(counters.c.tenant == "", counters.c.name == f"cursor/{name}")
        rows = await self._reader.rows(mine)
        return rows[0].value if rows else None

    async def set_cursor(self, name: str, position: int) -> None:
        """Remember it."""
        values = {"tenant": "", "name": f"cursor/{name}", "value": position}
        await self._writer.work(lambda session: _put(session, counters, ("tenant", "name"), values))


def _put(session: Session, table: sa.Table, key: tuple[str, ...], values: dict[str, Any]) -> None:
    mine = sa.and_(*(table.c[name] == values[name] for name in key))
    if not session.connection.execute(sa.update(table).where(mine).values(values)).rowcount:
        session.connection.execute(sa.insert(table).values(values))
