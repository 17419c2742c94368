"""The workflows an engine knows: programs by digest, pins of children, status, and the triggers of the active ones."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from fleetprompt.engine.core.audit import AuditNote
from fleetprompt.engine.core.errors import InvalidInput, NotFound, Refused, StoreUnavailable
from fleetprompt.engine.core.facts import RunFinished
from fleetprompt.engine.core.firing import Schedule, schedules_of
from fleetprompt.engine.core.plan import Plan
from fleetprompt.engine.core.program import Program
from fleetprompt.engine.core.routing import Active, Routes
from fleetprompt.engine.core.watching import Watch, watches_of
from fleetprompt.engine.ports import REGISTERED, Workflow
from fleetprompt.engine.runtime.files import kept

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

KEPT_PROGRAMS = 256
TOGETHER = 256
"""Plans that are read at once."""


class Workflows:
    """What can be run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._programs: OrderedDict[str, Program] = OrderedDict()
        self._plans: dict[str, Plan] = {}
        """Of those that are active, by digest: they are made ready when something needs that."""
        self._known: dict[tuple[str, str], Workflow] = {}
        """Rows of the catalog that were looked up, by tenant and name, until something may have changed them."""
        self._reading: dict[tuple[str, str], asyncio.Future[Workflow | None]] = {}
        """Rows of the catalog that are being read, and were asked for since it may have changed."""
        self._rows: list[Workflow] = []
        """The catalog as it was read last."""
        self.active: list[Active] = []
        """Those that are active, with their plans."""
        self.unreadable: set[tuple[str, str]] = set()
        """Active ones whose plan cannot be read, by tenant and name."""
        self.routes = Routes()
        self._refreshing = asyncio.Lock()
        self._doubled: set[tuple[str, str]] = set()
        """Webhooks whose path another one has: told of."""

    async def program(self, digest: str) -> Program:
        """The ready plan of a digest. Raises `NotFound`."""
        found = self._programs.get(digest)
        if found is not None:
            self._programs.move_to_end(digest)
            return found
        program = self._programs[digest] = Program(await self._plan(digest), digest)
        if len(self._programs) > KEPT_PROGRAMS:
            self._programs.popitem(last=False)
        return program

    async def _plan(self, digest: str) -> Plan:
        """The plan of a digest. Raises `NotFound`."""
        found = self._plans.get(digest) or await self._engine.store.catalog.plan(digest)
        if found is None:
            raise NotFound(f"there is no plan {digest[:12]} in the store")
        return found

    async def _read(self, digests: set[str]) -> None:
        """Read plans that will be asked for, all at once. What is wrong with one is told by who asks for it."""
        missing = [digest for digest in digests if digest not in self._plans]
        for at in range(0, len(missing), TOGETHER):
            self._plans |= await self._engine.store.catalog.plans(missing[at : at + TOGETHER])

    async def _entry(self, name: str, tenant: str) -> Workflow | None:
        """The catalog's row. Whoever asks while it is being read waits for the same answer: runs start in crowds."""
        key = tenant, name
        found = self._known.get(key)
        if found is not None:
            return found
        reading = self._reading.get(key)
        if reading is None:
            reading = asyncio.ensure_future(self._engine.store.catalog.workflow(name, tenant))
            self._reading[key] = reading
        try:
            found = await asyncio.shield(reading)
        finally:
            current = self._reading.get(key) is reading
            if current and reading.done():
                del self._reading[key]
        if current and found is not None:
            self._known[key] = found
        return found

    async def file(self, name: str, tenant: str) -> str:
        """The file of a workflow, by the path that is kept of it; empty where it came from none."""
        known = await self._entry(name, tenant)
        return known.file if known is not None else ""

    async def register(
        self, plan: Plan, *, source: str, file: str = "", tenant: str = "default", audit: AuditNote | None = None
    ) -> str:
        """Keep a plan as the current one of its workflow, and what the audit log is to tell of who has changed it;
        returns its digest."""
        known = await self._engine.store.catalog.workflow(plan.name, tenant)
        before = known or self._new(plan.name, tenant)
        async with self._changing():
            digest, changed = await self._register(plan, source, kept(file, self._engine.directory), before, audit)
            if changed:
                await self.refresh()
        return digest

    async def register_all(
        self,
        given: Sequence[tuple[Plan, str, str]],
        tenant: str = "default",
        audit: Callable[[Plan], AuditNote | None] = lambda plan: None,
    ) -> None:
        """Keep plans, with their YAML and their files, as the current ones of their workflows, which differ: what is
        the same for all of them, such as a transaction, is done once, and they are of one age: which of two webhooks
        keeps a path is said by their names, not by whose turn came first. `audit`: see `register`, of each plan."""
        if not given:
            return
        new = self._new("", tenant)
        known = {each.name: each for each in await self._engine.store.catalog.workflows(tenant)}
        project = self._engine.directory
        rows = [known.get(plan.name) or msgspec.structs.replace(new, name=plan.name) for plan, _, _ in given]
        async with self._changing():
            # What is wrong with one is raised as it is, once all have been tried: what was kept counts.
            found = await asyncio.gather(
                *(
                    self._register(plan, source, kept(file, project), row, audit(plan))
                    for (plan, source, file), row in zip(given, rows, strict=True)
                ),
                return_exceptions=True,
            )
            if any(not isinstance(each, BaseException) and each[1] for each in found):
                await self.refresh()
            for each in found:
                if isinstance(each, BaseException):
                    raise each

    @asynccontextmanager
    async def _changing(self) -> AsyncGenerator[None]:
        """A change of the catalog, which is read again afterwards, also where the store is unavailable in between: it
        may be durable all the same, and whoever made it may not come back."""
        try:
            yield
        except StoreUnavailable:
            self._engine.spawn(self._engine.patient("workflows", self.refresh))
            raise

    def _new(self, name: str, tenant: str) -> Workflow:
        """A row of the catalog that is to be."""
        now = self._engine.now()
        return Workflow(name=name, tenant=tenant, status="active", plan="", updated_at=now, active_since=now)

    async def _register(
        self, plan: Plan, source: str, file: str, before: Workflow, audit: AuditNote | None
    ) -> tuple[str, bool]:
        """The plan's digest, and whether anything about its workflow has changed. `before`: its row until now."""
        catalog = self._engine.store.catalog
        digest = await catalog.put(plan, source=source, tenant=before.tenant)
        changed = (before.plan, before.file) != (digest, file)
        if changed:
            row = msgspec.structs.replace(
                before, plan=digest, file=file, max_runs=plan.max_runs, updated_at=self._engine.now()
            )
            await catalog.set_workflow(row, audit, only=REGISTERED)
        self._plans[digest] = plan
        return digest, changed

    async def pin(self, name: str, digest: str, tenant: str) -> tuple[str, dict[str, str]]:
        """The digest a start uses, and those of all workflows that it may start in turn.

        Raises `NotFound` for an unknown workflow, `Refused` for one that is paused or archived.
        """
        known = await self._entry(name, tenant)
        if known is not None and known.status in ("paused", "archived"):
            raise Refused(f"workflow `{name}` is {known.status}", hint=f"fleet workflows activate {name}")
        if not digest:
            if known is None:
                raise NotFound(f"there is no workflow `{name}`", hint="`fleet workflows` lists them")
            digest = known.plan
        pins: dict[str, str] = {}
        queue = [(name, digest)]
        while queue:
            here, at = queue.pop()
            if here in pins:
                continue
            pins[here] = at
            for child in (await self.program(at)).plan.children:
                if child not in pins:
                    entry = await self._entry(child, tenant)
                    if entry is None:
                        raise NotFound(
                            f"workflow `{here}` starts `{child}`, which is not known", hint="put its file beside it"
                        )
                    queue.append((child, entry.plan))
        plan = (await self.program(digest)).plan
        return digest, pins if plan.children else {}

    async def set_status(self, name: str, status: str, tenant: str) -> None:
        """Pause, activate or archive a workflow. Raises `NotFound`, `InvalidInput`."""
        if status not in ("draft", "active", "paused", "archived"):
            raise InvalidInput(f"a workflow is draft, active, paused or archived, not {status!r}")
        known = await self._engine.store.catalog.workflow(name, tenant)
        if known is None:
            raise NotFound(f"there is no workflow `{name}`", hint="`fleet workflows` lists them")
        now = self._engine.now()
        since = now if status == "active" != known.status else known.active_since
        changed = msgspec.structs.replace(known, status=status, updated_at=now, active_since=since)
        async with self._changing():
            await self._engine.store.catalog.set_workflow(changed, only=("status", "updated_at", "active_since"))
            await self.refresh()

    async def refresh(self) -> None:
        """Read the catalog again: it has changed, or another process may have changed it."""
        # One after the other: of two at once, the older reading may end last, and put back what was before.
        async with self._refreshing:
            await self._refresh()

    async def _refresh(self) -> None:
        self._known.clear()
        self._reading.clear()
        rows = await self._engine.store.catalog.every()
        before = self._rows, [(each.digest, each.tenant) for each in self.active]
        if rows != self._rows:
            self._rows = rows
            self._engine.feed.mark(workflows=True)
        active: list[Active] = []
        unreadable: set[tuple[str, str]] = set()
        await self._read({entry.plan for entry in rows if entry.status == "active"})
        for entry in rows:
            if entry.status != "active":
                continue
            try:
                plan = await self._plan(entry.plan)
            except StoreUnavailable:
                raise
            except Exception as error:
                # Its triggers start nothing until it is there again; those of the others do. Told once: where others
                # write, this is read twice a second.
                unreadable.add((entry.tenant, entry.name))
                if (entry.tenant, entry.name) not in self.unreadable:
                    self._engine.trouble(f"workflow {entry.name}", error)
            else:
                active.append(Active(entry.plan, plan, entry.tenant, entry.active_since))
        self.active, self.unreadable = active, unreadable
        self._plans = {each.digest: each.plan for each in active}
        self.routes = Routes(active)
        self._tell_doubled()
        # Others may write all the time: folders are not watched anew for what changes no workflow.
        if before != (rows, [(each.digest, each.tenant) for each in active]):
            self._engine.schedules.look()
            self._engine.watches.look()

    def _tell_doubled(self) -> None:
        """Say once which webhooks are reached by nobody, because another one has their path."""
        found = {(hook.tenant, f"{hook.workflow}/{hook.id}"): (hook, holder) for hook, holder in self.routes.doubled}
        for key in found.keys() - self._doubled:
            hook, holder = found[key]
            said = f"its webhook path `{hook.path}` is that of workflow {holder.workflow}: no request reaches it"
            self._engine.trouble(f"workflow {hook.workflow}", InvalidInput(said, hint="give one of them another path"))
        self._doubled = set(found)

    @property
    def known(self) -> list[Workflow]:
        """The catalog as it was read last, of every tenant."""
        return self._rows

    async def rhythmic(self, workflow: str, trigger: str, tenant: str) -> tuple[Workflow, Schedule | Watch]:
        """A schedule or a file watch of a workflow as it is registered now. Raises `NotFound`."""
        known = await self._engine.store.catalog.workflow(workflow, tenant)
        if known is not None:
            plan = (await self.program(known.plan)).plan
            for each in (*schedules_of(plan, tenant), *watches_of(plan, tenant)):
                if each.trigger == trigger:
                    return known, each
        raise NotFound(f"there is no schedule {workflow}/{trigger}", hint="`fleet schedules` lists them")

    async def last_run(self, name: str, tenant: str) -> dict[str, Any] | None:
        """The previous completed run of a workflow, as expressions see it."""
        run_id = await self._engine.store.runs.last_completed(name, tenant)
        if run_id is None:
            return None
        fact = await self._engine.last_fact(run_id)
        if not isinstance(fact, RunFinished):
            return None
        output = await self._engine.blob(fact.blob, tenant) if fact.blob is not None else fact.output
        return {"id": run_id, "output": output, "finished_at": fact.at}
