"""A hundred thousand parked runs: what an engine asks often is answered from an index, in little memory."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from sqlalchemy import event
from store_kit import NOW, head, put, signal, start

from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import APPROVAL_FIELDS, RUN_FIELDS, SIGNAL_FIELDS
from fleetprompt.engine.ports import NEWEST_FIRST, LogLine, Order, Page
from fleetprompt.engine.store.batch import head_row
from fleetprompt.engine.store.database import SqlStore
from fleetprompt.engine.store.reading import Question

PARKED = 100_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def full(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SqlStore]:
    """A store with many runs that wait for timers, signals, children and approvals."""
    store = SqlStore(tmp_path_factory.mktemp("scale") / "fleet.db", log_cap=2**40)
    await store.open()

    def fill(session: Any) -> None:
        rows, waits = [], []
        for i in range(PARKED):
            on = ("timer", "signal", "child", "approval")[i % 4]
            wake = NOW + 1000 + i if on == "timer" else None
            status = "completed" if i % 5 == 0 else "waiting"
            fields = {"status": status, "waiting_on": on, "wake_at": wake, "created_at": NOW + i, "seq": PARKED + i}
            rows.append(head_row(head(f"r{i:06}", 3, workflow=f"wf{i % 50}", parent=f"p{i % 1000}", **fields)))
            if on in ("signal", "child"):
                ref = "order.placed" if on == "signal" else f"r{i - 1:06}"
                waits.append(("default", f"r{i:06}", "a", on, ref, f"k{i}", False))
        marks = ",".join("?" * len(rows[0]))
        session.raw.executemany(f"INSERT INTO runs VALUES ({marks})", rows)
        session.raw.executemany("INSERT INTO waits VALUES (?,?,?,?,?,?,?)", waits)

    await store._backend.writer.work(fill)
    await put(store, *(start(f"live{i}") for i in range(20)))
    for i in range(3):
        by = {"source": "run/live1", "causation": "live1"} if not i else {"causation": f"s{i - 1}"}
        await store.signals.publish(signal(id=f"s{i}", correlation="all", **by))
    yield store
    await store.close()


@contextmanager
def plans(store: SqlStore) -> Iterator[list[str]]:
    """How SQLite answers each query that is asked meanwhile."""
    found: list[str] = []
    asked: list[tuple[str, Any]] = []
    engine = store._backend.reader._engine.sync_engine

    def listen(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    reader = store._backend.reader
    ask = reader.ask

    async def heard(question: Question, *values: Any) -> Sequence[Sequence[Any]]:
        asked.append((question.sql, values))
        return await ask(question, *values)

    event.listen(engine, "before_cursor_execute", listen)
    reader.ask = heard
    yield found
    reader.ask = ask
    event.remove(engine, "before_cursor_execute", listen)
    with sqlite3.connect(Path(store.where)) as connection:
        for statement, parameters in asked:
            rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            found.extend(row[3] for row in rows)
    connection.close()


def scans(found: list[str]) -> list[str]:
    """The steps that walk through a whole table."""
    tables = "runs|waits|journal|signals|results|approvals|votes|logs|claims|costs|budgets|reservations|child"
    return [step for step in found if re.match(rf"SCAN ({tables})\b(?! USING (COVERING )?INDEX)", step)]


@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_that_is_asked_often_reads_a_whole_table(full: SqlStore) -> None:
    def filtered(text: str) -> Any:
        return parse(text, RUN_FIELDS)

    with plans(full) as found:
        await full.runs.unfinished(now=NOW)
        await full.runs.due(NOW)
        await full.runs.get("r000001")
        await full.runs.waiting("signal", "order.placed", key="k5")
        await full.runs.waiting("child", "r000007")
        await full.runs.last_completed("wf5")
        for text in ("", "status:running", "wf:wf3", "parent:p7", "since:1h"):
            await full.runs.list(filtered(text), Page(), now=NOW)
        await full.journal.facts("live1")
        await full.journal.histories(["live1", "live2"])
        await full.journal.since(10)
        await full.journal.position()
        await full.signals.unrouted()
        await full.signals.results("x")
        await full.signals.list(parse("", SIGNAL_FIELDS), Page(), now=NOW)
        await full.approvals.list(parse("status:pending", APPROVAL_FIELDS), Page(), now=NOW)
        await full.approvals.votes("x")
        await full.claims.holders("pool")
        await full.budgets.get("fleet/2027-01-15")
        await full.budgets.of_run("live1")
        await full.budgets.held("live1")
        await full.logs.read("live1", path="a", after=5)
        await full.logs.read("live1", tail=True)
        await full.signals.lineage("s1")
        await full.figures.spend(NOW)
        await full.figures.costs("workflow", now=NOW, since=NOW)
        await full.figures.costs("day", now=NOW, since=NOW)
        await full.figures.statistics(NOW)
        await full.figures.activity(NOW, NOW + 60, 60)
    assert found
    assert scans(found) == []
    lists = [step for step in found if "TEMP B-TREE FOR ORDER BY" in step]
    assert len(lists) <= 4, found


@pytest.mark.asyncio(loop_scope="module")
async def test_what_a_tenant_asks_by_an_id_is_looked_up_by_the_id(full: SqlStore) -> None:
    """Most rows are those of one tenant: an index that begins with it would be as good as none."""
    mine: dict[str, Any] = {"tenant": "default"}
    with plans(full) as found:
        await full.journal.since(10, **mine)
        await full.approvals.get("x", **mine)
        await full.approvals.votes("x", **mine)
        await full.logs.read("live1", path="a", after=5, **mine)
        await full.logs.read("live1", tail=True, **mine)
        await full.logs.chunks("live1", **mine)
        await full.logs.lines("live1", [1, 2], **mine)
        await full.logs.find("live1", "x", **mine)
        await full.catalog.plan("x", **mine)
    asked = (full.runs._get_of, full.journal._of_run_of, full.signals._get_of)
    with sqlite3.connect(Path(full.where)) as connection:
        for question in (*asked, full.signals._routed_of, full.signals._results_of):
            rows = connection.execute(f"EXPLAIN QUERY PLAN {question.sql}", ["x"] * question.sql.count("?"))
            found.extend(row[3] for row in rows)
    connection.close()
    assert scans(found) == []
    assert len(found) >= 13
    assert not [step for step in found if "(tenant=?" in step], found


@pytest.mark.asyncio(loop_scope="module")
async def test_an_index_of_every_run_is_read_from_an_index_alone(full: SqlStore) -> None:
    def filtered(text: str) -> Any:
        return parse(text, RUN_FIELDS)

    with plans(full) as found:
        for text in ("", "status:waiting", "status:completed,failed", "wf:wf3", "parent:p7", "since:1h"):
            await full.runs.index(filtered(text), NEWEST_FIRST, now=NOW)
        for by in ("status", "workflow"):
            await full.runs.index(filtered(""), Order(by), now=NOW)
        for text in ("", "status:waiting"):
            await full.runs.tally(filtered(text), now=NOW)
            await full.runs.count(filtered(text), now=NOW)
    steps = [step for step in found if re.search(r"\bruns\b", step)]
    assert len(steps) == 12
    assert all("SEARCH runs USING COVERING INDEX" in step for step in steps), steps


@pytest.mark.asyncio(loop_scope="module")
async def test_rows_of_a_list_are_looked_up_and_not_searched(full: SqlStore) -> None:
    with plans(full) as found:
        for text in ("wf:wf3", "status:completed", "parent:p7"):
            await full.runs.index(parse(text, RUN_FIELDS), Order("cost"), now=NOW)
            await full.runs.values("by", parse(text, RUN_FIELDS), now=NOW)
        await full.runs.matching(["live1", "r000001"], parse("x cost>1", RUN_FIELDS), now=NOW)
        await full.runs.index(parse("cost>1", RUN_FIELDS), Order("updated"), now=NOW)
    steps = [step for step in found if re.search(r"\bruns\b", step)]
    assert [step.partition(" (")[2] for step in steps[:-2]] == [
        *["tenant=? AND workflow=?)"] * 2,
        *["tenant=? AND status=?)"] * 2,
        *["tenant=? AND parent=?)"] * 2,
    ]
    # What no index serves reads the table as it lies on the disk, and not in the order of some index.
    assert steps[-2:] == ["SEARCH runs USING INDEX runs_id (id=? AND tenant=?)", "SCAN runs"]
    with sqlite3.connect(Path(full.where)) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {full.runs._by_number.sql}", ("default", "[1, 2]")).fetchall()
    connection.close()
    assert rows[0][3] == "SEARCH runs USING INTEGER PRIMARY KEY (rowid=?)"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_hundred_thousand_numbers_in_order(full: SqlStore) -> None:
    index = await full.runs.index(parse("-run:live*", RUN_FIELDS), NEWEST_FIRST, now=NOW)
    assert [*index] == list(range(2 * PARKED - 1, PARKED - 1, -1))
    heads = await full.runs.heads(index[5_000:5_128])
    assert [head.id for head in heads if head] == [f"r{i:06}" for i in range(94_999, 94_871, -1)]
    tally = await full.runs.tally(parse("", RUN_FIELDS), now=NOW)
    assert tally == {"completed": PARKED // 5, "waiting": PARKED * 4 // 5, "running": 20}
    # Only the newest 20,000 are looked at.
    values = await full.runs.values("wf", parse("status:waiting", RUN_FIELDS), now=NOW, limit=100)
    assert {count for _, count in values} == {500}
    assert len(values) == 40


@pytest.mark.asyncio(loop_scope="module")
async def test_parked_runs_are_not_taken_up(full: SqlStore) -> None:
    taken = await full.runs.unfinished(now=NOW)
    assert sum(each.id.startswith("live") for each in taken) == 20
    assert all(each.id.startswith("live") or each.waiting_on == "child" for each in taken)
    come, then = await full.runs.due(NOW + 1100)
    assert len(come) == 20
    assert then == NOW + 1104


@pytest.mark.asyncio(loop_scope="module")
async def test_a_long_log_is_read_by_page(full: SqlStore) -> None:
    for start_ in range(0, 100_000, 10_000):
        lines = [LogLine(at=NOW, level="info", text=f"line {i}", path="a") for i in range(start_, start_ + 10_000)]
        full.logs.write("live1", lines)
        await full.logs.flush()
    found, cursor = await full.logs.read("live1", after=70_000, limit=100)
    assert [line.text for line in found] == [f"line {i}" for i in range(70_000, 70_100)]
    assert cursor == 70_100
    last, _ = await full.logs.read("live1", limit=2, tail=True)
    assert [line.line for line in last] == [99_999, 100_000]


@pytest.mark.asyncio(loop_scope="module")
async def test_many_parked_runs_take_rows_and_not_memory(full: SqlStore) -> None:
    before = psutil.Process().memory_info().rss
    for _ in range(5):
        await full.runs.unfinished(now=NOW)
        await full.runs.list(parse("status:waiting", RUN_FIELDS), Page(), now=NOW)
        await full.runs.count(parse("status:waiting", RUN_FIELDS), now=NOW)
    assert psutil.Process().memory_info().rss - before < 40e6
