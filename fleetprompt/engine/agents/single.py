"""One call of a tool that a workflow asks for by itself: recorded, asked about and resumed as an agent's calls are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from fleetprompt.engine.agents.calls import Calls
from fleetprompt.engine.agents.judging import Judge
from fleetprompt.engine.agents.toolbox import Entry, Toolbox, tool_entry
from fleetprompt.engine.agents.transcript import PROPOSED, Call, Record, call_key, read, undecided
from fleetprompt.engine.core import evolve_work as kinds
from fleetprompt.engine.core.agent import Agent, ApprovalSettings, MemorySettings
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import Failure, FleetError, TimedOut
from fleetprompt.engine.ports.budget import BudgetRefused
from fleetprompt.engine.ports.work import WorkContext
from fleetprompt.engine.ports.world import Done, Failed, Outcome

PATH = kinds.OWN_CALL.partition("/")[0]
"""Where the record of such a call stands: it is the workflow that makes it."""


async def call_tool(
    ctx: WorkContext, name: str, arguments: Mapping[str, Any], approval: ApprovalSettings | None = None
) -> Outcome:
    """Make the call, or go on with it."""
    record = read(await ctx.notes())
    try:
        (tool,) = await ctx.tools([name])
        entry = tool_entry(tool)
        calls = Calls(
            ctx,
            as_agent(approval),
            Toolbox([entry]),
            record,
            record.of(PATH),
            _nobody,
            by_author=True,
        )
        call = await _proposed(ctx, calls.judge, record, entry, arguments)
        while not call.settled:
            waiting = undecided([call], ctx.decisions)
            if waiting:
                await ctx.ask(calls.questions(waiting))
            await calls.perform([call], ctx.decisions)
    except BudgetRefused as refused:
        return Failed(Failure("BUDGET_EXCEEDED", refused.message, retryable=False))
    except FleetError as error:
        again = isinstance(error, TimedOut)
        return Failed(Failure(error.code, error.message, hint=error.hint, retryable=again))
    return _outcome(call)


def as_agent(approval: ApprovalSettings | None = None) -> Agent:
    """The workflow, in the place of an agent that calls."""
    return Agent(name=PATH, approval=approval or ApprovalSettings(), memory=MemorySettings("workflow"))


async def _proposed(ctx: WorkContext, judge: Judge, record: Record, entry: Entry, arguments: Mapping[str, Any]) -> Call:
    attempt = ctx.effect.attempt
    key = call_key(PATH, attempt, 0)
    known = record.calls.get(key)
    if known is not None:
        return known
    value = await judge.proposal(entry, arguments)
    if ctx.effect.repeat == "never":
        value["repeat"] = "never"
    for note in await ctx.record((PROPOSED, key, value)):
        record.fold(*note)
    return record.calls[key]


def _outcome(call: Call) -> Outcome:
    if call.status == "done":
        return Done(call.output, retry_after=call.retry_after)
    error = call.error or {}
    failure = Failure(error.get("code", "TOOL_ERROR"), str(error.get("message", "")), hint=str(error.get("hint", "")))
    rejected = failure.code == "APPROVAL_REJECTED"
    return Failed(replace(failure, retryable=call.ran and not rejected, data=mapping(error.get("data")) or None))


async def _nobody(call: Call, name: str, task: str) -> Outcome:
    raise AssertionError(f"{name} is no agent of this step")
