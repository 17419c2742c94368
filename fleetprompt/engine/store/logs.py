"""Step logs on disk: chunks of compressed lines, written between the journal's transactions so that they never wait
for a line, and not synced one by one: power failure may cost the last lines, a crash of the process does not.

Within a run the cursor counts lines in the order they were stored; lines of one step are in order, lines of several
steps that were queued together are stored step by step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.ports import LogChunk, LogLine, LogMatches
from fleetprompt.engine.store.dialect import Row, Rows
from fleetprompt.engine.store.lines import INSIDE, STEP_CAP
from fleetprompt.engine.store.log_chunks import LineQueue, LogChunks
from fleetprompt.engine.store.log_search import Search, decode, finder, levels
from fleetprompt.engine.store.reading import Question, Reader, of_tenant
from fleetprompt.engine.store.tables import logs
from fleetprompt.engine.store.writer import Writer

DELAY = 0.25
"""Seconds that lines are collected before they are stored."""
RETRY = 2.0
"""Seconds until lines that could not be stored are tried again."""
AT_A_TIME = 16
"""Chunks that are read at a time: one holds a thousand short lines, or a single one."""

PORTION = 64
"""Chunks whose contents are read for one query, or searched in one go: about four megabytes of lines."""

_DIRECTORY = (
    logs.c.id,
    logs.c.path,
    logs.c.attempt,
    logs.c.first,
    logs.c.last,
    logs.c.until,
    logs.c.at,
    logs.c.dropped,
)
"""In the order of LogChunk's fields."""


class SqlLogs:
    """Chunked step logs. `cap` is how many bytes of lines are kept per attempt at a step."""

    def __init__(self, reader: Reader, writer: Writer, cap: int = STEP_CAP) -> None:
        self._reader = reader
        self._writer = writer
        self._queue = LineQueue()
        self._chunks = LogChunks(self._queue, cap)
        self._timer: asyncio.TimerHandle | None = None
        given: list[sa.BindParameter[str]] = [sa.bindparam("wanted"), sa.bindparam("whose")]
        behind: sa.BindParameter[int] = sa.bindparam("after")
        of_run = sa.select(*_DIRECTORY).where(logs.c.run == given[0], logs.c.tenant == given[1], logs.c.until > behind)
        most = of_run.order_by(logs.c.until).limit(sa.bindparam("most")).offset(sa.literal_column("0"))
        self._of_run = Question(reader.dialect, most)
        """What every console asks of the run that it shows."""

    def write(self, run: str, lines: Sequence[LogLine], tenant: str = "default") -> None:
        """Queue lines; they are stored within a second, in order, and before `flush` returns."""
        for line in lines:
            self._queue.put((tenant, run, line))
        self._start_in(DELAY)

    async def flush(self) -> None:
        """Return when everything that was queued is stored. Raises `StoreUnavailable`; the lines stay queued."""
        await self._start()

    async def close(self) -> None:
        """Store what is queued, if that is possible at all."""
        if self._queue:
            try:
                await self._start()
            except StoreUnavailable:
                pass
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_in(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._start)

    def _start(self) -> asyncio.Future[None]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._queue.say_lost()
        stored = self._writer.between(self._chunks)
        stored.add_done_callback(self._seen)
        return stored

    def _seen(self, stored: asyncio.Future[None]) -> None:
        """Try again later; that the disk fails is for the journal to report."""
        if not stored.cancelled() and stored.exception() is not None:
            self._start_in(RETRY)

    async def read(
        self,
        run: str,
        *,
        path: str | None = None,
        after: int = 0,
        limit: int = 1000,
        tail: bool = False,
        tenant: str | None = None,
    ) -> tuple[list[LogLine], int]:
        """Lines of a run (or of one step) behind a cursor, the first or (`tail`) the last of them, and the cursor of
        the last one."""
        chunks = sa.select(logs).where(*_of(run, tenant, path), logs.c.until > after)
        found = await self._reader.run(lambda connection: _find(connection, chunks, after, limit, tail=tail))
        return [line for _, line in found], found[-1][0] if found else after

    async def chunks(
        self,
        run: str,
        *,
        path: str | None = None,
        within: bool = False,
        after: int = 0,
        limit: int = 5000,
        tenant: str | None = None,
    ) -> list[LogChunk]:
        """See `ports.Logs`. Raises `StoreUnavailable`, as everything here."""
        if path is None and tenant is not None:
            return [LogChunk(*row) for row in await self._reader.ask(self._of_run, run, tenant, after, limit)]
        chunks = sa.select(*_DIRECTORY).where(*_of(run, tenant, path, within=within), logs.c.until > after)
        rows = await self._reader.rows(chunks.order_by(logs.c.until).limit(limit))
        return [LogChunk(*row) for row in rows]

    async def lines(self, run: str, ids: Sequence[int], tenant: str | None = None) -> list[list[LogLine]]:
        """See `ports.Logs`."""
        rows = await self._contents(run, ids, tenant)
        # In a thread: what is decoded in one go is up to the caller, and the loop has other things to do.
        return await asyncio.to_thread(
            lambda: [decode(row.data, row.path, row.attempt, row.first) if row is not None else [] for row in rows]
        )

    async def levels(self, run: str, ids: Sequence[int], tenant: str | None = None) -> list[bytes]:
        """See `ports.Logs`."""
        rows = await self._contents(run, ids, tenant)
        return await asyncio.to_thread(lambda: [levels(row.data) if row is not None else b"" for row in rows])

    async def _contents(self, run: str, ids: Sequence[int], tenant: str | None) -> list[Row | None]:
        columns = (logs.c.id, logs.c.path, logs.c.attempt, logs.c.first, logs.c.data)
        found: dict[int, Row] = {}
        for at in range(0, len(ids), PORTION):
            chosen = logs.c.id.in_(ids[at : at + PORTION])
            rows = await self._reader.rows(sa.select(*columns).where(*_of(run, tenant, None), chosen))
            found |= {row.id: row for row in rows}
        return [found.get(id_) for id_ in ids]

    async def find(
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
        tenant: str | None = None,
    ) -> LogMatches:
        """See `ports.Logs`."""
        search = Search(finder(needle, regex=regex), after=after, before=before, limit=limit)
        until = logs.c.until
        of_step = _of(run, tenant, path, within=within)
        chunks = sa.select(until, logs.c.first, logs.c.last, logs.c.data).where(*of_step)
        if search.backwards:
            # A chunk that ends behind the position may begin before it.
            begin = until - logs.c.last + logs.c.first
            chunks = chunks.where(begin < search.reached).order_by(until.desc())
        else:
            chunks = chunks.where(until > search.reached).order_by(until)
        rows = await self._reader.rows(chunks.limit(PORTION))
        await asyncio.to_thread(lambda: all(search.take(row.until, row.last - row.first, row.data) for row in rows))
        return search.matches(more=len(rows) == PORTION)


def _of(run: str, tenant: str | None, path: str | None, *, within: bool = False) -> list[sa.ColumnElement[bool]]:
    """What tells the chunks of a run, of a step, or of a step and everything inside it."""
    of_run = [logs.c.run == run, *of_tenant(logs, tenant)]
    if path is None:
        return of_run
    if not within:
        return [*of_run, logs.c.path == path]
    inside = [sa.func.substr(logs.c.path, 1, len(path) + 1) == path + sign for sign in INSIDE]
    return [*of_run, sa.or_(logs.c.path == path, *inside)]


def _find(connection: sa.Connection, chunks: Rows, after: int, limit: int, *, tail: bool) -> list[tuple[int, LogLine]]:
    ordered = chunks.order_by(logs.c.until.desc() if tail else logs.c.until)
    found: list[tuple[int, LogLine]] = []
    for at in range(0, limit, AT_A_TIME):
        rows = connection.execute(ordered.offset(at).limit(AT_A_TIME)).all()
        for row in rows:
            lines = [each for each in _lines(row) if each[0] > after]
            found = lines + found if tail else found + lines
            if len(found) >= limit:
                return found[-limit:] if tail else found[:limit]
        if len(rows) < AT_A_TIME:
            break
    return found[-limit:] if tail else found[:limit]


def _lines(row: Row) -> Iterator[tuple[int, LogLine]]:
    """The lines of a chunk with their positions in the run."""
    return enumerate(decode(row.data, row.path, row.attempt, row.first), row.until - (row.last - row.first))
