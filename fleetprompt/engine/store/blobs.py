"""Large values on disk, once per tenant and digest.

A row of `blob_refs` says which run needs a blob: written for the blobs that an append brings and for those its facts
refer to. Pruning deletes blobs that no run refers to any more; what `put` brings without a run is pinned.
"""

from __future__ import annotations

import sqlalchemy as sa

from fleetprompt.engine.store.reading import Question, Reader
from fleetprompt.engine.store.statements import Session, Statements
from fleetprompt.engine.store.tables import blobs
from fleetprompt.engine.store.writer import Writer


class SqlBlobs:
    """Large values by tenant and digest."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer
        mine = sa.and_(blobs.c.digest == sa.bindparam("wanted"), blobs.c.tenant == sa.bindparam("whose"))
        self._get = Question(reader.dialect, sa.select(blobs.c.data).where(mine))
        self._statements = Statements(reader.dialect)

    async def get(self, digest: str, tenant: str = "default") -> bytes | None:
        """The bytes of that digest."""
        rows = await self._reader.ask(self._get, digest, tenant)
        return bytes(rows[0][0]) if rows else None

    async def put(self, digest: str, data: bytes, tenant: str = "default", run: str = "") -> None:
        """Keep a blob that no append brings, as long as the run is kept; without a run it is pinned."""

        def put(session: Session) -> None:
            self._statements.blobs_insert.execute(session, [(tenant, digest, len(data), data)])
            self._statements.refs_insert.execute(session, [(tenant, digest, run)])

        await self._writer.work(put)
