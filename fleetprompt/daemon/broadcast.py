"""All facts of a tenant, read and translated once for everybody who follows its fleet.

What happened is told in batches, which are kept for a while. Whoever listens has nothing but a position in them: one
who reads slowly holds up nobody, takes no room, and goes to the journal for what is not kept any more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from fleetprompt.client.matching import RunFilter
from fleetprompt.daemon.caller import Caller
from fleetprompt.daemon.events import frames
from fleetprompt.daemon.pump import Pump
from fleetprompt.daemon.step_ids import OWN, Ids
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.facts import RunCreated
from fleetprompt.engine.ports import RunHead, Stored

LEAST_SECONDS, MOST_SECONDS = 0.01, 0.25
EACH_SECONDS = 0.0005
"""How long a batch is waited for, for each who listens: however many they are, telling them costs the same."""
KEPT_FACTS = 20_000
KEPT_RUNS = 10_000
KEPT_CHOICES = 16
"""Choices of events and runs for which a batch keeps what is told of it: most who listen want the same. Of who wants
something of their own nothing is kept, or each would keep all that happens once more."""
_log = logging.getLogger(__name__)
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Batch:
    """Facts that are told at once."""

    def __init__(self, facts: Sequence[Stored], ids: Mapping[str, Ids]) -> None:
        """`ids` are those of the steps of their runs."""
        self.facts = facts
        self._ids = {stored.run: ids.get(stored.run, OWN) for stored in facts}
        self._told: dict[frozenset[str], list[bytes]] = {}
        """What is told of each fact, by the events that are wanted."""
        self.first, self.last = facts[0].seq, facts[-1].seq
        self.runs = frozenset(stored.run for stored in facts)
        self._wire: dict[tuple[frozenset[str], str], bytes] = {}
        self._asking = asyncio.Lock()
        self._fitting: dict[str, frozenset[str]] = {}
        self._heads: list[RunHead] | None = None

    async def fitting(self, filter_: RunFilter | None, known: Runs) -> frozenset[str]:
        """Those of its runs that match a filter, as they are when this is asked first."""
        if filter_ is None:
            return self.runs
        async with self._asking:
            found = self._fitting.get(filter_.text)
            if found is None:
                if self._heads is None and not (filter_.fixed or filter_.has_days):
                    self._heads = await known.heads(self.runs)
                found = await known.fitting(self.runs, filter_, self._heads)
                if len(self._fitting) < KEPT_CHOICES:
                    self._fitting[filter_.text] = found
            return found

    def wire(self, wanted: frozenset[str], filter_: str, runs: frozenset[str], after: int) -> bytes:
        """The events of some runs behind a position, as they go over the wire. `filter_` names the choice of runs."""
        if after >= self.first:
            return self._made(wanted, runs, after)
        key = wanted, filter_
        found = self._wire.get(key)
        if found is None:
            found = self._made(wanted, runs, after)
            if len(self._wire) < KEPT_CHOICES:
                self._wire[key] = found
        return found

    def _made(self, wanted: frozenset[str], runs: frozenset[str], after: int) -> bytes:
        told = self._told.get(wanted)
        if told is None:
            every = (frames(stored, self._ids[stored.run], wanted) for stored in self.facts)
            told = [b"".join(each.wire for each in events) for events in every]
            if len(self._told) < KEPT_CHOICES:
                self._told[wanted] = told
        return b"".join(
            wire
            for stored, wire in zip(self.facts, told, strict=True)
            if wire and stored.seq > after and stored.run in runs
        )


class Runs:
    """What is known of runs whose facts are told: the ids of their steps, and whether they match filters."""

    def __init__(self, asking: Caller) -> None:
        self._asking = asking
        self._ids: OrderedDict[str, Ids] = OrderedDict()
        self._rows: OrderedDict[str, RunHead] = OrderedDict()
        """Rows as they were once: good for filters on what never changes."""

    async def ids(self, facts: Sequence[Stored]) -> Mapping[str, Ids]:
        """The ids of steps, by run; of the runs of these facts, and of others."""
        unknown: dict[str, str] = {}
        for stored in facts:
            if stored.run not in self._ids:
                plan = stored.fact.plan if isinstance(stored.fact, RunCreated) else ""
                unknown[stored.run] = unknown.get(stored.run) or plan
        if missing := [run for run, plan in unknown.items() if not plan]:
            unknown |= {head.id: head.plan for head in await self.heads(missing)}
        for run, plan in unknown.items():
            _keep(self._ids, run, await self._asking.ids(plan) if plan else OWN)
        return self._ids

    async def fitting(
        self, runs: frozenset[str], filter_: RunFilter, heads: Sequence[RunHead] | None = None
    ) -> frozenset[str]:
        """Those of the runs that match. `heads`: their rows, where they have just been read."""
        if filter_.has_days:
            found = await self._asking.console.matching([*runs], filter_.text)
            return frozenset(head.id for head, fits in found if fits)
        if filter_.fixed:
            if missing := [run for run in runs if run not in self._rows]:
                for head in await self.heads(missing):
                    _keep(self._rows, head.id, head)
            heads = [self._rows[run] for run in runs if run in self._rows]
        now = time.time()
        return frozenset(head.id for head in heads or await self.heads(runs) if filter_.holds(head, now))

    async def heads(self, runs: Iterable[str]) -> list[RunHead]:
        """The rows of runs; those that are gone are left out."""
        return [head for head, _ in await self._asking.console.matching([*runs], "")]


def _keep(known: OrderedDict[_Key, _Value], key: _Key, value: _Value) -> None:
    known[key] = value
    if len(known) > KEPT_RUNS:
        known.popitem(last=False)


class Broadcast:
    """The facts of one tenant, for all who follow its fleet. `run` has to be running beside."""

    def __init__(self, asking: Caller) -> None:
        self.console = asking.console
        self.runs = Runs(asking)
        self.listeners = 0
        self.floor = self.last = 0
        """Every fact behind `floor` up to `last` is in a batch."""
        self._batches: deque[Batch] = deque()
        self._facts = 0
        self._more = asyncio.Event()
        self.ready = asyncio.Event()
        self.ended = False
        """Nothing more is told here, whatever happens."""

    async def run(self) -> None:
        """Read and tell facts until this is cancelled, or fails."""
        try:
            self.floor = self.last = await self.console.position()
            pump = Pump(self.console.watch("", self.floor))
            async with asyncio.TaskGroup() as group:
                group.create_task(pump.run())
                self.ready.set()
                while facts := await pump.take():
                    await asyncio.sleep(min(MOST_SECONDS, max(LEAST_SECONDS, EACH_SECONDS * self.listeners)))
                    await self._tell(facts)
        except* FleetError as failed:
            _log.warning("streams of the fleet end: %s", failed.exceptions[0])
        except* Exception as failed:
            _log.error("streams of the fleet end", exc_info=failed)
        finally:
            self.ended = True
            self.ready.set()
            self._more.set()

    async def _tell(self, facts: list[Stored]) -> None:
        self._batches.append(Batch(facts, await self.runs.ids(facts)))
        self._facts += len(facts)
        self.last = facts[-1].seq
        while self._facts > KEPT_FACTS and len(self._batches) > 1:
            gone = self._batches.popleft()
            self._facts -= len(gone.facts)
            self.floor = gone.last
        self._more.set()
        self._more = asyncio.Event()

    async def after(self, seq: int) -> list[Batch]:
        """The batches with facts behind a position, which must not lie before `floor`, as soon as there are any; none
        where it has ended."""
        while self.last <= seq and not self.ended:
            await self._more.wait()
        found: list[Batch] = []
        for batch in reversed(self._batches):
            if batch.last <= seq:
                break
            found.append(batch)
        return found[::-1]
