"""Answers to requests on disk."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from fleetprompt.engine.ports import kept_answer
from fleetprompt.engine.ports.kept_answer import KeptAnswer
from fleetprompt.engine.store.reading import Reader
from fleetprompt.engine.store.statements import Session
from fleetprompt.engine.store.tables import kept_answers
from fleetprompt.engine.store.writer import Writer

GO = 20
"""So many that are too old go when one comes."""
_Headers = tuple[tuple[str, str], ...]


class SqlKeptAnswers:
    """See `ports.kept_answer.KeptAnswers`."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer
        self._kept = 0

    async def find(self, key: str, *, since: float, tenant: str = "default") -> KeptAnswer | None:
        """The answer that was kept for a key, unless it is older."""
        mine = kept_answers.c.tenant == tenant, kept_answers.c.key == key, kept_answers.c.at >= since
        for row in await self._reader.rows(sa.select(kept_answers).where(*mine)):
            values: dict[str, Any] = {column.name: getattr(row, column.name) for column in kept_answers.c}
            values["headers"] = msgspec.json.decode(row.headers, type=_Headers)
            return KeptAnswer(**values)
        return None

    async def keep(self, answer: KeptAnswer, *, since: float) -> None:
        """Keep one, and let some go."""
        most = kept_answer.MOST_ANSWERS
        crowded = self._kept % max(1, most // 100) == 0
        self._kept += 1
        values = msgspec.structs.asdict(answer) | {"headers": msgspec.json.encode(answer.headers).decode()}

        def keep(session: Session) -> None:
            connection, table = session.connection, kept_answers
            old = sa.select(table.c.key, table.c.tenant).where(table.c.at < since).order_by(table.c.at).limit(GO)
            gone = [(row.key, row.tenant) for row in connection.execute(old)] + [(answer.key, answer.tenant)]
            connection.execute(sa.delete(table).where(sa.tuple_(table.c.key, table.c.tenant).in_(gone)))
            connection.execute(sa.insert(table).values(values))
            if crowded:
                mine = table.c.tenant == answer.tenant
                last = sa.select(table.c.at).where(mine).order_by(table.c.at.desc()).offset(most).limit(1)
                if (at := connection.scalar(last)) is not None:
                    connection.execute(sa.delete(table).where(mine, table.c.at <= at))

        await self._writer.work(keep)
