"""What a memory store would have on disk: tables as dicts of immutable values, so that a copy is cheap."""

from __future__ import annotations

from msgspec import Struct

from fleetprompt.engine.core.audit import AuditEntry, Head
from fleetprompt.engine.core.dead_letter import DeadLetter
from fleetprompt.engine.core.delivery import Delivery
from fleetprompt.engine.core.firing import Firing, Standing
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports import Approval, Budget, Holder, LogLine, RunHead, Vote, Wait, Workflow
from fleetprompt.engine.ports.agents import AgentSession
from fleetprompt.engine.ports.grant import WorkflowGrant
from fleetprompt.engine.ports.kept_answer import KeptAnswer
from fleetprompt.engine.ports.memory import Memory
from fleetprompt.engine.ports.operations import Switch
from fleetprompt.engine.ports.token import Token
from fleetprompt.engine.store.budget_book import Key, Reservation
from fleetprompt.engine.store.lines import Tally
from fleetprompt.engine.store.projection import Cost


class Row(Struct, frozen=True):
    """A fact as the journal keeps it: encoded, so that what comes out is what a real store gives."""

    seq: int
    run: str
    n: int
    data: bytes


class State:
    """Every table. Values are never changed in place, except for the lists, which `copy` copies."""

    def __init__(self) -> None:
        self.seq = 0
        self.sequence = 0
        self.journal: dict[int, Row] = {}
        self.pruned: dict[str, int] = {}
        """By tenant: the highest position that went."""
        self.histories: dict[str, list[Row]] = {}
        self.runs: dict[str, RunHead] = {}
        self.waits: dict[tuple[str, str], Wait] = {}
        self.claims: dict[tuple[str, str], dict[tuple[str, str], Holder]] = {}
        """(tenant, scope) to (run, path) to holder."""
        self.budgets: dict[Key, Budget] = {}
        self.reservations: dict[Key, Reservation] = {}
        self.signals: dict[str, Signal] = {}
        self.keys: dict[tuple[str, str], str] = {}
        self.unrouted: dict[str, None] = {}
        self.results: dict[str, dict[str, Result]] = {}
        self.approvals: dict[str, Approval] = {}
        self.votes: dict[tuple[str, int, str], tuple[Vote, str]] = {}
        """(approval, level, person) to the vote and the signal that brought it."""
        self.costs: dict[tuple[str, int], Cost] = {}
        """By run and number of the fact that tells of it."""
        self.agent_sessions: dict[str, dict[str, AgentSession]] = {}
        """By run and id."""
        self.grants: dict[Key, WorkflowGrant] = {}
        self.schedules: dict[tuple[str, str, str], Standing] = {}
        """By workflow, trigger and tenant."""
        self.switches: dict[str, Switch] = {}
        self.cursors: dict[str, int] = {}
        self.kept_answers: dict[tuple[str, str], KeptAnswer] = {}
        """By tenant and key."""
        self.audit: dict[tuple[str, int], AuditEntry] = {}
        """By tenant and place in its chain."""
        self.audit_heads: dict[str, Head] = {}
        self.firing_seq = 0
        self.firings: dict[int, Firing] = {}
        self.firing_keys: dict[tuple[str, str, str, str], int] = {}
        """Workflow, trigger, time and tenant to the position."""
        self.letter_seq = 0
        self.dead_letters: dict[tuple[str, str], DeadLetter] = {}
        """By tenant and id."""
        self.delivery_seq = 0
        self.deliveries: dict[tuple[str, str], Delivery] = {}
        """By tenant and id."""
        self.delivery_leases: dict[tuple[str, str], tuple[str, float]] = {}
        """The same: who holds it, and until when."""
        self.tokens: dict[str, tuple[Token, str]] = {}
        """By id: the token, and the digest of what is shown."""
        self.memory_seq = 0
        self.memories: dict[Key, Memory] = {}
        self.vectors: dict[int, bytes] = {}
        """By the positions of the memories."""
        self.plans: dict[str, dict[str, tuple[bytes, str]]] = {}
        """By digest and tenant."""
        self.workflows: dict[tuple[str, str], Workflow] = {}
        self.first_seen: dict[tuple[str, str], float] = {}
        """When the first plan of a workflow was kept, by tenant and name."""
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.blob_refs: dict[tuple[str, str, str], None] = {}
        """(tenant, digest, run); an empty run pins the blob."""
        self.logs: dict[str, list[tuple[int, LogLine]]] = {}
        """By run: position within the run, and the line."""
        self.log_tenants: dict[str, str] = {}
        self.log_tallies: dict[tuple[str, str, int], Tally] = {}

    def copy(self) -> State:
        """An independent copy."""
        other = State()
        for name, value in vars(self).items():
            setattr(other, name, value.copy() if isinstance(value, dict) else value)
        other.histories = {run: list(rows) for run, rows in self.histories.items()}
        other.claims = {scope: dict(holders) for scope, holders in self.claims.items()}
        other.results = {signal: dict(results) for signal, results in self.results.items()}
        other.agent_sessions = {run: dict(sessions) for run, sessions in self.agent_sessions.items()}
        other.plans = {digest: dict(kept) for digest, kept in self.plans.items()}
        other.logs = {run: list(kept) for run, kept in self.logs.items()}
        return other

    def count(self) -> dict[str, int]:
        """Rows by table."""
        return {
            "budgets": len(self.budgets),
            "reservations": len(self.reservations),
            "journal": len(self.journal),
            "runs": len(self.runs),
            "waits": len(self.waits),
            "claims": sum(len(holders) for holders in self.claims.values()),
            "signals": len(self.signals),
            "results": sum(len(results) for results in self.results.values()),
            "approvals": len(self.approvals),
            "votes": len(self.votes),
            "costs": len(self.costs),
            "agent_sessions": sum(len(sessions) for sessions in self.agent_sessions.values()),
            "grants": len(self.grants),
            "schedules": len(self.schedules),
            "firings": len(self.firings),
            "dead_letters": len(self.dead_letters),
            "deliveries": len(self.deliveries),
            "kept_answers": len(self.kept_answers),
            "switches": len(self.switches),
            "audit": len(self.audit),
            "memories": len(self.memories),
            "tokens": len(self.tokens),
            "plans": sum(len(kept) for kept in self.plans.values()),
            "workflows": len(self.workflows),
            "blobs": len(self.blobs),
            "logs": sum(len(kept) for kept in self.logs.values()),
        }
