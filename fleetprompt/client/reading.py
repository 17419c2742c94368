"""The half of a console that only reads: it is the same wherever the engine is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from fleetprompt.client.figures import Figures
from fleetprompt.client.listing import Listing
from fleetprompt.client.log_reading import LogReading
from fleetprompt.engine.core.errors import FleetError, InvalidInput, NotFound
from fleetprompt.engine.core.facts import AnyFact, Blob
from fleetprompt.engine.core.plan import Plan
from fleetprompt.engine.core.program import Program
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import APPROVAL_FIELDS, RUN_FIELDS, SIGNAL_FIELDS
from fleetprompt.engine.core.run import fold
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import (
    Approval,
    Clock,
    Corrupt,
    Page,
    RunHead,
    Store,
    Stored,
    Vote,
    Workflow,
)
from fleetprompt.engine.ports.grant import WorkflowGrant

LONGEST = 80
"""Characters of what was asked for that are repeated where there is no such thing."""


class Reading(LogReading, Listing, Figures):
    """Lists and looks, of one tenant: what is another's is not there."""

    def __init__(self, store: Store, clock: Clock, tenant: str = "default") -> None:
        self.store = store
        self.clock = clock
        self.tenant = tenant

    async def find(self, text: str) -> str:
        """The id of the one run that the text means."""
        if text == "last":
            heads, _ = await self.runs("", Page(limit=1))
            if not heads:
                raise NotFound("there are no runs yet", hint="start one: fleet run FILE")
            return heads[0].id
        ids = await self.store.runs.find(text, self.tenant)
        return _one(ids, text, "run", "`fleet runs` lists them")

    async def run(self, run: str) -> RunHead:
        """A run's row."""
        head = await self.store.runs.get(run, self.tenant)
        if head is None:
            raise NotFound(f"there is no run {run}", hint="`fleet runs` lists them")
        return head

    async def runs(self, filter_: str, page: Page) -> tuple[list[RunHead], str]:
        """Matching runs and the next cursor."""
        query = parse(filter_, RUN_FIELDS)
        query.require()
        return await self.store.runs.list(query, page, now=self.clock.now(), tenant=self.tenant)

    async def count(self, filter_: str) -> int:
        """How many runs match."""
        query = parse(filter_, RUN_FIELDS)
        query.require()
        return await self.store.runs.count(query, now=self.clock.now(), tenant=self.tenant)

    async def facts(self, run: str, *, after: int = 0, upto: int | None = None) -> list[Stored]:
        """A run's journal, from n > after to n <= upto. Raises `FleetError` where it is damaged."""
        found: list[Stored] = []
        for entry in await self.store.journal.facts(run, after=after, upto=upto, tenant=self.tenant):
            if isinstance(entry, Corrupt):
                raise FleetError(
                    f"the journal of run {run} is damaged at fact {entry.n}: {entry.reason}",
                    hint=f"`fleet facts {run} --upto {entry.n - 1}` shows what is before it",
                )
            found.append(entry)
        return found

    async def last_facts(self, runs: Sequence[str]) -> dict[str, Stored]:
        """The last fact of each of these runs; those that are gone or damaged are left out."""
        found = await self.store.journal.last(runs, tenant=self.tenant)
        return {run: entry for run, entry in found.items() if isinstance(entry, Stored)}

    async def state(self, run: str, *, upto: int | None = None) -> Run:
        """The run as its facts make it."""
        head = await self.run(run)
        program = Program(await self.plan(head.plan), head.plan)
        return fold(program, [stored.fact for stored in await self.facts(run, upto=upto)])

    async def position(self) -> int:
        """The position of the newest fact."""
        return await self.store.journal.position()

    async def pruned(self) -> int:
        """The position of the newest fact that was pruned."""
        return await self.store.journal.pruned(self.tenant)

    async def plan(self, digest: str) -> Plan:
        """A plan by its digest."""
        plan = await self.store.catalog.plan(digest, self.tenant)
        if plan is None:
            raise NotFound(f"there is no plan {digest[:12]} in the store")
        return plan

    async def source(self, digest: str) -> str:
        """The YAML of a plan."""
        return await self.store.catalog.source(digest, self.tenant) or ""

    async def value(self, fact: AnyFact | Approval) -> Any:
        """The large value of a fact or an approval."""
        blob: Blob | None = getattr(fact, "blob", None)
        if blob is None:
            return None
        data = await self.store.blobs.get(blob.digest, self.tenant)
        return msgspec.json.decode(data) if data is not None else None

    async def approvals(self, filter_: str, page: Page) -> tuple[list[Approval], str]:
        """Matching approvals and the next cursor."""
        query = parse(filter_, APPROVAL_FIELDS)
        query.require()
        return await self.store.approvals.list(query, page, now=self.clock.now(), tenant=self.tenant)

    async def approval(self, text: str) -> tuple[Approval, list[Vote]]:
        """The one approval that the text means, with its votes."""
        ids = await self.store.approvals.find(text, self.tenant)
        id_ = _one(ids, text, "approval", "`fleet approvals` lists them")
        found = await self.store.approvals.get(id_, self.tenant)
        if found is None:
            raise NotFound(f"there is no approval {text}", hint="`fleet approvals` lists them")
        return found, await self.store.approvals.votes(found.id, self.tenant)

    async def grants(self) -> list[WorkflowGrant]:
        """What people have granted for every run of a workflow."""
        return await self.store.grants.list(self.tenant)

    async def approval_ids(self, filter_: str) -> list[str]:
        """The ids of all matching approvals, the oldest first."""
        query = parse(filter_, APPROVAL_FIELDS)
        return await self.store.approvals.ids(query.require(), now=self.clock.now(), tenant=self.tenant)

    async def approvals_of(self, ids: Sequence[str]) -> list[tuple[Approval, list[Vote]]]:
        """The approvals of these ids, the oldest first, each with its votes; those that are gone are left out."""
        return await self.store.approvals.several(ids, self.tenant)

    async def signal_ids(self, filter_: str) -> list[str]:
        """The ids of all matching signals, the newest first."""
        query = parse(filter_, SIGNAL_FIELDS)
        return await self.store.signals.ids(query.require(), now=self.clock.now(), tenant=self.tenant)

    async def signals_of(self, ids: Sequence[str]) -> list[Signal]:
        """The signals of these ids, the oldest first; those that are gone are left out."""
        return await self.store.signals.several(ids, self.tenant)

    async def signals(self, filter_: str, page: Page) -> tuple[list[Signal], str]:
        """Matching signals and the next cursor."""
        query = parse(filter_, SIGNAL_FIELDS)
        query.require()
        return await self.store.signals.list(query, page, now=self.clock.now(), tenant=self.tenant)

    async def signal(self, id_: str) -> tuple[Signal, bool, list[Result]]:
        """A signal, whether it is routed, and what came of it."""
        found = await self.store.signals.get(id_, self.tenant)
        if found is None:
            raise NotFound(f"there is no signal {id_}", hint="`fleet signals` lists them")
        routed, results = await self.store.signals.results(id_, self.tenant)
        return found, routed, results

    async def workflows(self) -> list[Workflow]:
        """The workflows the store knows."""
        return await self.store.catalog.workflows(self.tenant)


def _one(ids: list[str], text: str, what: str, hint: str) -> str:
    if not ids:
        raise NotFound(f"there is no {what} {text if len(text) <= LONGEST else text[:LONGEST] + '…'}", hint=hint)
    if len(ids) > 1 and text not in ids:
        raise InvalidInput(f"{text} means several {what}s: {', '.join(ids[:5])}", hint="give more of the id")
    return text if text in ids else ids[0]
