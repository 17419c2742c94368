"""The store in memory: for dry runs, tests and simulations. Same meaning as the one on disk, nothing survives.

Deterministic: no threads, no clock, no files. An append is applied when it is called and its future resolves on the
next turn of the loop. `dump` and `restore` copy what would be durable, so that a simulation can crash and reopen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, tzinfo
from itertools import islice

import msgspec

from fleetprompt.engine.core import codec
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.facts import AnyFact
from fleetprompt.engine.ports import (
    Append,
    Appended,
    ClaimRefused,
    Conflict,
    Corrupt,
    Health,
    Holder,
    Stored,
    Take,
)
from fleetprompt.engine.store import budget_book, lines, memory_tables, projection
from fleetprompt.engine.store.budget_book import Book
from fleetprompt.engine.store.memory_agents import MemoryAgentSessions
from fleetprompt.engine.store.memory_audit import MemoryAudit
from fleetprompt.engine.store.memory_dead_letters import MemoryDeadLetters
from fleetprompt.engine.store.memory_deliveries import MemoryDeliveries
from fleetprompt.engine.store.memory_figures import MemoryFigures
from fleetprompt.engine.store.memory_firings import MemoryFirings
from fleetprompt.engine.store.memory_logs import MemoryLogs
from fleetprompt.engine.store.memory_memories import MemoryMemories
from fleetprompt.engine.store.memory_operations import MemoryOperations
from fleetprompt.engine.store.memory_parts import (
    MemoryBlobs,
    MemoryBudgets,
    MemoryCatalog,
    MemoryClaims,
    MemoryGrants,
    MemoryKeptAnswers,
    MemoryTokens,
)
from fleetprompt.engine.store.memory_queries import MemoryApprovals, MemoryRuns, MemorySignals
from fleetprompt.engine.store.memory_state import Row, State
from fleetprompt.engine.store.writer import into

OnAppend = Callable[[Append, bool], None]


class Crash(BaseException):
    """Raised by an `on_append` hook: the future of that append never resolves, as after a `kill -9`."""


class MemoryStore:
    """A whole store in memory; labelled by what it is, since nothing in it survives the process.

    `on_append(entry, durable)` is called for each append, first with False and, once it is applied, with True. What
    it raises is the answer to the append (with False nothing was written); `Crash` leaves it without one.
    `zone` is where the days of filters such as `since:today` begin.
    """

    label = where = "in memory, not durable"

    def __init__(self, *, on_append: OnAppend | None = None, zone: tzinfo = UTC, log_cap: int = lines.STEP_CAP) -> None:
        self.journal = MemoryJournal(State(), on_append)
        self._wire(self.journal.state, zone, log_cap)
        self._zone = zone
        self._log_cap = log_cap

    def _wire(self, state: State, zone: tzinfo, log_cap: int) -> None:
        self.journal.state = state
        self.runs = MemoryRuns(state, zone)
        self.signals = MemorySignals(state, zone)
        self.approvals = MemoryApprovals(state, zone)
        self.catalog = MemoryCatalog(state)
        self.blobs = MemoryBlobs(state)
        self.claims = MemoryClaims(state)
        self.budgets = MemoryBudgets(state)
        self.grants = MemoryGrants(state)
        self.firings = MemoryFirings(state, zone)
        self.deliveries = MemoryDeliveries(state, zone)
        self.dead_letters = MemoryDeadLetters(state, zone)
        self.memories = MemoryMemories(state)
        self.tokens = MemoryTokens(state)
        self.operations = MemoryOperations(state)
        self.audit = MemoryAudit(state)
        self.kept_answers = MemoryKeptAnswers(state)
        self.agents = MemoryAgentSessions(state, zone)
        self.figures = MemoryFigures(state, zone)
        self.logs = MemoryLogs(state, log_cap)

    def lease(self) -> None:
        """None: nobody else can reach it."""

    async def open(self) -> None:
        """Nothing to connect to; may be called again after `close`."""
        self.journal.closed = False

    async def close(self) -> None:
        """Refuse further appends."""
        self.journal.closed = True

    async def changed(self, token: int) -> int:
        """Always the token: no other process can write here."""
        return token

    def dump(self) -> State:
        """A copy of everything that would be durable at this moment."""
        return self.journal.state.copy()

    def restore(self, dump: State) -> None:
        """Go back to a dump, which stays usable. Parts that were taken from this store before are stale."""
        self._wire(dump.copy(), self._zone, self._log_cap)

    async def prune(
        self,
        *,
        before: float,
        logs_before: float | None = None,
        tenant: str = "default",
        workflows: Mapping[str, float] | None = None,
    ) -> dict[str, int]:
        """Delete finished runs that ended before a time, with all that is theirs, and routed signals as old."""
        return memory_tables.prune(self.journal.state, before, logs_before, tenant, workflows or {})

    async def size(self) -> tuple[int, int]:
        """Nothing on any disk."""
        return 0, 0

    async def alone(self, tenant: str) -> bool:
        """Whether nobody else has a workflow, a run, a signal or a token here."""
        state = self.journal.state
        parts = (state.workflows, state.runs, state.signals)
        found = {each.tenant for part in parts for each in part.values()}
        return found | {token.tenant for token, _ in state.tokens.values()} <= {tenant}

    async def check(self) -> Health:
        """Counts, journal rows that cannot be decoded, and budgets that say something else than the reservations."""
        state = self.journal.state
        problems: list[str] = []
        for row in state.journal.values():
            try:
                codec.decode(row.data)
            except codec.CorruptFact as error:
                problems.append(f"run {row.run}, fact {row.n}: {error}")
        problems += budget_book.problems(state.budgets, memory_tables.held(state))
        return Health(
            ok=not problems,
            schema="memory",
            problems=tuple(problems),
            counts=state.count(),
            bytes=sum(len(row.data) for row in state.journal.values()),
        )


class MemoryJournal:
    """The log and everything that an append changes with it."""

    def __init__(self, state: State, on_append: OnAppend | None) -> None:
        self.state = state
        self.on_append = on_append
        self.closed = False
        self._commits = 0

    @property
    def commits(self) -> int:
        """Appends applied: each is its own transaction here."""
        return self._commits

    def append(self, entry: Append) -> asyncio.Future[Appended]:
        """The same as `post` for who waits."""
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self.post(entry, into(future))
        return future

    def post(self, entry: Append, then: Callable[[Appended | Exception], None]) -> None:
        """Apply an entry at once; `then` is called on the next turn of the loop."""
        projection.check(entry)
        answer: Appended | Exception
        try:
            if self.closed:
                raise memory_tables.closed()
            if self.on_append is not None:
                self.on_append(entry, False)
            answer = self._apply(entry)
            if self.on_append is not None:
                self.on_append(entry, True)
        except Crash:
            return
        except FleetError as error:
            answer = error
        asyncio.get_running_loop().call_soon(then, answer)

    def _apply(self, entry: Append) -> Appended:
        state = self.state
        self._check(entry)
        book = self._book_after(entry)
        scopes = self._claims_after(entry)
        if entry.received is not None:
            memory_tables.refuse_known(state, entry.received)
        encoded = projection.encoded(entry)
        memory_tables.refuse_unstorable(entry)
        state.claims.update(scopes)
        if book is not None:
            book.keep()
            state.budgets.update(book.budgets)
            state.reservations.update(book.reservations)
        first = state.seq + 1
        history = state.histories.setdefault(entry.run, [])
        for n, data in enumerate(encoded, entry.after + 1):
            state.seq += 1
            row = Row(seq=state.seq, run=entry.run, n=n, data=data)
            state.journal[state.seq] = row
            history.append(row)
        state.runs[entry.run] = msgspec.structs.replace(entry.head, seq=history[0].seq)
        memory_tables.apply(state, entry)
        self._commits += 1
        return Appended(seq=first if encoded else state.seq)

    def _check(self, entry: Append) -> None:
        head = self.state.runs.get(entry.run)
        held = head.n if head is not None else 0
        if held != entry.after or (head is not None and head.tenant != entry.tenant):
            raise Conflict(f"run {entry.run} holds {held} facts, not {entry.after}")

    def _book_after(self, entry: Append) -> Book | None:
        """What this entry does to budgets, as a draft; None if nothing. Raises `BudgetRefused`."""
        if not budget_book.concerns(entry):
            return None
        book = Book(self.state.budgets, self.state.reservations)
        refused = book.settle(entry)
        if refused is not None:
            raise refused
        return book

    def _claims_after(self, entry: Append) -> dict[tuple[str, str], dict[tuple[str, str], Holder]]:
        """The scopes as they are after this entry. Raises `ClaimRefused`."""
        touched: dict[tuple[str, str], dict[tuple[str, str], Holder]] = {}
        if entry.releases:
            every = "*" in entry.releases
            for key, holders in self.state.claims.items():
                kept = {
                    who: holder
                    for who, holder in holders.items()
                    if key[0] != entry.tenant or who[0] != entry.run or not (every or who[1] in entry.releases)
                }
                if len(kept) != len(holders):
                    touched[key] = kept
        for take in entry.takes:
            key = (entry.tenant, take.slot.scope)
            holders = touched.setdefault(key, dict(self.state.claims.get(key, {})))
            self._take(holders, take, entry)
        return touched

    def _take(self, holders: dict[tuple[str, str], Holder], take: Take, entry: Append) -> None:
        who = (entry.run, take.path)
        if who in holders:
            return
        if sum(holder.amount for holder in holders.values()) + take.slot.amount > take.slot.limit:
            raise ClaimRefused(take.slot, projection.sort_holders(holders.values()))
        holders[who] = Holder(run=entry.run, path=take.path, amount=take.slot.amount, at=entry.head.updated_at)

    async def facts(
        self, run: str, *, after: int = 0, upto: int | None = None, tenant: str | None = None
    ) -> list[Stored | Corrupt]:
        """A run's facts in order, from n > after to n <= upto."""
        rows = self.state.histories.get(run, []) if self._is_of(run, tenant) else []
        return [_read(row) for row in rows if row.n > after and (upto is None or row.n <= upto)]

    async def last(self, runs: Sequence[str], *, tenant: str | None = None) -> dict[str, Stored | Corrupt]:
        """The last fact of each of these runs, by run."""
        rows = {run: self.state.histories.get(run) for run in runs if self._is_of(run, tenant)}
        return {run: _read(row[-1]) for run, row in rows.items() if row}

    async def histories(self, runs: Sequence[str]) -> dict[str, list[AnyFact] | Corrupt]:
        """Whole histories; an unknown run has an empty one."""
        found: dict[str, list[AnyFact] | Corrupt] = {}
        for run in runs:
            facts: list[AnyFact] = []
            found[run] = facts
            for row in self.state.histories.get(run, []):
                read = _read(row)
                if isinstance(read, Corrupt):
                    found[run] = read
                    break
                facts.append(read.fact)
        return found

    async def since(self, seq: int, limit: int = 1000, *, tenant: str | None = None) -> list[Stored | Corrupt]:
        """Facts of all runs of a tenant after a position."""
        rows = (self.state.journal[at] for at in range(seq + 1, self.state.seq + 1) if at in self.state.journal)
        return [_read(row) for row in islice((row for row in rows if self._is_of(row.run, tenant)), limit)]

    def _is_of(self, run: str, tenant: str | None) -> bool:
        return tenant is None or ((head := self.state.runs.get(run)) is not None and head.tenant == tenant)

    async def position(self) -> int:
        """The highest `seq` ever given."""
        return self.state.seq

    async def pruned(self, tenant: str = "default") -> int:
        """The highest `seq` of the tenant's that was pruned."""
        return self.state.pruned.get(tenant, 0)


def _read(row: Row) -> Stored | Corrupt:
    try:
        return Stored(seq=row.seq, run=row.run, n=row.n, fact=codec.decode(row.data))
    except codec.CorruptFact as error:
        return Corrupt(seq=row.seq, run=row.run, n=row.n, reason=str(error))
