"""The floor: the rows that our run left behind, written again by bare sqlite3 and nothing else.

Same tables and indexes, same bytes, journal and projection, WAL and synchronous=FULL; as many facts to a commit as ours
had, or one commit per step. What is above this is the price of the engine; below it there is only another database.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.task import Figures, Task, percentile
from bench.work import STEPS

Row = tuple[Any, ...]
TABLES = ("journal", "runs", "signals", "results")


class Left:
    """What a run of ours left in its database: the schema of the tables it wrote, and their rows."""

    def __init__(self, path: Path) -> None:
        with sqlite3.connect(path) as connection:
            names = ", ".join(f"'{name}'" for name in TABLES)
            schema = connection.execute(
                f"SELECT sql FROM sqlite_master WHERE tbl_name IN ({names}) AND sql IS NOT NULL"
            )
            self.schema = [sql for (sql,) in schema]
            self.columns = {
                name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in TABLES
            }
            self.rows: dict[str, list[Row]] = {
                name: connection.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall() for name in TABLES
            }
        connection.close()
        self.heads = {row[0]: row for row in self.rows["runs"]}
        run = self.columns["results"].index("run")
        signal = self.columns["results"].index("signal")
        id_ = self.columns["signals"].index("id")
        signals = {row[id_]: row for row in self.rows["signals"]}
        self.started_by: dict[str, tuple[Row, Row]] = {
            row[run]: (signals[row[signal]], row) for row in self.rows["results"] if row[signal] in signals
        }
        """Run to the signal that started it, and its result."""


def _statement(left: Left, table: str) -> str:
    columns = left.columns[table]
    marks = ", ".join("?" * len(columns))
    names = ", ".join(f'"{name}"' for name in columns)
    sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"
    if table == "runs":
        kept = ("id", "tenant", "workflow", "plan", "created_at", "labels", "seq")
        changed = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in kept)
        sql += f" ON CONFLICT DO UPDATE SET {changed}"
    return sql


def _by_count(rows: Sequence[Row], size: float) -> Iterator[Sequence[Row]]:
    """Lots of `size` rows on average."""
    at = 0.0
    while at < len(rows):
        yield rows[round(at) : round(at + size)]
        at += size


def _by_step(rows: Sequence[Row], kind: int, run: int) -> Iterator[Sequence[Row]]:
    """Lots that end with the start of a step, or with the run."""
    at = 0
    for i, row in enumerate(rows):
        last = i + 1 == len(rows) or rows[i + 1][run] != row[run]
        if last or row[kind] == "StepStarted":
            yield rows[at : i + 1]
            at = i + 1


def _write(path: Path, left: Left, lots: list[Sequence[Row]]) -> list[float]:
    """Write the lots, each in a transaction; seconds of every commit."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 2000", "cache_size = -4096"):
        connection.execute(f"PRAGMA {pragma}")
    for sql in left.schema:
        connection.execute(sql)
    inserts = {name: _statement(left, name) for name in TABLES}
    run = left.columns["journal"].index("run")
    n = left.columns["journal"].index("n")
    head_n = left.columns["runs"].index("n")
    each: list[float] = []
    for lot in lots:
        at = time.perf_counter()
        heads = {row[run]: row[n] for row in lot}
        created = [left.started_by[row[run]] for row in lot if row[n] == 1 and row[run] in left.started_by]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(inserts["journal"], lot)
        updates = [(*left.heads[id_][:head_n], last, *left.heads[id_][head_n + 1 :]) for id_, last in heads.items()]
        connection.executemany(inserts["runs"], updates)
        if created:
            connection.executemany(inserts["signals"], [signal for signal, _ in created])
            connection.executemany(inserts["results"], [result for _, result in created])
        connection.execute("COMMIT")
        each.append(time.perf_counter() - at)
    connection.close()
    return each


def _left(task: Task) -> Left:
    return Left(Path(task.given["ours"]["database"]))


def throughput(task: Task) -> Figures:
    """Group commit with as many facts to a commit as ours had."""
    left = _left(task)
    rows = left.rows["journal"]
    cpu = time.process_time()
    each = _write(task.path / "floor.db", left, list(_by_count(rows, task.given["ours"]["facts_per_commit"])))
    steps = sum(1 for row in rows if row[left.columns["journal"].index("type")] == "StepSucceeded")
    return {
        "steps_per_s": steps / sum(each),
        "commits": len(each),
        "commit_p50_ms": percentile(each, 0.5) * 1e3,
        "cpu_us_per_step": (time.process_time() - cpu) / steps * 1e6,
    }


def latency(task: Task) -> Figures:
    """One commit per step, and one for the start; a run is the sum of its commits."""
    left = _left(task)
    columns = left.columns["journal"]
    rows = sorted(left.rows["journal"], key=lambda row: (row[columns.index("run")], row[columns.index("n")]))
    each = _write(task.path / "floor.db", left, list(_by_step(rows, columns.index("type"), columns.index("run"))))
    size = STEPS + 1
    runs = [sum(each[at : at + size]) for at in range(0, len(each), size)]
    return {
        "run_p50_ms": percentile(runs, 0.5) * 1e3,
        "run_p95_ms": percentile(runs, 0.95) * 1e3,
        "commits": len(each),
        "commit_p50_ms": percentile(each, 0.5) * 1e3,
    }
