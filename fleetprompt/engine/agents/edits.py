"""Calls as somebody wants to change them before approving: what they would do then, and whether they can be made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleetprompt.engine.agents.call_words import edited
from fleetprompt.engine.agents.judging import Judge, digests, shown
from fleetprompt.engine.agents.single import as_agent
from fleetprompt.engine.agents.toolbox import tool_entry
from fleetprompt.engine.agents.transcript import agent_path, read
from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.ports.tool import EditedCall
from fleetprompt.engine.ports.work import WorkContext


async def look_at(ctx: WorkContext, key: str, values: Mapping[str, Any]) -> EditedCall | None:
    """The call of a key with these arguments changed, looked at as it will be once more before it is made: schema,
    preview, policy. Nothing is recorded. None where nothing would be changed. Raises `FleetError` where it could not be
    made."""
    record = read(await ctx.notes())
    call = record.calls.get(key)
    arguments = edited(call, values) if call is not None else None
    if call is None or arguments is None:
        return None
    transcript = record.of(agent_path(key))
    agent = ctx.agents.get(transcript.agent) or as_agent()
    (tool,) = await ctx.tools([call.tool])
    entry = tool_entry(tool)
    value = await Judge(ctx, agent, record).proposal(entry, arguments, whole=True)
    if value["verdict"] == "deny":
        raise Refused(f"not allowed: {value['rule']}")
    is_, does = digests(value)
    return EditedCall(arguments=arguments, show=shown(agent.name, value), edited=is_, previewed=does)
