"""Plans and workflows on disk."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

import sqlalchemy as sa

from fleetprompt.engine.core.audit import AuditNote
from fleetprompt.engine.core.plan import Plan, decode_plan, encode_plan, plan_digest
from fleetprompt.engine.ports import Workflow
from fleetprompt.engine.store.audit import write
from fleetprompt.engine.store.reading import Question, Reader, of_tenant
from fleetprompt.engine.store.statements import Bulk, Session
from fleetprompt.engine.store.tables import plans, workflows
from fleetprompt.engine.store.writer import Writer

_NAMES = [column.name for column in workflows.c]


class SqlCatalog:
    """Plans by digest, and workflows by name."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer
        dialect = reader.dialect
        mine = (workflows.c.tenant == sa.bindparam("whose"), workflows.c.name == sa.bindparam("wanted"))
        self._named = Question(dialect, sa.select(workflows).where(*mine))
        self._put = Bulk(dialect, [*plans.c], lambda given: dialect.ignore(plans, sa.select(given).where(sa.true())))
        self._set = Bulk(
            dialect, [*workflows.c], lambda given: dialect.upsert(workflows, sa.select(given).where(sa.true()))
        )

    async def put(self, plan: Plan, *, source: str, tenant: str = "default") -> str:
        """Keep a plan and its YAML; of two texts with the same plan the first is kept."""
        digest = plan_digest(plan)
        row = (tenant, digest, plan.name, encode_plan(plan), source, time.time())

        def put(session: Session) -> None:
            self._put.execute(session, [row])

        await self._writer.work(put)
        return digest

    async def plan(self, digest: str, tenant: str | None = None) -> Plan | None:
        """The plan of that digest, if the tenant has it."""
        given = sa.select(plans.c.body).where(plans.c.digest == digest, *of_tenant(plans, tenant))
        rows = await self._reader.rows(given.limit(1))
        return decode_plan(rows[0].body) if rows else None

    async def plans(self, digests: Sequence[str]) -> dict[str, Plan]:
        """The plans of those digests that can be read."""
        of = sa.select(plans.c.digest, plans.c.body).where(plans.c.digest.in_(list(digests)))
        found: dict[str, Plan] = {}
        for row in await self._reader.rows(of):
            # What cannot be read is told to who asks for it alone.
            with suppress(Exception):
                found[row.digest] = decode_plan(row.body)
        return found

    async def source(self, digest: str, tenant: str | None = None) -> str | None:
        """The YAML text kept with a plan."""
        given = sa.select(plans.c.source).where(plans.c.digest == digest, *of_tenant(plans, tenant))
        rows = await self._reader.rows(given.limit(1))
        return rows[0].source if rows else None

    async def set_workflow(
        self, workflow: Workflow, audit: AuditNote | None = None, *, only: Collection[str] = ()
    ) -> None:
        """Keep what is known about a workflow now."""
        row = tuple(getattr(workflow, name) for name in _NAMES)
        mine = sa.and_(workflows.c.tenant == workflow.tenant, workflows.c.name == workflow.name)
        changed = {name: getattr(workflow, name) for name in only}

        def put(session: Session) -> None:
            known = changed and session.connection.execute(sa.update(workflows).where(mine).values(changed)).rowcount
            if not known:
                self._set.execute(session, [row])
            if audit is not None:
                write(session, self._reader.dialect, [audit])

        await self._writer.work(put)

    async def workflow(self, name: str, tenant: str = "default") -> Workflow | None:
        """The workflow of that name."""
        rows = await self._reader.ask(self._named, tenant, name)
        return _workflow(rows[0]) if rows else None

    async def workflows(self, tenant: str = "default") -> list[Workflow]:
        """Every workflow of a tenant, by name."""
        of = sa.select(workflows).where(workflows.c.tenant == tenant).order_by(workflows.c.name)
        return [_workflow(row) for row in await self._reader.rows(of)]

    async def first_seen(self, names: Sequence[str], tenant: str = "default") -> dict[str, float]:
        """When the first plan of each of these workflows was kept."""
        mine = sa.and_(plans.c.tenant == tenant, plans.c.name.in_(list(names)))
        of = sa.select(plans.c.name, sa.func.min(plans.c.created_at)).where(mine).group_by(plans.c.name)
        return {row[0]: row[1] for row in await self._reader.rows(of)}

    async def every(self) -> list[Workflow]:
        """Every workflow of every tenant, by tenant and name."""
        of = sa.select(workflows).order_by(workflows.c.tenant, workflows.c.name)
        return [_workflow(row) for row in await self._reader.rows(of)]


def _workflow(row: Sequence[Any]) -> Workflow:
    return Workflow(**dict(zip(_NAMES, row, strict=True)))
