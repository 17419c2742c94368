"""Group commit: many appends, one transaction; and what readers on the same file see of it."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from store_kit import NOW, ask, entry, fact, finish, put, signal, start, step, take, vote

from fleetprompt.engine.core.errors import Refused, StoreUnavailable
from fleetprompt.engine.core.facts import StepNoted
from fleetprompt.engine.ports import Allowance, Amounts, Caps, Conflict, Reserve, Settle, Stored
from fleetprompt.engine.store.database import SqlStore


async def traced(store: SqlStore, callback: Callable[[str], Any] | None) -> None:
    """Hear of every statement of the writer, or no longer."""
    await store._backend.writer.work(lambda session: session.raw.set_trace_callback(callback))


async def test_appends_of_many_runs_share_few_commits(store: SqlStore) -> None:
    await put(store, *(start(f"r{i}") for i in range(200)))
    before = store.journal.commits
    await asyncio.gather(*(store.journal.append(step(f"r{i}", 2, 1)) for i in range(200)))
    assert store.journal.commits - before <= 4


async def test_a_batch_is_one_transaction_whatever_is_in_it(store: SqlStore) -> None:
    await put(store, *(start(f"r{i}", takes=(take("pool", 99, "a"),)) for i in range(20)))
    await put(store, entry("r0", 2, ask()))
    statements: list[str] = []
    await traced(store, statements.append)
    before = store.journal.commits
    futures: list[asyncio.Future[Any]] = [store.journal.append(start("n1", received=signal(key="k")))]
    for i in range(1, 20):
        blobs = (("d", b"1"),)
        futures.append(
            store.journal.append(entry(f"r{i}", 2, fact(3), releases=("*",), signals=(signal(),), blobs=blobs))
        )
    published = [store.signals.publish(signal()), store.signals.publish(vote("ana"))]
    await asyncio.gather(*futures, *published)
    await traced(store, None)
    words = [statement.split()[0] for statement in statements]
    assert words.count("COMMIT") == words.count("BEGIN")
    assert store.journal.commits - before <= 3
    assert words.count("COMMIT") <= 4
    assert sum(statement.startswith("WITH given(seq") for statement in statements) <= 6


async def test_only_what_concerns_budgets_costs_statements_for_them(store: SqlStore) -> None:
    caps = (Allowance("fleet/2027-01-15", Caps(cost_nano=10**9)), Allowance("workflow/audit/2027-01-15"))
    await put(store, *(start(f"r{i}") for i in range(16)))
    statements: list[str] = []
    await traced(store, statements.append)

    async def cost(after: int, **budgets: Any) -> tuple[int, int]:
        """How many statements about budgets some appends take of which every other one is about them, and how many
        transactions."""
        statements.clear()
        before = store.journal.commits
        entries = (entry(f"r{i}", after, fact(after), **(budgets if i % 2 else {})) for i in range(16))
        await asyncio.gather(*map(store.journal.append, entries))
        about = [each for each in statements if "budgets" in each or "reservations" in each]
        return len(about), store.journal.commits - before

    assert (await cost(2))[0] == 0
    reserves = tuple(Reserve(f"a{i}", caps, Amounts(cost_nano=5)) for i in range(4))
    for after, budgets in ((3, {"reserves": reserves}), (4, {"settles": (Settle("a0"), Settle("a1"))})):
        taken, commits = await cost(after, **budgets)
        # Each table is read once, and written once where it changes.
        assert 4 <= taken <= 4 * commits


async def test_a_conflict_in_a_batch_costs_one_more_transaction(store: SqlStore) -> None:
    await put(store, *(start(f"r{i}") for i in range(50)))
    statements: list[str] = []
    await traced(store, statements.append)
    futures = [store.journal.append(entry(f"r{i}", 2 if i % 7 else 1, fact(3))) for i in range(50)]
    done = await asyncio.gather(*futures, return_exceptions=True)
    await traced(store, None)
    assert [i for i, each in enumerate(done) if isinstance(each, Conflict)] == list(range(0, 50, 7))
    words = [statement.split()[0] for statement in statements]
    assert words.count("COMMIT") <= 3
    assert len(await store.journal.since(0)) == 100 + 42


async def test_an_append_is_durable_when_its_future_resolves(store: SqlStore, path: Path) -> None:
    other = sqlite3.connect(path)
    for i in range(20):
        appended = await store.journal.append(start(f"r{i}"))
        assert other.execute("SELECT max(seq) FROM journal").fetchone() == (appended.seq + 1,)
    other.close()


async def test_commits_are_synced_and_log_lines_are_not(store: SqlStore) -> None:
    async def synchronous() -> int:
        return await store._backend.writer.work(lambda session: session.raw.execute("PRAGMA synchronous").fetchone()[0])

    assert await synchronous() == 2
    from fleetprompt.engine.ports import LogLine

    store.logs.write("r1", [LogLine(at=NOW, level="info", text="x")])
    await store.logs.flush()
    assert await synchronous() == 2
    modes = await store._backend.writer.work(lambda session: session.raw.execute("PRAGMA journal_mode").fetchone()[0])
    assert modes == "wal"


async def test_what_is_queued_is_written_before_the_store_closes(path: Path) -> None:
    store = SqlStore(path)
    await store.open()
    futures = [store.journal.append(start(f"r{i}")) for i in range(100)]
    await store.close()
    assert [(await future).seq for future in futures] == list(range(1, 201, 2))
    with pytest.raises(StoreUnavailable):
        await store.journal.append(start("late"))
    with pytest.raises(StoreUnavailable):
        await store.signals.publish(signal())
    await store.open()
    assert await store.journal.position() == 200
    await store.close()
    await store.close()


async def test_an_append_that_nobody_awaits_any_more_is_written(store: SqlStore) -> None:
    future = store.journal.append(start("r1"))
    future.cancel()
    await put(store, start("r2"))
    assert await store.runs.get("r1") is not None


async def test_facts_that_cannot_be_stored_fail_alone(store: SqlStore) -> None:
    bad = start("r2", head_={"error_message": "\ud800"})
    huge = start("r4", head_={"tokens": 2**70})
    futures = [store.journal.append(each) for each in (start("r1"), bad, huge, start("r3"))]
    done = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(each).__name__ for each in done] == ["Appended", "InvalidInput", "InvalidInput", "Appended"]


async def test_two_stores_on_one_file_hear_of_each_other(path: Path) -> None:
    engine, console = SqlStore(path), SqlStore(path)
    await engine.open()
    await console.open()
    token = await engine.changed(0)
    await put(engine, start("r1"), entry("r1", 2, ask()))
    assert await engine.changed(token) == token
    seen = await console.changed(0)
    published = await console.signals.publish(vote("ana"))
    assert await engine.changed(token) != token
    assert await console.changed(seen) == seen
    assert [each.id for each in await engine.signals.unrouted()] == [published.signal.id]
    with pytest.raises(Refused):
        await engine.signals.publish(vote("ana"))
    for i in range(5):
        assert (await engine.journal.append(start(f"e{i}"))).seq == 4 + 4 * i
        assert (await console.journal.append(start(f"c{i}"))).seq == 6 + 4 * i
    with pytest.raises(Conflict):
        await console.journal.append(entry("r1", 2, fact(9)))
    assert [row.seq for row in await engine.journal.since(0)] == list(range(1, 24))
    await engine.close()
    await console.close()


async def test_the_feed_is_followed_without_gaps_while_it_grows(store: SqlStore) -> None:
    seen: list[int] = []

    async def follow() -> None:
        while len(seen) < 600:
            rows = await store.journal.since(seen[-1] if seen else 0, limit=50)
            seen.extend(row.seq for row in rows if isinstance(row, Stored))

    async def drive(run: str) -> None:
        await store.journal.append(start(run))
        for n in range(2, 60, 2):
            await store.journal.append(step(run, n, n))

    await asyncio.gather(follow(), *(drive(f"r{i}") for i in range(10)))
    assert seen == list(range(1, 601))


async def test_in_idle_time_the_log_moves_into_the_file(store: SqlStore, path: Path, tmp_path: Path) -> None:
    for i in range(120):
        await put(store, start(f"r{i}"))
    for _ in range(100):
        await asyncio.sleep(0.05)
        shutil.copy(path, tmp_path / "alone.db")
        alone = sqlite3.connect(tmp_path / "alone.db")
        facts = alone.execute("SELECT count(*) FROM journal").fetchone()[0]
        alone.close()
        if facts == 240:
            return
    pytest.fail("the log was never emptied")


async def test_a_backup_of_a_busy_store_comes_to_an_end(store: SqlStore, tmp_path: Path) -> None:
    note = StepNoted(path="a", kind="k", value="x" * 1_000_000, at=NOW)
    await put(store, start("large"), *(entry("large", n, note) for n in range(2, 22)))
    busy = True

    async def drive(run: str) -> int:
        await put(store, start(run))
        n = 2
        while busy:
            await put(store, step(run, n, n))
            n += 2
        return n

    driven = [asyncio.create_task(drive(f"r{i}")) for i in range(4)]
    await store.backup(tmp_path / "copy.db")
    busy = False
    lengths = await asyncio.gather(*driven)
    copy = SqlStore(tmp_path / "copy.db")
    await copy.open()
    health = await copy.check()
    assert health.ok, health.problems
    heads = [await copy.runs.get(f"r{i}") for i in range(4)]
    assert all(head is None or head.n <= n for head, n in zip(heads, lengths, strict=True))
    await copy.close()


async def test_a_backup_is_a_store_of_its_own(store: SqlStore, tmp_path: Path) -> None:
    await put(store, *(start(f"r{i}") for i in range(30)))
    busy = asyncio.gather(*(store.journal.append(finish(f"r{i}", 2)) for i in range(30)))
    size = await store.backup(tmp_path / "copy.db")
    await busy
    assert size == (tmp_path / "copy.db").stat().st_size
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    with pytest.raises(Refused):
        await store.backup(tmp_path / "copy.db")
    copy = SqlStore(tmp_path / "copy.db")
    await copy.open()
    health = await copy.check()
    assert health.ok, health.problems
    assert health.counts["runs"] == 30
    await copy.close()
    with pytest.raises(StoreUnavailable):
        await store.backup(tmp_path / "missing" / "copy.db")
