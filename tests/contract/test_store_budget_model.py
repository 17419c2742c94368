"""The ledger of budgets against a plain account of what was answered, in every store at once."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import Counter
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from store_kit import KINDS, entry, fact, put, start, take, throw_away

from fleetprompt.engine.ports import (
    LIMITS,
    Allowance,
    Amounts,
    Append,
    Budget,
    BudgetRefused,
    Caps,
    ClaimRefused,
    Raise,
    Reserve,
    Settle,
    Store,
)

RUNS = ("r1", "r2", "r3")
FLEET, DAY = "fleet/2027-01-15", "workflow/audit/2027-01-15"
CAPS = {
    FLEET: Caps(requests=8, cost_nano=90),
    DAY: Caps(tokens=70),
    **{f"run/{run}": Caps(tool_calls=4, cost_nano=50) for run in RUNS},
    **{f"branch/{run}/{side}": Caps(tokens=40, cost_nano=20) for run in RUNS for side in "ab"},
}
PARTS = ("spent", "reserved", "uncertain", "raised")
IDS = tuple("abcdefgh")

_few = st.integers(0, 3)
_amounts = st.builds(Amounts, requests=_few, tokens=st.integers(0, 30), tool_calls=_few, cost_nano=st.integers(0, 30))


class Ledger(RuleBasedStateMachine):
    """Asks every store the same, and keeps its own account of what they say."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stores = [make(Path(tempfile.mkdtemp(dir=self.folder)), UTC) for make in KINDS.values()]
        self.lengths = dict.fromkeys(RUNS, 2)
        self.held: dict[str, tuple[str, Reserve]] = {}
        self.settled: set[str] = set()
        self.steps = 0
        self.sums: dict[str, Counter[str]] = {scope: Counter() for scope in CAPS}
        self.run(lambda store: store.open())
        self.run(lambda store: put(store, *map(start, RUNS)))

    def run(self, ask: Any) -> Any:
        """What every store answers."""
        answers = [self.runner.run(ask(store)) for store in self.stores]
        assert all(answer == answers[0] for answer in answers), answers
        return answers[0]

    def teardown(self) -> None:
        """When all is settled, nothing is reserved any more."""
        left = tuple(Settle(id_, Amounts(requests=1)) for id_ in self.held)
        self.append_all([(entry("r1", self.lengths["r1"], fact(1), settles=left), "r1")])
        assert not self.held
        self.agrees()
        assert all(sums[f"reserved {limit}"] == 0 for sums in self.sums.values() for limit in LIMITS)
        assert self.run(_problems) == ()
        for store in self.stores:
            self.runner.run(throw_away(store))
        self.runner.close()

    @rule(data=st.data(), together=st.integers(1, 4))
    def append(self, data: st.DataObject, together: int) -> None:
        self.append_all([self._draw(data) for _ in range(together)])

    def _draw(self, data: st.DataObject) -> tuple[Append, str]:
        draw = data.draw
        run = draw(st.sampled_from(RUNS))
        ids = st.sampled_from(IDS)
        settles = st.builds(Settle, ids, _amounts, _amounts)
        raises = st.builds(Raise, st.sampled_from(tuple(CAPS)), st.sampled_from(LIMITS), st.integers(0, 20))
        side = st.sampled_from((f"branch/{run}/a", f"branch/{run}/b"))
        chains = side.map(lambda own: (FLEET, DAY, f"run/{run}", own))
        allowances = chains.map(lambda chain: tuple(Allowance(scope, CAPS[scope]) for scope in chain))
        cut = st.builds(lambda chain, first, last: chain[first : 4 - last], allowances, st.integers(0, 1), _few)
        reserves = st.builds(Reserve, ids, cut, _amounts)
        fields: dict[str, Any] = {
            "reserves": tuple(draw(st.lists(reserves, max_size=3))),
            "settles": tuple(draw(st.lists(settles, max_size=3))),
            "raises": tuple(draw(st.lists(raises, max_size=1))),
        }
        if draw(st.booleans()):
            fields["takes"] = (take("pool", 2, run),)
        elif draw(st.booleans()):
            fields["releases"] = ("*",)
        # An entry that is behind makes the store try a batch one by one.
        after = self.lengths[run] - draw(st.sampled_from((0, 0, 0, 0, 1)))
        return entry(run, after, fact(after), **fields), run

    def append_all(self, asked: list[tuple[Append, str]]) -> None:
        answers = self.run(lambda store: _answers(store, [each for each, _ in asked]))
        for (each, run), answer in zip(asked, answers, strict=True):
            if answer == "Appended":
                self.lengths[run] += 1
                self._book(each, run)

    def _book(self, each: Append, run: str) -> None:
        for settle in each.settles:
            made = self.held.pop(settle.id, None)
            if made is not None:
                self.settled.add(settle.id)
                for allowance in made[1].allowances:
                    self._count(allowance.scope, "reserved", made[1].amounts, -1)
                    self._count(allowance.scope, "spent", settle.spent)
                    self._count(allowance.scope, "uncertain", settle.uncertain)
        for more in each.raises:
            self.sums[more.scope][f"raised {more.limit}"] += more.amount
        for reserve in each.reserves:
            if reserve.id in self.held or reserve.id in self.settled:
                continue
            self.held[reserve.id] = (run, reserve)
            for allowance in reserve.allowances:
                self._count(allowance.scope, "reserved", reserve.amounts)
                self._require_room(allowance, reserve.amounts)

    def _count(self, scope: str, part: str, amounts: Amounts, sign: int = 1) -> None:
        for limit in LIMITS:
            self.sums[scope][f"{part} {limit}"] += sign * getattr(amounts, limit)

    def _require_room(self, allowance: Allowance, amounts: Amounts) -> None:
        """What was let through has not gone over a cap."""
        sums = self.sums[allowance.scope]
        for limit in LIMITS:
            cap = getattr(allowance.caps, limit)
            if cap is not None and getattr(amounts, limit):
                assert sum(sums[f"{part} {limit}"] for part in PARTS[:3]) <= cap + sums[f"raised {limit}"]

    @invariant()
    def sometimes_agrees(self) -> None:
        """Reading takes most of the time, and a difference does not heal."""
        self.steps += 1
        if self.steps % 5 == 0:
            self.agrees()

    def agrees(self) -> None:
        """Every store says what the account says."""
        for budget in self.run(_budgets):
            sums = self.sums[budget.scope]
            said = {f"{part} {limit}": getattr(getattr(budget, part), limit) for part in PARTS for limit in LIMITS}
            assert said == {name: sums[name] for name in said}, budget.scope
        held = self.run(_held)
        assert held == [sorted(id_ for id_, (of, _) in self.held.items() if of == run) for run in RUNS]


async def _budgets(store: Store) -> list[Budget]:
    return await asyncio.gather(*map(store.budgets.get, CAPS))


async def _held(store: Store) -> list[list[str]]:
    return await asyncio.gather(*map(store.budgets.held, RUNS))


async def _problems(store: Store) -> tuple[str, ...]:
    return (await store.check()).problems


async def _answers(store: Store, entries: list[Append]) -> list[Any]:
    done = await asyncio.gather(*map(store.journal.append, entries), return_exceptions=True)
    return [_answer(each) for each in done]


def _answer(done: Any) -> Any:
    match done:
        case BudgetRefused():
            return done.id, done.scope, done.limit, done.cap, done.used, done.reserved, done.wanted
        case ClaimRefused():
            return [holder.run for holder in done.holders]
        case _:
            return type(done).__name__


@pytest.mark.long
def test_all_stores_keep_the_same_ledger(tmp_path: Path) -> None:
    machine = type("Ledger", (Ledger,), {"folder": tmp_path})
    # Shrinking such a machine takes minutes; the steps that hypothesis prints are readable enough.
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    quiet = settings(
        max_examples=int(os.environ.get("FLEET_TEST_EXAMPLES", "10")),
        stateful_step_count=15,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=phases,
        report_multiple_bugs=False,
    )
    run_state_machine_as_test(machine, settings=quiet)
