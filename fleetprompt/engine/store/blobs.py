"""Large values on disk, once per tenant and digest.

A row of `blob_refs` says which run needs a blob: written for the blobs that an append brings and for those its facts
refer to. Pruning deletes blobs that no run refers to any more; what `put` brings without a run is pinned.
"""

from __future__ import annotations

import sqlalchemy as sa

from fleetprompt.engine.store.reading import Reader
from fleetprompt.engine.store.statements import Session, Statements
from fleetprompt.engine.store.tables import blobs
from fleetprompt.engine.store.writer import Writer


class SqlBlobs:
    """Large values by tenant and digest."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer
        self._statements = Statements(reader.dialect)

    async def get(self, digest: str, tenant: str = "default") -> bytes | None:
        """The bytes of that digest."""
        of = sa.select(blobs.c.data).where(blobs.c.digest == digest, blobs.c.tenant == tenant)
        rows = await self._reader.rows(of)
        return bytes(rows[0].data) if rows else None

    async def put(self, digest: str, data: bytes, tenant: str = "default") -> None:
        """Keep a blob that no run brings: it is pinned."""

        def put(session: Session) -> None:
            self._statements.blobs_insert.execute(session, [(tenant, digest, len(data), data)])
            self._statements.refs_insert.execute(session, [(tenant, digest, "")])

        await self._writer.work(put)
