"""Budgets that many processes share, and processes that die between reserving and settling."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path

import pytest
import spender
from spender import CAP, ESTIMATE, FLEET
from store_kit import SQL_KINDS, entry, fact, put, throw_away

from fleetprompt.engine.ports import Amounts, Settle
from fleetprompt.engine.store.database import SqlStore

PROCESSES = 8


@pytest.fixture(params=SQL_KINDS)
async def shared(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlStore]:
    """An open store that other processes can open, too."""
    store = SQL_KINDS[request.param](tmp_path, UTC)
    assert isinstance(store, SqlStore)
    await store.open()
    yield store
    await throw_away(store)


async def begin(store: SqlStore, how: str, *names: str) -> Process:
    """Processes that have opened the store, and the one that waits for them."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, spender.__file__, how, store.where, *names), stdin=PIPE, stdout=PIPE
    )
    assert process.stdout is not None
    for _ in names:
        assert (await process.stdout.readline()).strip() in (b"ready", b"held")
    return process


@pytest.mark.long
async def test_processes_that_race_for_one_cap_never_take_more(shared: SqlStore) -> None:
    names = [f"p{number}" for number in range(PROCESSES)]
    racing = await begin(shared, "spend", *names)
    out, _ = await racing.communicate(b"!" * PROCESSES)
    assert racing.returncode == 0
    found = {name: (spent, most) for name, spent, most in map(json.loads, out.splitlines())}
    assert sorted(found) == names
    spent, most = sum(each[0] for each in found.values()), max(each[1] for each in found.values())
    fleet = await shared.budgets.get(FLEET)
    assert (fleet.spent.cost_nano, fleet.reserved, fleet.uncertain) == (spent, Amounts(), Amounts())
    # They went on until there was no room for one more call, and no further.
    assert CAP - ESTIMATE < spent <= CAP
    assert most <= CAP
    own = [(await shared.budgets.get(f"run/{name}")).spent.cost_nano for name in names]
    assert own == [found[name][0] for name in names]
    assert (await shared.check()).problems == ()


async def test_a_process_that_is_killed_leaves_what_it_holds_to_be_found(shared: SqlStore) -> None:
    process = await begin(shared, "hold", "lost")
    process.kill()
    assert await process.wait() == -9
    assert await shared.budgets.held("lost") == ["lost/0"]
    assert (await shared.budgets.get(FLEET)).reserved == Amounts(requests=1, cost_nano=ESTIMATE)
    # What may have been asked for is spent for all that anybody knows.
    (reserved,) = [budget.reserved for budget in await shared.budgets.of_run("lost")]
    await put(shared, entry("lost", 2, fact(3), settles=(Settle("lost/0", uncertain=reserved),)))
    fleet = await shared.budgets.get(FLEET)
    assert (fleet.reserved, fleet.uncertain) == (Amounts(), reserved)
    assert await shared.budgets.held("lost") == []
