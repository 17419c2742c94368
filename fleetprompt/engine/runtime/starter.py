"""Makes runs: from a start signal, as a child, or as a retry of a finished one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import msgspec

from fleetprompt.engine.core import starters, tracing
from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.core.command import Refusal
from fleetprompt.engine.core.errors import InvalidInput, NotFound, Refused
from fleetprompt.engine.core.evolve_work import started_by
from fleetprompt.engine.core.facts import Blob, RunCreated, Slot, Source, Within
from fleetprompt.engine.core.fork import fork
from fleetprompt.engine.core.inputs import bind_inputs
from fleetprompt.engine.core.keys import child_key_root
from fleetprompt.engine.core.outbox import chain_of
from fleetprompt.engine.core.program import Program, bind
from fleetprompt.engine.core.rendered import group
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.core.state import Run, Step
from fleetprompt.engine.runtime.allowances import within
from fleetprompt.engine.runtime.children import require_depth
from fleetprompt.engine.runtime.driver import Driver
from fleetprompt.engine.runtime.files import kept
from fleetprompt.engine.runtime.message import Message
from fleetprompt.engine.runtime.values import decoded

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

MAX_DEPTH = 50
"""How deep runs may start runs."""


class Starter:
    """Turns a signal into the first facts of a run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def start(self, signal: Signal, received: bool) -> Result:
        """Create the run a `fleet.run.start` asks for. Raises `FleetError` when it cannot be."""
        data = cast("dict[str, Any]", signal.data)
        run_id = str(data.get("run") or signal.id)
        if await self._exists(run_id, signal.tenant, received):
            result = Result(signal=signal.id, status="accepted", run=run_id)
            await self._engine.store.signals.close(signal.id, (result,))
            return result
        if data.get("parent"):
            created, program = await self._child(signal, data, run_id)
        else:
            created, program = await self._top(signal, data, run_id)
        return await self._begin(signal, received, Run(program), [created])

    async def _exists(self, run_id: str, tenant: str, received: bool) -> bool:
        """Whether the run was begun before. Raises `Refused` where that is another tenant's."""
        driver = self._engine.live.get(run_id)
        head = await self._engine.store.runs.get(run_id) if driver is None and not received else None
        known = driver or head
        if known is not None and known.tenant != tenant:
            raise Refused("a run cannot have this id")
        return known is not None and not received

    async def _begin(self, signal: Signal, received: bool, run: Run, facts: list[Any]) -> Result:
        engine = self._engine
        driver = Driver(engine, run, fresh=True, tenant=signal.tenant)
        engine.live[facts[0].run] = driver
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        first = Message(
            lambda run, now: facts if run.created is None else [], signal=signal, received=received, answer=answer
        )
        driver.deliver(first)
        return await answer

    async def _top(self, signal: Signal, data: dict[str, Any], run_id: str) -> tuple[RunCreated, Program]:
        engine = self._engine
        name = str(data.get("workflow"))
        digest, children = await engine.workflows.pin(name, str(data.get("plan") or ""), signal.tenant)
        program = await engine.workflows.program(digest)
        plan = program.plan
        inputs, problems = bind_inputs(plan, mapping(data.get("inputs")))
        if problems:
            raise InvalidInput("; ".join(problems.values()))
        at = max(engine.now(), signal.at)
        source = mapping(data.get("source"))
        file = str(source.get("file") or await engine.workflows.file(name, signal.tenant))
        created = RunCreated(
            at=at,
            run=run_id,
            plan=digest,
            workflow=plan.name,
            tenant=signal.tenant,
            inputs=inputs,
            trigger=data.get("trigger") or {"kind": "manual", "signal": signal.id, "by": signal.by},
            correlation=signal.correlation,
            owner=signal.by,
            starters=starters.of_signal(signal),
            project=str(data.get("project") or ""),
            session=str(data.get("session") or ""),
            priority=int(data.get("priority") or plan.priority),
            labels={**plan.labels, **(data.get("labels") or {})},
            source=Source(
                file=kept(file, engine.directory),
                digest=str(source.get("digest") or ""),
                commit=str(source.get("commit") or ""),
                dirty=bool(source.get("dirty")),
            ),
            children=children,
            deadline=at + plan.deadline if plan.deadline is not None else None,
            last_run=await engine.workflows.last_run(plan.name, signal.tenant) if plan.uses_last_run else None,
            traceparent=signal.traceparent if tracing.parse(signal.traceparent) is not None else "",
            links=tuple(str(link) for link in items(data.get("links")) if tracing.parse(str(link)) is not None),
        )
        return self._with_slots(created, program, str(data.get("alone") or "")), program

    async def _child(self, signal: Signal, data: dict[str, Any], run_id: str) -> tuple[RunCreated, Program]:
        engine = self._engine
        parent = await engine.driver_of(str(data["parent"]), signal.tenant)
        if parent is None or parent.run.created is None:
            raise NotFound(f"parent run {data['parent']} is gone")
        above = parent.run.created
        if above.depth + 1 > MAX_DEPTH:
            raise Refused(f"runs start runs {MAX_DEPTH} deep at most", hint="end the recursion with a condition")
        step = parent.run.steps.get(str(data.get("path")))
        parent.wake()
        if step is None:
            raise NotFound(f"parent run {above.run} has no step {data.get('path')}")
        call = str(data.get("call") or "")
        config = mapping(await self._whole(started_by(step, call) if call else step.input_blob or step.input, above))
        # One that an agent waits for, or one that goes its own way.
        awaited = not (call and config.get("wait") is False)
        if awaited:
            _check_wanted(parent.run, step, run_id)
        name = str(config.get("workflow"))
        digest, children = await self._pinned(above, name, config if call else {})
        program = await engine.workflows.program(digest)
        inputs, problems = bind_inputs(program.plan, config.get("with") or {})
        if problems:
            raise InvalidInput(f"workflow `{name}`: " + "; ".join(problems.values()))
        file = await engine.workflows.file(name, above.tenant)
        at = max(engine.now(), signal.at)
        own = at + program.plan.deadline if program.plan.deadline is not None else None
        deadlines = [deadline for deadline in (own, above.deadline) if deadline is not None]
        created = RunCreated(
            at=at,
            run=run_id,
            plan=digest,
            workflow=name,
            tenant=above.tenant,
            inputs=inputs,
            trigger={"kind": "workflow", "run": above.run, "path": step.path}
            | ({"chain": chain} if (chain := chain_of(above)) else {}),
            root=above.root or above.run,
            key_root=child_key_root(parent.run, step) + (f"/{call}" if call else ""),
            parent=above.run,
            parent_path=step.path,
            depth=above.depth + 1,
            correlation=above.correlation or above.root or above.run,
            owner=above.owner,
            starters=starters.of_run(above),
            project=above.project,
            session=above.session,
            priority=above.priority,
            labels={**program.plan.labels, **above.labels},
            source=Source(file=file) if file and file != above.source.file else above.source,
            children=children,
            deadline=min(deadlines) if deadlines else None,
            within=_within(engine, parent.run, step, config if call else {}),
            links=(tracing.of_step(above, step).traceparent,),
            last_run=await engine.workflows.last_run(name, above.tenant) if program.plan.uses_last_run else None,
        )
        # Once more, when nothing is left to wait for: a cancel that overtook this start found no run to cancel.
        parent = await engine.driver(above.run)
        if parent is not None and awaited:
            parent.wake()
            _check_wanted(parent.run, parent.run.steps[step.path], run_id)
        return self._with_slots(created, program), program

    async def _pinned(self, above: RunCreated, name: str, config: dict[str, Any]) -> tuple[str, dict[str, str]]:
        """The plan of a child, and those of all that it may start: as they were when its parent started, or, where an
        agent has chosen the workflow, the plan that was looked at then. Raises `NotFound`, `Refused`."""
        plan = str(config.get("plan") or "")
        if plan:
            require_depth(above)
            return await self._engine.workflows.pin(name, plan, above.tenant)
        digest = above.children.get(name)
        if digest is None:
            raise NotFound(f"workflow `{name}` was not known when the run started")
        return digest, above.children

    async def _whole(self, value: Any, above: RunCreated) -> Any:
        """A value, also one that was spilled."""
        if not isinstance(value, Blob):
            return value
        kept = await self._engine.store.blobs.get(value.digest, above.tenant)
        return decoded(value.digest, kept) if kept is not None else {}

    def _with_slots(self, created: RunCreated, program: Program, alone: str = "") -> RunCreated:
        plan = program.plan
        slots: list[Slot] = [Slot(alone, 1)] if alone else []
        if program.concurrency is not None and plan.concurrency is not None:
            names = {"inputs": created.inputs, "run": {"id": created.run}, "trigger": created.trigger}
            name = group(bind(program.concurrency, names))
            slots.append(Slot(f"group:{name}", plan.concurrency.limit))
        if plan.max_runs is not None:
            slots.append(Slot(f"workflow:{plan.name}", plan.max_runs))
        if self._engine.max_runs is not None:
            slots.append(Slot("runs", self._engine.max_runs))
        if not slots:
            return created
        return msgspec.structs.replace(created, slots=tuple(slots))

    async def retry(self, signal: Signal, received: bool) -> Result:
        """Create a run that does a finished one again. Raises `FleetError` when it cannot be."""
        engine = self._engine
        data = cast("dict[str, Any]", signal.data)
        old_id = str(data.get("run") or signal.subject)
        run_id = str(data.get("new") or signal.id)
        if await self._exists(run_id, signal.tenant, received):
            result = Result(signal=signal.id, status="accepted", run=run_id)
            await engine.store.signals.close(signal.id, (result,))
            return result
        old = await engine.load(old_id, signal.tenant)
        if old is None:
            raise NotFound(f"there is no run {old_id}")
        history = await engine.history(old_id)
        facts = fork(old, history, new=run_id, at=engine.now(), by=signal.by, start=str(data.get("from") or ""))
        if isinstance(facts, Refusal):
            raise Refused(facts.reason, hint=facts.hint)
        return await self._begin(signal, received, Run(old.program), facts)


def _within(engine: Engine, run: Run, step: Step, config: dict[str, Any]) -> tuple[Within, ...]:
    """The budgets above a child: of the step that starts it, and of the agent in it that does."""
    return (*within(engine, run, step), *msgspec.convert(config.get("within") or [], list[Within]))


def _check_wanted(parent: Run, step: Step, run_id: str) -> None:
    """Raises `Refused` where the step of the parent does not wait for this child any more."""
    if step.ref != run_id or step.called_off or step.status in ("cancelled", "failed", "timeout"):
        raise Refused(f"step {step.path} of run {parent.id} does not wait for this run any more")
