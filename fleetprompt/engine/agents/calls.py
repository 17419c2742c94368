"""Calls of tools on behalf of an agent: looked at before anything of a turn happens, asked about where a rule says so,
recorded before and after, never made twice where that must not be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec

from fleetprompt.engine.agents.arguments import arguments_of, form_of
from fleetprompt.engine.agents.decisions import DECISION, declared, doubted, handed, judged
from fleetprompt.engine.agents.decisions import answered as answered_by
from fleetprompt.engine.agents.judging import Judge, digests, shown
from fleetprompt.engine.agents.messages import (
    CHILD,
    NOTIFY,
    CommunicationType,
    Said,
    answered,
    from_people,
    notified,
    requested,
    to_people,
)
from fleetprompt.engine.agents.toolbox import VARS_GET, Entry, Toolbox
from fleetprompt.engine.agents.tracking import ActionStatus, action
from fleetprompt.engine.agents.transcript import (
    COMPLETED,
    HANDED_OVER,
    PROPOSED,
    RECONCILED,
    TOOL_FAILED,
    Call,
    Record,
    Transcript,
    Turn,
    call_key,
)
from fleetprompt.engine.core import evolve_work as kinds
from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.core.errors import Failure, FleetError, Refused
from fleetprompt.engine.core.facts import Within
from fleetprompt.engine.core.keys import call_key as idempotency_key
from fleetprompt.engine.core.working import killed_told
from fleetprompt.engine.ports.budget import Allowance, Amounts, Reserve, Settle
from fleetprompt.engine.ports.model import ToolCall
from fleetprompt.engine.ports.tool import Judgement
from fleetprompt.engine.ports.work import Decision, NoteValue, Question, WorkContext
from fleetprompt.engine.ports.world import Done, Failed, Outcome
from fleetprompt.engine.tools.workflow import START

MOST_STARTS = 20
"""Runs that the agents of one step may start by `workflow.start`."""
VARIABLE = 32 * 1024
"""Bytes that the value of a variable may have as JSON: it stands in the note that sets it."""

NOT_SO = "do not call it so again: reach the goal another way, or say in your result that this was not done, and why"
"""What a model is told to do about a call that was forbidden while it waited."""

RECONCILE = "reconcile"
"""Who has found out what became of a call, where it was its tool."""

_ENDS: Mapping[str, ActionStatus] = {"APPROVAL_REJECTED": "rejected", "IN_DOUBT": "in_doubt"}
"""How an action has ended that came to nothing for such a reason; for any other it has failed."""

OTHERWISE = "what the call would do has changed since it was shown and approved"

Source = Literal["", "outside", "agent"]
"""Who has written a result: we or the operator; somebody outside, or another run; another agent of this step."""
Delegate = Callable[[Call, str, str], Awaitable[Outcome]]
"""Given a call, the name of an agent and a task: what comes of it."""


class Calls:
    """Makes the calls of one agent at work."""

    def __init__(
        self,
        ctx: WorkContext,
        agent: Agent,
        toolbox: Toolbox,
        record: Record,
        transcript: Transcript,
        delegate: Delegate,
        own: Sequence[Allowance] = (),
        *,
        by_author: bool = False,
        kept: str = "",
    ) -> None:
        """`delegate` has another agent do a part of the task, below the key of a call. `own`: limits of the agent
        itself and of those for whom it works, within those of its step. `by_author`: see `Judge`. `kept`: why it may
        not hand its task over."""
        self._kept = kept
        self._own = tuple(own)
        self._ctx = ctx
        self._agent = agent
        self._delegate = delegate
        self._toolbox = toolbox
        self._record = record
        self._transcript = transcript
        self.judge = Judge(ctx, agent, record, own, by_author=by_author)
        """Says what they would do, and whether they may."""

    # ------------------------------------------------------------ before

    async def propose(self, turn: Turn) -> None:
        """Look at what an answer asks for: whether each call can be made, may be made, or has to be asked about."""
        notes: list[NoteValue] = []
        if self._transcript.state != "executing":
            data = {"turn": turn.number}
            notes.append(self._transcript.moved("executing", "its answer asks for calls", PROPOSED, data=data))
        for index, asked in enumerate(turn.asked_for):
            value = await self._proposal(asked)
            notes.append((PROPOSED, call_key(self._transcript.path, turn.number, index), value))
        await self._noted(*notes)

    async def _proposal(self, asked: ToolCall) -> dict[str, Any]:
        name = asked.name
        try:
            entry = self._toolbox.named(name)
            name = entry.name
            return await self.judge.proposal(entry, arguments_of(asked))
        except FleetError as error:
            hint = f" ({error.hint})" if error.hint else ""
            problem = {"problem": f"{error.message}{hint}", "code": error.code}
            return {"tool": name, "arguments": asked.arguments[:2000]} | problem

    def questions(self, calls: Sequence[Call]) -> list[Question]:
        """What people are asked about these calls."""
        return [self._question(call) for call in calls]

    def _question(self, call: Call) -> Question:
        settings = self._agent.approval
        summary = str(mapping(call.proposal.get("preview")).get("summary") or call.tool)
        schema = mapping(self._toolbox.entries[call.tool].info.spec.parameters)
        return Question(
            call=call.key,
            about="tool",
            message=f"{self._agent.name}: {summary}",
            show=shown(self._agent.name, call.proposal),
            input={"tool": call.tool, "arguments": call.arguments},
            form=form_of(schema, mapping(call.arguments)),
            approvers=settings.approvers,
            quorum=settings.quorum,
            seconds=settings.timeout,
            escalate=settings.escalate,
        )

    # ------------------------------------------------------------ performing

    async def perform(self, calls: Sequence[Call], decisions: Mapping[str, Decision]) -> None:
        """Carry out calls that are decided: beside each other where all of them may be, else one after the other."""
        if len(calls) > 1 and await self._ask_anew(calls, decisions):
            return
        beside = len(calls) > 1 and all(self._is_parallel(call) for call in calls)
        if beside:
            # All of them come to their end, also where one cannot begin: a limit may allow some of them only.
            ended = await asyncio.gather(
                *(self._perform(call, decisions.get(call.key)) for call in calls), return_exceptions=True
            )
            for error in ended:
                if error is not None:
                    raise error
            return
        for call in calls:
            await self._perform(call, decisions.get(call.key))
            if call.status == "proposed":
                # People are asked about it first, and what comes after it may depend on it.
                return

    async def _ask_anew(self, calls: Sequence[Call], decisions: Mapping[str, Decision]) -> bool:
        """Whether people have to be asked about one of these calls by now, before any of them is made."""
        anew = False
        for call in calls:
            entry = self._toolbox.entries.get(call.tool)
            if entry is None or call.ran or call.problem or call.verdict != "allow":
                continue
            now = await self.judge.now(call, entry)
            if _needs_leave(call, now, decisions.get(call.key)):
                await self._propose_anew(call, entry)
                anew = True
        return anew

    async def _propose_anew(self, call: Call, entry: Entry) -> None:
        """Put it as it is judged now in the place of how it was."""
        try:
            tainted = bool(call.proposal.get("tainted"))
            value = await self.judge.proposal(entry, mapping(call.arguments), tainted=tainted)
        except FleetError as error:
            await self._refuse(call, f"it cannot be made any more: {error.message}", hint=error.hint)
            return
        await self._note(call, PROPOSED, value | {"repeat": "never" if call.repeat == "never" else value["repeat"]})

    def _is_parallel(self, call: Call) -> bool:
        entry = self._toolbox.entries.get(call.tool)
        return entry is not None and entry.way == "tool" and entry.info.parallel and not call.ran

    async def _perform(self, call: Call, decision: Decision | None) -> None:
        await self._ctx.go_on()
        if call.problem:
            await self._refuse(call, call.problem, call.proposal.get("code", "VALIDATION_ERROR"))
            return
        entry = self._toolbox.entries.get(call.tool)
        if entry is None:
            await self._refuse(call, f"there is no tool `{call.tool}` any more", "VALIDATION_ERROR")
            return
        if call.ran:
            await self._again(call, entry)
            return
        if call.verdict == "deny":
            rule = call.proposal.get("rule", "")
            await self._refuse(call, f"not allowed: {rule}", "APPROVAL_REJECTED")
            return
        if call.verdict == "ask":
            if decision is None or decision.decision != "approved":
                decided = answered_by(decision, _asked_about(call)) if decision is not None else None
                await self._refuse(call, _rejection(decision), "APPROVAL_REJECTED", decided=decided)
                return
            if decision.values and not await self._edit(call, entry, decision):
                return
        await self._begin(call, entry, decision)

    async def _edit(self, call: Call, entry: Entry, decision: Decision) -> bool:
        """Take up what an operator has changed: it is checked, looked at and bound anew, and has to be what they have
        approved, by its digests."""
        changed = edited(call, decision.values)
        if changed is None:
            return True
        try:
            value = await self.judge.proposal(entry, changed, whole=True)
        except FleetError as error:
            await self._refuse(call, f"an operator changed the arguments, which cannot be used so: {error.message}")
            return False
        if value["verdict"] == "deny":
            said = f"an operator changed the arguments; not allowed: {value['rule']}"
            await self._refuse(call, said, decided=value[DECISION])
            return False
        is_, does = digests(value)
        if decision.edited not in ("", is_) or decision.previewed not in ("", does):
            # A file has changed, or whatever else it depends on.
            what = "they are not what was approved" if decision.edited not in ("", is_) else OTHERWISE
            await self._refuse(call, f"an operator changed the arguments; {what}")
            return False
        value |= {"edited_by": list(decision.by), "approval": decision.id, "edited": is_, "previewed": does}
        await self._note(call, PROPOSED, value)
        return True

    async def _begin(self, call: Call, entry: Entry, decision: Decision | None) -> None:
        if not await self._stands(call, entry, decision):
            return
        key = self._key(call)
        value: dict[str, Any] = {
            "tool": call.tool,
            "arguments": call.arguments,
            "repeat": call.repeat,
            "key": key,
            "at": self._ctx.now(),
        } | self._action(call, "running", call.begun)
        if decision is not None:
            value["approval"] = decision.id
            value[DECISION] = answered_by(decision, _asked_about(call))
        if entry.way in ("workflow", "start"):
            value |= {"workflow": _workflow(call, entry), "with": mapping(mapping(call.arguments).get("inputs"))}
            if entry.way == "start":
                if self._started >= MOST_STARTS:
                    await self._refuse(call, f"the agents of a step start {MOST_STARTS} runs at most")
                    return
                # What was shown is what is started.
                value |= {"plan": _bound(call).get("plan"), "wait": _waits(call)}
            if self._own:
                value["within"] = [self._above(each) for each in self._own]
        await self._reserved(call, value, self._asked_of_run(call, entry))
        if decision is not None and decision.grant:
            await self._grant(call, entry, decision)
        await self._call(call, entry, key)

    async def _stands(self, call: Call, entry: Entry, decision: Decision | None = None) -> bool:
        """Whether it may still be made, as the policy is now, whatever was allowed, or approved, before. What must not
        be made is refused; what people have to be asked about by now is put to them, unless it had begun."""
        now = await self.judge.now(call, entry)
        if now.verdict == "deny":
            who = f" {', '.join(decision.by)} had approved it." if decision is not None and decision.by else ""
            begun = " It was begun before, and may have happened." if call.ran else ""
            self._ctx.log(f"{call.tool} is not made, for the policy has changed: {now.rule}.{who}{begun}", "warning")
            said, decided = f"not allowed any more: {now.rule}.{who}{begun}", judged(call.tool, "deny", now.rule)
            await self._refuse(call, said, "APPROVAL_REJECTED", NOT_SO, decided)
            return False
        if _needs_leave(call, now, decision):
            await self._propose_anew(call, entry)
            return False
        return True

    @property
    def _started(self) -> int:
        """Runs that the agents of the step have started by a tool."""
        return sum(call.ran and call.tool == START for call in self._record.calls.values())

    def _above(self, own: Allowance) -> dict[str, Any]:
        """A limit of the agent's own, as the run that it starts has to keep it."""
        above = Within(own.scope, **msgspec.structs.asdict(own.caps), on_limit=self._agent.limits.on_limit)
        return mapping(msgspec.to_builtins(above))

    async def _reserved(self, call: Call, value: dict[str, Any], said: Sequence[NoteValue] = ()) -> None:
        """Record that the call is made, with its place among the calls that are allowed, and what is said by it. Raises
        `BudgetRefused`."""
        known = (*self._ctx.allowances, *self._own)
        allowances = tuple(each for each in known if each.caps.tool_calls is not None)
        if not allowances:
            await self._noted((kinds.CALLED, call.key, value), *said)
            return
        effect = self._ctx.effect
        id_ = f"{effect.run}/{effect.path}/a{effect.attempt}/{call.key}"
        reserve = Reserve(id_, allowances, Amounts(tool_calls=1))
        value["reserve"] = msgspec.to_builtins(reserve)
        # What others hold is never waited for: a call counts whatever becomes of it. And whoever gives a part of its
        # task away holds its place until that has come to an end.
        await self._noted((kinds.CALLED, call.key, value), *said, reserves=[id_])

    def _key(self, call: Call) -> str:
        """The same however often the work is interrupted and taken up again."""
        return idempotency_key(self._ctx.effect.key, self._record.attempt, call.key)

    async def _call(self, call: Call, entry: Entry, key: str) -> None:
        if entry.way == "workflow" or (entry.way == "start" and _waits(call)):
            await self._ctx.wait_for_child(call.key, _workflow(call, entry), entry.timeout)
        if entry.way == "start":
            await self._start(call, entry)
            return
        if entry.way == "human":
            await self._ctx.ask([self._asked(call)])
        if entry.way == "delegate":
            await self._delegated(call, entry)
            return
        if entry.way == "handoff":
            await self._hand_over(call, entry)
            return
        if entry.way == "variable":
            await self._variable(call, entry)
            return
        assert entry.tool is not None
        bound = mapping(call.proposal.get("preview")).get("bound")
        room = self.judge.room(entry, call, key, bound)
        began = self._ctx.now()
        outcome = await entry.tool.call(mapping(call.arguments), room)
        await self._settled(call, entry, outcome, self._ctx.now() - began)

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

    async def _settled(
        self,
        call: Call,
        entry: Entry,
        outcome: Outcome,
        seconds: float,
        by: str = "",
        source: Source = "",
        said: Sequence[NoteValue] = (),
        decided: Mapping[str, Any] | None = None,
    ) -> None:
        """`said`: what others have said to the agent by it; `decided`: what it follows from, as it is noted."""
        settle, source = self._settle(call), source or ("outside" if entry.info.untrusted else "")
        if isinstance(outcome, Done):
            value: dict[str, Any] = {"tool": call.tool, "output": outcome.output, "seconds": round(seconds, 4)}
            value |= _marks(source) | self._action(call, "completed")
            if by:
                value["by"] = by
            if decided is not None:
                value[DECISION] = decided
            notes: list[NoteValue] = [(RECONCILED if by else COMPLETED, call.key, value | settle)]
            if call.tool == "record_decision":
                notes.append((DECISION, call.key, declared(mapping(call.arguments))))
            elif call.tool == NOTIFY:
                notes.append(notified(self._agent.name, call.key, mapping(call.arguments), call.at or self._ctx.now()))
            await self._noted(*said, *notes)
        elif isinstance(outcome, Failed):
            await self._fail(call, outcome.error, seconds, source, said)
        elif call.repeat == "safe":
            await self._fail(call, Failure("TOOL_ERROR", outcome.reason), seconds)
        else:
            await self._in_doubt(call, entry, outcome.reason)

    # ------------------------------------------------------------ once more

    async def _again(self, call: Call, entry: Entry) -> None:
        """A call that was begun and of which no result is recorded."""
        if entry.way == "workflow" or (entry.way == "start" and _waits(call)):
            await self._child(call, entry)
        elif entry.way == "human":
            await self._answered(call, entry)
        elif entry.way in ("delegate", "handoff"):
            await self._call(call, entry, "")
        elif call.resolved is not None:
            await self._resolved(call, entry)
        elif call.repeat == "safe":
            if call.killed:
                self._ctx.log(f"{call.tool} is made again{killed_told(call.killed)}", "warning")
            if await self._stands(call, entry):
                call.retaken += 1
                await self._call(call, entry, self._key(call))
        else:
            reason = "the work was interrupted while the call was made"
            await self._in_doubt(call, entry, reason + killed_told(call.killed))

    async def _start(self, call: Call, entry: Entry) -> None:
        """Start a run that nobody waits for."""
        try:
            run = await self._ctx.start_child(call.key, _workflow(call, entry))
        except Refused as error:
            await self._fail(call, Failure("TOOL_ERROR", error.message, hint=error.hint), 0.0)
            return
        said = self._from_run(call, entry, "status_update", {"run": run, "status": "started"})
        await self._settled(call, entry, Done({"run": run}), 0.0, said=[said])

    async def _child(self, call: Call, entry: Entry) -> None:
        ended = call.child
        if ended is None:
            await self._ctx.wait_for_child(call.key, _workflow(call, entry), entry.timeout)
        assert ended is not None
        if ended.get("status") == "completed":
            output = await self._ctx.whole(ended)
            said = self._from_run(call, entry, "result", {"run": ended.get("run"), "status": "completed"})
            done = Done({"run": ended.get("run"), "output": output})
            await self._settled(call, entry, done, 0.0, source="outside", said=[said])
            return
        error = mapping(ended.get("error"))
        message = (
            f"run {ended.get('run')} of {_workflow(call, entry)} {ended.get('status')}: {error.get('message', '')}"
        )
        said = self._from_run(call, entry, "error_notification", {"run": ended.get("run"), "error": message})
        await self._fail(call, Failure("TOOL_ERROR", message, data={"run": ended.get("run")}), 0.0, "outside", [said])

    async def _in_doubt(self, call: Call, entry: Entry, reason: str) -> None:
        """Find out whether it happened, or ask an operator."""
        if entry.tool is not None and entry.info.reconciles:
            bound = mapping(call.proposal.get("preview")).get("bound")
            found = await entry.tool.reconcile(
                mapping(call.arguments), self.judge.room(entry, call, self._key(call), bound)
            )
            if isinstance(found, Done):
                decided = doubted(call.tool, "happened", RECONCILE, checked=True)
                await self._settled(call, entry, found, 0.0, by=RECONCILE, decided=decided)
                return
            if isinstance(found, Failed):
                await self._once_more(call, entry, RECONCILE, doubted(call.tool, "run", RECONCILE, checked=True))
                return
        await self._ctx.doubt(call.key, f"{call.tool}: {reason}")

    async def _resolved(self, call: Call, entry: Entry) -> None:
        """An operator has answered for it."""
        answer = mapping(call.resolved)
        who = str(answer.get("by") or "an operator")
        decided = doubted(call.tool, str(answer.get("answer")), who, comment=str(answer.get("comment") or ""))
        match answer.get("answer"):
            case "happened":
                output = await self._ctx.whole(answer)
                await self._settled(call, entry, Done(output), 0.0, by=who, decided=decided)
            case "skip":
                said = f": {answer['comment']}" if answer.get("comment") else ""
                message = f"nobody knows whether this happened; {who} says to go on without it{said}"
                await self._fail(call, Failure("IN_DOUBT", message), 0.0, decided=decided)
            case _:
                await self._once_more(call, entry, who, decided)

    async def _once_more(self, call: Call, entry: Entry, by: str, decided: Mapping[str, Any]) -> None:
        """It did not happen: it is begun anew, and that is recorded as the first time was."""
        if not await self._stands(call, entry):
            return
        key = self._key(call)
        value: dict[str, Any] = {
            "tool": call.tool,
            "arguments": call.arguments,
            "repeat": call.repeat,
            "key": key,
            "at": self._ctx.now(),
            "approval": call.approval,
            "again_by": by,
            DECISION: decided,
        } | self._action(call, "running", call.begun)
        if call.reserve:
            value["reserve"] = call.reserve
        await self._note(call, kinds.CALLED, value)
        await self._call(call, entry, key)

    # ------------------------------------------------------------ people and other agents

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
        failure = Failure("APPROVAL_REJECTED", f"no answer: {_rejection(decision)}")
        await self._fail(call, failure, 0.0, said=said, decided=answered_by(decision, question, options))

    async def _delegated(self, call: Call, entry: Entry) -> None:
        task = str(mapping(call.arguments).get("task", ""))
        outcome = await self._delegate(call, entry.target, task)
        said: list[NoteValue] = []
        if f"{call.key}/{entry.target}" in self._record.agents:
            kind = "result" if isinstance(outcome, Done) else "error_notification"
            content = outcome.output if isinstance(outcome, Done) else _error_of(outcome)
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
        said = Said("task_delegation", self._agent.name, {"inputs": [*mapping(mapping(call.arguments).get("inputs"))]})
        return [requested(said, _workflow(call, entry), call.key, sent=self._ctx.now(), channel=CHILD)]

    def _from_run(self, call: Call, entry: Entry, type_: CommunicationType, content: Any) -> NoteValue:
        """What a run tells that the call has started."""
        return self._back(call, _workflow(call, entry), type_, content, CHILD)

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

    # ------------------------------------------------------------ what is recorded

    async def _refuse(
        self,
        call: Call,
        message: str,
        code: Any = "TOOL_ERROR",
        hint: str = "",
        decided: Mapping[str, Any] | None = None,
    ) -> None:
        """It is not made at all. `decided`: what that follows from, as it is noted."""
        await self._fail(call, Failure(code, message, hint=hint), 0.0, decided=decided)

    async def _fail(
        self,
        call: Call,
        error: Failure,
        seconds: float,
        source: Source = "",
        said: Sequence[NoteValue] = (),
        decided: Mapping[str, Any] | None = None,
    ) -> None:
        """`source`: of what the error says; `said` and `decided` as for `_settled`."""
        await self._noted(*said, self._failed(call, error, seconds, source, decided))

    def _failed(
        self,
        call: Call,
        error: Failure,
        seconds: float,
        source: Source = "",
        decided: Mapping[str, Any] | None = None,
    ) -> NoteValue:
        value: dict[str, Any] = {
            "tool": call.tool,
            "ran": call.ran,
            "seconds": round(seconds, 4),
            "error": {"code": error.code, "message": error.message, "hint": error.hint},
        } | self._action(call, _ENDS.get(error.code, "failed"))
        if decided is not None:
            value[DECISION] = decided
        return TOOL_FAILED, call.key, value | _marks(source) | self._settle(call)

    def unmade(self, calls: Sequence[Call], why: str) -> list[NoteValue]:
        """What is noted of calls that nobody makes any more, because the agent does not go on."""
        begun = Failure("IN_DOUBT", f"it was begun, and may have happened; {why}")
        never = Failure("APPROVAL_REJECTED", f"not made: {why}")
        questions = {name for name, entry in self._toolbox.entries.items() if entry.way == "human"}
        return [self._failed(call, begun if call.ran and call.tool not in questions else never, 0.0) for call in calls]

    def _action(self, call: Call, status: ActionStatus, retries: int | None = None) -> dict[str, Any]:
        """The call as an action. `retries` before it, where that is not what its notes say."""
        entry = self._toolbox.entries.get(call.tool)
        type_ = entry.info.action if entry is not None else "tool_execution"
        functions = entry is not None and entry.way == "workflow"
        capability = "workflow" if functions else call.tool.partition(".")[0]
        again = call.retries if retries is None else retries
        told = action(type_, call.tool, tool=call.tool, capability=capability, status=status, retry_count=again)
        return {"action": told}

    def _settle(self, call: Call) -> dict[str, Any]:
        reserve = mapping(call.reserve)
        if not reserve:
            return {}
        return {"settle": msgspec.to_builtins(Settle(str(reserve.get("id")), spent=Amounts(tool_calls=1)))}

    async def _grant(self, call: Call, entry: Entry, decision: Decision) -> None:
        """Calls that are all that this one was shown to be need not be asked about any more."""
        preview = mapping(call.proposal.get("preview"))
        value = {
            "tool": call.tool,
            "scope": decision.grant,
            "subject": preview.get("covers"),
            "by": list(decision.by),
            "approval": decision.id,
            "agent": self._agent.name,
        }
        await self._noted((kinds.GRANTED, call.key, value))

    async def _note(self, call: Call, kind: str, value: dict[str, Any], reserves: Collection[str] = ()) -> None:
        await self._noted((kind, call.key, value), reserves=reserves)

    async def _noted(self, *notes: NoteValue, reserves: Collection[str] = ()) -> None:
        for note in await self._ctx.record(*notes, reserves=reserves):
            self._record.fold(*note)


def edited(call: Call, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments of a call with what somebody has changed; None where that is nothing."""
    changed = mapping(call.arguments) | {name: value for name, value in values.items() if value is not None}
    return changed if changed != call.arguments else None


def _error_of(outcome: Outcome) -> dict[str, Any]:
    return {"error": outcome.error.message} if isinstance(outcome, Failed) else {}


def _marks(source: Source) -> dict[str, Any]:
    """What is noted of where a result comes from. What another agent of the step says may repeat what it has read, so
    it is data as well; but what that was has its own notes, by which the work is tainted or not."""
    marks = {"outside": {"untrusted": True}, "agent": {"untrusted": True, "delegated": True}}
    return dict(marks.get(source, {}))


def _needs_leave(call: Call, now: Judgement, decision: Decision | None) -> bool:
    """Whether nobody was asked about a call that people have to be asked about by now. Who has approved it has approved
    it under any rule that asks: whom to ask is said by the agent's file, and stays the same under a run."""
    approved = decision is not None and decision.decision == "approved"
    return now.verdict == "ask" and call.verdict == "allow" and not approved and not call.ran


def _asked_about(call: Call) -> str:
    """What people are asked about a call, in a line."""
    return str(mapping(call.proposal.get("preview")).get("summary") or call.tool)


def _bound(call: Call) -> dict[str, Any]:
    """What was bound when the call was looked at."""
    return mapping(mapping(call.proposal.get("preview")).get("bound"))


def _workflow(call: Call, entry: Entry) -> str:
    """The workflow that a call starts."""
    return entry.target or str(mapping(call.arguments).get("workflow", ""))


def _waits(call: Call) -> bool:
    """Whether a call that starts a workflow waits for its end."""
    return mapping(call.arguments).get("wait") is not False


def _rejection(decision: Decision | None) -> str:
    if decision is None:
        return "nobody has approved it"
    if decision.reason == "timeout":
        return "nobody approved it in time"
    who = f" by {', '.join(decision.by)}" if decision.by else ""
    return f"rejected{who}" + (f": {decision.comment}" if decision.comment else "")
