"""What is recorded of the calls of one agent: what came of them, and what follows from that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec

from fleetprompt.engine.agents.decisions import DECISION, declared
from fleetprompt.engine.agents.messages import (
    NOTIFY,
    notified,
)
from fleetprompt.engine.agents.toolbox import Entry, Toolbox
from fleetprompt.engine.agents.tracking import ActionStatus, action
from fleetprompt.engine.agents.transcript import (
    COMPLETED,
    RECONCILED,
    TOOL_FAILED,
    Call,
    Record,
    Transcript,
)
from fleetprompt.engine.core import evolve_work as kinds
from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.ports.budget import Amounts, Settle
from fleetprompt.engine.ports.work import Decision, NoteValue, WorkContext
from fleetprompt.engine.ports.world import Done, Failed, Outcome

_ENDS: Mapping[str, ActionStatus] = {"APPROVAL_REJECTED": "rejected", "IN_DOUBT": "in_doubt"}
"""How an action has ended that came to nothing for such a reason; for any other it has failed."""

Source = Literal["", "outside", "agent"]
"""Who has written a result: we or the operator; somebody outside, or another run; another agent of this step."""


class CallNotes(ABC):
    """Records what becomes of the calls of one agent at work."""

    def __init__(
        self, ctx: WorkContext, agent: Agent, toolbox: Toolbox, record: Record, transcript: Transcript
    ) -> None:
        self._ctx = ctx
        self._agent = agent
        self._toolbox = toolbox
        self._record = record
        self._transcript = transcript

    @abstractmethod
    async def _in_doubt(self, call: Call, entry: Entry, reason: str) -> None:
        """Nobody knows what came of a call that must not be repeated."""

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
            if outcome.retry_after is not None:
                value["retry_after"] = outcome.retry_after
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


def _marks(source: Source) -> dict[str, Any]:
    """What is noted of where a result comes from. What another agent of the step says may repeat what it has read, so
    it is data as well; but what that was has its own notes, by which the work is tainted or not."""
    marks = {"outside": {"untrusted": True}, "agent": {"untrusted": True, "delegated": True}}
    return dict(marks.get(source, {}))
