"""What migrations read of the journal to make rows of what was recorded before there were such rows."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from fleetprompt.engine.core import codec
from fleetprompt.engine.core.facts import AnyFact

AT_A_TIME = 1_000


def facts_of(connection: sa.Connection, run: str, tenant: str) -> Iterator[AnyFact]:
    """The facts of a run in their order, as far as they can be read."""
    journal = sa.table("journal", sa.column("run"), sa.column("tenant"), sa.column("n"), sa.column("data"))
    of_run = sa.select(journal.c.n, journal.c.data).where(journal.c.run == run, journal.c.tenant == tenant)
    after = 0
    while rows := connection.execute(of_run.where(journal.c.n > after).order_by(journal.c.n).limit(AT_A_TIME)).all():
        after = rows[-1].n
        for row in rows:
            try:
                yield codec.decode(row.data)
            except codec.CorruptFact:
                return  # `db check` tells of it.
