"""The smaller parts of the memory store: plans and workflows, blobs, claims, budgets, tokens."""

from __future__ import annotations

import builtins
import time
from collections.abc import Collection, Sequence

import msgspec

from fleetprompt.engine.core.audit import AuditNote
from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.core.plan import Plan, decode_plan, encode_plan, plan_digest
from fleetprompt.engine.ports import Budget, Holder, Workflow, kept_answer
from fleetprompt.engine.ports.grant import WorkflowGrant
from fleetprompt.engine.ports.kept_answer import KeptAnswer
from fleetprompt.engine.ports.token import Token
from fleetprompt.engine.store import projection
from fleetprompt.engine.store.budget_book import run_of
from fleetprompt.engine.store.memory_audit import write
from fleetprompt.engine.store.memory_state import State


class MemoryCatalog:
    """Plans by digest, and workflows by name."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def put(self, plan: Plan, *, source: str, tenant: str = "default") -> str:
        """Keep a plan and its YAML; of two texts with the same plan the first is kept."""
        digest = plan_digest(plan)
        self._state.first_seen.setdefault((tenant, plan.name), time.time())
        self._state.plans.setdefault(digest, {}).setdefault(tenant, (encode_plan(plan), source))
        return digest

    async def plan(self, digest: str, tenant: str | None = None) -> Plan | None:
        found = self._kept(digest, tenant)
        return decode_plan(found[0]) if found else None

    async def plans(self, digests: Sequence[str]) -> dict[str, Plan]:
        """Those that are there."""
        found = {digest: await self.plan(digest) for digest in digests}
        return {digest: plan for digest, plan in found.items() if plan is not None}

    async def source(self, digest: str, tenant: str | None = None) -> str | None:
        found = self._kept(digest, tenant)
        return found[1] if found else None

    async def first_seen(self, names: Sequence[str], tenant: str = "default") -> dict[str, float]:
        seen = self._state.first_seen
        return {name: seen[tenant, name] for name in names if (tenant, name) in seen}

    def _kept(self, digest: str, tenant: str | None) -> tuple[bytes, str] | None:
        kept = self._state.plans.get(digest, {})
        return next(iter(kept.values()), None) if tenant is None else kept.get(tenant)

    async def set_workflow(
        self, workflow: Workflow, audit: AuditNote | None = None, *, only: Collection[str] = ()
    ) -> None:
        key = (workflow.tenant, workflow.name)
        known = self._state.workflows.get(key)
        if known is not None and only:
            workflow = msgspec.structs.replace(known, **{name: getattr(workflow, name) for name in only})
        self._state.workflows[key] = workflow
        if audit is not None:
            write(self._state, audit)

    async def workflow(self, name: str, tenant: str = "default") -> Workflow | None:
        return self._state.workflows.get((tenant, name))

    async def workflows(self, tenant: str = "default") -> list[Workflow]:
        """By name."""
        return [each for each in await self.every() if each.tenant == tenant]

    async def every(self) -> list[Workflow]:
        """By tenant and name."""
        return [self._state.workflows[key] for key in sorted(self._state.workflows)]


class MemoryBlobs:
    """Large values by tenant and digest."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def get(self, digest: str, tenant: str = "default") -> bytes | None:
        return self._state.blobs.get((tenant, digest))

    async def put(self, digest: str, data: bytes, tenant: str = "default", run: str = "") -> None:
        """Keep a blob that no append brings, as long as the run is kept; without a run it is pinned."""
        self._state.blobs.setdefault((tenant, digest), data)
        self._state.blob_refs[(tenant, digest, run)] = None


class MemoryClaims:
    """Who holds what across runs."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def holders(self, scope: str, tenant: str = "default") -> list[Holder]:
        """By time, run and path."""
        return projection.sort_holders(self._state.claims.get((tenant, scope), {}).values())


class MemoryBudgets:
    """How scopes stand."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def get(self, scope: str, tenant: str = "default") -> Budget:
        return self._state.budgets.get((tenant, scope)) or Budget(scope=scope)

    async def of_run(self, run: str, tenant: str = "default") -> list[Budget]:
        """By name."""
        of_tenant = (scope for whose, scope in self._state.budgets if whose == tenant)
        scopes = sorted(scope for scope in of_tenant if run_of(scope) == run != "")
        return [self._state.budgets[(tenant, scope)] for scope in scopes]

    async def held(self, run: str, tenant: str = "default") -> list[str]:
        """In the order of the ids."""
        found = self._state.reservations.values()
        return sorted(each.id for each in found if each.held and (each.run, each.tenant) == (run, tenant))

    async def holding(self, scope: str, tenant: str = "default") -> list[tuple[str, str]]:
        """By run and id."""
        of_scope = [
            each
            for each in self._state.reservations.values()
            if each.held and each.tenant == tenant and scope in each.scopes
        ]
        heads = self._state.runs
        return sorted(
            (each.run, each.id)
            for each in of_scope
            if (head := heads.get(each.run)) is not None and (head.tenant, head.status) == (tenant, "running")
        )


class MemoryGrants:
    """Calls that are allowed in every run of a workflow."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def valid(self, workflow: str, tenant: str = "default") -> list[WorkflowGrant]:
        """By time."""
        found = [grant for grant in self._of(tenant) if grant.workflow == workflow and grant.revoked_at is None]
        return sorted(found, key=lambda grant: (grant.at, grant.id))

    async def list(self, tenant: str = "default") -> builtins.list[WorkflowGrant]:
        """The newest first."""
        return sorted(self._of(tenant), key=lambda grant: (-grant.at, grant.id))

    def _of(self, tenant: str) -> builtins.list[WorkflowGrant]:
        return [grant for (whose, _), grant in self._state.grants.items() if whose == tenant]

    async def revoke(self, id: str, *, by: str, at: float, tenant: str = "default") -> bool:
        """False where there is none that holds."""
        known = self._state.grants.get((tenant, id))
        if known is None or known.revoked_at is not None:
            return False
        self._state.grants[(tenant, id)] = msgspec.structs.replace(known, revoked_at=at, revoked_by=by)
        return True


class MemoryTokens:
    """Who may come from elsewhere."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def add(self, token: Token, digest: str, audit: AuditNote | None = None) -> None:
        """Raises `Refused` where its id is taken."""
        if token.id in self._state.tokens:
            raise Refused(f"there is a token {token.id} already")
        self._state.tokens[token.id] = (token, digest)
        if audit is not None:
            write(self._state, audit)

    async def find(self, id: str) -> tuple[Token, str] | None:
        return self._state.tokens.get(id)

    async def list(self, tenant: str = "default") -> builtins.list[Token]:
        """The newest first."""
        found = [token for token, _ in self._state.tokens.values() if token.tenant == tenant]
        return sorted(found, key=lambda token: (-token.created_at, token.id))

    async def any_counts(self, now: float) -> bool:
        """Whether there is one that is worth something now."""
        every = [token for token, _ in self._state.tokens.values() if token.revoked_at is None]
        return any(token.expires_at is None or token.expires_at > now for token in every)

    async def revoke(
        self, id: str, *, by: str, at: float, tenant: str = "default", audit: AuditNote | None = None
    ) -> bool:
        """False where there is none that is not revoked."""
        token, digest = self._state.tokens.get(id, (None, ""))
        if token is None or token.tenant != tenant or token.revoked_at is not None:
            return False
        self._state.tokens[id] = (msgspec.structs.replace(token, revoked_at=at, revoked_by=by), digest)
        if audit is not None:
            write(self._state, audit)
        return True

    async def used(self, id: str, at: float) -> None:
        """Nothing where there is no such token."""
        if id in self._state.tokens:
            token, digest = self._state.tokens[id]
            self._state.tokens[id] = (msgspec.structs.replace(token, last_used_at=at), digest)


class MemoryKeptAnswers:
    """What requests were answered."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def find(self, key: str, *, since: float, tenant: str = "default") -> KeptAnswer | None:
        """The answer that was kept for a key, unless it is older."""
        found = self._state.kept_answers.get((tenant, key))
        return found if found is not None and found.at >= since else None

    async def keep(self, answer: KeptAnswer, *, since: float) -> None:
        """Keep one, and let those go that are older."""
        every = self._state.kept_answers
        for key in [key for key, each in every.items() if each.at < since]:
            del every[key]
        every[(answer.tenant, answer.key)] = answer
        mine = sorted((each.at, key) for key, each in every.items() if key[0] == answer.tenant)
        for _, key in mine[: -kept_answer.MOST_ANSWERS]:
            del every[key]
