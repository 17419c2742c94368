"""From appends to rows: everything of a batch in as few statements as there are tables.

Optimistic: the entries are applied together as if none conflicts. Where the database disagrees, `Mismatch` says so and
the writer applies them one by one, so that only the guilty one fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, get_args

import msgspec
from msgspec.structs import astuple

from fleetprompt.engine.core.facts import AnyFact
from fleetprompt.engine.ports import Append, Appended, BudgetRefused, ClaimRefused, Conflict, RunHead
from fleetprompt.engine.store import projection
from fleetprompt.engine.store.budget_book import Book, concerns
from fleetprompt.engine.store.budgets import read_book, write_book
from fleetprompt.engine.store.claims import Ledger
from fleetprompt.engine.store.extras import Extras
from fleetprompt.engine.store.statements import Session, Statements
from fleetprompt.engine.store.tables import RUN_IMMUTABLE, RUN_PROGRESS, runs

TAGS: dict[type, str] = {kind: str(kind.__struct_config__.tag) for kind in get_args(AnyFact)}

Refusal = BudgetRefused | ClaimRefused
Outcome = Appended | Refusal | Conflict
_Change = tuple[int, int, RunHead]
"""What a batch does to a run: how many facts it held before, the position of the first new one, its head after."""

_json = msgspec.json.Encoder().encode
_NAMES = [column.name for column in runs.c]
_mutable = itemgetter(*(at for at, name in enumerate(_NAMES) if name not in RUN_IMMUTABLE))
_progress = itemgetter(*(_NAMES.index(name) for name in RUN_PROGRESS))
_standing = itemgetter(
    *(at for at, name in enumerate(_NAMES) if name not in RUN_IMMUTABLE and name not in RUN_PROGRESS)
)
MOST_STANDING = 4096
"""Runs whose standing is remembered: about as many as are ever live at a time."""
_LABELS = _NAMES.index("labels")
_SEQ = _NAMES.index("seq")
_AGENTS = _NAMES.index("agents")


class Mismatch(Exception):
    """The entries cannot be applied together; of a single entry the message says why it cannot be applied."""


class Pending:
    """An append on its way: with its facts as they will be stored."""

    __slots__ = ("data", "entry")

    def __init__(self, entry: Append) -> None:
        self.entry = entry
        self.data = projection.encoded(entry)


class Applier:
    """Turns appends into statements within a transaction."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._standings: dict[str, tuple[int, tuple[Any, ...]]] = {}
        """Run to its number of facts and the columns that seldom change, as they were written last.

        What is not there is written in full, so it is forgotten whenever a transaction is taken back."""

    def forget(self) -> None:
        """A transaction was taken back: nothing is known of what the rows hold."""
        self._standings.clear()

    def apply(self, session: Session, batch: Sequence[Pending], seq: int) -> tuple[list[Outcome], int]:
        """Apply entries behind position `seq`; what became of each, and the last position.

        Raises `Mismatch`, then the transaction has to be taken back; so it has for any error of the driver.
        """
        refused = self._settle(session, batch)
        outcomes: list[Outcome] = []
        journal: list[tuple[Any, ...]] = []
        heads: dict[str, _Change] = {}
        extras = Extras()
        for at, pending in enumerate(batch):
            entry = pending.entry
            run, tenant, n = entry.run, entry.tenant, entry.after
            if refused and (refusal := refused.get(at)):
                outcomes.append(self._check_refusal(session, entry, refusal, heads))
                continue
            first = seq + 1
            known = heads.get(run)
            if known is None:
                heads[run] = (n, first, entry.head)
            elif known[2].n == n and known[2].tenant == tenant:
                heads[run] = (known[0], known[1], entry.head)
            else:
                raise Mismatch
            for fact, data in zip(entry.facts, pending.data, strict=True):
                seq += 1
                n += 1
                journal.append((seq, tenant, run, n, TAGS[type(fact)], fact.at, data))
            outcomes.append(Appended(seq=min(first, seq)))
            extras.add(entry)
        self._statements.journal.execute(session, journal)
        self._write_heads(session, heads)
        if not extras.write(self._statements, session, alone=len(batch) == 1):
            raise Mismatch("its signal was received before")
        return outcomes, seq

    def _settle(self, session: Session, batch: Sequence[Pending]) -> dict[int, Refusal]:
        """Decide budgets and claims, entry by entry; what was refused, by place in the batch."""
        claiming = [(at, p.entry) for at, p in enumerate(batch) if p.entry.takes or p.entry.releases]
        spending = [(at, p.entry) for at, p in enumerate(batch) if concerns(p.entry)]
        if not claiming and not spending:
            return {}
        ledger = Ledger(self._statements, session, [entry for _, entry in claiming]) if claiming else None
        book = read_book(self._statements, session, [entry for _, entry in spending]) if spending else None
        asking = sorted(dict([*claiming, *spending]).items())
        refused = {at: refusal for at, entry in asking if (refusal := _decide(entry, ledger, book))}
        if ledger is not None:
            ledger.write()
        if book is not None:
            write_book(self._statements, session, book)
        return refused

    def _check_refusal(
        self, session: Session, entry: Append, refusal: Refusal, heads: dict[str, _Change]
    ) -> Refusal | Conflict:
        """A refusal counts for a writer that knows the run; one that is behind has to learn that first."""
        known = heads.get(entry.run)
        if known is not None:
            held, tenant = known[2].n, known[2].tenant
        else:
            found = self._statements.run_facts.fetch(session, [(entry.run,)])
            held, tenant = found[0] if found else (0, entry.tenant)
        if held == entry.after and tenant == entry.tenant:
            return refusal
        return conflict(entry, f"it holds {held} facts" if tenant == entry.tenant else "it is another tenant's")

    def _write_heads(self, session: Session, heads: dict[str, _Change]) -> None:
        starts: list[tuple[Any, ...]] = []
        steps: list[tuple[Any, ...]] = []
        progress: list[tuple[Any, ...]] = []
        standings = self._standings
        if len(standings) > MOST_STANDING:
            standings.clear()
        for run, (after, first, head) in heads.items():
            row = head_row(head)
            standing = _standing(row)
            if not after:
                starts.append((*row[:_SEQ], first, *row[_SEQ + 1 :]))
            elif standings.get(run) == (after, standing):
                progress.append((run, head.tenant, after, *_progress(row)))
            else:
                steps.append((run, head.tenant, after, *_mutable(row)))
            if head.finished_at is None:
                standings[run] = (head.n, standing)
            else:
                standings.pop(run, None)
        if starts and self._statements.run_insert.execute(session, starts) != len(starts):
            raise Mismatch("it exists already")
        if steps and self._statements.run_update.execute(session, steps) != len(steps):
            raise Mismatch("it holds another number of facts")
        if progress and self._statements.run_progress.execute(session, progress) != len(progress):
            raise Mismatch("it holds another number of facts")


def _decide(entry: Append, ledger: Ledger | None, book: Book | None) -> Refusal | None:
    """Settle an entry with both, or with neither."""
    drafted = book if book is not None and concerns(entry) else None
    refusal: Refusal | None = drafted.settle(entry) if drafted is not None else None
    if refusal is None and ledger is not None and (entry.takes or entry.releases):
        refusal = ledger.settle(entry)
    if refusal is None and drafted is not None:
        drafted.keep()
    return refusal


def head_row(head: RunHead) -> tuple[Any, ...]:
    """A head as a row of `runs`."""
    row = astuple(head)
    labels = _json(head.labels).decode() if head.labels else "{}"
    tools = _json(head.tools).decode() if head.tools else "[]"
    models = _json(head.models).decode() if head.models else "[]"
    agents = _json(head.agents).decode() if head.agents else "[]"
    return (*row[:_LABELS], labels, tools, models, *row[_SEQ:_AGENTS], agents, *row[_AGENTS + 1 :])


def conflict(entry: Append, reason: str) -> Conflict:
    """The error for an entry that is behind the journal."""
    return Conflict(f"run {entry.run} cannot go on after fact {entry.after}: {reason}", where=entry.run)
