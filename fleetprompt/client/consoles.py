"""The two consoles: with the engine in this process, or beside an engine that somebody else holds (or nobody)."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import uuid_utils

from fleetprompt.client.auditing import Repeats
from fleetprompt.client.changing import ELSEWHERE, Equipment, seen, seen_here, unseen
from fleetprompt.client.changing import SILENT as NO_ANSWER
from fleetprompt.client.chatting import Chatting
from fleetprompt.client.deciding import why_decided
from fleetprompt.client.files import WorkflowFile, load_file, shown, source_of
from fleetprompt.client.identity import Face, Identity
from fleetprompt.client.keeping import Keeping
from fleetprompt.client.letters import Letters
from fleetprompt.client.listening import Listening
from fleetprompt.client.overhearing import Overhearing
from fleetprompt.client.protocol import QUEUED, Progress, StartRun, TakenUp, Where
from fleetprompt.client.reading import Reading
from fleetprompt.client.remembering import Remembering
from fleetprompt.client.replay_range import RangeReplaying
from fleetprompt.client.replaying import Replaying
from fleetprompt.client.right import EngineRight
from fleetprompt.client.saying import Saying
from fleetprompt.client.scheduling import Scheduling
from fleetprompt.client.starting import given_inputs, refused_inputs
from fleetprompt.client.switching import Switching
from fleetprompt.client.talking import Talk
from fleetprompt.client.tokens import Issuing
from fleetprompt.client.uploading import Uploading
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import FleetError, InvalidInput, NotFound, Refused, StoreUnavailable
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.plan import plan_digest
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.core.signal_rules import Rules
from fleetprompt.engine.ports import (
    Approval,
    Change,
    Clock,
    Corrupt,
    EngineHealth,
    LogLine,
    Piece,
    Store,
    Stored,
    Trouble,
    Workflow,
)
from fleetprompt.engine.ports.tool import EditedCall
from fleetprompt.engine.runtime.admission import Admission, Origin
from fleetprompt.engine.runtime.clock import SystemClock
from fleetprompt.engine.runtime.edits import look_at
from fleetprompt.engine.runtime.engine import Engine
from fleetprompt.engine.runtime.files import kept
from fleetprompt.engine.runtime.health import store_health
from fleetprompt.engine.runtime.lock import engine_holder, engine_left
from fleetprompt.engine.runtime.wire import Wire, ask_edited, ask_health, ask_holds, nudge

ANSWER_SECONDS = 10.0
"""How long another engine may take to answer a command."""
POLL_SECONDS = 0.1
ELSEWHERE_SECONDS = 3.0
"""Between two looks for an engine on another machine."""
ENDED = "recorded, but the engine ended before it answered; the next one carries it out (fleet recover)"
SILENT = "recorded, but the engine does not answer; it carries it out when it can (fleet doctor)"


TOLD_ELSEWHERE = "what it is, the operator of the machine is told (fleet doctor)"


def new_id() -> str:
    """A fresh id that sorts by time (UUID version 7, RFC 9562)."""
    return str(uuid_utils.uuid7())


class StoreConsole(
    Reading,
    Chatting,
    Replaying,
    RangeReplaying,
    Letters,
    Remembering,
    Scheduling,
    Switching,
    Uploading,
    Keeping,
    Issuing,
    Saying,
    ABC,
):
    """What both consoles share: they put signals into the store."""

    where: Where = "none"
    face: Face = "cli"
    """Where people act through this console: the source of every signal that it sends."""
    taken_up = TakenUp()
    identity: Identity | None = None
    """Who asks through it; None for the engine's own process."""
    _root = Path()
    """The project's folder, from which the paths of workflow files are kept."""
    _lent = False
    """Others own what is behind it, and close that."""

    def __init__(self, store: Store, clock: Clock) -> None:
        super().__init__(store, clock)
        self.refusals, self.published = Repeats(store), Repeats(store)

    def become(self, identity: Identity) -> Self:
        """From now on this identity asks through it, in their tenant."""
        self.identity = identity
        self.tenant = identity.tenant
        self.face = identity.via
        return self

    def bound(self, identity: Identity) -> Self:
        """Another console on the same engine and store, for this identity; it cannot close either."""
        other = copy(self)
        other._lent = True
        if not identity.acts_for_others:
            # What the engine found when it opened is of every tenant.
            other.taken_up = TakenUp()
        return other.become(identity)

    def _signal(self, type_: str, subject: str, data: dict[str, Any], by: str, key: str = "") -> Signal:
        """A signal of ours. Raises `InvalidInput` for data that nothing can write down."""
        try:
            msgspec.json.encode([data, key])
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidInput(f"this cannot be kept as JSON: {error}"[:300]) from None
        id_ = new_id()
        return Signal(
            id=id_,
            type=type_,
            source=f"{self.face}/{by or 'unknown'}",
            at=self.clock.now(),
            data=data,
            subject=subject,
            tenant=self.tenant,
            key=key,
            by=by,
            audit=self.noted_command(type_, id_, subject, data, by),
        )

    async def _shown(self, health: EngineHealth) -> EngineHealth:
        """An engine as this identity may see it: what went wrong, and what is waited for, tells of others, too, where
        there are any. Who may do nothing about it is not told either."""
        identity = self.identity
        if identity is None or identity.acts_for_others:
            return health
        if identity.may("operate"):
            with suppress(StoreUnavailable):
                if await self.store.alone(self.tenant):
                    return health
        troubles = tuple(Trouble(each.at, "engine", TOLD_ELSEWHERE) for each in health.troubles)
        return msgspec.structs.replace(health, troubles=troubles, groups=())

    @abstractmethod
    async def _send(self, signal: Signal) -> Result:
        """Publish a signal and wait for what comes of it."""

    @abstractmethod
    async def _register(self, file: WorkflowFile) -> str:
        """Keep a file's plan as the current one of its workflow; its digest."""

    async def start(self, request: StartRun) -> str:
        """Start a run."""
        data: dict[str, Any] = {
            "labels": request.labels,
            "project": request.project,
            "session": request.session,
        }
        if request.priority:
            data["priority"] = request.priority
        if request.files:
            file = request.files[0]
            data["inputs"], problems = given_inputs(file.plan, request)
            if problems:
                raise refused_inputs(file.plan, problems, file.text, file.named)
            for each in reversed(request.files):
                await self._register(each)
            source = await asyncio.to_thread(source_of, file)
            data |= {"workflow": file.plan.name, "plan": file.digest, "source": msgspec.to_builtins(source)}
        else:
            data["workflow"] = request.workflow
            known = await self.store.catalog.workflow(request.workflow, self.tenant)
            if known is None:
                meant = did_you_mean(request.workflow, [workflow.name for workflow in await self.workflows()])
                hint = meant or "give its file, or see `fleet workflows`"
                raise NotFound(f"there is no workflow `{request.workflow}`", hint=hint)
            plan = await self.plan(known.plan)
            data["inputs"], problems = given_inputs(plan, request)
            if problems:
                text, named = await self._text(known)
                raise refused_inputs(plan, problems, text, named)
        signal = self._signal(types.START, "", data, request.by, request.key)
        signal = msgspec.structs.replace(signal, traceparent=request.traceparent)
        if request.trigger:
            data["trigger"] = {**request.trigger, "signal": signal.id, "by": request.by}
        result = await self._send(signal)
        if result.status == "refused":
            raise Refused(result.reason)
        if request.key and result.signal not in ("", signal.id):
            await self._require_same(result.signal, data)
        return result.run

    async def _require_same(self, earlier: str, data: dict[str, Any]) -> None:
        """Refuse a key for which another run was started. Raises `InvalidInput`."""
        signal, _, _ = await self.signal(earlier)
        before = mapping(signal.data)
        if any(before.get(name) != data.get(name) for name in ("workflow", "inputs")):
            raise InvalidInput("this key was used for another start", where=f"signal {earlier}", hint="use a new key")

    async def register(self, file: WorkflowFile) -> str:
        """Keep a file's plan as the current one of its workflow; its digest."""
        return await self._register(file)

    async def register_all(self, files: Sequence[WorkflowFile]) -> None:
        """Register the files of workflows that differ."""
        for file in files:
            await self._register(file)

    async def _text(self, workflow: Workflow) -> tuple[str, str]:
        """The YAML of a workflow and what people call its file; if that says something else by now, what was kept."""
        path = self._root / workflow.file if workflow.file else None
        named = shown(path) if path is not None else workflow.name
        with suppress(FleetError):
            if path is not None and (file := load_file(path)).digest == workflow.plan:
                return file.text, named
        return await self.source(workflow.plan), named

    async def command(self, type_: str, run: str, *, by: str, data: dict[str, Any] | None = None) -> Result:
        """Send a command about a run and wait for the answer."""
        # Which run it is about, and which becomes of it, is not for the data to say.
        said = {name: value for name, value in (data or {}).items() if name not in ("run", "new")}
        return await self._send(self._signal(type_, run, {"run": run, **said}, by))

    async def vote(
        self,
        approval: str,
        decision: Literal["approved", "rejected"],
        *,
        by: str,
        comment: str = "",
        values: dict[str, Any] | None = None,
        digest: str = "",
        level: int | None = None,
        via: str = "cli",
        grant: Literal["", "run", "workflow"] = "",
        ends: bool = False,
        edited: str = "",
        previewed: str = "",
    ) -> Result:
        """Decide about an approval."""
        found, _ = await self.approval(approval)
        data = {
            "run": found.run,
            "approval": found.id,
            "decision": decision,
            "comment": comment,
            "values": values or {},
            "via": via,
            "digest": digest,
            "level": level,
        }
        if grant:
            data["grant"] = grant
        if ends:
            data["ends"] = True
        data |= {name: digest for name, digest in (("edited", edited), ("previewed", previewed)) if digest}
        return await self._send(self._signal(types.VOTE, found.run, data, by))

    async def edited(self, approval: str, values: Mapping[str, Any]) -> EditedCall | None:
        """The call of an approval as it would be with these values."""
        found, _ = await self.approval(approval)
        return await self._edited(found, values) if found.about == "tool" and found.status == "pending" else None

    @abstractmethod
    async def _edited(self, approval: Approval, values: Mapping[str, Any]) -> EditedCall | None:
        """Look at a changed call."""

    async def escalate(self, approval: str, *, by: str, comment: str = "") -> Result:
        """Hand an approval on to whom it names next. Raises `Refused` where it is decided."""
        found, votes = await self.approval(approval)
        decided = why_decided(found, votes, by)
        if decided:
            raise Refused(decided, where=f"run {found.run}")
        data = {"run": found.run, "approval": found.id, "comment": comment}
        return await self._send(self._signal(types.ESCALATE, found.run, data, by))

    async def revoke(self, grant: str, *, by: str) -> Result:
        """Take a grant back."""
        return await self._send(self._signal(types.REVOKE, grant, {"grant": grant}, by))

    async def set_workflow(self, name: str, status: str, *, by: str) -> Result:
        """Pause, activate or archive a workflow."""
        return await self._send(self._signal(types.SET_WORKFLOW, name, {"workflow": name, "status": status}, by))


class EmbeddedConsole(StoreConsole):
    """The engine is here."""

    where: Where = "embedded"

    def __init__(self, engine: Engine, right: EngineRight | None, wire: Wire | None) -> None:
        super().__init__(engine.store, engine.clock)
        self.engine = engine
        self._root = Path(engine.directory)
        self._right = right
        self._wire = wire
        found = engine.recovered
        self.taken_up = TakenUp(
            runs=found.runs,
            in_doubt=found.in_doubt,
            signals=found.signals,
            corrupt=tuple(corrupt.run for corrupt in found.corrupt),
            others=found.others,
        )

    @property
    def holder(self) -> str:
        return "this process"

    async def close(self) -> None:
        """Close the engine: finish or park."""
        if self._lent:
            return
        await self.refusals.close()
        await self.published.close()
        try:
            if self._wire is not None:
                await self._wire.close()
            await self.engine.close()
        finally:
            if self._right is not None:
                await self._right.release()

    async def adopt(self, run: str) -> None:
        """Go on with a run that another engine has left, or that waits; one that cannot be read is held."""
        driver = await self.engine.reach(run)
        if driver is not None:
            driver.wake()

    async def _send(self, signal: Signal) -> Result:
        return await self.engine.bus.submit(signal)

    async def _edited(self, approval: Approval, values: Mapping[str, Any]) -> EditedCall | None:
        return await look_at(self.engine, approval.run, approval.id, values)

    async def _register(self, file: WorkflowFile) -> str:
        note = self.noted("register", "workflow", file.plan.name, file.digest)
        return await self.engine.workflows.register(
            file.plan, source=file.text, file=file.file, tenant=self.tenant, audit=note
        )

    async def register_all(self, files: Sequence[WorkflowFile]) -> None:
        """Register the files of workflows that differ."""
        given = [(file.plan, file.text, file.file) for file in files]
        await self.engine.workflows.register_all(
            given, self.tenant, lambda plan: self.noted("register", "workflow", plan.name, plan_digest(plan))
        )

    async def admitted(self, signal: Signal, origin: Origin) -> tuple[Signal, bool]:
        """Publish a signal from there."""
        publication = await self.engine.bus.publish(signal, origin)
        return publication.signal, publication.duplicate

    async def watch(self, run: str = "", after: int = 0) -> AsyncIterator[Stored | Progress]:
        """Facts and log lines as they come."""
        async for entry in self.engine.feed.watch(self.store.journal, after, run, self.tenant):
            yield entry if isinstance(entry, Stored) else Progress(*entry)

    def changes(self, seconds: float = 0.05) -> AsyncGenerator[Change]:
        """What changes, as the engine notes it in passing."""
        return self.engine.feed.changes(self.store.journal, seconds, self.tenant)

    def pieces(self, run: str, seconds: float = 0.05) -> AsyncGenerator[Sequence[Piece]]:
        """What models are just saying in a run."""
        return self.engine.pieces.watch(run, seconds, self.tenant)

    async def holds(self) -> Mapping[str, str]:
        """Runs that the engine does nothing for any more, and why."""
        return self.engine.holds_of(self.tenant)

    async def health(self) -> EngineHealth:
        """How the engine is."""
        return await self._shown(await self.engine.vitals.health(self.tenant))


class AttachedConsole(StoreConsole):
    """The engine is in another process, or nowhere: signals are left in the store and answered from there."""

    def __init__(self, store: Store, root: Path, lock: Path, socket: Path | None) -> None:
        super().__init__(store, SystemClock())
        self._root = root
        self._lock = lock
        self._elsewhere: Mapping[str, Any] | None = None
        """Who held the engine on another machine, when that was looked for."""
        self._look_at = 0.0
        self.socket = socket
        self._writes = [0]
        """Shared by all consoles on this store."""
        self.closed = False
        self.listening: set[Talk] = set()
        self.equipment: Equipment | None = None
        """What the project has at hand, where that is known."""
        self.admission: Callable[[Callable[[], float]], Admission] = lambda now: Admission(Rules(), now=now)
        """Makes the door that signals from here pass: of the project's rules, which are read when one is published."""
        self._admission: Admission | None = None

    def bound(self, identity: Identity) -> Self:
        """Another console on the same store; closing it hangs up what is heard through it alone."""
        other = super().bound(identity)
        other.listening = set()
        return other

    @property
    def written(self) -> int:
        """How often this process has written to the store."""
        return self._writes[0]

    def _wrote(self) -> None:
        self._writes[0] += 1

    @property
    def _holder(self) -> Mapping[str, Any] | None:
        return engine_holder(self._lock) or self._elsewhere

    @property
    def driven(self) -> bool:
        """Whether somebody holds the engine."""
        return self._holder is not None

    @property
    def was_left(self) -> bool:
        """Whether the engine that ran last has ended in order."""
        return not self.driven and engine_left(self._lock)

    @property
    def where(self) -> Where:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "attached" if self.driven else "none"

    @property
    def holder(self) -> str:
        found = self._holder
        if found is None:
            return "nobody"
        host = f" on {inert(str(found['host']))}" if found.get("host") else ""
        return f"pid {found.get('pid', '?')}{host} ({found.get('what', 'fleet')})"

    async def look_elsewhere(self) -> None:
        """Look now and then whether an engine on any machine drives the runs of a store that is on a server."""
        lease = self.store.lease()
        now = asyncio.get_running_loop().time()
        if lease is None or now < self._look_at:
            return
        self._look_at = now + ELSEWHERE_SECONDS
        with suppress(StoreUnavailable):
            self._elsewhere = await lease.holder()

    async def close(self) -> None:
        """Disconnect."""
        self.closed = True
        for talk in self.listening:
            talk.hang_up()
        if not self._lent:
            await self.refusals.close()
            await self.published.close()
            await self.store.close()

    async def _nudge(self) -> bool:
        return self.socket is not None and await nudge(self.socket)

    async def _send(self, signal: Signal) -> Result:
        publication = await self.store.signals.publish(signal)
        self._wrote()
        signal = publication.signal
        nudged = await self._nudge()
        run = signal.id if signal.type in (types.START, types.RETRY) else signal.subject
        asked = "engine" if nudged else self._holder
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ANSWER_SECONDS
        while True:
            # Before its results are looked for: what an engine does last is seen when it is gone.
            holder = self._holder
            routed, results = await self.store.signals.results(signal.id, self.tenant)
            if results:
                return results[0]
            if routed:
                return Result(signal=signal.id, status="accepted", run=run)
            if holder is None or loop.time() > deadline:
                why = SILENT if holder is not None else ENDED if asked else QUEUED
                return Result(signal=signal.id, status="accepted", run=run, reason="queued", data=why)
            await asyncio.sleep(POLL_SECONDS / 10 if nudged else POLL_SECONDS)

    async def _edited(self, approval: Approval, values: Mapping[str, Any]) -> EditedCall | None:
        if self.socket is not None:
            looked = await ask_edited(self.socket, approval.run, approval.id, dict(values))
            if looked is not None:
                return seen(looked)
        executed = await self.value(approval) if approval.blob is not None else approval.input
        if self.driven or self.equipment is None:
            return unseen(approval, executed, values, NO_ANSWER if self.driven else ELSEWHERE)
        return await seen_here(self.store, self.equipment, approval, executed, values)

    async def _register(self, file: WorkflowFile) -> str:
        catalog = self.store.catalog
        digest = await catalog.put(file.plan, source=file.text, tenant=self.tenant)
        known = await catalog.workflow(file.plan.name, self.tenant)
        path = kept(file.file, self._root)
        if known is None or known.plan != digest or known.file != path:
            await catalog.set_workflow(
                Workflow(
                    name=file.plan.name,
                    tenant=self.tenant,
                    status=known.status if known is not None else "active",
                    plan=digest,
                    file=path,
                    updated_at=self.clock.now(),
                    max_runs=file.plan.max_runs,
                    active_since=known.active_since if known is not None else self.clock.now(),
                ),
                self.noted("register", "workflow", file.plan.name, digest),
            )
            self._wrote()
        return digest

    async def admitted(self, signal: Signal, origin: Origin) -> tuple[Signal, bool]:
        """Publish a signal from there. Rates are those of this process."""
        if self._admission is None:
            self._admission = self.admission(self.clock.now)
        publication = await self.store.signals.publish(self._admission.admit(signal, origin))
        self._wrote()
        await self._nudge()
        return publication.signal, publication.duplicate

    async def watch(self, run: str = "", after: int = 0) -> AsyncIterator[Stored | Progress]:
        """Facts from the engine's socket, or from the store where there is none."""
        journal, logs = self.store.journal, self.store.logs
        seq, n, logged, token = after, 0, 0, 0
        told = False
        if self.socket is not None:
            async for entry in _from_socket(self.socket, run, after, self.tenant):
                if isinstance(entry, Stored):
                    seq = entry.seq
                told = told or isinstance(entry, Progress)
                yield entry
        if told:
            # The engine is gone, which has told the lines so far: none is told twice.
            _, logged = await logs.read(run, tail=True, limit=1, tenant=self.tenant)
        while True:
            # Up to there the facts of others are not looked through once more.
            upto = 0 if run else await journal.position()
            while entries := await self._entries(run, n, seq):
                for entry in entries:
                    n = entry.n
                    if entry.seq > seq:
                        seq = entry.seq
                        if isinstance(entry, Stored):
                            yield entry
            seq = max(seq, upto)
            while run:
                lines, logged = await logs.read(run, after=logged, tenant=self.tenant)
                for line in lines:
                    yield Progress(run, line)
                if not lines:
                    break
            token = await self._change_after(token)

    async def _entries(self, run: str, n: int, seq: int) -> list[Stored | Corrupt]:
        """What follows in the journal."""
        if run:
            return await self.store.journal.facts(run, after=n, tenant=self.tenant)
        return await self.store.journal.since(seq, tenant=self.tenant)

    def changes(self, seconds: float = 0.05) -> AsyncGenerator[Change]:
        """What changes, told by the engine's socket, or seen in the store where there is none."""
        return Listening(self).changes(seconds)

    def pieces(self, run: str, seconds: float = 0.05) -> AsyncGenerator[Sequence[Piece]]:
        """What models are just saying in a run, told by the engine's socket; nothing where there is none."""
        return Overhearing(self, run).pieces(seconds)

    async def _change_after(self, token: int) -> int:
        """Until another process has written. SQLite tells only when it is asked."""
        while (now := await self.store.changed(token)) == token:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)
        return now

    async def holds(self) -> Mapping[str, str]:
        """Runs that the engine does nothing for any more, and why; nothing is known of one that does not answer."""
        found = await ask_holds(self.socket, self.tenant) if self.socket is not None else None
        return found or {}

    async def health(self) -> EngineHealth:
        """How the engine is, or what can be seen from outside of one that does not answer."""
        found = await ask_health(self.socket, self.tenant) if self.socket is not None else None
        if found is not None:
            return await self._shown(found)
        await self.look_elsewhere()
        holder = self._holder
        store = await store_health(self.store)
        if holder is None:
            return EngineHealth(state="none", store=store, at=self.clock.now())
        pid = holder.get("pid")
        return EngineHealth(
            state="elsewhere" if holder is self._elsewhere else "silent",
            store=store,
            at=self.clock.now(),
            pid=pid if isinstance(pid, int) else 0,
            what=str(holder.get("what") or "fleet"),
            host=str(holder.get("host") or ""),
        )


class _Line(msgspec.Struct):
    fact: Stored | None = None
    run: str = ""
    log: LogLine | None = None


async def _from_socket(path: Path, run: str, after: int, tenant: str) -> AsyncIterator[Stored | Progress]:
    """The live feed of the engine behind a socket; ends when it hangs up."""
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=64 * 1024 * 1024)
    except (OSError, ValueError):
        return
    decoder = msgspec.json.Decoder(_Line)
    try:
        writer.write(msgspec.json.encode({"op": "watch", "after": after, "run": run, "tenant": tenant}) + b"\n")
        await writer.drain()
        while line := await reader.readline():
            entry = decoder.decode(line)
            if entry.fact is not None:
                yield entry.fact
            elif entry.log is not None:
                yield Progress(entry.run, entry.log)
    except (OSError, ValueError, msgspec.DecodeError):
        return
    finally:
        writer.close()
