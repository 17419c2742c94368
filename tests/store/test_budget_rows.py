"""Budgets in a file: what the check finds, and what a copy holds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from store_kit import entry, fact, finish, put, start

from fleetprompt.engine.ports import Allowance, Amounts, Reserve, Settle
from fleetprompt.engine.store.database import SqlStore

FLEET = "fleet/2027-01-15"


def reserve(id_: str, tokens: int, *scopes: str) -> Reserve:
    return Reserve(id_, tuple(Allowance(scope) for scope in scopes), Amounts(tokens=tokens, cost_nano=7))


async def fill(store: SqlStore) -> None:
    """Two runs that hold something, and one that has spent something."""
    await put(
        store,
        start("r1", reserves=(reserve("a", 5, FLEET, "run/r1"), reserve("b", 6, FLEET))),
        start("r2", reserves=(reserve("c", 10, FLEET, "run/r2"), reserve("d", 1, "run/r2"))),
        entry("r1", 2, fact(3)),
        entry("r2", 2, fact(3), settles=(Settle("d", Amounts(tokens=1)),)),
    )


async def test_the_check_finds_budgets_that_their_reservations_contradict(store: SqlStore, path: Path) -> None:
    await fill(store)
    await put(store, finish("r2", 3))
    assert (await store.check()).problems == ("reservation c: it is held, but its run r2 is completed",)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE budgets SET reserved_tokens = reserved_tokens + 1000 WHERE scope = ?", (FLEET,))
        connection.execute("DELETE FROM budgets WHERE scope = 'run/r1'")
        connection.execute("UPDATE reservations SET state = 'settled' WHERE id = 'c'")
        connection.execute("INSERT INTO reservations VALUES ('x', 'default', 'gone', 'held', '[]', 0, 0, 0, 0)")
    assert set((await store.check()).problems) == {
        "reservations: 1 rows belong to nothing in runs",
        "budget fleet/2027-01-15: 1,021 tokens are reserved, its reservations hold 11",
        "budget fleet/2027-01-15: 21 cost_nano are reserved, its reservations hold 14",
        "budget run/r1: 0 tokens are reserved, its reservations hold 5",
        "budget run/r1: 0 cost_nano are reserved, its reservations hold 7",
        "budget run/r2: 10 tokens are reserved, its reservations hold 0",
        "budget run/r2: 7 cost_nano are reserved, its reservations hold 0",
    }


async def test_a_copy_holds_what_the_store_holds(store: SqlStore, tmp_path: Path) -> None:
    await fill(store)
    await store.backup(tmp_path / "copy.db")
    copy = SqlStore(tmp_path / "copy.db")
    await copy.open()
    for scope in (FLEET, "run/r1", "run/r2"):
        assert await copy.budgets.get(scope) == await store.budgets.get(scope)
    assert await copy.budgets.held("r1") == ["a", "b"]
    await put(copy, entry("r1", 3, fact(4), settles=(Settle("a"), Settle("b"))))
    assert (await copy.budgets.get(FLEET)).reserved == Amounts(tokens=10, cost_nano=7)
    assert (await copy.check()).ok
    await copy.close()
