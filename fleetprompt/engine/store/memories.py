"""What agents remember, on disk."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec
import sqlalchemy as sa

from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.ports.memory import MOST, Memory, Vector, Which
from fleetprompt.engine.store.dialect import Row, Rows
from fleetprompt.engine.store.reading import Reader, find_ids
from fleetprompt.engine.store.statements import Bulk, Session
from fleetprompt.engine.store.tables import memories
from fleetprompt.engine.store.vectors import LEAST, nearest, packed
from fleetprompt.engine.store.words import CANDIDATES, ranked, wanted, words_of
from fleetprompt.engine.store.writer import Writer

_TOLD = [column for column in memories.c if column.name not in ("digest", "words", "vector")]
_KEPT = [column for column in memories.c if column.name != "seq"]
_encode = msgspec.json.Encoder().encode


def sameness(memory: Memory) -> str:
    """Equal for memories that say the same."""
    return sha256(f"{memory.type}\0{memory.text}".encode("utf-8", "surrogatepass")).hexdigest()


def said(memory: Memory) -> builtins.list[str]:
    """The words under which it is found."""
    return words_of(" ".join((memory.text, *memory.tags)))


def full(memory: Memory, most: int) -> Refused:
    """The error where there is no room."""
    return Refused(
        f"the memory {memory.scope} is full: it holds {most:,}",
        hint="forget what is not needed any more, or raise `most` under [tools.memory]",
    )


class SqlMemories:
    """See `ports.memory.Memories`."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer
        self._insert = Bulk(
            reader.dialect,
            _KEPT,
            lambda given: reader.dialect.ignore(memories, sa.select(given).where(sa.true())),
        )

    async def add(self, memory: Memory, vector: Vector | None = None, *, most: int = MOST) -> tuple[Memory, bool]:
        """What is kept, and whether it is new. Raises `Refused`."""
        row = _values(memory, vector)

        def add(session: Session) -> tuple[Memory, bool]:
            connection = session.connection
            _expire(connection, memory.tenant, memory.created_at)
            there = _same(connection, memory)
            if there is not None:
                return there, False
            _make_room(connection, memory, most)
            new = self._insert.execute(session, [row]) > 0
            kept = _same(connection, memory)
            assert kept is not None
            return kept, new

        return await self._writer.work(add)

    async def get(self, id: str, tenant: str = "default") -> Memory | None:
        """One of them."""
        rows = await self._reader.rows(sa.select(*_TOLD).where(memories.c.id == id, memories.c.tenant == tenant))
        return _memory(rows[0]) if rows else None

    async def find(self, text: str, tenant: str = "default") -> builtins.list[str]:
        """Ids that equal, begin or end with a text."""
        return await self._reader.run(lambda connection: find_ids(connection, memories, text, tenant))

    async def list(self, which: Which, *, limit: int = 100, before: int = 0) -> builtins.list[Memory]:
        """The newest first."""
        of = self._of(which, sa.select(*_TOLD))
        if before:
            of = of.where(memories.c.seq < before)
        return [_memory(row) for row in await self._reader.rows(of.order_by(memories.c.seq.desc()).limit(limit))]

    def _of(self, which: Which, rows: Rows) -> Rows:
        rows = rows.where(memories.c.tenant == which.tenant)
        rows = rows.where(sa.or_(memories.c.expires_at.is_(None), memories.c.expires_at > which.at))
        if which.scope:
            rows = rows.where(memories.c.scope == which.scope)
        if which.type:
            rows = rows.where(memories.c.type == which.type)
        if which.tag:
            tags = self._reader.dialect.json_items(memories.c.tags)
            rows = rows.where(sa.exists().select_from(tags).where(tags.c.value == which.tag))
        return rows

    async def search(self, text: str, which: Which, *, limit: int = 10) -> builtins.list[Memory]:
        """By words, the best first."""
        words = wanted(text)
        if not words:
            return []
        rows = self._of(which, sa.select(*_TOLD, memories.c.words))
        found = await self._reader.rows(self._reader.dialect.with_words(rows, words).limit(CANDIDATES))
        known = {row.seq: row for row in found}
        texts = {seq: row.words.split() for seq, row in known.items()}
        order = await asyncio.to_thread(ranked, words, texts)
        return [_memory(known[seq]) for seq in order[:limit]]

    async def near(self, vector: Vector, which: Which, *, limit: int = 10) -> builtins.list[Memory]:
        """By their vectors, the nearest first."""
        asked = packed(vector.numbers)
        distance = self._reader.dialect.distance(memories.c.vector, asked) if asked else None
        if distance is not None:
            order = await self._nearest(vector, which, distance, limit)
        else:
            rows = self._of(which, sa.select(memories.c.seq, memories.c.vector)).where(memories.c.model == vector.model)
            found = [(row.seq, bytes(row.vector)) for row in await self._reader.rows(rows) if row.vector]
            order = await asyncio.to_thread(nearest, vector.numbers, found, limit)
        if not order:
            return []
        known = await self._reader.rows(sa.select(*_TOLD).where(memories.c.seq.in_(order)))
        by_seq = {row.seq: _memory(row) for row in known}
        return [by_seq[seq] for seq in order if seq in by_seq]

    async def _nearest(
        self, vector: Vector, which: Which, distance: sa.ColumnElement[float], limit: int
    ) -> builtins.list[int]:
        """As `vectors.nearest`, by the database."""
        rows = self._of(which, sa.select(memories.c.seq)).where(memories.c.model == vector.model)
        rows = rows.where(distance <= 1 - LEAST).order_by(sa.func.round(distance, 6), memories.c.seq.desc())
        return [row.seq for row in await self._reader.rows(rows.limit(limit))]

    async def touch(self, ids: Sequence[str], at: float, tenant: str = "default") -> None:
        """Count that an agent was given them."""
        these = sa.and_(memories.c.tenant == tenant, memories.c.id.in_(ids))
        counted = sa.update(memories).where(these).values(accessed_at=at, accesses=memories.c.accesses + 1)
        await self._writer.work(lambda session: session.connection.execute(counted).rowcount)

    async def forget(self, ids: Sequence[str], tenant: str = "default") -> int:
        """How many there were."""
        these = sa.delete(memories).where(memories.c.tenant == tenant, memories.c.id.in_(ids))
        return await self._writer.work(lambda session: session.connection.execute(these).rowcount)


def _expire(connection: sa.Connection, tenant: str, at: float) -> None:
    connection.execute(sa.delete(memories).where(memories.c.tenant == tenant, memories.c.expires_at <= at))


def _same(connection: sa.Connection, memory: Memory) -> Memory | None:
    alike = sa.and_(memories.c.scope == memory.scope, memories.c.digest == sameness(memory))
    same = sa.and_(memories.c.tenant == memory.tenant, sa.or_(memories.c.id == memory.id, alike))
    row = connection.execute(sa.select(*_TOLD).where(same).order_by(memories.c.id != memory.id).limit(1)).first()
    return _memory(row) if row is not None else None


def _make_room(connection: sa.Connection, memory: Memory, most: int) -> None:
    of_scope = sa.and_(memories.c.tenant == memory.tenant, memories.c.scope == memory.scope)
    count = connection.execute(sa.select(sa.func.count()).select_from(memories).where(of_scope)).scalar_one()
    if count < most:
        return
    if memory.type != "conversation":
        raise full(memory, most)
    oldest = sa.select(sa.func.min(memories.c.seq)).where(of_scope, memories.c.type == "conversation").scalar_subquery()
    if not connection.execute(sa.delete(memories).where(memories.c.seq == oldest)).rowcount:
        raise full(memory, most)


def _values(memory: Memory, vector: Vector | None) -> tuple[Any, ...]:
    data = packed(vector.numbers) if vector is not None else b""
    values = msgspec.structs.asdict(memory) | {
        "tags": _encode(memory.tags).decode(),
        "model": vector.model if vector is not None and data else "",
        "vector": data,
        "words": " ".join(said(memory)),
        "digest": sameness(memory),
    }
    return tuple(values[column.name] for column in _KEPT)


def _memory(row: Row) -> Memory:
    values: dict[str, Any] = {column.name: getattr(row, column.name) for column in _TOLD}
    values["tags"] = tuple(msgspec.json.decode(values["tags"]))
    return Memory(**values)
