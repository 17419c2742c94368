"""What a call would do and whether it may: looked at when a model asks for it, and once more when it is about to be
made, for the policy may have become stricter while people were asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fleetprompt.engine.agents.arguments import check_object
from fleetprompt.engine.agents.call_words import inputs_of
from fleetprompt.engine.agents.decisions import DECISION, judged
from fleetprompt.engine.agents.memory import AgentMemory, Place
from fleetprompt.engine.agents.room import Room
from fleetprompt.engine.agents.toolbox import Entry
from fleetprompt.engine.agents.transcript import Call, Record
from fleetprompt.engine.core import tracing
from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.edited import edited_digest, previewed_digest
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.inputs import bound
from fleetprompt.engine.ports.budget import Allowance
from fleetprompt.engine.ports.tool import Judgement, Preview
from fleetprompt.engine.ports.work import WorkContext

DEFAULT = "default of "
"""How a verdict begins that follows from no rule."""


def shown(agent: str, proposal: Mapping[str, Any]) -> dict[str, Any]:
    """What people are shown of a call that was looked at."""
    preview = mapping(proposal.get("preview"))
    told = {
        "tool": proposal.get("tool"),
        "agent": agent,
        "kind": preview.get("kind", "json"),
        "does": preview.get("show", proposal.get("arguments")),
        "risk": preview.get("risk", ""),
        "rule": proposal.get("rule", ""),
        "bound": preview.get("bound"),
        "covers": preview.get("covers"),
    }
    return {key: value for key, value in told.items() if value not in (None, "")}


def digests(proposal: Mapping[str, Any]) -> tuple[str, str]:
    """Of a call that was looked at with all that is shown of it: of what it is given, and of what it would do."""
    tool, arguments = str(proposal.get("tool", "")), mapping(proposal.get("arguments"))
    preview = mapping(proposal.get("preview"))
    kind, does, bound = str(preview.get("kind", "json")), preview.get("show", arguments), preview.get("bound")
    return edited_digest(tool, arguments), previewed_digest(tool, arguments, kind=kind, does=does, bound=bound)


def _check(entry: Entry, arguments: Mapping[str, Any]) -> None:
    """Whether something that is no tool can be called so. Raises `InvalidInput`."""
    if entry.inputs is None:
        check_object(entry.info.spec.parameters, arguments)
        return
    _, problems = bound(entry.inputs, inputs_of(arguments, entry))
    if problems:
        raise InvalidInput("; ".join(problems.values()), hint=f"{entry.name} starts the workflow {entry.target}")


class Judge:
    """Looks at the calls of one agent, or of a workflow's step."""

    def __init__(
        self,
        ctx: WorkContext,
        agent: Agent,
        record: Record,
        own: Sequence[Allowance] = (),
        *,
        by_author: bool = False,
    ) -> None:
        """`by_author`: it is a workflow that calls, whose author needs no leave for what no rule is about."""
        self._ctx = ctx
        self._agent = agent
        self._record = record
        self._own = tuple(own)
        self._by_author = by_author

    def room(self, entry: Entry, call: Call | None = None, key: str = "", bound: Any = None) -> Room:
        """Where a call takes place. `call`: the one that is made, with its idempotency key."""
        settings, memory = self._ctx.tool_settings(entry.name), None
        if self._agent.memory is not None:
            place = Place(call.key if call is not None else "", key, entry.name)
            memory = AgentMemory(self._ctx, self._agent, place, untrusted=self._record.tainted, own=self._own)
        noted = call.key if call is not None and entry.info.reach == "write" else ""
        step = tracing.parse(self._ctx.effect.traceparent) if call is not None else None
        trace = tracing.inside(step, call.key).traceparent if call is not None and step is not None else ""
        return Room(
            self._ctx, settings, key=key, bound=bound, memory=memory, own=self._own, call=noted, traceparent=trace
        )

    async def proposal(
        self, entry: Entry, arguments: Mapping[str, Any], *, tainted: bool | None = None, whole: bool = False
    ) -> dict[str, Any]:
        """What a call would do, and what the policy says about it. `tainted`: something from outside had been read
        when the model asked for it; None: it asks now. `whole`: with all that is shown of it, also where nobody is
        asked. Raises `FleetError` where it cannot be made."""
        info = entry.info
        value: dict[str, Any] = {
            "tool": entry.name,
            "arguments": dict(arguments),
            "repeat": info.repeat,
            "reach": info.reach,
        }
        if entry.tool is None:
            _check(entry, arguments)
            rule = "what an agent's own file gives it"
            return value | {"verdict": "allow", "rule": rule, DECISION: judged(entry.name, "allow", rule)}
        entry.tool.check(arguments)
        preview = await entry.tool.preview(arguments, self.room(entry))
        tainted = self._record.tainted if tainted is None else tainted
        judgement = await self._ctx.judge(self._agent, info, preview, tainted=tainted)
        if tainted:
            value["tainted"] = True
        # All that the policy decides by is kept, for when the call is looked at again.
        shown = preview
        if judgement.verdict == "allow" and not whole:
            covers = preview.covers if judgement.by_grant else None
            shown = msgspec.structs.replace(preview, show=None, covers=covers)
        leave = self._leave(judgement)
        return value | {
            "repeat": preview.repeat or info.repeat,
            "reach": preview.reach or info.reach,
            "verdict": leave.verdict,
            "rule": leave.rule,
            DECISION: judged(entry.name, leave.verdict, leave.rule, by_grant=leave.by_grant),
            "preview": msgspec.to_builtins(shown),
        }

    async def now(self, call: Call, entry: Entry) -> Judgement:
        """What the policy in force now says about a call, as it was shown. Whether it was written by a model that had
        read something from outside is not asked anew: what the calls before it have brought, it had not seen."""
        if entry.tool is None:
            off = self._ctx.switched_off(entry.name)
            return Judgement("deny", off) if off else Judgement("allow", str(call.proposal.get("rule", "")))
        preview = msgspec.convert({"summary": call.tool} | mapping(call.proposal.get("preview")), Preview)
        tainted = bool(call.proposal.get("tainted"))
        return self._leave(await self._ctx.judge(self._agent, entry.info, preview, tainted=tainted))

    def _leave(self, judgement: Judgement) -> Judgement:
        if self._by_author and judgement.verdict == "ask" and judgement.rule.startswith(DEFAULT):
            return Judgement("allow", "what the workflow says")
        return judgement
