"""Conversations with workflows: each message is a run of a workflow that has a `chat` trigger, in the session of the
conversation."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import uuid_utils
from msgspec import Struct

from fleetprompt.client.auditing import Auditing
from fleetprompt.client.files import SUFFIXES, WorkflowFile, load_files
from fleetprompt.client.identity import DEFAULT_TENANT, Face
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


class _Listening(NamedTuple):
    """What takes the messages to a workflow."""

    trigger: str
    status: str
    files: Sequence[WorkflowFile]
    """What is to be registered before it can start: asking whether it listens changes nothing."""


class Saying(Auditing, ABC):
    """The part of a console that talks to workflows."""

    face: Face
    workflow_folders: tuple[Path, ...]
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
        if found.status != "active":
            raise Refused(f"workflow `{workflow}` is {found.status}", hint=f"fleet workflows activate {workflow}")
        if not message.text.strip():
            raise InvalidInput("the message is empty", hint="say something")
        for each in reversed(found.files):
            await self._register(each)
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
        return await self._answering(stored, run_of(stored.id, workflow, found.trigger))

    async def _answering(self, signal: Signal, run: str) -> str:
        routed, results = await self.outcome(signal.id)
        started = next((each.run for each in results if each.status == "accepted" and each.run), "")
        if routed and not started:
            raise Refused(next((each.reason for each in results), "") or "the message has started nothing")
        return started or run

    async def _listening(self, workflow: str) -> _Listening | None:
        """What takes the messages to a workflow; None where nothing does."""
        known = await self.store.catalog.workflow(workflow, self.tenant)
        files: Sequence[WorkflowFile] = ()
        if known is not None:
            plan, status = await self.plan(known.plan), known.status
        else:
            files = await self._unknown(workflow)
            if not files:
                return None
            plan, status = files[0].plan, "active"
        triggers = plan.triggers
        found = (id_ for id_, each in zip(trigger_ids(triggers), triggers, strict=True) if each.type == KIND)
        id_ = next(found, None)
        return _Listening(id_, status, files) if id_ is not None else None

    async def _unknown(self, workflow: str) -> Sequence[WorkflowFile]:
        """The project's file of a workflow that was never registered, and those of the workflows that it starts.

        Files are of the project's own tenant: others have what was registered for them, unless who runs the project
        speaks for them.
        """
        if self.tenant != DEFAULT_TENANT and self.identity is not None and not self.identity.acts_for_others:
            return ()
        if "/" in workflow or workflow.startswith("."):
            return ()
        folders = self.workflow_folders or (self._root / "workflows",)
        places = (folder / f"{workflow}{suffix}" for folder in folders for suffix in SUFFIXES)
        path = next((place for place in places if place.is_file()), None)
        return await asyncio.to_thread(load_files, path, path.parent) if path is not None else ()


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
