"""Broken disks, locked files, damaged rows, killed processes."""

from __future__ import annotations

import asyncio
import os
import random
import signal as signals
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from store_kit import NOW, entry, fact, put, signal, start

from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.core.facts import Blob, StepNoted
from fleetprompt.engine.ports import Conflict, Corrupt, LogLine, Stored
from fleetprompt.engine.store import log_chunks
from fleetprompt.engine.store.database import SqlStore


async def pragma(store: SqlStore, text: str) -> None:
    """Set something on the writer's connection, which is idle."""
    await store.changed(0)
    store._backend.writer._session.raw.execute(f"PRAGMA {text}")


def big(run: str, after: int) -> Any:
    return entry(run, after, StepNoted(path="a", kind="k", value="x" * 300_000, at=NOW))


async def test_a_full_disk_fails_what_is_asked_and_nothing_after(store: SqlStore) -> None:
    await put(store, start("r1"), start("r2"))
    await pragma(store, "max_page_count = 120")
    futures = [store.journal.append(big("r1", 2)), store.journal.append(big("r2", 2))]
    for future in futures:
        with pytest.raises(StoreUnavailable, match="no room") as failed:
            await future
        assert "prune" in failed.value.hint
    assert (await store.journal.append(entry("r1", 2, fact(3)))).seq == 5
    with pytest.raises(Conflict):
        await store.journal.append(entry("r2", 3, fact(4)))
    await pragma(store, "max_page_count = 100000")
    assert (await store.journal.append(big("r2", 2))).seq == 6
    health = await store.check()
    assert health.ok, health.problems


async def test_log_lines_wait_for_a_full_disk(store: SqlStore) -> None:
    await pragma(store, "max_page_count = 60")
    lines = [LogLine(at=NOW, level="info", text=f"{i} {random.random()}" * 40, path="a") for i in range(1500)]
    store.logs.write("r1", lines)
    with pytest.raises(StoreUnavailable, match="no room"):
        await store.logs.flush()
    await pragma(store, "max_page_count = 100000")
    await store.logs.flush()
    found, _ = await store.logs.read("r1", limit=2000)
    assert [line.text for line in found] == [line.text for line in lines]
    assert [line.line for line in found] == list(range(1, 1501))


async def test_a_disk_that_is_too_slow_for_the_log_loses_lines_and_says_so(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_chunks, "MOST", 10_000)
    for i in range(300):
        store.logs.write("r1", [LogLine(at=NOW, level="info", text=f"{i}", path="a")])
    await store.logs.flush()
    found, _ = await store.logs.read("r1")
    assert found[-1].text == f"… {300 - len(found) + 1} lines lost, the disk was too slow"
    assert [line.text for line in found[:-1]] == [str(i) for i in range(len(found) - 1)]


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_disk_that_is_really_full(tiny: Path) -> None:
    store = SqlStore(tiny / "fleet.db")
    await store.open()
    await put(store, start("r1"))
    (tiny / "filler").write_bytes(b"x" * (os.statvfs(tiny).f_bavail * 4096 - 100_000))
    with pytest.raises(StoreUnavailable) as failed:
        await store.journal.append(big("r1", 2))
    assert failed.value.hint
    (tiny / "filler").unlink()
    assert (await store.journal.append(big("r1", 2))).seq == 3
    await store.close()
    await store.open()
    assert (await store.check()).ok
    await store.close()


async def test_a_file_that_cannot_be_written(store: SqlStore) -> None:
    await put(store, start("r1"))
    await pragma(store, "query_only = ON")
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        await store.journal.append(entry("r1", 2, fact(3)))
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        await store.signals.publish(signal())
    await pragma(store, "query_only = OFF")
    await put(store, entry("r1", 2, fact(3)))


async def test_a_folder_that_cannot_be_written(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    path.parent.mkdir(mode=0o500)
    with pytest.raises(StoreUnavailable):
        await SqlStore(path).open()


async def test_a_lock_is_waited_for(store: SqlStore, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = [store.journal.append(start(f"r{i}")) for i in range(3)]
    await asyncio.sleep(0.1)
    assert not any(future.done() for future in waiting)
    assert await store.runs.get("r0") is None
    other.execute("ROLLBACK")
    other.close()
    assert [(await future).seq for future in waiting] == [1, 3, 5]


async def test_a_lock_that_is_never_given_back(path: Path) -> None:
    store = SqlStore(path, patience=0.2)
    await store.open()
    await put(store, start("r1"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="another process"):
        await store.journal.append(entry("r1", 2, fact(3)))
    assert time.monotonic() - began > 0.15, "it was waited for"
    with pytest.raises(StoreUnavailable, match="another process"):
        await store.signals.publish(signal())
    assert (await store.runs.get("r1")) is not None
    other.execute("ROLLBACK")
    other.close()
    assert (await store.journal.append(entry("r1", 2, fact(3)))).seq == 3
    await store.close()


async def test_a_row_that_cannot_be_read_holds_its_run_only(store: SqlStore, path: Path) -> None:
    await put(store, *(start(f"r{i}") for i in range(4)))
    with sqlite3.connect(path) as other:
        other.execute("UPDATE journal SET data = ? WHERE run = 'r1' AND n = 2", (b'{"type":"Nonsense"}',))
        other.execute("UPDATE journal SET data = ? WHERE run = 'r2' AND n = 1", (b"\xff\x00garbage",))
        other.execute("DELETE FROM journal WHERE run = 'r3' AND n = 1")
    other.close()
    found = await store.journal.histories([f"r{i}" for i in range(4)])
    assert [isinstance(found[f"r{i}"], Corrupt) for i in range(4)] == [False, True, True, True]
    assert isinstance(found["r1"], Corrupt)
    assert (found["r1"].seq, found["r1"].n) == (4, 2)
    assert isinstance(found["r3"], Corrupt)
    assert (found["r3"].n, found["r3"].reason) == (1, "the fact is missing")
    facts = await store.journal.facts("r1")
    assert [type(row) for row in facts] == [Stored, Corrupt]
    assert len(await store.journal.since(0)) == 7
    health = await store.check()
    assert not health.ok
    assert [problem.split(",")[0].split(":")[0] for problem in health.problems] == ["run r3", "run r1", "run r2"]


async def test_the_check_finds_what_belongs_to_nothing(store: SqlStore, path: Path) -> None:
    noted = StepNoted(path="a", kind="k", blob=Blob("b" * 64, 5), at=NOW)
    await put(store, start("r1", blobs=(("a" * 64, b"1"),)), entry("r1", 2, noted))
    with sqlite3.connect(path) as other:
        other.execute("INSERT INTO claims VALUES ('default', 'pool', 'gone', '', 1, 0)")
        other.execute("INSERT INTO votes VALUES ('default', 'gone', 0, 'ana', 0, '', x'7b7d')")
        other.execute("INSERT INTO logs VALUES (1, 'default', 'r1', 'a', 1, 1, 1, 1, 0, 1, 0, x'00')")
    other.close()
    problems = "\n".join((await store.check()).problems)
    for words in ("claims: 1 rows", "votes: 1 rows", "blob aaaa", "its value bbbb", "chunk 1"):
        assert words in problems


async def test_a_damaged_file_is_reported(store: SqlStore, path: Path) -> None:
    await put(store, *(start(f"r{i}") for i in range(200)))
    await store.close()
    data = bytearray(path.read_bytes())
    for page in range(len(data) // 4096 - 15, len(data) // 4096):
        data[page * 4096 + 200 : page * 4096 + 400] = b"\xaa" * 200
    path.write_bytes(data)
    damaged = SqlStore(path)
    await damaged.open()
    health = await damaged.check()
    assert not health.ok
    assert any(problem.startswith("database: ") for problem in health.problems)
    await damaged.close()


WRITES = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from store_kit import entry, fact, start, step
from fleetprompt.engine.store.database import SqlStore

async def drive(store, run):
    await store.journal.append(start(run))
    print(run, 2, flush=True)
    n = 2
    while True:
        await store.journal.append(step(run, n, n))
        n += 2
        print(run, n, flush=True)

async def main():
    store = SqlStore(sys.argv[1])
    await store.open()
    base = await store.journal.position()
    await asyncio.gather(*(drive(store, f"{base}-{i}") for i in range(8)))

asyncio.run(main())
"""


@pytest.mark.crash
def test_what_was_acknowledged_survives_a_kill(path: Path) -> None:
    kit = str(Path(__file__).parents[1] / "contract")
    acknowledged: dict[str, int] = {}
    for _ in range(3):
        said = path.parents[1] / "said"
        with said.open("wb") as out:
            writer = subprocess.Popen(
                [sys.executable, "-c", WRITES, str(path), kit], stdout=out, stderr=subprocess.PIPE, text=True
            )
        while not said.stat().st_size and writer.poll() is None:
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.25))
        writer.send_signal(signals.SIGKILL)
        _, errors = writer.communicate()
        lines = said.read_text().splitlines(keepends=True)
        assert lines, errors
        acknowledged |= {line.split()[0]: int(line.split()[1]) for line in lines if line.endswith("\n")}
        asyncio.run(_verify(path, acknowledged))
    assert len(acknowledged) > 8


async def _verify(path: Path, acknowledged: dict[str, int]) -> None:
    store = SqlStore(path)
    await store.open()
    for run, n in acknowledged.items():
        head = await store.runs.get(run)
        assert head is not None
        assert head.n >= n
        assert [row.n for row in await store.journal.facts(run)] == list(range(1, head.n + 1))
    health = await store.check()
    assert health.ok, health.problems
    await store.close()
