"""Whether a call can be made as somebody wants to change it before approving it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleetprompt.engine.agents.calls import edited
from fleetprompt.engine.agents.judging import Judge
from fleetprompt.engine.agents.single import as_agent
from fleetprompt.engine.agents.toolbox import tool_entry
from fleetprompt.engine.agents.transcript import agent_path, read
from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.ports.work import WorkContext


async def check_edit(ctx: WorkContext, key: str, values: Mapping[str, Any]) -> None:
    """Look at the call of a key with these arguments changed, as it will be looked at once more before it is made:
    schema, preview, policy. Nothing is recorded. Raises `FleetError` where it could not be made."""
    record = read(await ctx.notes())
    call = record.calls.get(key)
    if call is None or edited(call, values) is None:
        return
    transcript = record.of(agent_path(key))
    agent = ctx.agents.get(transcript.agent) or as_agent()
    (tool,) = await ctx.tools([call.tool])
    entry = tool_entry(tool)
    value = await Judge(ctx, agent, record).proposal(entry, edited(call, values) or {})
    if value["verdict"] == "deny":
        raise Refused(f"not allowed: {value['rule']}")
