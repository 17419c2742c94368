"""Waiting for budget that others hold, so that nobody ever waits for somebody who waits.

A request waits only while somebody at work holds some of what it lacks: a request under way, or what an agent keeps for
its last one while it is at work and does not itself wait. What is kept by whoever was put aside (for people, a time, a
child run) is as good as spent: it may be this very request that they wait for. Agents that can finish with what they
have go first; whoever keeps nothing waits for them, and they wait for none of the others. So there are no circles, and
where nobody is left who could give anything back, the wait is over at once.

That is decided in one piece, without waiting for anything: of several that wait in vain one ends, and the others see
that it is at work again.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import msgspec

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.state import Run, Step
from fleetprompt.engine.ports.budget import BudgetRefused, Reserve

if TYPE_CHECKING:
    from fleetprompt.engine.ports import Effect
    from fleetprompt.engine.runtime.engine import Engine

FREED = 1.0
"""Seconds after which it is looked again whether there is room, or anybody left to wait for."""
STILL = 600.0
"""Seconds for which others have to hold the same before nothing more is expected of them: no request takes so long."""
REQUEST = re.compile(r"#\d+$")
"""How ids of reservations end that are held by a request under way."""


class BudgetWaits:
    """The requests of an engine that wait for budget."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._waiting: set[BudgetWait] = set()

    @property
    def waiting(self) -> Collection[BudgetWait]:
        """Those that wait now."""
        return self._waiting

    def of(self, effect: Effect, key: str, *, finishes: bool) -> BudgetWait:
        """A request that may have to wait."""
        return BudgetWait(self, effect, key, finishes=finishes)

    def add(self, wait: BudgetWait) -> None:
        """It waits from now on."""
        self._waiting.add(wait)

    def drop(self, wait: BudgetWait) -> None:
        """It does not wait any more."""
        self._waiting.discard(wait)

    def goes_on(self, wait: BudgetWait, refused: BudgetRefused) -> bool:
        """Whether somebody is at work who holds some of what a request lacks, and does not wait for it in turn."""
        for driver in self.engine.live.values():
            run = driver.run
            if run.created is None or run.created.tenant != wait.effect.tenant:
                continue
            for step in run.pending.values():
                if self._gives_back(run, step, wait, refused):
                    return True
        return False

    def _gives_back(self, run: Run, step: Step, wait: BudgetWait, refused: BudgetRefused) -> bool:
        work = step.work
        if work is None:
            return False
        waiting = {each.key: each for each in self._waiting if each.is_of(run.id, step.path)}
        # What is just tried again is folded already, and nobody knows yet whether it holds.
        if any(key not in waiting and _holds(value, refused) for key, value in work.held.items()):
            return True
        if wait.is_of(run.id, step.path) or not any(_holds(value, refused) for value in work.spares.values()):
            return False
        return all(each.finishes and not wait.finishes for each in waiting.values())


class BudgetWait:
    """See `ports.work.BudgetWait`."""

    def __init__(self, waits: BudgetWaits, effect: Effect, key: str, *, finishes: bool) -> None:
        """`key`: of the request. `finishes`: where it waits in vain, its agent finishes with what it has."""
        self.effect = effect
        self.key = key
        self.finishes = finishes
        self._waits = waits
        self._stands: tuple[str, str, int, int] | None = None
        self._since = 0.0

    def __enter__(self) -> BudgetWait:
        return self

    def __exit__(self, *_: object) -> None:
        self._waits.drop(self)

    def is_of(self, run: str, path: str) -> bool:
        """Whether it is a request of a step."""
        return (self.effect.run, self.effect.path) == (run, path)

    async def freed(self, refused: BudgetRefused) -> bool:
        """See `ports.work.BudgetWait.freed`."""
        waits, engine = self._waits, self._waits.engine
        waits.add(self)
        if not refused.may_free or self._is_still(refused):
            return False
        # What is held elsewhere has to be read, and whoever is here may have begun to move meanwhile.
        if not waits.goes_on(self, refused) and not await self._elsewhere(refused) and not waits.goes_on(self, refused):
            return False
        await engine.budget_freed(FREED)
        return True

    def _is_still(self, refused: BudgetRefused) -> bool:
        stands = (refused.scope, refused.limit, refused.used, refused.reserved)
        now = self._waits.engine.now()
        if stands != self._stands:
            self._stands, self._since = stands, now
        return now - self._since > STILL

    async def _elsewhere(self, refused: BudgetRefused) -> bool:
        """Whether a request that another engine of this store makes holds some of it."""
        engine = self._waits.engine
        found = await engine.store.budgets.holding(refused.scope, self.effect.tenant)
        ours = engine.live.keys() | engine.holds.keys()
        return any(REQUEST.search(id_) and run not in ours for run, id_ in found)


def _holds(noted: dict[str, Any], refused: BudgetRefused) -> bool:
    """Whether what was noted reserves some of what is lacking."""
    value = mapping(noted.get("reserve"))
    if not value:
        return False
    reserve = msgspec.convert(value, Reserve)
    lacking = getattr(reserve.amounts, refused.limit)
    return bool(lacking) and any(each.scope == refused.scope for each in reserve.allowances)
