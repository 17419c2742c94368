"""The journal: what an append holds, and what comes back of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from fleetprompt.engine.core.delivery import Delivery
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.facts import AnyFact, RunStatus, Slot, WaitingOn
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports.budget import Raise, Reserve, Settle


class Conflict(FleetError):
    """The run's journal moved on: another writer appended first."""


class ClaimRefused(FleetError):
    """A claim that the facts depend on is held by others."""

    def __init__(self, slot: Slot, holders: Sequence[Holder]) -> None:
        super().__init__(f"{slot.scope} is taken: {len(holders)} of {slot.limit}")
        self.slot = slot
        self.holders = tuple(holders)


class Holder(Struct, frozen=True):
    """Who holds a claim: a run, and the step in it (empty: the run itself)."""

    run: str
    path: str
    amount: int = 1
    at: float = 0.0


class Take(Struct, frozen=True):
    """A claim to take in the same transaction as the facts. `at` most `slot.limit` units in all, else refused."""

    slot: Slot
    path: str = ""


class Wait(Struct, frozen=True):
    """A step that waits for a signal, a child run or a slot: a row by which the bus finds it."""

    path: str
    on: WaitingOn
    ref: str = ""
    """Signal pattern, child run id or claim scope."""
    key: str = ""


class RunHead(Struct, frozen=True, kw_only=True):
    """The projection of a run: what lists show, and what the engine needs to wake it. All times are epoch seconds."""

    id: str
    tenant: str
    workflow: str
    plan: str
    status: RunStatus
    n: int
    """How many facts its journal holds."""
    created_at: float
    updated_at: float
    waiting_on: WaitingOn | None = None
    """What it waits for; `paused` also while what was begun before the pause goes on."""
    started_at: float | None = None
    finished_at: float | None = None
    wake_at: float | None = None
    step: str = ""
    """Path of the step that is active or waited for now."""
    steps_done: int = 0
    attempt: int = 1
    error_code: str = ""
    error_message: str = ""
    error_step: str = ""
    cost_nano: int = 0
    tokens: int = 0
    root: str = ""
    parent: str = ""
    parent_path: str = ""
    retry_of: str = ""
    correlation: str = ""
    owner: str = ""
    project: str = ""
    session: str = ""
    trigger: str = ""
    """Kind of the trigger: manual, schedule, signal, completion, workflow …"""
    host: str = ""
    priority: int = 0
    labels: dict[str, str] = {}
    tools: tuple[str, ...] = ()
    """Names of the tools it called, for the filter `tool:`."""
    models: tuple[str, ...] = ()
    """Names of the models it called, for the filter `model:`."""
    seq: int = 0
    """Position in the journal of its first fact, a number for the run that never changes; 0 until stored."""
    uncertain_nano: int = 0
    """What may have been spent besides `cost_nano`."""
    mode: str = ""
    """How its words came about: `live`, `local` (a model on this machine), `simulated`, `replay`; `mixed`: some of them
    by a model. Empty for a run in which nothing was said."""
    agents: tuple[str, ...] = ()
    """Names of the agents that worked in it, for the filter `agent:`."""


class Append(Struct, frozen=True, kw_only=True):
    """One step of one run: facts, and everything that must become true in the same transaction."""

    run: str
    tenant: str
    after: int
    """How many facts the journal must hold before; else `Conflict`."""
    facts: tuple[AnyFact, ...]
    head: RunHead
    takes: tuple[Take, ...] = ()
    releases: tuple[str, ...] = ()
    """Paths whose claims end (empty path: the run's own); `"*"` ends all of the run's claims."""
    settles: tuple[Settle, ...] = ()
    """Reservations that end. They come before what is raised, and that before what is reserved."""
    raises: tuple[Raise, ...] = ()
    reserves: tuple[Reserve, ...] = ()
    """Amounts to reserve in the same transaction as the facts; where one does not fit, the entry is refused."""
    waits: tuple[Wait, ...] = ()
    unwaits: tuple[str, ...] = ()
    """Paths that no longer wait."""
    signals: tuple[Signal, ...] = ()
    """Signals that leave the run; stored as new, for the bus to route."""
    deliveries: tuple[Delivery, ...] = ()
    """What has to be delivered of these signals, as far as they are stored."""
    received: Signal | None = None
    """The signal these facts answer, when it is not in the store yet (a start in process)."""
    results: tuple[Result, ...] = ()
    """Answers to signals, written beside them."""
    routed: tuple[str, ...] = ()
    """Signals that are done with once this is durable."""
    blobs: tuple[tuple[str, bytes], ...] = ()
    """Values that were spilled: digest and JSON."""
    encoded: tuple[bytes, ...] = ()
    """The facts' stored form, where the caller has it already; empty: the store encodes them."""
    work: float = 0.0
    """Seconds of finished work that would be done again if this entry were lost."""


class Appended(Struct, frozen=True):
    """Durable. `seq` is the global position of the first fact."""

    seq: int


class Stored(Struct, frozen=True):
    """A fact as it stands in the journal."""

    seq: int
    run: str
    n: int
    fact: AnyFact


class Corrupt(Struct, frozen=True):
    """A journal row that cannot be read. The run it belongs to is held; the others go on."""

    seq: int
    run: str
    n: int
    reason: str


class Journal(Protocol):
    """The one log. Appends of many runs share a transaction; order of `seq` is order of commit."""

    def post(self, entry: Append, then: Callable[[Appended | Exception], None]) -> None:
        """Make an entry durable, and call `then` from the loop when it is, or with why not: `Conflict`,
        `BudgetRefused`, `ClaimRefused` or `StoreUnavailable`. A refusal touches this entry alone."""
        ...

    def append(self, entry: Append) -> asyncio.Future[Appended]:
        """The same for who waits: the future fails with what `post` would say."""
        ...

    async def facts(
        self, run: str, *, after: int = 0, upto: int | None = None, tenant: str | None = None
    ) -> list[Stored | Corrupt]:
        """A run's facts in order, from n > after to n <= upto; none of a run that is not the tenant's (None: whosever
        it is, for the engine)."""
        ...

    async def last(self, runs: Sequence[str], *, tenant: str | None = None) -> dict[str, Stored | Corrupt]:
        """The last fact of each of these runs, by run; those that are not the tenant's (None: whosever they are) or are
        gone are left out."""
        ...

    async def histories(self, runs: Sequence[str]) -> dict[str, list[AnyFact] | Corrupt]:
        """Whole histories of many runs, for recovery."""
        ...

    async def since(self, seq: int, limit: int = 1000, *, tenant: str | None = None) -> list[Stored | Corrupt]:
        """Facts of all runs of a tenant (None: of every tenant) after a position. The feed of readers outside the
        engine; it never goes back."""
        ...

    async def position(self) -> int:
        """The highest `seq`; 0 for an empty journal."""
        ...

    async def pruned(self, tenant: str = "default") -> int:
        """The highest `seq` of the tenant's that was pruned; 0 where nothing was. Who has read up to there has missed
        nothing."""
        ...

    @property
    def commits(self) -> int:
        """Transactions committed by this process, for tests and health."""
        ...
