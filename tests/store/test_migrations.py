"""What an upgrade derives from an older store is what would have been written in the first place."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from store_kit import NOW, created, entry, fact, put, signal

from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import RunForked, StepFailed, StepNoted, StepSucceeded
from fleetprompt.engine.store.database import SqlStore
from fleetprompt.engine.store.migrations import upgrade


def spent(path: str, cost: int, tokens: int = 0) -> StepSucceeded:
    return StepSucceeded(path=path, usage={"cost_nano": cost, "tokens": tokens}, at=NOW + cost)


async def _fill(store: SqlStore) -> None:
    lost = StepFailed(path="b", error=Failure("TOOL_ERROR", "no"), usage={"tokens": 3}, at=NOW)
    caused = signal("audit.done", id="s1", causation="r1", correlation="c")
    for sent in (signal(id="s0"), caused, signal(id="s2", causation="s1", tenant="b")):
        await store.signals.publish(sent)
    await put(
        store,
        entry("r1", 0, created("r1"), spent("each[3].a", 5, 7), fact(1), lost, head_={"workflow": "crawl"}),
        entry("r2", 0, created("r2"), spent("each[3].a", 5, 7), RunForked(run="r1", upto=2), spent("each#2[1].a", 9)),
        entry("r3", 0, created("r3"), StepSucceeded(path="a"), spent("b", 0), tenant="b"),
        entry("r3", 3, spent("c", 1), tenant="b"),
    )


def _agents_work() -> list[StepNoted]:
    """What agents note whose words are simulated at first, and then a model's."""
    notes = [
        ("session", "sre", {"agent_id": "sre", "fresh": True}),
        ("llm.started", "sre/llm/0", {"model": "s", "mode": "simulated"}),
        ("llm.completed", "sre/llm/0", {"model": "s", "mode": "simulated", "tokens": 2}),
        ("session", "né#1", {"agent_id": "né"}),
        ("llm.started", "né#1/llm/0", {"model": "m", "mode": "live"}),
        ("llm.failed", "né#1/llm/0", {"model": "m", "uncertain_nano": 4}),
        ("llm.started", "né#1/llm/0", {"model": "m", "mode": "local"}),
        ("llm.completed", "né#1/llm/0", {"model": "m", "mode": "local", "tokens": 1}),
    ]
    return [StepNoted(path="ask", kind=kind, key=key, value=value, at=NOW) for kind, key, value in notes]


def _downgraded(path: Path, old: Path, version: str = "0001") -> None:
    """Make a store of an early schema with the same content, as far as it had a place for it."""
    old.touch()
    upgrade(old, version)
    with sqlite3.connect(old) as connection:
        connection.execute("ATTACH ? AS today", (str(path),))
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            if table not in ("alembic_version", "sqlite_sequence") and not table.startswith("memories_words"):
                columns = [f'"{row[1]}"' for row in connection.execute(f"PRAGMA table_info({table})")]
                names = ", ".join(columns)
                connection.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM today.{table}")
    connection.close()


def _rows(path: Path, table: str) -> list[Any]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
    connection.close()
    return rows


async def test_an_upgraded_store_holds_what_a_new_one_holds(path: Path) -> None:
    store = SqlStore(path)
    await store.open()
    await _fill(store)
    await store.close()
    old = path.with_name("old.db")
    _downgraded(path, old)
    upgraded = SqlStore(old)
    await upgraded.open()
    health = await upgraded.check()
    assert health.ok, health.problems
    assert await upgraded.figures.spend(0) == await upgraded.figures.spend(NOW) == (5 + 9, 7 + 3, 0)
    lineage = await upgraded.signals.lineage("s1")
    assert lineage is not None
    assert [kin.id for kin in lineage.causes] == ["r1"]
    await upgraded.close()
    assert _rows(old, "signals") == _rows(path, "signals")
    assert len(_rows(path, "costs")) == 4
    assert _rows(old, "costs") == _rows(path, "costs")


async def test_an_upgrade_finds_out_who_has_said_what(path: Path) -> None:
    store = SqlStore(path)
    await store.open()
    await put(store, entry("r1", 0, created("r1"), *_agents_work(), head_={"mode": "mixed", "agents": ("sre", "né")}))
    await put(store, entry("r2", 0, created("r2"), fact(1)))
    await store.close()
    old = path.with_name("old.db")
    _downgraded(path, old, "0006")
    upgraded = SqlStore(old)
    await upgraded.open()
    assert (await upgraded.check()).ok
    await upgraded.close()
    assert [row[-1] for row in _rows(old, "costs")] == ["simulated", "", "local"]
    for table in ("runs", "costs", "agent_sessions"):
        assert _rows(old, table) == _rows(path, table)
    assert len(_rows(old, "agent_sessions")) == 2


async def test_an_upgrade_counts_further_attempts_as_retries(path: Path) -> None:
    store = SqlStore(path)
    await store.open()
    failed = StepFailed(path="ask", error=Failure("AGENT_ERROR", "no"), at=NOW)
    begun = [StepNoted(path="ask", kind="session", key="sre", value={"agent_id": "sre"}, at=NOW)]
    again = [replace(each, attempt=2) for each in begun]
    for id_, more in (("r1", []), ("r2", [failed, *again])):
        await put(store, entry(id_, 0, created(id_), *begun, *more, head_={"agents": ("sre",)}))
    await store.close()
    old = path.with_name("old.db")
    _downgraded(path, old, "0010")
    with sqlite3.connect(old) as connection:
        # The way it was: each attempt was a row.
        connection.execute("UPDATE agent_sessions SET id = 'r2.000004' WHERE run = 'r2'")
    connection.close()
    upgraded = SqlStore(old)
    await upgraded.open()
    await upgraded.close()
    assert [row[-1] for row in _rows(old, "agent_sessions")] == [0, 1]
    assert _rows(old, "agent_sessions") == _rows(path, "agent_sessions")


async def test_the_check_misses_what_was_spent(path: Path) -> None:
    store = SqlStore(path)
    await store.open()
    await _fill(store)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE costs SET cost_nano = 6 WHERE run = 'r1' AND step = 'each.a'")
        connection.execute("DELETE FROM costs WHERE run = 'r2'")
        connection.execute("UPDATE costs SET run = 'gone' WHERE run = 'r3'")
    connection.close()
    assert set((await store.check()).problems) == {
        "costs: 1 rows belong to nothing in runs",
        "run r1: its facts tell of 5 nano-USD, its costs of 6",
        "run r2: its facts tell of 9 nano-USD, its costs of 0",
        "run r3: its facts tell of 1 nano-USD, its costs of 0",
        "run gone: its facts tell of 0 nano-USD, its costs of 1",
    }
    await store.close()
