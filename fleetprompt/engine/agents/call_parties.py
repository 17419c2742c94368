"""Calls that people, other agents or runs answer, and those that are about a variable of the run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from fleetprompt.engine.agents.call_notes import CallNotes
from fleetprompt.engine.agents.call_words import error_of, inputs_of, rejection, workflow_of
from fleetprompt.engine.agents.decisions import DECISION, handed
from fleetprompt.engine.agents.decisions import answered as answered_by
from fleetprompt.engine.agents.messages import (
    CHILD,
    CommunicationType,
    Said,
    answered,
    from_people,
    requested,
    to_people,
)
from fleetprompt.engine.agents.toolbox import VARS_GET, Entry, Toolbox
from fleetprompt.engine.agents.transcript import (
    COMPLETED,
    HANDED_OVER,
    Call,
    Record,
    Transcript,
)
from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.core.errors import Failure, Refused
from fleetprompt.engine.ports.work import NoteValue, Question, WorkContext
from fleetprompt.engine.ports.world import Done, Outcome

VARIABLE = 32 * 1024
"""Bytes that the value of a variable may have as JSON: it stands in the note that sets it."""

Delegate = Callable[[Call, str, str], Awaitable[Outcome]]
"""Given a call, the name of an agent and a task: what comes of it."""


class PartyCalls(CallNotes):
    """Asks others on behalf of one agent, and takes up what they say."""

    def __init__(
        self,
        ctx: WorkContext,
        agent: Agent,
        toolbox: Toolbox,
        record: Record,
        transcript: Transcript,
        delegate: Delegate,
        kept: str = "",
    ) -> None:
        """`delegate` has another agent do a part of the task, below the key of a call. `kept`: why the agent may not
        hand its task over."""
        super().__init__(ctx, agent, toolbox, record, transcript)
        self._delegate = delegate
        self._kept = kept

    async def _start(self, call: Call, entry: Entry) -> None:
        """Start a run that nobody waits for."""
        try:
            run = await self._ctx.start_child(call.key, workflow_of(call, entry))
        except Refused as error:
            await self._fail(call, Failure("TOOL_ERROR", error.message, hint=error.hint), 0.0)
            return
        said = self._from_run(call, entry, "status_update", {"run": run, "status": "started"})
        await self._settled(call, entry, Done({"run": run}), 0.0, said=[said])

    async def _child(self, call: Call, entry: Entry) -> None:
        ended = call.child
        if ended is None:
            await self._ctx.wait_for_child(call.key, workflow_of(call, entry), entry.timeout)
        assert ended is not None
        if ended.get("status") == "completed":
            output = await self._ctx.whole(ended)
            said = self._from_run(call, entry, "result", {"run": ended.get("run"), "status": "completed"})
            done = Done({"run": ended.get("run"), "output": output})
            await self._settled(call, entry, done, 0.0, source="outside", said=[said])
            return
        error = mapping(ended.get("error"))
        message = (
            f"run {ended.get('run')} of {workflow_of(call, entry)} {ended.get('status')}: {error.get('message', '')}"
        )
        said = self._from_run(call, entry, "error_notification", {"run": ended.get("run"), "error": message})
        await self._fail(call, Failure("TOOL_ERROR", message, data={"run": ended.get("run")}), 0.0, "outside", [said])

    def _asked(self, call: Call) -> Question:
        settings = self._agent.approval
        arguments = mapping(call.arguments)
        options = [str(option) for option in items(arguments.get("options"))]
        answer: dict[str, Any] = {"type": "string", "required": True}
        message, at = str(arguments.get("question") or "the agent asks for help"), self._ctx.now()
        said = Said("question", self._agent.name, message)
        return Question(
            call=call.key,
            about="question",
            message=message,
            show={"agent": self._agent.name, "options": options} if options else {"agent": self._agent.name},
            form={"answer": answer | ({"enum": options} if options else {})},
            approvers=settings.approvers,
            seconds=settings.timeout,
            escalate=settings.escalate,
            notes=(to_people(said, call.key, call.key, settings.approvers, at),),
        )

    async def _answered(self, call: Call, entry: Entry) -> None:
        decision = self._ctx.decisions.get(call.key)
        if decision is None or not decision.decision:
            await self._ctx.ask([self._asked(call)])
            return
        said = from_people(call.key, self._agent.name, decision, self._ctx.now())
        arguments = mapping(call.arguments)
        question, options = str(arguments.get("question", "")), items(arguments.get("options"))
        if decision.decision == "approved":
            output = {"answer": decision.values.get("answer"), "by": list(decision.by), "comment": decision.comment}
            decided = answered_by(decision, question, options, output["answer"])
            await self._settled(call, entry, Done(output), 0.0, said=said, decided=decided)
            return
        failure = Failure("APPROVAL_REJECTED", f"no answer: {rejection(decision)}")
        await self._fail(call, failure, 0.0, said=said, decided=answered_by(decision, question, options))

    async def _delegated(self, call: Call, entry: Entry) -> None:
        task = str(mapping(call.arguments).get("task", ""))
        outcome = await self._delegate(call, entry.target, task)
        said: list[NoteValue] = []
        if f"{call.key}/{entry.target}" in self._record.agents:
            kind = "result" if isinstance(outcome, Done) else "error_notification"
            content = outcome.output if isinstance(outcome, Done) else error_of(outcome)
            said.append(self._back(call, entry.target, kind, content))
        await self._settled(call, entry, outcome, 0.0, source="agent", said=said)

    def _back(self, call: Call, sender: str, type_: CommunicationType, content: Any, channel: str = "run") -> NoteValue:
        """What whoever was asked by a call says to the agent, which takes it up now."""
        at = self._ctx.now()
        return answered(Said(type_, sender, content), self._agent.name, call.key, sent=at, received=at, channel=channel)

    def _asked_of_run(self, call: Call, entry: Entry) -> list[NoteValue]:
        """What is asked of the run that a call starts; nothing for a call that starts none. What it is given stands in
        the call."""
        if entry.way not in ("workflow", "start"):
            return []
        said = Said("task_delegation", self._agent.name, {"inputs": [*inputs_of(call.arguments, entry)]})
        return [requested(said, workflow_of(call, entry), call.key, sent=self._ctx.now(), channel=CHILD)]

    def _from_run(self, call: Call, entry: Entry, type_: CommunicationType, content: Any) -> NoteValue:
        """What a run tells that the call has started."""
        return self._back(call, workflow_of(call, entry), type_, content, CHILD)

    async def _hand_over(self, call: Call, entry: Entry) -> None:
        kept = self._kept
        if not kept and self._transcript.handed_over is not None:
            kept = f"{self._transcript.handed_over.get('to')} has the task already"
        if kept:
            await self._fail(call, Failure("AGENT_ERROR", kept, retryable=False), 0.0)
            return
        reason = str(mapping(call.arguments).get("reason", ""))
        value: dict[str, Any] = {"to": entry.target, "reason": reason, "call": call.key, "at": self._ctx.now()}
        value[DECISION] = handed(self._agent.handoffs, entry.target, reason)
        done = {"tool": call.tool, "output": f"{entry.target} goes on"}
        await self._noted(
            (COMPLETED, call.key, done | self._action(call, "completed") | self._settle(call)),
            self._transcript.moved("handed_over", reason, HANDED_OVER, "jump", {"to": entry.target}),
            (HANDED_OVER, self._transcript.path, value),
        )

    async def _variable(self, call: Call, entry: Entry) -> None:
        """Read or set a variable of the run: what is recorded is what sets it."""
        arguments = mapping(call.arguments)
        name = str(arguments.get("name"))
        if name not in self._ctx.variables:
            known = ", ".join(self._ctx.variables) or "none"
            await self._fail(call, Failure("VALIDATION_ERROR", f"there is no variable `{name}`", hint=known), 0.0)
        elif entry.name == VARS_GET:
            await self._settled(call, entry, Done(self._ctx.variables[name]), 0.0)
        elif len(msgspec.json.encode(arguments.get("value"))) > VARIABLE:
            too_long = f"the value is longer than {VARIABLE // 1024} KiB"
            await self._fail(call, Failure("VALIDATION_ERROR", too_long, hint="keep it in a file"), 0.0)
        else:
            value = {"tool": call.tool, "output": "set", "vars": {name: arguments.get("value")}}
            value |= self._action(call, "completed") | self._settle(call)
            await self._noted((COMPLETED, call.key, value))
