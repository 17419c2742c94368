"""From queued log lines to chunks: the side of the logs that the writer runs."""

from __future__ import annotations

import zlib
from collections import deque
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace

from fleetprompt.engine.ports import Level, LogLine
from fleetprompt.engine.store.lines import Tally, dropped, fit, size
from fleetprompt.engine.store.statements import Session
from fleetprompt.engine.store.tables import logs

CHUNK = 64 * 1024
"""Bytes of lines in a chunk, before compression."""
SLICE = 4 * CHUNK
"""Bytes of lines stored in one go, while the journal waits: about three milliseconds."""
MOST = 32 * 1024 * 1024
"""Bytes of lines that wait at most; what comes when the disk is that slow is counted and lost."""

Queued = tuple[str, str, LogLine]
"""Tenant, run and line."""
Step = tuple[str, str, str, int]
"""Tenant, run, path and attempt."""


class Text(Struct, frozen=True, array_like=True):
    """A line as a chunk keeps it."""

    at: float
    level: Level
    text: str
    data: Any = None


_encode = msgspec.json.Encoder(enc_hook=str).encode


class LineQueue:
    """Lines on their way from the loop, which puts, to the writer, which takes."""

    def __init__(self) -> None:
        self._lines: deque[Queued] = deque()
        # Each is written by one thread only.
        self._put = 0
        self._took = 0
        self._lost: dict[Step, tuple[int, Queued]] = {}

    def __bool__(self) -> bool:
        return bool(self._lines)

    def put(self, queued: Queued) -> None:
        """Queue a line, unless too much waits already."""
        if self._put - self._took > MOST:
            step = step_of(queued)
            self._lost[step] = (self._lost.get(step, (0, queued))[0] + 1, queued)
            return
        if self._lost:
            self.say_lost()
        self._append(queued)

    def say_lost(self) -> None:
        """Queue a line for each step that lost some."""
        for count, (tenant, run, line) in self._lost.values():
            text = f"… {count} lines lost, the disk was too slow"
            self._append((tenant, run, replace(line, level="warning", text=text, data=None)))
        self._lost.clear()

    def _append(self, queued: Queued) -> None:
        self._put += _weight(queued)
        self._lines.append(queued)

    def take(self, most: int) -> list[Queued]:
        """The oldest lines, up to so many bytes."""
        taken: list[Queued] = []
        weight = 0
        while self._lines and weight < most:
            taken.append(self._lines.popleft())
            weight += _weight(taken[-1])
        self._took += weight
        return taken

    def put_back(self, taken: list[Queued]) -> None:
        """Undo a `take`."""
        self._lines.extendleft(reversed(taken))
        self._took -= sum(_weight(queued) for queued in taken)


def step_of(queued: Queued) -> Step:
    """Whose line it is."""
    return queued[0], queued[1], queued[2].path, queued[2].attempt


def _weight(queued: Queued) -> int:
    return len(queued[2].text) + 100


class LogChunks:
    """Stores what is queued, a slice at a time."""

    def __init__(self, queue: LineQueue, cap: int) -> None:
        self._queue = queue
        self._cap = cap
        self._taken: list[Queued] = []
        self._tallies: dict[Step, Tally] = {}
        self._ends: dict[tuple[str, str], int] = {}

    def perform(self, session: Session) -> bool:
        """Store a slice; whether there is more."""
        self._taken = self._queue.take(SLICE)
        steps: dict[Step, list[LogLine]] = {}
        for queued in self._taken:
            steps.setdefault(step_of(queued), []).append(fit(queued[2]))
        for step, lines in steps.items():
            self._store(session.connection, step, lines)
        return bool(self._queue)

    def settled(self, *, durable: bool) -> None:
        """Keep what could not be stored, and what is remembered about steps only while it is true."""
        if not durable:
            self._queue.put_back(self._taken)
        if not durable or len(self._tallies) > 10_000:
            self._tallies.clear()
            self._ends.clear()
        self._taken = []

    def _store(self, connection: sa.Connection, step: Step, lines: list[LogLine]) -> None:
        tally = self._tallies.get(step) or _stored(connection, step)
        if not tally.dropped:
            tally, lines = self._store_chunks(connection, step, tally, lines)
        if lines:
            for _ in lines:
                tally = tally.drop()
            self._count_dropped(connection, step, tally, lines[-1])
        self._tallies[step] = tally

    def _store_chunks(
        self, connection: sa.Connection, step: Step, tally: Tally, lines: list[LogLine]
    ) -> tuple[Tally, list[LogLine]]:
        """Store lines up to the cap; the tally, and the lines that are over it."""
        chunk: list[LogLine] = []
        weight = 0
        for at, line in enumerate(lines):
            after = tally.add(size(line), self._cap)
            if after.dropped:
                self._insert(connection, step, tally, chunk, weight)
                return tally, lines[at:]
            if weight >= CHUNK:
                self._insert(connection, step, tally, chunk, weight)
                chunk, weight = [], 0
            chunk.append(line)
            weight += after.bytes - tally.bytes
            tally = after
        self._insert(connection, step, tally, chunk, weight)
        return tally, []

    def _insert(self, connection: sa.Connection, step: Step, tally: Tally, chunk: list[LogLine], weight: int) -> None:
        """Store a chunk whose last line is the tally's."""
        if not chunk:
            return
        first = tally.lines - len(chunk) + 1
        row = {
            "first": first,
            "last": tally.lines,
            "bytes": weight,
            "dropped": 0,
            "until": self._end(connection, step, len(chunk)),
        }
        connection.execute(sa.insert(logs).values(**_step_row(step), **row, **_content(chunk)))

    def _count_dropped(self, connection: sa.Connection, step: Step, tally: Tally, last: LogLine) -> None:
        """Insert or change the line that says how many were dropped; it follows the last one that was kept."""
        tenant, run, path, attempt = step
        marker = _content([dropped(tally.dropped, last, 0)]) | {"dropped": tally.dropped}
        same = (logs.c.run == run, logs.c.path == path, logs.c.attempt == attempt, logs.c.tenant == tenant)
        changed = connection.execute(sa.update(logs).where(*same, logs.c.dropped > 0).values(marker))
        if not changed.rowcount:
            number = tally.lines + 1
            row = {"first": number, "last": number, "bytes": 0, "until": self._end(connection, step, 1)}
            connection.execute(sa.insert(logs).values(**_step_row(step), **row, **marker))

    def _end(self, connection: sa.Connection, step: Step, lines: int) -> int:
        """The position within the run of the last of so many new lines."""
        run = step[:2]
        end = self._ends.get(run)
        if end is None:
            of_run = sa.select(sa.func.max(logs.c.until)).where(logs.c.run == run[1], logs.c.tenant == run[0])
            end = connection.execute(of_run).scalar() or 0
        self._ends[run] = end + lines
        return end + lines


def _stored(connection: sa.Connection, step: Step) -> Tally:
    tenant, run, path, attempt = step
    kept = logs.c.dropped == 0
    query = sa.select(
        sa.func.max(sa.case((kept, logs.c.last), else_=0)),
        sa.cast(sa.func.sum(logs.c.bytes), sa.BigInteger),
        sa.func.max(logs.c.dropped),
    ).where(logs.c.run == run, logs.c.path == path, logs.c.attempt == attempt, logs.c.tenant == tenant)
    lines, weight, gone = connection.execute(query).one()
    return Tally(lines=lines or 0, bytes=weight or 0, dropped=gone or 0)


def _step_row(step: Step) -> dict[str, Any]:
    return dict(zip(("tenant", "run", "path", "attempt"), step, strict=True))


def _content(lines: list[LogLine]) -> dict[str, Any]:
    return {"at": lines[-1].at, "data": encode(lines)}


def encode(lines: list[LogLine]) -> bytes:
    """What a chunk holds of these lines."""
    raw = b"\n".join(_encode(Text(line.at, line.level, line.text, line.data)) for line in lines)
    return zlib.compress(raw, 1)
