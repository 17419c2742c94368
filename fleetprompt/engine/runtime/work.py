"""The door to the world of work that can be put aside: notes, questions to people, and waiting without a task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.asking import who_is_barred
from fleetprompt.engine.core.codec import items
from fleetprompt.engine.core.errors import NotFound, Refused
from fleetprompt.engine.core.evolve_work import ANSWERED, FAILED
from fleetprompt.engine.core.facts import AnyFact, Blob, StepNoted, StepWaiting
from fleetprompt.engine.core.gate import is_barred
from fleetprompt.engine.core.keys import call_child_id
from fleetprompt.engine.core.names import inputs, value_of
from fleetprompt.engine.core.plan import Plan
from fleetprompt.engine.core.state import Run, Step
from fleetprompt.engine.core.working import ask_about_call, call_in_doubt
from fleetprompt.engine.ports.budget import Allowance, Caps
from fleetprompt.engine.ports.memory import Memories
from fleetprompt.engine.ports.model import Delta, Models, ModelTarget
from fleetprompt.engine.ports.tool import Judgement, Preview, Startable, Tool, ToolInfo
from fleetprompt.engine.ports.work import Decision, Note, NoteValue, Question
from fleetprompt.engine.runtime.agency import grant_of_workflow, grants_of_run
from fleetprompt.engine.runtime.allowances import allowances_of, on_limit_of
from fleetprompt.engine.runtime.budget_waits import BudgetWait
from fleetprompt.engine.runtime.children import child_start, startable
from fleetprompt.engine.runtime.context import StepContext
from fleetprompt.engine.runtime.message import Message
from fleetprompt.engine.runtime.values import decoded

if TYPE_CHECKING:
    from fleetprompt.engine.ports import Effect
    from fleetprompt.engine.runtime.driver import Driver
    from fleetprompt.engine.runtime.engine import Engine

Made = Callable[[Run, Step, float], list[AnyFact]]
"""Facts about a step that is at work, at a time."""


class WorkContext(StepContext):
    """See `ports.work.WorkContext`."""

    __slots__ = ()

    def __init__(self, engine: Engine, driver: Driver, effect: Effect) -> None:
        super().__init__(engine, driver, effect)

    @property
    def agents(self) -> Mapping[str, Agent]:
        return self._driver.run.program.plan.agents

    @property
    def models(self) -> Models:
        return self._engine.agency.models

    @property
    def workspace(self) -> Path:
        return Path(self.effect.directory)

    @property
    def allowances(self) -> Sequence[Allowance]:
        return allowances_of(self._engine, self._driver.run, self._step)

    @property
    def _step(self) -> Step:
        return self._driver.run.steps[self.effect.path]

    @property
    def decisions(self) -> Mapping[str, Decision]:
        work = self._step.work
        gates = work.asks.values() if work is not None else ()
        return {
            gate.call: Decision(
                id=gate.id,
                call=gate.call,
                about=gate.about,
                decision=gate.decision,
                at=gate.decided_at,
                by=gate.by,
                reason=gate.reason,
                comment=gate.comment,
                values=gate.values,
                grant=gate.grant,
                ends=gate.ends,
                input=gate.input,
                edited=gate.edited,
                previewed=gate.previewed,
            )
            for gate in gates
        }

    @property
    def variables(self) -> Mapping[str, Any]:
        """See `ports.work.WorkContext.variables`."""
        return self._driver.run.vars

    @property
    def codebase(self) -> str:
        """See `ports.work.WorkContext.codebase`."""
        created = self._driver.run.created
        source = created.source if created is not None else None
        commit = f"@{source.commit[:12]}{'+' * source.dirty}" if source is not None and source.commit else ""
        return f"{self.workspace.resolve().name}{commit}"

    @property
    def names(self) -> Mapping[str, Any]:
        run, created = self._driver.run, self._driver.run.created
        return {
            "inputs": inputs(run),
            "vars": run.vars,
            "workflow": self.effect.workflow,
            "folder": self.effect.code,
            "step": self._step.program.node.id,
            "path": self.effect.path,
            "run": run.id,
            "trigger": created.trigger if created is not None else None,
        }

    async def notes(self) -> list[Note]:
        """See `ports.work.WorkContext.notes`."""
        return [
            Note(kind, key, await self._whole(value), attempt) for kind, key, value, attempt in self._step.notes or ()
        ]

    async def _whole(self, value: Any) -> Any:
        if not isinstance(value, Blob):
            return value
        run, store = self._driver.run, self._engine.store
        known = value_of(run, value)
        if value.digest in run.blobs:
            return known
        data = await self._engine.patient(
            f"blob {value.digest[:12]}", lambda: store.blobs.get(value.digest, self.effect.tenant)
        )
        return decoded(value.digest, data) if data is not None else None

    async def record(self, *notes: NoteValue, reserves: Collection[str] = ()) -> Sequence[NoteValue]:
        """See `ports.work.WorkContext.record`."""
        redact = self._engine.secrets.redact_value
        path, attempt = self.effect.path, self.effect.attempt
        values = [(kind, key, redact(value)) for kind, key, value in notes]
        for kind, key, _ in values:
            if kind in (ANSWERED, FAILED):
                self._engine.pieces.done(self.effect.run, path, key, self.effect.tenant)

        def make(run: Run, step: Step, at: float) -> list[AnyFact]:
            return [
                StepNoted(at=at, path=path, kind=kind, key=key, value=value, attempt=attempt)
                for kind, key, value in values
            ]

        await self._tell(make, reserves)
        return values

    async def _tell(self, make: Made, reserves: Collection[str] = ()) -> None:
        effect = self.effect
        stale = False

        def ask(run: Run, now: float) -> list[AnyFact]:
            nonlocal stale
            step = run.steps.get(effect.path)
            stale = step is None or step.settled or step.attempt != effect.attempt
            return [] if step is None or stale else make(run, step, max(now, run.at))

        durable: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._driver.deliver(Message(ask, answer=durable, reserves=reserves))
        await durable
        if stale:
            # The run has gone on without this work: whoever still performs it is about to be told.
            await asyncio.Event().wait()
        await self._engine.switch.go_on(self._driver)

    async def _aside(self, make: Made) -> NoReturn:
        """Put the work aside. The task that performs it is cancelled as soon as that is durable."""
        await self._tell(make)
        await asyncio.Event().wait()
        raise AssertionError

    async def ask(self, questions: Sequence[Question]) -> NoReturn:
        """See `ports.work.WorkContext.ask`."""
        redact = self._engine.secrets.redact_value
        told = {"message", "show", "input", "form", "notes"}
        redacted = [
            {key: redact(value) if key in told else value for key, value in msgspec.structs.asdict(question).items()}
            for question in questions
        ]

        noted = {each["call"]: each.pop("notes") for each in redacted}
        path, attempt = self.effect.path, self.effect.attempt

        def make(run: Run, step: Step, at: float) -> list[AnyFact]:
            known = {gate.call for gate in step.work.asks.values()} if step.work is not None else set[str]()
            notes = [
                StepNoted(at=at, path=path, kind=kind, key=key, value=value, attempt=attempt)
                for call, notes in noted.items()
                if call not in known
                for kind, key, value in notes
            ]
            return [*notes, *(ask_about_call(run, step, at, **asked) for asked in redacted)]

        await self._aside(make)

    async def wait_for_child(self, call: str, workflow: str, timeout: float | None) -> NoReturn:
        """See `ports.work.WorkContext.wait_for_child`."""
        effect = self.effect

        def make(run: Run, step: Step, at: float) -> list[AnyFact]:
            child = call_child_id(run.id, effect.path, effect.attempt, call)
            until = at + timeout if timeout is not None else None
            return [
                StepWaiting(at=at, path=effect.path, on="child", ref=child, until=until, call=call, workflow=workflow)
            ]

        await self._aside(make)

    async def start_child(self, call: str, workflow: str) -> str:
        """See `ports.work.WorkContext.start_child`."""
        effect, run = self.effect, self._driver.run
        child = call_child_id(run.id, effect.path, effect.attempt, call)
        sent = child_start(run, effect.path, call, child, workflow, self._engine.now())
        result = await self._engine.bus.submit(sent)
        if result.status == "refused":
            raise Refused(result.reason)
        return child

    async def startable(self, workflow: str, inputs: Mapping[str, Any], own: Sequence[Allowance] = ()) -> Startable:
        """See `ports.work.WorkContext.startable`."""
        above = [(each.scope, each.caps) for each in (*self.allowances, *own) if each.caps != Caps()]
        return await startable(self._engine, self._driver.run, workflow, inputs, above)

    async def pinned(self, workflow: str) -> Plan | None:
        """See `ports.work.WorkContext.pinned`."""
        created = self._driver.run.created
        found = created.children.get(workflow) if created is not None else None
        return (await self._engine.workflows.program(found)).plan if found is not None else None

    async def wait_until(self, at: float) -> NoReturn:
        """See `ports.work.WorkContext.wait_until`."""
        path = self.effect.path
        await self._aside(lambda run, step, now: [StepWaiting(at=now, path=path, on="timer", until=at)])

    async def doubt(self, call: str, reason: str) -> NoReturn:
        """See `ports.work.WorkContext.doubt`."""
        await self._aside(lambda run, step, at: [call_in_doubt(step, call, at, reason)])

    async def go_on(self) -> None:
        """See `ports.work.WorkContext.go_on`."""
        if self._engine.draining:
            await asyncio.Event().wait()
        if self._driver.run.paused:
            path = self.effect.path
            await self._aside(lambda run, step, at: [StepWaiting(at=at, path=path, on="paused")] if run.paused else [])

    def budget_wait(self, key: str, *, finishes: bool = False) -> BudgetWait:
        """See `ports.work.WorkContext.budget_wait`."""
        return self._engine.budget_waits.of(self.effect, key, finishes=finishes)

    def credential(self, target: ModelTarget) -> str:
        """See `ports.work.WorkContext.credential`."""
        key = self._engine.agency.models.reveal(target)
        if key:
            self._engine.secrets.learn(key)
        return key

    def on_limit(self, scope: str) -> str:
        """See `ports.work.WorkContext.on_limit`."""
        return on_limit_of(self._engine, self._driver.run, self._step, scope)

    async def judge(self, agent: Agent, info: ToolInfo, preview: Preview, *, tainted: bool) -> Judgement:
        """See `ports.work.WorkContext.judge`."""
        effect, run = self.effect, self._driver.run
        granted = await self._engine.store.grants.valid(effect.workflow, effect.tenant)
        noted = run.grants
        if barred := who_is_barred(run, agent.approval.excludes):
            # Nobody approves what they start by having granted it before.
            granted = [each for each in granted if not any(is_barred(barred, who) for who in each.by.split(", "))]
            noted = [each for each in noted if not any(is_barred(barred, str(who)) for who in items(each.get("by")))]
        return self._engine.agency.judge(
            agent,
            info,
            preview,
            run=run.id,
            workflow=effect.workflow,
            tainted=tainted,
            grants=[*grants_of_run(run.id, noted), *map(grant_of_workflow, granted)],
        )

    def switched_off(self, name: str) -> str:
        """See `ports.work.WorkContext.switched_off`."""
        return self._engine.agency.switched_off(name)

    def tool_settings(self, name: str) -> Mapping[str, Any]:
        """See `ports.work.WorkContext.tool_settings`."""
        return self._engine.agency.tool_settings(name)

    async def tools(self, patterns: Sequence[str]) -> Sequence[Tool]:
        """See `ports.work.WorkContext.tools`."""
        return await self._engine.agency.tools(patterns)

    def secret(self, name: str) -> str:
        """See `ports.work.WorkContext.secret`."""
        return self._engine.secrets.get(name)

    @property
    def memories(self) -> Memories:
        return self._engine.store.memories

    def redact(self, text: str) -> str:
        """See `ports.work.WorkContext.redact`."""
        return self._engine.secrets.redact(text)

    async def whole(self, value: Mapping[str, Any]) -> Any:
        """See `ports.work.WorkContext.whole`."""
        kept = value.get("blob")
        if kept is not None:
            return await self._whole(msgspec.convert(kept, Blob))
        return await self._whole(value.get("output"))

    async def keep(self, content: bytes, *, with_run: bool = False) -> str:
        """See `ports.work.WorkContext.keep`."""
        digest, run = sha256(content).hexdigest(), self.effect.run if with_run else ""
        await self._engine.store.blobs.put(digest, content, self.effect.tenant, run)
        return digest

    async def kept(self, digest: str) -> bytes:
        """See `ports.work.WorkContext.kept`."""
        content = await self._engine.store.blobs.get(digest, self.effect.tenant)
        if content is None:
            raise NotFound(f"nothing is kept under {digest[:12]}", hint="it was pruned")
        return content

    def show(self, call: str, delta: Delta) -> None:
        """See `ports.work.WorkContext.show`."""
        self._engine.pieces.put(self.effect.run, self.effect.path, call, delta, self.effect.tenant)

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._engine.now()
