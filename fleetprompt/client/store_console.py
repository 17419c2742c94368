"""What the consoles share, wherever the engine is: they read the store, and put signals into it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import uuid_utils

from fleetprompt.client.auditing import Repeats
from fleetprompt.client.chatting import Chatting
from fleetprompt.client.deciding import why_decided
from fleetprompt.client.files import WorkflowFile, load_file, shown, source_of
from fleetprompt.client.identity import Face, Identity
from fleetprompt.client.keeping import Keeping
from fleetprompt.client.letters import Letters
from fleetprompt.client.protocol import StartRun, TakenUp, Where
from fleetprompt.client.reading import Reading
from fleetprompt.client.remembering import Remembering
from fleetprompt.client.replay_range import RangeReplaying
from fleetprompt.client.replaying import Replaying
from fleetprompt.client.saying import Saying
from fleetprompt.client.scheduling import Scheduling
from fleetprompt.client.starting import given_inputs, refused_inputs
from fleetprompt.client.switching import Switching
from fleetprompt.client.tokens import Issuing
from fleetprompt.client.uploading import Uploading
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import FleetError, InvalidInput, NotFound, Refused, StoreUnavailable
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports import (
    Approval,
    Clock,
    EngineHealth,
    Store,
    Trouble,
    Workflow,
)
from fleetprompt.engine.ports.tool import EditedCall

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
        return msgspec.structs.replace(health, troubles=troubles, groups=(), unsent={})

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
