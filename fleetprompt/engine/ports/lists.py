"""Runs, signals and approvals as lists show them and as the engine looks them up."""

from __future__ import annotations

import builtins
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from fleetprompt.engine.core.dead_letter import DeadLetter
from fleetprompt.engine.core.facts import Blob, WaitingOn
from fleetprompt.engine.core.firing import Firing
from fleetprompt.engine.core.query import Query
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports.journal import RunHead, Wait
from fleetprompt.engine.ports.lineage import Lineage


class Page(Struct, frozen=True):
    """Which part of a list: newest first, `limit` rows after `cursor` (opaque, from the previous page)."""

    limit: int = 50
    cursor: str = ""
    oldest_first: bool = False


class Order(Struct, frozen=True):
    """By what runs are sorted. Those that are equal in it follow from the newest (highest `seq`) to the oldest.

    `workflow` is sorted without regard to letter case. `duration` ends now for a run that has not ended; runs that
    have not started come last, whichever the direction.
    """

    by: Literal["created", "updated", "status", "workflow", "duration", "cost", "tokens"] = "created"
    descending: bool = True


NEWEST_FIRST = Order()


class Runs(Protocol):
    """The `runs` projection and the wait rows."""

    async def get(self, run: str, tenant: str | None = None) -> RunHead | None:
        """The run of that id, if it is the tenant's; None: whosever it is, for the engine, which is nobody's."""
        ...

    async def find(self, text: str, tenant: str = "default") -> list[str]:
        """Ids that equal the text, or begin or end with it (at most 10)."""
        ...

    async def list(self, query: Query, page: Page, *, now: float, tenant: str = "default") -> tuple[list[RunHead], str]:
        """Matching runs and the cursor of the next page (empty at the end)."""
        ...

    async def count(self, query: Query, *, now: float, tenant: str = "default") -> int: ...

    async def index(self, query: Query, order: Order, *, now: float, tenant: str = "default") -> array[int]:
        """The `seq` of every matching run in that order, eight bytes each: a list whose rows are read when they are
        shown. Raises `InvalidInput` for a bad filter."""
        ...

    async def heads(self, seqs: Sequence[int], *, tenant: str = "default") -> builtins.list[RunHead | None]:
        """The runs of these `seq`, in the order asked; None for one that is gone."""
        ...

    async def matching(
        self, ids: Sequence[str], query: Query, *, now: float, tenant: str = "default"
    ) -> builtins.list[tuple[RunHead, bool]]:
        """The runs of these ids as they are now, in the order asked, each with whether it matches: how a list learns
        what became of runs that changed. Those that are gone are left out. Raises `InvalidInput` for a bad filter."""
        ...

    async def tally(self, query: Query, *, now: float, tenant: str = "default") -> dict[str, int]:
        """How many runs match, by status; a status that none has is left out. Raises `InvalidInput`."""
        ...

    async def values(
        self, field: str, query: Query, prefix: str = "", limit: int = 20, *, now: float, tenant: str = "default"
    ) -> builtins.list[tuple[str, int]]:
        """What matching runs hold in a field of the filter language, for completion: each value that begins with
        `prefix` (in any letter case) and how many runs have it, the most frequent first. `label` means the keys of
        labels, `label.env` the values of one; `error` the codes of errors; numbers and times have none.

        Only the newest 20,000 matching runs are looked at. Raises `InvalidInput` for a bad filter or an unknown field.
        """
        ...

    async def unfinished(self, *, now: float, limit: int = 10_000) -> list[RunHead]:
        """What an engine has to take up at start: pending, running, waiting for a slot or a finished child,
        or parked with a `wake_at` that has come. Parked runs are not among them."""
        ...

    async def due(self, now: float, limit: int = 1000) -> tuple[list[str], float | None]:
        """Parked runs whose `wake_at` has come, and the next `wake_at` after now."""
        ...

    async def waiting(
        self, on: WaitingOn, ref: str, *, key: str | None = None, tenant: str = "default"
    ) -> list[tuple[str, Wait]]:
        """Steps that wait. `signal`: `ref` is a signal type, patterns are matched; otherwise it is compared.
        With a `key` only those that wait for this key, or for any."""
        ...

    async def last_completed(self, workflow: str, tenant: str = "default") -> str | None:
        """Id of the last completed run of a workflow."""
        ...


class Publication(Struct, frozen=True):
    """What became of an attempt to publish."""

    signal: Signal
    """As stored; the earlier one when the key was seen before."""
    duplicate: bool = False
    routed: bool = False
    """It is done with: nobody hears it."""
    waited: bool = True
    """Steps may wait for it; False: none did when it was stored. Of votes it is not looked whether."""


class Unheard(Struct, frozen=True):
    """What is stored with a signal that starts nothing."""

    reason: str = ""
    """Why that is, where triggers hear it: its result."""
    firings: tuple[Firing, ...] = ()
    """What is recorded of these triggers."""


class Signals(Protocol):
    """Signals, their results and their routing state."""

    async def publish(self, signal: Signal, *, unheard: Unheard | None = None) -> Publication:
        """Store a signal as new, or find the earlier one with its key. A vote (`fleet.approval.vote`) inserts
        its vote row in the same transaction; raises `Refused` when that person has voted already and the
        votes that are there decide, or the approval is closed. A vote that corrects an earlier one is kept in its place
        once a fact tells it. `unheard`: it starts nothing, so it is stored as done with, and this beside it, where
        no step waits for its type in that transaction."""
        ...

    async def unrouted(self, limit: int = 1000) -> list[Signal]:
        """Signals nobody has routed yet, oldest first."""
        ...

    async def backlog(self, most: int = 1000) -> int:
        """How many signals nobody has routed yet; so many are counted at most, and none of them is read."""
        ...

    async def close(
        self,
        signal: str,
        results: Iterable[Result] = (),
        *,
        dead: Iterable[DeadLetter] = (),
        revived: Sequence[str] = (),
    ) -> None:
        """Mark a signal routed, with results that belong to no run's append; with the letters about what it came to
        nothing at, and the ids of those that it has made good."""
        ...

    async def get(self, signal: str, tenant: str | None = None) -> Signal | None:
        """The signal of that id, if it is the tenant's; None: whosever it is, for the engine."""
        ...

    async def of_key(self, key: str, tenant: str = "default") -> Signal | None:
        """The signal that has this key."""
        ...

    async def results(self, signal: str, tenant: str | None = None) -> tuple[bool, list[Result]]:
        """Whether it is routed, and what came of it so far; nothing of one that is not the tenant's (None: whosever it
        is, for the engine)."""
        ...

    async def answers(
        self, ids: Sequence[str], tenant: str = "default"
    ) -> dict[str, tuple[bool, builtins.list[Result]]]:
        """The same of many at once, by id; those that the tenant does not have are left out."""
        ...

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[list[Signal], str]: ...

    async def ids(self, query: Query, *, now: float, tenant: str = "default") -> builtins.list[str]:
        """The ids of all matching signals, the newest first. Raises `InvalidInput` for a bad filter."""
        ...

    async def several(self, ids: Sequence[str], tenant: str = "default") -> builtins.list[Signal]:
        """The signals of these ids, the oldest first; those that the tenant does not have are left out."""
        ...

    async def lineage(self, signal: str, tenant: str = "default") -> Lineage | None:
        """Where a signal came from and what came of it; None for one that the tenant does not have."""
        ...


class Approval(Struct, frozen=True, kw_only=True):
    """An approval as the inbox shows it."""

    id: str
    tenant: str
    run: str
    path: str
    workflow: str
    status: Literal["pending", "approved", "rejected", "failed", "withdrawn"]
    digest: str
    message: str
    requested_at: float
    show: Any = None
    approvers: tuple[str, ...] = ()
    barred: tuple[str, ...] = ()
    """Identities that may not decide, whatever `approvers` says: who started the run, where duties are kept apart."""
    quorum: int = 1
    form: dict[str, Any] = {}
    until: float | None = None
    on_timeout: str = "reject"
    level: int = 0
    decided_at: float | None = None
    reason: str = ""
    input: Any = None
    """For a gated step: its rendered input, which is what an approval releases."""
    secrets: dict[str, list[Any]] = {}
    """Where secrets go into `input`: a JSON pointer to texts and `{"secret": NAME}`; the text there is empty."""
    blob: Blob | None = None
    """An input that is too large to be kept here."""
    about: str = ""
    """What a running step asks, see `ApprovalRequested.about`; empty: whether the step itself may be done."""
    call: str = ""
    """Key of the call inside the step that it is about."""
    escalate: dict[str, Any] = {}
    """For a call: whom it can be handed on to, `{to, timeout, on_timeout}`; what a step names stands in its plan."""


class Vote(Struct, frozen=True, kw_only=True):
    """One person's decision, their last one; at most one per approval, level and person."""

    approval: str
    by: str
    decision: Literal["approved", "rejected"]
    at: float
    level: int = 0
    comment: str = ""
    values: dict[str, Any] = {}
    via: str = ""
    grant: str = ""
    """`run` or `workflow`: calls like this one need not be asked about any more."""
    ends: bool = False
    """A rejection after which the step does not go on."""


class Approvals(Protocol):
    """The approvals projection and the votes. Without a tenant an id is looked up whosever it is, for the engine."""

    async def get(self, approval: str, tenant: str | None = None) -> Approval | None: ...

    async def find(self, text: str, tenant: str = "default") -> list[str]: ...

    async def votes(self, approval: str, tenant: str | None = None) -> list[Vote]: ...

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[list[Approval], str]: ...

    async def ids(self, query: Query, *, now: float, tenant: str = "default") -> builtins.list[str]:
        """The ids of all matching approvals, the oldest first. Raises `InvalidInput` for a bad filter."""
        ...

    async def several(self, ids: Sequence[str], tenant: str = "default") -> builtins.list[tuple[Approval, list[Vote]]]:
        """The approvals of these ids, the oldest first, each with its votes of all levels; those that the tenant does
        not have are left out."""
        ...
