"""Short ways to say appends, signals and plans in the tests of the store."""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import Callable
from datetime import UTC, tzinfo
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from fleetprompt.engine.core.facts import (
    AnyFact,
    ApprovalRequested,
    RunCreated,
    RunFinished,
    Slot,
    StepNoted,
    StepStarted,
    StepSucceeded,
)
from fleetprompt.engine.core.signal import VOTE, Signal
from fleetprompt.engine.ports import Append, RunHead, Store, Take
from fleetprompt.engine.store import tables
from fleetprompt.engine.store.database import SqlStore
from fleetprompt.engine.store.memory import MemoryStore

LOG_CAP = 20_000
POSTGRES = os.environ.get("FLEET_TEST_POSTGRES_URL", "")
"""A database in which every test has a schema of its own."""
_spare: list[str] = []
"""Schemas of tests that are over, without a row: to make the tables anew takes the server a third of a second."""


def in_new_schema(zone: tzinfo = UTC) -> SqlStore:
    """A Postgres store whose tables are made when it is opened."""
    return SqlStore(f"{POSTGRES}?schema=test_{uuid4().hex}", zone=zone, log_cap=LOG_CAP)


def _postgres(_: Path, zone: tzinfo) -> Store:
    if not _spare:
        return in_new_schema(zone)
    return SqlStore(f"{POSTGRES}?schema={_spare.pop()}", zone=zone, log_cap=LOG_CAP)


SQL_KINDS: dict[str, Callable[[Path, tzinfo], Store]] = {
    "sqlite": lambda folder, zone: SqlStore(folder / "fleet.db", zone=zone, log_cap=LOG_CAP),
    **({"postgres": _postgres} if POSTGRES else {}),
}
KINDS: dict[str, Callable[[Path, tzinfo], Store]] = {
    "memory": lambda _, zone: MemoryStore(zone=zone, log_cap=LOG_CAP),
    **SQL_KINDS,
}


async def throw_away(store: Store) -> None:
    """Close a store and leave nothing in it."""
    await store.close()
    if schema := _schema(store):
        await _run(f'SET search_path TO "{schema}"; {_EMPTY}')
        _spare.append(schema)


async def drop(store: Store) -> None:
    """Close a store and leave nothing of it, where a test may have changed its tables."""
    await store.close()
    if schema := _schema(store):
        await _run(f'DROP SCHEMA "{schema}" CASCADE')


def _schema(store: Store) -> str:
    return getattr(store, "where", "").partition("schema=")[2]


async def _run(sql: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(POSTGRES.replace("+asyncpg", ""))
    await connection.execute(sql)
    await connection.close()


_EMPTY = "; ".join(
    (
        *(f"DELETE FROM {table}" for table in tables.metadata.tables),
        *(
            f"SELECT setval(pg_get_serial_sequence('{table}', '{column.name}'), 1, false)"
            for table, made in tables.metadata.tables.items()
            if (column := made.autoincrement_column) is not None
        ),
    )
)
"""As the store was when its tables had been made."""


@atexit.register
def _drop_spare() -> None:
    while _spare:
        asyncio.run(_run(f'DROP SCHEMA "{_spare.pop()}" CASCADE'))


NOW = 1_800_000_000.0
_numbers = count(1)


def fact(n: int = 0, **fields: Any) -> AnyFact:
    """Some fact of a step."""
    return StepNoted(path="work", kind="message", key=str(n), value={"text": f"note {n}"}, at=NOW + n, **fields)


def created(run: str, **fields: Any) -> RunCreated:
    return RunCreated(run=run, plan="plan-1", workflow="audit", inputs={"n": 1}, at=NOW, **fields)


def head(run: str, n: int, **fields: Any) -> RunHead:
    values: dict[str, Any] = {
        "id": run,
        "tenant": "default",
        "workflow": "audit",
        "plan": "plan-1",
        "status": "running",
        "n": n,
        "created_at": NOW,
        "updated_at": NOW + n,
    }
    return RunHead(**(values | fields))


def entry(run: str, after: int, *facts: AnyFact, head_: dict[str, Any] | None = None, **fields: Any) -> Append:
    """An append of these facts; `head_` overrides fields of the run's projection."""
    given = {"tenant": fields.get("tenant", "default")} | (head_ or {})
    values: dict[str, Any] = {"run": run, "tenant": "default", "after": after, "facts": facts}
    return Append(**(values | {"head": head(run, after + len(facts), **given)} | fields))


def start(run: str, **fields: Any) -> Append:
    """The first append of a run: two facts."""
    return entry(run, 0, created(run), fact(1), **fields)


def finish(run: str, after: int, status: str = "completed", at: float = NOW + 10, **fields: Any) -> Append:
    given = {"status": status, "finished_at": at, "updated_at": at} | fields.pop("head_", {})
    return entry(run, after, RunFinished(status=status, at=at), head_=given, **fields)


def step(run: str, after: int, number: int) -> Append:
    """What a step costs: its outcome and the start of the next one."""
    return entry(
        run,
        after,
        StepSucceeded(path=f"s{number}", output={"ok": True}, at=NOW + after),
        StepStarted(path=f"s{number + 1}", input={"x": 1}, at=NOW + after),
    )


def take(scope: str, limit: int, path: str = "", amount: int = 1) -> Take:
    return Take(slot=Slot(scope, limit, amount), path=path)


def signal(type_: str = "order.placed", **fields: Any) -> Signal:
    values: dict[str, Any] = {"id": f"sig-{next(_numbers):06}", "type": type_, "source": "test", "at": NOW}
    return Signal(**(values | fields))


def ask(id_: str = "apr-1", level: int = 0, **fields: Any) -> ApprovalRequested:
    values: dict[str, Any] = {"path": "gate", "id": id_, "digest": "d" * 64, "message": "Restart?", "at": NOW + 1}
    return ApprovalRequested(level=level, **(values | fields))


def vote(
    by: str, decision: str = "approved", approval: str = "apr-1", seen: dict[str, Any] | None = None, **fields: Any
) -> Signal:
    data = {"approval": approval, "decision": decision, "comment": "fine", "values": {"n": 1}, "via": "cli"}
    data |= seen or {}
    return signal(VOTE, by=by, data=data, **fields)


async def put(store: Store, *entries: Append) -> list[int]:
    """Append in order and wait; the `seq` of each."""
    futures = [store.journal.append(each) for each in entries]
    return [(await future).seq for future in futures]


def normal(value: Any) -> Any:
    """What a value is after a journey through JSON."""
    return msgspec.json.decode(msgspec.json.encode(value))
