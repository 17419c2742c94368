"""Calls of tools on behalf of an agent: looked at before anything of a turn happens, asked about where a rule says so,
recorded before and after, never made twice where that must not be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fleetprompt.engine.agents.arguments import arguments_of, form_of
from fleetprompt.engine.agents.call_parties import Delegate, PartyCalls
from fleetprompt.engine.agents.call_words import (
    asked_about,
    bound_of,
    edited,
    inputs_of,
    needs_leave,
    rejection,
    waits_for_end,
    workflow_of,
)
from fleetprompt.engine.agents.decisions import DECISION, doubted, judged
from fleetprompt.engine.agents.decisions import answered as answered_by
from fleetprompt.engine.agents.judging import Judge, digests, shown
from fleetprompt.engine.agents.toolbox import Entry, Toolbox
from fleetprompt.engine.agents.transcript import (
    PROPOSED,
    Call,
    Record,
    Transcript,
    Turn,
    call_key,
)
from fleetprompt.engine.core import evolve_work as kinds
from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import Failure, FleetError
from fleetprompt.engine.core.facts import Within
from fleetprompt.engine.core.keys import call_key as idempotency_key
from fleetprompt.engine.core.working import killed_told
from fleetprompt.engine.ports.budget import Allowance, Amounts, Reserve
from fleetprompt.engine.ports.model import ToolCall
from fleetprompt.engine.ports.work import Decision, NoteValue, Question, WorkContext
from fleetprompt.engine.ports.world import Done, Failed
from fleetprompt.engine.tools.workflow import START

MOST_STARTS = 20
"""Runs that the agents of one step may start by `workflow.start`."""
NOT_SO = "do not call it so again: reach the goal another way, or say in your result that this was not done, and why"
"""What a model is told to do about a call that was forbidden while it waited."""

RECONCILE = "reconcile"
"""Who has found out what became of a call, where it was its tool."""

OTHERWISE = "what the call would do has changed since it was shown and approved"


class Calls(PartyCalls):
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
        """`delegate` and `kept`: see `PartyCalls`. `own`: limits of the agent itself and of those for whom it works,
        within those of its step. `by_author`: see `Judge`."""
        super().__init__(ctx, agent, toolbox, record, transcript, delegate, kept)
        self._own = tuple(own)
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
            excludes=settings.excludes,
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
            if needs_leave(call, now, decisions.get(call.key)):
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
                decided = answered_by(decision, asked_about(call)) if decision is not None else None
                await self._refuse(call, rejection(decision), "APPROVAL_REJECTED", decided=decided)
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
            value[DECISION] = answered_by(decision, asked_about(call))
        if entry.way in ("workflow", "start"):
            value |= {"workflow": workflow_of(call, entry), "with": inputs_of(call.arguments, entry)}
            if entry.way == "start":
                if self._started >= MOST_STARTS:
                    await self._refuse(call, f"the agents of a step start {MOST_STARTS} runs at most")
                    return
                # What was shown is what is started.
                value |= {"plan": bound_of(call).get("plan"), "wait": waits_for_end(call)}
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
        if needs_leave(call, now, decision):
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
        if entry.way == "workflow" or (entry.way == "start" and waits_for_end(call)):
            await self._ctx.wait_for_child(call.key, workflow_of(call, entry), entry.timeout)
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

    # ------------------------------------------------------------ once more

    async def _again(self, call: Call, entry: Entry) -> None:
        """A call that was begun and of which no result is recorded."""
        if entry.way == "workflow" or (entry.way == "start" and waits_for_end(call)):
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
