"""Reading step logs of any length: what there is, then only the lines that are looked at."""

from __future__ import annotations

from collections.abc import Sequence

from fleetprompt.engine.ports import LogChunk, LogLine, LogMatches, Store


class LogReading:
    """The part of a console that looks into logs. Everything raises `StoreUnavailable`."""

    store: Store
    tenant: str

    async def logs(
        self, run: str, *, path: str | None = None, after: int = 0, limit: int = 1000, tail: bool = False
    ) -> tuple[list[LogLine], int]:
        """Lines of a step log."""
        return await self.store.logs.read(run, path=path, after=after, limit=limit, tail=tail, tenant=self.tenant)

    async def log_chunks(
        self, run: str, *, path: str | None = None, within: bool = False, after: int = 0, limit: int = 5000
    ) -> list[LogChunk]:
        """The chunks of a log that begin behind a position, without their lines."""
        return await self.store.logs.chunks(run, path=path, within=within, after=after, limit=limit, tenant=self.tenant)

    async def log_lines(self, run: str, ids: Sequence[int]) -> list[list[LogLine]]:
        """The lines of chunks; none of a chunk that was pruned."""
        return await self.store.logs.lines(run, ids, self.tenant)

    async def log_levels(self, run: str, ids: Sequence[int]) -> list[bytes]:
        """The levels of the lines of chunks, as indices into `LEVELS`; none of a chunk that was pruned."""
        return await self.store.logs.levels(run, ids, self.tenant)

    async def log_find(
        self,
        run: str,
        needle: str,
        *,
        path: str | None = None,
        within: bool = False,
        regex: bool = False,
        after: int | None = None,
        before: int | None = None,
        limit: int = 1000,
    ) -> LogMatches:
        """Search a portion of a log. Raises `InvalidInput` for a regular expression that cannot be used."""
        return await self.store.logs.find(
            run,
            needle,
            path=path,
            within=within,
            regex=regex,
            after=after,
            before=before,
            limit=limit,
            tenant=self.tenant,
        )
