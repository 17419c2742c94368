"""Replays of many signals: which are meant, what would come of them today, and each of them once for a replay."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from hashlib import sha256

from msgspec import Struct

from fleetprompt.client.protocol import Foreseen, Published, ReplayRange
from fleetprompt.engine.core.errors import FleetError, InvalidInput
from fleetprompt.engine.core.inputs import bind_inputs
from fleetprompt.engine.core.plan import Plan
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import SIGNAL_FIELDS
from fleetprompt.engine.core.routing import Active, Missed, Passed, Routes
from fleetprompt.engine.core.signal import Signal, replayable, type_matches
from fleetprompt.engine.ports import Clock, Store, Workflow

MOST = 10_000
"""Signals that one replay may say again."""
PORTION = 200


class _Meant(Struct):
    """The signals that a replay says again, the oldest first, and how many of those that match it leaves out."""

    ids: list[str]
    own: int = 0
    copies: int = 0


class RangeReplaying(ABC):
    """The part of a console that says many signals again."""

    store: Store
    clock: Clock
    tenant: str

    @abstractmethod
    async def replay(self, id_: str, *, by: str, only: str = "", key: str = "", deliver: bool = False) -> Published: ...
    @abstractmethod
    async def workflows(self) -> list[Workflow]: ...
    @abstractmethod
    async def plan(self, digest: str) -> Plan: ...

    async def foresee_replay(self, wanted: ReplayRange) -> Foreseen:
        """What would come of a replay now; nothing is changed. Raises `InvalidInput` for one of too many signals."""
        meant = await self._meant(wanted)
        plans = await self._plans()
        routes = Routes(Active(workflow.plan, plan, self.tenant) for workflow, plan in plans)
        inputs = {plan.name: plan for _, plan in plans}
        starts: Counter[str] = Counter()
        problems: Counter[tuple[str, str]] = Counter()
        types: Counter[str] = Counter()
        before = silent = 0
        async for signal in self._read(meant.ids):
            types[signal.type] += 1
            if await self.store.signals.of_key(_key(wanted, signal.id), self.tenant) is not None:
                before += 1
                continue
            found = [each for each in routes.route(signal) if wanted.only in ("", each.workflow)]
            for each in found:
                if isinstance(each, Missed):
                    problems[each.workflow, each.reason] += 1
                elif not isinstance(each, Passed):
                    _, wrong = bind_inputs(inputs[each.workflow], each.inputs)
                    if wrong:
                        problems[each.workflow, "; ".join(wrong.values())] += 1
                    else:
                        starts[each.workflow] += 1
            silent += not any(not isinstance(each, Passed) for each in found)
        return Foreseen(
            signals=len(meant.ids),
            types=dict(types.most_common()),
            own=meant.own,
            copies=meant.copies,
            before=before,
            starts=dict(starts.most_common()),
            problems=tuple((workflow, reason, n) for (workflow, reason), n in problems.most_common()),
            wakes=0 if wanted.only else await self._wakes(types),
            silent=silent,
        )

    async def replay_range(self, wanted: ReplayRange, *, by: str) -> AsyncGenerator[Published]:
        """Say the signals again, one after another, the oldest first. One that this replay has said before is not said
        again: of it comes what was published then, as a `duplicate`."""
        for id_ in (await self._meant(wanted)).ids:
            yield await self.replay(id_, by=by, only=wanted.only, key=_key(wanted, id_), deliver=wanted.deliver)

    async def _meant(self, wanted: ReplayRange) -> _Meant:
        if not 1 <= wanted.limit <= MOST:
            raise InvalidInput(f"a replay says 1 to {MOST:,} signals again, not {wanted.limit:,}", where="limit")
        ids = list(wanted.ids)
        if not ids:
            query = parse(wanted.filter, SIGNAL_FIELDS)
            ids = await self.store.signals.ids(query, now=self.clock.now(), tenant=self.tenant)
            ids.reverse()
        meant = _Meant([])
        async for signal in self._read(ids):
            if signal.replay_of and not wanted.ids:
                # Else a replay of a range would say again what it, or another, has said again before.
                meant.copies += 1
            elif not replayable(signal.type):
                meant.own += 1
            else:
                meant.ids.append(signal.id)
            if len(meant.ids) > wanted.limit:
                hint = f"ask for less by a filter or a shorter time, or allow more (at most {MOST:,})"
                raise InvalidInput(f"more than {wanted.limit:,} signals match", where="limit", hint=hint)
        return meant

    async def _read(self, ids: Sequence[str]) -> AsyncGenerator[Signal]:
        for at in range(0, len(ids), PORTION):
            for signal in await self.store.signals.several(ids[at : at + PORTION], self.tenant):
                yield signal

    async def _plans(self) -> list[tuple[Workflow, Plan]]:
        """Those of the active workflows; one that cannot be read starts nothing today either."""
        found: list[tuple[Workflow, Plan]] = []
        for workflow in await self.workflows():
            if workflow.status == "active":
                try:
                    found.append((workflow, await self.plan(workflow.plan)))
                except FleetError:
                    continue
        return found

    async def _wakes(self, types: Counter[str]) -> int:
        """How many steps wait for one of these types now."""
        waiting = {
            (run, wait.path)
            for type_ in types
            for run, wait in await self.store.runs.waiting("signal", type_, tenant=self.tenant)
            if type_matches(wait.ref, type_)
        }
        return len(waiting)


def _key(wanted: ReplayRange, signal: str) -> str:
    """The key of the copy of a signal: the same command says it once."""
    named = (
        wanted.key or sha256(repr((wanted.filter, wanted.ids, wanted.only, wanted.deliver)).encode()).hexdigest()[:16]
    )
    return f"replay/{named}/{signal}"
