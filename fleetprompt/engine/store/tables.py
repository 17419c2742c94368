"""The schema. `tenant` is NOT NULL in every table and part of every unique key; ids come first in the keys because
they are what is looked up.

JSON is kept as text and facts as bytes, so that both databases hold the same and no driver re-encodes them. A change
here needs a migration: a test compares the two.
"""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase

import sqlalchemy as sa

metadata = sa.MetaData()

_Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""SQLite numbers rows by itself only in a column of type INTEGER."""


_Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Both databases order texts by their bytes."""


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, _Text, nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, _Big, nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=nullable)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)


journal = sa.Table(
    "journal",
    metadata,
    sa.Column("seq", _Big, primary_key=True, autoincrement=False),
    _text("tenant"),
    _text("run"),
    _number("n"),
    _text("type"),
    _time("at"),
    _bytes("data"),
    sa.Index("journal_run", "run", "n", "tenant", unique=True),
)

runs = sa.Table(
    "runs",
    metadata,
    # In the order of RunHead's fields: a row is made from a head without naming each.
    _text("id"),
    _text("tenant"),
    _text("workflow"),
    _text("plan"),
    _text("status"),
    _number("n"),
    _time("created_at"),
    _time("updated_at"),
    sa.Column("waiting_on", _Text),
    _time("started_at", nullable=True),
    _time("finished_at", nullable=True),
    _time("wake_at", nullable=True),
    _text("step"),
    _number("steps_done"),
    _number("attempt"),
    _text("error_code"),
    _text("error_message"),
    _text("error_step"),
    _number("cost_nano"),
    _number("tokens"),
    _text("root"),
    _text("parent"),
    _text("parent_path"),
    _text("retry_of"),
    _text("correlation"),
    _text("owner"),
    _text("project"),
    _text("session"),
    _text("trigger"),
    _text("host"),
    _number("priority"),
    _text("labels"),
    _text("tools"),
    _text("models"),
    # Short and ever rising: a list of a hundred thousand runs is read from an index, and no write seeks its place.
    sa.Column("seq", _Big, primary_key=True, autoincrement=False),
    sa.Column("uncertain_nano", _Big, nullable=False, server_default="0"),
    sa.Column("mode", _Text, nullable=False, server_default=""),
    sa.Column("agents", _Text, nullable=False, server_default="[]"),
    sa.Index("runs_id", "id", "tenant", unique=True),
)
_ORIGIN = frozenset({"root", "parent", "parent_path", "retry_of", "correlation", "trigger"})
_BELONGING = frozenset({"owner", "project", "session", "labels"})
RUN_IMMUTABLE = frozenset({"id", "tenant", "workflow", "plan", "created_at", "seq"}) | _ORIGIN | _BELONGING
"""Columns that the first append sets for good."""
RUN_PROGRESS = ("n", "updated_at", "step", "steps_done", "cost_nano", "tokens")
"""Columns that change with every step. No index knows them, so changing them alone is cheap."""


PARTIAL: list[tuple[sa.Index, sa.ColumnElement[bool]]] = []
"""Indexes of some rows. Every dialect says so in its own way, and only the one in use is worth its import."""


def _partial(index: sa.Index, where: sa.ColumnElement[bool]) -> None:
    PARTIAL.append((index, where))


def _literal(column: sa.Column[str], *values: str) -> sa.ColumnElement[bool]:
    """A condition without parameters: only such a one is recognised as that of a partial index."""
    return column.in_([sa.literal_column(f"'{value}'") for value in values])


_FOR_SLOT = sa.and_(_literal(runs.c.status, "waiting"), _literal(runs.c.waiting_on, "slot"))
LIVE = sa.or_(_literal(runs.c.status, "pending", "running"), _FOR_SLOT)
"""What an engine takes up whatever the time is."""

# Lists are in the order of creation: what was created in one moment, as it was stored.
sa.Index("runs_created", runs.c.tenant, runs.c.created_at, runs.c.seq)
sa.Index("runs_status", runs.c.tenant, runs.c.status, runs.c.created_at, runs.c.seq)
_partial(sa.Index("runs_live", runs.c.created_at, runs.c.seq), LIVE)
_partial(sa.Index("runs_wake", runs.c.wake_at), runs.c.wake_at.is_not(None))
# Figures read nothing else of the runs that are over: what ended when, and how the runs of a workflow did.
OVER = runs.c.finished_at.is_not(None)
_OUTCOME = (runs.c.tenant, runs.c.workflow, runs.c.status, runs.c.finished_at, runs.c.started_at)
_partial(sa.Index("runs_ended", runs.c.tenant, runs.c.finished_at, runs.c.status), OVER)
_partial(sa.Index("runs_outcomes", *_OUTCOME), OVER)
UNREAL_RUNS = _literal(runs.c.mode, "replay", "simulated")
_partial(sa.Index("runs_unreal", runs.c.tenant, runs.c.workflow, runs.c.finished_at), UNREAL_RUNS)


def folded(column: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """The letters A to Z in lower case and no others, as Postgres says it."""
    letters = [sa.literal_column(f"'{letters}'", sa.Text()) for letters in (ascii_uppercase, ascii_lowercase)]
    return sa.func.translate(column, *letters)


# Filters compare texts without regard to case: these indexes do, too.
for _column in (runs.c.workflow, runs.c.parent):
    _name = f"runs_{_column.name}"
    _nocase = sa.Index(_name, runs.c.tenant, _column.collate("NOCASE"), runs.c.created_at, runs.c.seq)
    _nocase.ddl_if(dialect="sqlite")
    _folded = sa.Index(f"{_name}_folded", runs.c.tenant, folded(_column), runs.c.created_at, runs.c.seq)
    _folded.ddl_if(dialect="postgresql")

costs = sa.Table(
    "costs",
    metadata,
    # In the order of projection.Cost's fields.
    _text("run"),
    _number("n"),
    _text("tenant"),
    _text("workflow"),
    _text("path"),
    _text("step"),
    _text("model"),
    _time("at"),
    _number("cost_nano"),
    _number("tokens"),
    sa.Column("uncertain_nano", _Big, nullable=False, server_default="0"),
    sa.Column("mode", _Text, nullable=False, server_default=""),
    sa.PrimaryKeyConstraint("run", "n", "tenant"),
    # What is asked most, how much was spent of late and by which workflow, is answered without reading the table.
    sa.Index("costs_at", "tenant", "at", "cost_nano", "tokens", "uncertain_nano"),
    sa.Index("costs_workflow", "tenant", "workflow", "at", "cost_nano", "tokens"),
)
"""One row for each fact that tells of money, tokens or a model that was called, by its place in the journal."""

waits = sa.Table(
    "waits",
    metadata,
    _text("tenant"),
    _text("run"),
    _text("path"),
    _text("on"),
    _text("ref"),
    _text("key"),
    sa.Column("wild", sa.Boolean, nullable=False),
    sa.PrimaryKeyConstraint("run", "path", "tenant"),
    sa.Index("waits_on", "on", "tenant", "wild", "ref", "key"),
)
"""`wild`: `ref` is a pattern, which an index cannot find by the type of a signal."""

claims = sa.Table(
    "claims",
    metadata,
    _text("tenant"),
    _text("scope"),
    _text("run"),
    _text("path"),
    _number("amount"),
    _time("at"),
    sa.PrimaryKeyConstraint("tenant", "scope", "run", "path"),
    sa.Index("claims_run", "run", "path"),
)


def _amounts(prefix: str = "") -> list[sa.Column[int]]:
    """Columns in the order of ports.Amounts' fields."""
    return [_number(prefix + name) for name in ("requests", "tokens", "tool_calls", "cost_nano")]


budgets = sa.Table(
    "budgets",
    metadata,
    _text("scope"),
    _text("tenant"),
    _text("run"),
    *_amounts("spent_"),
    *_amounts("reserved_"),
    *_amounts("uncertain_"),
    *_amounts("raised_"),
    sa.PrimaryKeyConstraint("scope", "tenant"),
)
"""How scopes stand that anything was ever reserved at. `run`: whose it is; empty for what many runs share."""
OWNED = budgets.c.run != sa.literal_column("''")
_partial(sa.Index("budgets_run", budgets.c.run), OWNED)

reservations = sa.Table(
    "reservations",
    metadata,
    _text("id"),
    _text("tenant"),
    _text("run"),
    _text("state"),
    _text("scopes"),
    *_amounts(),
    sa.PrimaryKeyConstraint("id", "tenant"),
    sa.Index("reservations_run", "run"),
)
"""`state`: held or settled. `scopes`: the levels at which it holds, the widest first."""

signals = sa.Table(
    "signals",
    metadata,
    sa.Column("seq", _Big, primary_key=True),
    _text("id"),
    _text("tenant"),
    _text("type"),
    _text("source"),
    _time("at"),
    _text("key"),
    _text("correlation"),
    _bytes("data"),
    sa.Column("routed", sa.Boolean, nullable=False),
    sa.Column("causation", _Text, nullable=False, server_default=""),
    sa.Index("signals_id", "id", "tenant", unique=True),
    # The number of a signal that was pruned is not given again.
    sqlite_autoincrement=True,
)
"""`data` is the whole signal; the other columns are for finding it."""
KEYED = signals.c.key != sa.literal_column("''")
CAUSED = signals.c.causation != sa.literal_column("''")
CORRELATED = signals.c.correlation != sa.literal_column("''")
sa.Index("signals_tenant", signals.c.tenant, signals.c.seq)
_partial(sa.Index("signals_key", signals.c.tenant, signals.c.key, unique=True), signals.c.key != "")
# Lineages: what followed from a signal or run, and what belongs to one correlation.
_partial(sa.Index("signals_causation", signals.c.tenant, signals.c.causation, signals.c.seq), CAUSED)
_partial(sa.Index("signals_correlation", signals.c.tenant, signals.c.correlation, signals.c.seq), CORRELATED)
_partial(sa.Index("signals_unrouted", signals.c.seq), sa.not_(signals.c.routed))

results = sa.Table(
    "results",
    metadata,
    _text("tenant"),
    _text("signal"),
    _text("run"),
    _text("status"),
    _text("reason"),
    _bytes("data"),
    sa.PrimaryKeyConstraint("signal", "run", "tenant"),
    sa.Index("results_run", "run"),
)

approvals = sa.Table(
    "approvals",
    metadata,
    _text("id"),
    _text("tenant"),
    _text("run"),
    _text("workflow"),
    _text("path"),
    _text("status"),
    _text("message"),
    _text("approvers"),
    _number("level"),
    _time("requested_at"),
    _time("until", nullable=True),
    _time("decided_at", nullable=True),
    _text("reason"),
    _bytes("data"),
    sa.PrimaryKeyConstraint("id", "tenant"),
    sa.Index("approvals_run", "run"),
    sa.Index("approvals_status", "tenant", "status", "requested_at", "id"),
    sa.Index("approvals_requested", "tenant", "requested_at", "id"),
)
"""`data` is the approval as it was requested; the other columns are for finding it and for what happened since."""

grants = sa.Table(
    "grants",
    metadata,
    _text("id"),
    _text("tenant"),
    _text("workflow"),
    _text("tool"),
    _text("subject"),
    _text("agent"),
    _text("run"),
    _text("by"),
    _time("at"),
    _time("revoked_at", nullable=True),
    _text("revoked_by"),
    sa.PrimaryKeyConstraint("id", "tenant"),
    sa.Index("grants_workflow", "tenant", "workflow", "at"),
)
"""Calls that people have allowed in every run of a workflow; they outlive the runs in which they were given."""

tokens = sa.Table(
    "tokens",
    metadata,
    _text("id"),
    _text("tenant"),
    _text("name"),
    _text("role"),
    _text("digest"),
    _time("created_at"),
    _text("created_by"),
    _time("expires_at", nullable=True),
    _time("revoked_at", nullable=True),
    _text("revoked_by"),
    _time("last_used_at", nullable=True),
    sa.PrimaryKeyConstraint("id", "tenant"),
    sa.Index("tokens_tenant", "tenant", "created_at", "id"),
)
"""Who may come from elsewhere. `digest` is the SHA-256 of what they show; that itself is nowhere."""

memories = sa.Table(
    "memories",
    metadata,
    sa.Column("seq", _Big, primary_key=True),
    _text("id"),
    _text("tenant"),
    _text("scope"),
    _text("type"),
    _text("text"),
    _text("words"),
    _text("digest"),
    _text("tags"),
    _text("run"),
    _text("path"),
    _text("agent"),
    _text("workflow"),
    _text("tool"),
    _text("by"),
    sa.Column("untrusted", sa.Boolean, nullable=False),
    _time("created_at"),
    _time("accessed_at"),
    _number("accesses"),
    _time("expires_at", nullable=True),
    _text("model"),
    _bytes("vector"),
    sa.Index("memories_id", "id", "tenant", unique=True),
    sa.Index("memories_same", "scope", "digest", "tenant", unique=True),
    sa.Index("memories_scope", "tenant", "scope", "seq"),
    sa.Index("memories_expires", "tenant", "expires_at"),
)
"""What agents remember; it outlives the runs that it is from. `words` is what is searched, see `words.py`; what each
database finds them by it makes in its own way, see `Dialect.full_text`."""

agent_sessions = sa.Table(
    "agent_sessions",
    metadata,
    # In the order of AgentSession's fields.
    _text("id"),
    _text("tenant"),
    _text("run"),
    _text("workflow"),
    _text("path"),
    _text("key"),
    _text("agent"),
    _number("attempt"),
    _text("parent"),
    _text("goal"),
    _text("status"),
    _time("started_at"),
    _time("ended_at", nullable=True),
    _time("since", nullable=True),
    _time("active"),
    _number("requests"),
    _number("tool_calls"),
    _number("tokens"),
    _number("cost_nano"),
    _number("uncertain_nano"),
    _text("mode"),
    _text("error_code"),
    sa.Column("retries", _Big, nullable=False, server_default="0"),
    sa.PrimaryKeyConstraint("id", "tenant"),
    sa.Index("agent_sessions_run", "run", "path"),
    sa.Index("agent_sessions_started", "tenant", "started_at", "id"),
    sa.Index("agent_sessions_agent", "tenant", "agent", "started_at", "id"),
    sa.Index("agent_sessions_ended", "tenant", "ended_at"),
)
"""One row for each time that an agent worked on a goal in a run, see ports.AgentSession."""
UNENDED = agent_sessions.c.ended_at.is_(None)

votes = sa.Table(
    "votes",
    metadata,
    _text("tenant"),
    _text("approval"),
    _number("level"),
    _text("by"),
    _time("at"),
    _text("signal"),
    _bytes("data"),
    sa.PrimaryKeyConstraint("approval", "level", "by", "tenant"),
)
_partial(sa.Index("votes_signal", votes.c.signal), votes.c.signal != "")

plans = sa.Table(
    "plans",
    metadata,
    _text("tenant"),
    _text("digest"),
    _text("name"),
    _bytes("body"),
    _text("source"),
    _time("created_at"),
    sa.PrimaryKeyConstraint("digest", "tenant"),
)

workflows = sa.Table(
    "workflows",
    metadata,
    _text("name"),
    _text("tenant"),
    _text("status"),
    _text("plan"),
    _text("file"),
    _time("updated_at"),
    sa.Column("max_runs", _Big),
    sa.Column("active_since", sa.Double, nullable=False, server_default="0"),
    sa.PrimaryKeyConstraint("tenant", "name"),
)

schedules = sa.Table(
    "schedules",
    metadata,
    # In the order of Standing's fields.
    _text("workflow"),
    _text("trigger"),
    _text("tenant"),
    _number("n"),
    _text("rhythm"),
    _time("since"),
    _time("upto"),
    sa.Column("paused", sa.Boolean, nullable=False),
    _time("changed_at"),
    _text("by"),
    _text("reason"),
    sa.PrimaryKeyConstraint("workflow", "trigger", "tenant"),
)
"""How far each schedule has come. `n` rises with every change: whoever decides on old knowledge is refused."""

firings = sa.Table(
    "firings",
    metadata,
    sa.Column("seq", _Big, primary_key=True),
    _text("workflow"),
    _text("trigger"),
    _text("tenant"),
    _text("kind"),
    _text("scheduled"),
    _time("due"),
    _time("at"),
    _text("outcome"),
    _text("reason"),
    _text("signal"),
    _text("run"),
    _text("by"),
    sa.Index("firings_once", "workflow", "trigger", "scheduled", "tenant", unique=True),
    sa.Index("firings_tenant", "tenant", "seq"),
    sa.Index("firings_trigger", "tenant", "workflow", "trigger", "outcome", "seq"),
    # The number of a firing that was pruned is not given again.
    sqlite_autoincrement=True,
)
"""What became of each time of a schedule; that of one time is known once, by its local minute."""

dead_letters = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("seq", _Big, primary_key=True),
    _text("id"),
    _text("tenant"),
    _text("kind"),
    _text("target"),
    _text("trigger"),
    _text("signal"),
    _text("type"),
    _text("source"),
    _text("code"),
    _text("reason"),
    _time("at"),
    _number("attempts"),
    _text("status"),
    sa.Column("settled_at", sa.Double),
    _text("by"),
    sa.Index("dead_letters_id", "id", "tenant", unique=True),
    sa.Index("dead_letters_list", "tenant", "status", "seq"),
    sa.Index("dead_letters_signal", "tenant", "signal"),
    # The number of a letter that was pruned is not given again.
    sqlite_autoincrement=True,
)
"""What did not get where it was to go: one of a signal and a place."""

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("seq", _Big, primary_key=True),
    _text("id"),
    _text("tenant"),
    _text("subscription"),
    _text("signal"),
    _text("type"),
    _text("source"),
    _text("status"),
    _number("attempts"),
    _time("due"),
    _time("created_at"),
    _time("at"),
    _number("http"),
    _text("code"),
    _text("reason"),
    _text("lease"),
    _time("leased_until"),
    sa.Index("deliveries_id", "id", "tenant", unique=True),
    sa.Index("deliveries_list", "tenant", "seq"),
    sa.Index("deliveries_signal", "signal", "tenant"),
    # The number of a delivery that was pruned is not given again.
    sqlite_autoincrement=True,
)
"""Signals on their way to subscriptions. Whoever tries one holds it by a `lease` until a time."""
UNDELIVERED = deliveries.c.status == sa.literal_column("'pending'")
_partial(sa.Index("deliveries_due", deliveries.c.tenant, deliveries.c.subscription, deliveries.c.due), UNDELIVERED)

blobs = sa.Table(
    "blobs",
    metadata,
    _text("tenant"),
    _text("digest"),
    _number("size"),
    _bytes("data"),
    sa.PrimaryKeyConstraint("digest", "tenant"),
)

blob_refs = sa.Table(
    "blob_refs",
    metadata,
    _text("tenant"),
    _text("digest"),
    _text("run"),
    sa.PrimaryKeyConstraint("digest", "run", "tenant"),
    sa.Index("blob_refs_run", "run"),
)
"""Which runs need a blob; an empty run pins it."""

logs = sa.Table(
    "logs",
    metadata,
    sa.Column("id", _Big, primary_key=True),
    _text("tenant"),
    _text("run"),
    _text("path"),
    _number("attempt"),
    _number("first"),
    _number("last"),
    _number("until"),
    _time("at"),
    _number("bytes"),
    _number("dropped"),
    _bytes("data"),
    sa.Index("logs_run", "run", "until", "tenant", unique=True),
    sa.Index("logs_step", "run", "path", "until"),
)
"""Chunks of lines. `first` and `last` number lines within an attempt at a step, `until` the last one within the run;
`at` is the time of the last line, `bytes` what the lines count against the cap."""

switches = sa.Table(
    "switches",
    metadata,
    # In the order of Switch's fields.
    _text("tenant"),
    _text("position"),
    _text("by"),
    _text("reason"),
    _time("at"),
    sa.PrimaryKeyConstraint("tenant"),
)
"""By which the fleet (`*`), or a tenant of it, was paused, drained or stopped."""

audit = sa.Table(
    "audit",
    metadata,
    _text("tenant"),
    _number("seq"),
    _time("at"),
    _text("by"),
    _text("role"),
    _text("via"),
    _text("credential"),
    _text("action"),
    _text("kind"),
    _text("object"),
    _text("outcome"),
    _text("code"),
    _text("detail"),
    _number("count"),
    _text("prev"),
    _text("hash"),
    sa.PrimaryKeyConstraint("tenant", "seq"),
)
"""What operators have changed, and were refused: a chain for each tenant, see `core/audit.py`."""

audit_heads = sa.Table(
    "audit_heads",
    metadata,
    _text("tenant"),
    _number("seq"),
    _text("hash"),
    _number("base_seq"),
    _text("base_hash"),
    sa.PrimaryKeyConstraint("tenant"),
)
"""Where each chain ends, and behind which entry it begins."""

kept_answers = sa.Table(
    "kept_answers",
    metadata,
    # In the order of KeptAnswer's fields.
    _text("tenant"),
    _text("key"),
    _text("request"),
    _time("at"),
    _number("status"),
    _text("headers"),
    _bytes("body"),
    sa.PrimaryKeyConstraint("key", "tenant"),
    sa.Index("kept_answers_at", "at"),
)
"""What requests were answered that may be sent again."""

counters = sa.Table(
    "counters",
    metadata,
    _text("tenant"),
    _text("name"),
    _number("value"),
    sa.PrimaryKeyConstraint("tenant", "name"),
)
"""Numbers that must outlive the rows they were taken from: `seq`, the highest position when pruning last deleted
something, `pruned`, the highest that it has deleted of a tenant, and `cursor/…`, up to where somebody has told others
of the journal."""
PRUNED = "pruned"
