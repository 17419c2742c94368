"""Conversations with workflows: each message is a run of a workflow that has a `chat` trigger, in the session of the
conversation."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uuid_utils
from msgspec import Struct

from fleetprompt.client.auditing import Auditing
from fleetprompt.client.files import SUFFIXES, WorkflowFile, load_files
from fleetprompt.client.identity import Face
from fleetprompt.engine.core import tracing
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import InvalidInput, NotFound, Refused
from fleetprompt.engine.core.facts import RunCreated
from fleetprompt.engine.core.firing import run_of
from fleetprompt.engine.core.plan import Plan, trigger_ids
from fleetprompt.engine.core.signal import TRIGGER_CHAT, Result, Signal
from fleetprompt.engine.runtime.admission import Origin

if TYPE_CHECKING:
    from fleetprompt.client.chatting import Turn

KIND = "chat"


class Message(Struct, frozen=True, kw_only=True):
    """Something that is said to a workflow."""

    text: str
    session: str = ""
    """The conversation; empty: one of its own."""
    history: Sequence[Mapping[str, Any]] | None = None
    """What was said before, as `{role, content}`; None: what the session's runs have on record."""
    fields: Mapping[str, Any] = {}
    """What else its trigger sees, and inputs by their names."""
    project: str = ""
    key: str = ""
    """Idempotency key: a second message with the same key is the first one's run."""
    traceparent: str = ""
    """Of whoever says it (W3C Trace Context): its run is linked to it."""


class Saying(Auditing, ABC):
    """The part of a console that talks to workflows."""

    face: Face
    _root: Path

    @abstractmethod
    async def admitted(self, signal: Signal, origin: Origin) -> tuple[Signal, bool]: ...
    @abstractmethod
    async def outcome(self, id_: str) -> tuple[bool, list[Result]]: ...
    @abstractmethod
    async def plan(self, digest: str) -> Plan: ...
    @abstractmethod
    async def conversation(self, session: str) -> list[Turn]: ...
    @abstractmethod
    async def _register(self, file: WorkflowFile) -> str: ...

    async def listens(self, workflow: str) -> bool:
        """Whether a workflow takes messages: it has a `chat` trigger. One whose file was never run counts, too."""
        return await self._listening(workflow) is not None

    async def say(self, workflow: str, message: Message, *, by: str) -> str:
        """Say something to a workflow; the id of the run that answers."""
        found = await self._listening(workflow)
        if found is None:
            hint = "give it the trigger {type: chat}"
            raise NotFound(f"workflow `{workflow[:100]}` takes no messages", hint=hint)
        trigger, status = found
        if status != "active":
            raise Refused(f"workflow `{workflow}` is {status}", hint=f"fleet workflows activate {workflow}")
        if not message.text.strip():
            raise InvalidInput("the message is empty", hint="say something")
        id_ = str(uuid_utils.uuid7())
        session = message.session or f"{workflow[:40]}-{id_[-12:]}"
        history = message.history
        if history is None:
            history = told(await self.conversation(session), workflow) if message.session else []
        data = {
            **message.fields,
            "message": message.text,
            "current_message": message.text,
            "history": list(history),
            "session": session,
        }
        if message.project:
            data["project"] = message.project
        signal = Signal(
            id=id_,
            type=TRIGGER_CHAT,
            source=f"{self.face}/{by or 'unknown'}",
            at=self.clock.now(),
            data=data,
            subject=workflow,
            tenant=self.tenant,
            key=message.key,
            by=by,
            traceparent=message.traceparent if tracing.parse(message.traceparent) is not None else "",
            audit=self.noted("say", "workflow", workflow, data, by),
        )
        stored, _ = await self.admitted(signal, "trigger")
        return await self._answering(stored, run_of(stored.id, workflow, trigger))

    async def _answering(self, signal: Signal, run: str) -> str:
        routed, results = await self.outcome(signal.id)
        started = next((each.run for each in results if each.status == "accepted" and each.run), "")
        if routed and not started:
            raise Refused(next((each.reason for each in results), "") or "the message has started nothing")
        return started or run

    async def _listening(self, workflow: str) -> tuple[str, str] | None:
        """The id of a workflow's chat trigger, and the workflow's status."""
        known = await self.store.catalog.workflow(workflow, self.tenant)
        if known is None and await self._take(workflow):
            known = await self.store.catalog.workflow(workflow, self.tenant)
        if known is None:
            return None
        triggers = (await self.plan(known.plan)).triggers
        found = (id_ for id_, each in zip(trigger_ids(triggers), triggers, strict=True) if each.type == KIND)
        id_ = next(found, None)
        return (id_, known.status) if id_ is not None else None

    async def _take(self, workflow: str) -> bool:
        """Register a workflow from the project's file of its name; False where there is none."""
        if "/" in workflow or workflow.startswith("."):
            return False
        places = (self._root / "workflows" / f"{workflow}{suffix}" for suffix in SUFFIXES)
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            return False
        for each in reversed(await asyncio.to_thread(load_files, path, path.parent)):
            await self._register(each)
        return True


def takes_messages(plan: Plan) -> bool:
    """Whether a workflow has a `chat` trigger."""
    return any(trigger.type == KIND for trigger in plan.triggers)


def told(turns: Iterable[Turn], workflow: str) -> list[dict[str, str]]:
    """What was said to a workflow before, as chats have it."""
    from fleetprompt.client.chatting import history

    return [
        {"role": each["role"], "content": each["text"]}
        for each in history(turn for turn in turns if turn.agent == workflow)
    ]


def message_of(created: RunCreated) -> str | None:
    """What was said to the workflow of a run; None where it was started by something else."""
    trigger = mapping(created.trigger)
    if trigger.get("kind") != KIND:
        return None
    said = mapping(trigger.get("data")).get("message", trigger.get("current_message"))
    return said if isinstance(said, str) else None
