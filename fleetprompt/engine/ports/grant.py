"""What people have granted for every run of a workflow: calls just like one that they have seen and approved."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct


class WorkflowGrant(Struct, frozen=True, kw_only=True):
    """One of them, which holds until somebody takes it back."""

    id: str
    """That of the approval that gave it."""
    tenant: str
    workflow: str
    tool: str
    subject: Mapping[str, Any]
    """What a call has to be like, to the letter."""
    agent: str
    """Whose call it was; it holds for every agent of the workflow."""
    run: str
    by: str
    at: float
    revoked_at: float | None = None
    revoked_by: str = ""


class Grants(Protocol):
    """Given by the facts of runs, taken back here."""

    async def valid(self, workflow: str, tenant: str = "default") -> builtins.list[WorkflowGrant]:
        """Those of a workflow that nobody has taken back, the oldest first."""
        ...

    async def list(self, tenant: str = "default") -> builtins.list[WorkflowGrant]:
        """All of them, the newest first."""
        ...

    async def revoke(self, id: str, *, by: str, at: float, tenant: str = "default") -> bool:
        """Take one back; False where there is none that holds."""
        ...
