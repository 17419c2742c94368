"""`python spender.py STORE NAME`: a process that spends from a budget as long as it lets it, one call after another.

It says `ready`, waits for a line, and in the end says what it has spent, and the most that it has seen to be taken.
`python spender.py STORE NAME hold` reserves, says so, and waits to be killed.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

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


async def main(where: str, name: str, how: str = "spend") -> None:
    """Spend, or hold."""
    store = SqlStore(where, patience=60)
    await store.open()
    if how == "hold":
        await store.journal.append(start(name, reserves=(call(name, 0),)))
        print("held", flush=True)
        sys.stdin.readline()
        return
    await store.journal.append(start(name))
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(await spend(store, name)), flush=True)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
