"""What appends carry besides facts, heads and claims: waits, signals, results, blobs, approvals, costs."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import astuple

from fleetprompt.engine.core.audit import AuditNote
from fleetprompt.engine.core.delivery import Delivery
from fleetprompt.engine.core.evolve_work import GRANTED
from fleetprompt.engine.core.facts import (
    ApprovalDecided,
    ApprovalRequested,
    ApprovalVoted,
    RunCreated,
    StepFailed,
    StepNoted,
    StepSucceeded,
)
from fleetprompt.engine.core.firing import Firing
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.core.spending import CALLS
from fleetprompt.engine.ports import Append, Wait
from fleetprompt.engine.store import agent_book, approvals, audit, projection
from fleetprompt.engine.store.agent_sessions import write_sessions
from fleetprompt.engine.store.grants import grant_row
from fleetprompt.engine.store.projection import ApprovalFact
from fleetprompt.engine.store.statements import Session, Statements

_json = msgspec.json.Encoder().encode


class Extras:
    """Collected over the entries of a batch in order, then written table by table."""

    def __init__(self) -> None:
        self._waits: dict[tuple[str, str, str], Wait | None] = {}
        self._signals: list[tuple[Any, ...]] = []
        self._received = 0
        self._deliveries: list[tuple[Any, ...]] = []
        self._results: dict[tuple[str, str, str], tuple[Any, ...]] = {}
        self._refused: list[tuple[str, str]] = []
        self._routed: list[tuple[str, str]] = []
        self._blobs: dict[tuple[str, str], tuple[Any, ...]] = {}
        self._refs: dict[tuple[str, str, str], None] = {}
        self._approvals: list[tuple[ApprovalFact, Append]] = []
        self._costs: list[tuple[Any, ...]] = []
        self._grants: list[tuple[Any, ...]] = []
        self._audit: list[AuditNote] = []
        self._working: list[Append] = []
        """Those that tell of agents at work."""

    def add(self, entry: Append) -> None:
        """Take what this entry carries."""
        tenant, run = entry.tenant, entry.run
        for path in entry.unwaits:
            self._waits[(run, path, tenant)] = None
        for wait in entry.waits:
            self._waits[(run, wait.path, tenant)] = wait
        if entry.received is not None:
            self._signals.append(signal_row(entry.received))
            self._received += 1
            if entry.received.audit is not None:
                self._audit.append(entry.received.audit)
        for signal in entry.signals:
            self._signals.append(signal_row(signal))
        self._deliveries += map(delivery_row, entry.deliveries)
        for result in entry.results:
            self.add_result(result, tenant)
        for signal in entry.routed:
            self.add_routed(signal, tenant)
        for digest, data in entry.blobs:
            self._blobs.setdefault((tenant, digest), (tenant, digest, len(data), data))
            self._refs[(tenant, digest, run)] = None
        spent = allowed = False
        for fact in entry.facts:
            if isinstance(fact, (ApprovalRequested, ApprovalVoted, ApprovalDecided)):
                self._approvals.append((fact, entry))
            elif isinstance(fact, RunCreated) and fact.source.digest:
                self._refs[(tenant, fact.source.digest, run)] = None
            elif isinstance(fact, StepNoted):
                spent = spent or fact.kind in CALLS
                allowed = allowed or fact.kind == GRANTED
            elif isinstance(fact, (StepSucceeded, StepFailed)) and fact.usage:
                spent = True
            # A fork's facts refer to blobs that it does not bring.
            if (blob := getattr(fact, "blob", None)) is not None:
                self._refs[(tenant, blob.digest, run)] = None
        if spent:
            self._costs += map(astuple, projection.costs(entry))
        if agent_book.concerns(entry):
            self._working.append(entry)
        if allowed:
            self._grants += map(grant_row, projection.granted(entry))

    def add_result(self, result: Result, tenant: str) -> None:
        """Take one answer to a signal."""
        self._results[(result.signal, result.run, tenant)] = result_row(result, tenant)
        if result.status == "refused":
            self._refused.append((result.signal, tenant))

    def add_routed(self, signal: str, tenant: str) -> None:
        """Take a signal that is done with."""
        self._routed.append((signal, tenant))

    def write(self, statements: Statements, session: Session, *, alone: bool) -> bool:
        """Write it all; False when a received signal is known, or, unless `alone`, when any signal is.

        A run may emit what it emitted before: that is ignored. In a batch it cannot be told from the other case.
        """
        gone = [key for key, wait in self._waits.items() if wait is None]
        kept = [
            (tenant, run, path, wait.on, wait.ref, wait.key, wait.on == "signal" and "*" in wait.ref)
            for (run, path, tenant), wait in self._waits.items()
            if wait is not None
        ]
        statements.waits_delete.execute(session, gone)
        statements.waits_upsert.execute(session, kept)
        expected = self._received if alone else len(self._signals)
        if statements.signals_insert.execute(session, self._signals[:expected]) != expected:
            return False
        statements.signals_insert.execute(session, self._signals[expected:])
        statements.deliveries_insert.execute(session, self._deliveries)
        statements.results_upsert.execute(session, [*self._results.values()])
        statements.votes_withdraw.execute(session, self._refused)
        statements.routed.execute(session, self._routed)
        statements.blobs_insert.execute(session, [*self._blobs.values()])
        statements.refs_insert.execute(session, [*self._refs])
        statements.costs_insert.execute(session, self._costs)
        statements.grants_insert.execute(session, self._grants)
        if self._working:
            write_sessions(statements, session, self._working)
        for fact, entry in self._approvals:
            approvals.apply_fact(session.connection, fact, entry)
        # Last: on Postgres others wait for the heads of the chains from here on.
        audit.write(session, statements.dialect, self._audit)
        return True


def delivery_row(delivery: Delivery) -> tuple[Any, ...]:
    """A new delivery as a row of `deliveries`, without its `seq`: nobody holds it."""
    return (*astuple(delivery)[:-1], "", 0.0)


def firing_row(firing: Firing) -> tuple[Any, ...]:
    """A firing as a row of `firings`, without its `seq`."""
    return astuple(firing)[:-1]


def result_row(result: Result, tenant: str) -> tuple[Any, ...]:
    """An answer to a signal as a row of `results`."""
    return (tenant, result.signal, result.run, result.status, result.reason, _json(result.data))


def signal_row(signal: Signal) -> tuple[Any, ...]:
    """A new signal as a row of `signals`, without its `seq`."""
    return (
        signal.id,
        signal.tenant,
        signal.type,
        signal.source,
        signal.at,
        signal.key,
        signal.correlation,
        _json(msgspec.structs.replace(signal, audit=None)),
        False,
        signal.causation,
    )
