"""Conversations with agents: each message is a run, which is given what was said before.

A conversation is the `session` of its runs; nothing else is kept of it. What was said is read back from the runs, so it
is the same wherever it is asked for, and goes when they are pruned.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from fleetprompt.client.agents import AgentDefinition, Agents
from fleetprompt.client.files import SUFFIXES, WorkflowFile, discover_steps, load_files, source_of
from fleetprompt.client.saying import KIND, Message, Saying, message_of
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.agent import CHAT
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import Failure, InvalidInput, NotFound, Refused
from fleetprompt.engine.core.facts import RunCreated, RunFinished, RunStatus
from fleetprompt.engine.core.plan import Plan, plan_digest
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports import Page, RunHead, Stored

if TYPE_CHECKING:
    from fleetprompt.engine.definition.names import Names

CONVERSATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""How a conversation can be called."""
MOST_TURNS = 500
"""Messages of a conversation that are read back: the newest."""
HISTORY = 120_000
"""Characters of what was said before that an agent is told: the newest."""
MESSAGE = 100_000
"""Characters of a message."""
ITERATIONS = 50
"""Answers of the model for one message."""
ANSWER = "answer"
"""Id of the step in which the agent answers."""


class Turn(Struct, frozen=True, kw_only=True):
    """A message to an agent, and its answer."""

    run: str
    agent: str
    message: str
    answer: Any = None
    """A text; None where there is none (yet)."""
    status: RunStatus
    error: Failure | None = None
    """Why there is no answer."""
    at: float
    ended_at: float | None = None
    by: str = ""
    mode: str = ""
    """How the words came about, see `core.mode`."""
    cost_nano: int = 0
    uncertain_nano: int = 0
    tokens: int = 0

    @property
    def text(self) -> str:
        """The answer as a text; empty where there is none."""
        if self.answer is None:
            return ""
        return self.answer if isinstance(self.answer, str) else msgspec.json.encode(self.answer).decode()


class Chatting(Agents, Saying, ABC):
    """The part of a console that talks to agents."""

    @abstractmethod
    def _signal(self, type_: str, subject: str, data: dict[str, Any], by: str, key: str = "") -> Signal: ...
    @abstractmethod
    async def _send(self, signal: Signal) -> Result: ...
    @abstractmethod
    async def _register(self, file: WorkflowFile) -> str: ...
    @abstractmethod
    async def value(self, fact: Any) -> Any: ...
    @abstractmethod
    async def facts(self, run: str, *, after: int = 0, upto: int | None = None) -> list[Stored]: ...

    async def chat(self, agent: str, message: str, session: str, *, by: str) -> str:
        """Say something to an agent, or to a workflow that takes messages; the id of the run that answers."""
        if not message.strip():
            raise InvalidInput("the message is empty", hint="say something")
        if len(message) > MESSAGE:
            raise InvalidInput(f"the message is too long: {len(message):,} of {MESSAGE:,} characters")
        definition = await self._known_agent(agent)
        before = await self.conversation(session)
        if before and before[-1].ended_at is None:
            raise Refused(
                f"{before[-1].agent} is still answering in this conversation",
                where=f"run {before[-1].run}",
                hint="wait for it, or `fleet cancel` it",
            )
        if definition is None:
            return await self.say(agent, Message(text=message, session=session), by=by)
        inside = await self._written(definition) if definition.workflow else {}
        file = await asyncio.to_thread(
            chat_file, definition, self._root, inside, self.names(self.tenant) if self.names else None
        )
        for child in file.plan.children:
            await self._know(child, Path(file.file).parent)
        digest = await self.store.catalog.put(file.plan, source=file.text, tenant=self.tenant)
        source = await asyncio.to_thread(source_of, file) if definition.file else None
        data: dict[str, Any] = {
            "workflow": file.plan.name,
            "plan": digest,
            "source": msgspec.to_builtins(source) if source is not None else {},
            "inputs": {"message": message, "history": history(before)},
            "session": session,
            "trigger": {"kind": "chat", "agent": agent, "session": session, "by": by},
        }
        signal = self._signal(types.START, "", data, by)
        data["trigger"]["signal"] = signal.id
        result = await self._send(signal)
        if result.status == "refused":
            raise Refused(result.reason)
        return result.run

    async def _known_agent(self, name: str) -> AgentDefinition | None:
        """The agent of a name; None where a workflow is called so that takes messages. Raises `NotFound`."""
        try:
            return await self.agent(name)
        except NotFound:
            if await self.listens(name):
                return None
            raise

    async def conversation(self, session: str) -> list[Turn]:
        """What was said in a conversation, the oldest first: the newest 500 messages. One that was tried again is told
        with what came of it then."""
        if not CONVERSATION.fullmatch(session):
            hint = "letters, digits, `.`, `_` and `-`; at most 64 of them"
            raise InvalidInput(f"`{session[:80]}` is no name for a conversation", hint=hint)
        query = parse(f'session:"{session}"', RUN_FIELDS).require()
        heads, _ = await self.store.runs.list(query, Page(limit=MOST_TURNS), now=self.clock.now(), tenant=self.tenant)
        said = [
            head
            for head in reversed(heads)
            if head.session == session and (head.workflow.startswith(CHAT) or head.trigger == KIND)
        ]
        turns: dict[str, Turn] = {}
        firsts: dict[str, str] = {}
        for head in said:
            turn = await self._turn(head)
            first = firsts[head.id] = firsts.get(head.retry_of, head.retry_of) or head.id
            turns[first] = turn
        return list(turns.values())

    async def _turn(self, head: RunHead) -> Turn:
        facts = [stored.fact for stored in await self.facts(head.id, upto=1)]
        message: Any = ""
        for fact in facts:
            if isinstance(fact, RunCreated):
                inputs = mapping(await self.value(fact) if fact.blob is not None else fact.inputs)
                message = inputs.get("message", "") if head.workflow.startswith(CHAT) else message_of(fact)
        answer, error = None, None
        if head.finished_at is not None:
            for stored in await self.facts(head.id, after=head.n - 1):
                if isinstance(stored.fact, RunFinished):
                    answer = await self.value(stored.fact) if stored.fact.blob is not None else stored.fact.output
                    error = stored.fact.error
        return Turn(
            run=head.id,
            agent=head.workflow.removeprefix(CHAT),
            message=str(message or ""),
            answer=answer,
            status=head.status,
            error=error,
            at=head.created_at,
            ended_at=head.finished_at,
            by=head.owner,
            mode=head.mode,
            cost_nano=head.cost_nano,
            uncertain_nano=head.uncertain_nano,
            tokens=head.tokens,
        )

    async def _written(self, definition: AgentDefinition) -> dict[str, Any]:
        """The agents of a workflow as its file has them."""
        from fleetprompt.engine.definition.yaml import load_document

        workflow = await self.store.catalog.workflow(definition.workflow, self.tenant)
        text = await self.store.catalog.source(workflow.plan, self.tenant) if workflow is not None else None
        return mapping(mapping(load_document(text or "", definition.workflow).data).get("agents"))

    async def _know(self, workflow: str, beside: Path) -> None:
        """See to it that a workflow that is a function of the agent is known: from its file, where there is one."""
        if await self.store.catalog.workflow(workflow, self.tenant) is not None:
            return
        folders = (self._root / "workflows", beside, beside.parent)
        places = [folder / f"{workflow}{suffix}" for folder in folders for suffix in SUFFIXES]
        path = next((place for place in places if place.is_file()), None)
        if path is not None:
            for each in reversed(await asyncio.to_thread(load_files, path, path.parent)):
                await self._register(each)


def history(turns: Iterable[Turn]) -> list[dict[str, str]]:
    """What was said before, as an agent is told: messages that were answered, as many of the newest as fit."""
    told: list[dict[str, str]] = []
    left = HISTORY
    for turn in reversed([turn for turn in turns if turn.status == "completed"]):
        left -= len(turn.message) + len(turn.text)
        if left < 0:
            break
        told[:0] = [{"role": "user", "text": turn.message}, {"role": "assistant", "text": turn.text}]
    return told


_DOCUMENT = """\
# A conversation with the agent {agent}: each message is a run of this.
name: chat
description: A conversation with the agent {agent}.
inputs:
  message: {{type: string}}
  history: {{type: array, default: []}}
{agents}steps:
  - id: {step}
    type: agent
    agent: {agent}
    prompt: "${{{{ inputs.message }}}}"
    history: "${{{{ inputs.history }}}}"
    max_iterations: {iterations}
"""


def chat_file(
    definition: AgentDefinition, root: Path, inside: Mapping[str, Any], names: Names | None = None
) -> WorkflowFile:
    """The workflow of which each message to an agent is a run, named `chat:<agent>`: no file can have that name.
    `inside` are the agents of the workflow in which it is written. Raises `InvalidWorkflow` with what is wrong."""
    from fleetprompt.engine.definition.load import load_text
    from fleetprompt.engine.definition.problems import InvalidWorkflow

    discover_steps()
    agent = definition.name
    file = Path(definition.file) if definition.file else root / "agents" / f"{agent}.yaml"
    folder = file.parent.parent
    agents = ""
    if inside:
        folder = file.parent if definition.file else root
        agents = f"agents: {msgspec.json.encode(inside).decode()}\n"
    text = _DOCUMENT.format(agent=agent, agents=agents, step=ANSWER, iterations=ITERATIONS)
    named = f"{CHAT}{agent}"
    try:
        loaded = load_text(text, named, folder, names)
    except InvalidWorkflow as error:
        # Nobody has written this file: what is wrong is what is wrong with theirs.
        wrong = [problem for problem in error.problems if problem.severity == "error"]
        raise InvalidWorkflow([problem for problem in wrong if problem.file != named] or wrong) from None
    plan: Plan = msgspec.structs.replace(loaded.plan, name=named)
    return WorkflowFile(plan=plan, digest=plan_digest(plan), text=text, file=str(file), named=named)
