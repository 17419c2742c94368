"""`python spender.py spend STORE NAME…`: for each name a process that spends from a budget as long as it lets it.

Each says `ready`, waits for a character, makes one call after another, and in the end says who it is, what it has
spent, and the most that it has seen to be taken. `python spender.py hold STORE NAME` reserves, says so, and waits to be
killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import traceback

from store_kit import entry, fact, start

from fleetprompt.engine.ports import Allowance, Amounts, BudgetRefused, Caps, Reserve, Settle
from fleetprompt.engine.store.database import SqlStore

CAP, ESTIMATE = 20_000, 1_000
FLEET = "fleet/2027-01-15"


def call(name: str, number: int) -> Reserve:
    """A reservation for one call."""
    allowances = (Allowance(FLEET, Caps(cost_nano=CAP)), Allowance(f"run/{name}"))
    return Reserve(f"{name}/{number}", allowances, Amounts(requests=1, cost_nano=ESTIMATE))


async def spend(store: SqlStore, name: str) -> tuple[int, int]:
    """What was spent until nothing was left to reserve, and the most that was taken of the budget meanwhile."""
    chance = random.Random(name)
    n, number, spent, most = 2, 0, 0, 0
    while True:
        try:
            await store.journal.append(entry(name, n, fact(n), reserves=(call(name, number),)))
        except BudgetRefused as refused:
            if refused.may_free:
                # Others hold it, and may give some back.
                continue
            return spent, most
        n += 1
        budget = await store.budgets.get(FLEET)
        most = max(most, budget.spent.cost_nano + budget.reserved.cost_nano)
        paid = chance.randint(50, ESTIMATE)
        spent += paid
        await store.journal.append(
            entry(name, n, fact(n), settles=(Settle(f"{name}/{number}", Amounts(requests=1, cost_nano=paid)),))
        )
        n += 1
        number += 1


async def hold(where: str, name: str) -> None:
    """Reserve, and wait."""
    store = SqlStore(where, patience=60)
    await store.open()
    await store.journal.append(start(name, reserves=(call(name, 0),)))
    print("held", flush=True)
    os.read(0, 1)


async def race(where: str, name: str) -> None:
    """Spend as soon as one is told to."""
    store = SqlStore(where, patience=60)
    await store.open()
    await store.journal.append(start(name))
    os.write(1, b"ready\n")
    # Nobody takes more of what is written than the character that is his.
    os.read(0, 1)
    spent, most = await spend(store, name)
    # In one piece: others write there, too.
    os.write(1, json.dumps([name, spent, most]).encode() + b"\n")
    await store.close()


def main(how: str, where: str, *names: str) -> None:
    """Hold, or be as many processes as there are names: loading what they need is most of what they would cost."""
    if how == "hold":
        return asyncio.run(hold(where, *names))
    children: list[int] = []
    for name in names:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                asyncio.run(race(where, name))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(pid)
    ends = [os.waitpid(child, 0)[1] for child in children]
    sys.exit(any(ends))


if __name__ == "__main__":
    main(*sys.argv[1:])
