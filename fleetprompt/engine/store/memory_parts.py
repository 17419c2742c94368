"""The smaller parts of the memory store: plans and workflows, blobs, claims."""

from __future__ import annotations

from fleetprompt.engine.core.plan import Plan, decode_plan, encode_plan, plan_digest
from fleetprompt.engine.ports import Holder, Workflow
from fleetprompt.engine.store import projection
from fleetprompt.engine.store.memory_state import State


class MemoryCatalog:
    """Plans by digest, and workflows by name."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def put(self, plan: Plan, *, source: str, tenant: str = "default") -> str:
        """Keep a plan and its YAML; of two texts with the same plan the first is kept."""
        digest = plan_digest(plan)
        self._state.plans.setdefault(digest, (encode_plan(plan), source))
        return digest

    async def plan(self, digest: str) -> Plan | None:
        found = self._state.plans.get(digest)
        return decode_plan(found[0]) if found else None

    async def source(self, digest: str) -> str | None:
        found = self._state.plans.get(digest)
        return found[1] if found else None

    async def set_workflow(self, workflow: Workflow) -> None:
        self._state.workflows[(workflow.tenant, workflow.name)] = workflow

    async def workflow(self, name: str, tenant: str = "default") -> Workflow | None:
        return self._state.workflows.get((tenant, name))

    async def workflows(self, tenant: str = "default") -> list[Workflow]:
        """By name."""
        return [self._state.workflows[key] for key in sorted(self._state.workflows) if key[0] == tenant]


class MemoryBlobs:
    """Large values by tenant and digest."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def get(self, digest: str, tenant: str = "default") -> bytes | None:
        return self._state.blobs.get((tenant, digest))

    async def put(self, digest: str, data: bytes, tenant: str = "default") -> None:
        """Keep a blob that no run brings: it is pinned, pruning does not delete it."""
        self._state.blobs.setdefault((tenant, digest), data)
        self._state.blob_refs[(tenant, digest, "")] = None


class MemoryClaims:
    """Who holds what across runs."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def holders(self, scope: str, tenant: str = "default") -> list[Holder]:
        """By time, run and path."""
        return projection.sort_holders(self._state.claims.get((tenant, scope), {}).values())
