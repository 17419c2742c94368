"""What an agent is: its instructions, and what it can call. Its work goes on only as what it was when that began."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fleetprompt.engine.agents.decisions import DECISION, answered
from fleetprompt.engine.agents.memory import MEMORY
from fleetprompt.engine.agents.output import instruction
from fleetprompt.engine.agents.toolbox import Toolbox, entries_of, outside
from fleetprompt.engine.agents.transcript import REDEFINED, Transcript
from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.codec import digest
from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.core.plan import Plan
from fleetprompt.engine.ports.tool import Tool
from fleetprompt.engine.ports.work import NoteValue, Question, WorkContext

SHORT_DIGEST = 12
"""Digits of a digest that is only compared with its like."""


class Equipment:
    """What one agent works with."""

    def __init__(self, ctx: WorkContext, agent: Agent, schema: Mapping[str, Any] | None) -> None:
        """`schema` of its result."""
        self._ctx = ctx
        self._agent = agent
        self._schema = schema
        self.toolbox = Toolbox(())
        """Empty until `find`."""

    async def find(self, began: Mapping[str, str]) -> None:
        """Find what it can call. `began`: what `tools` were when its work began, if it has. Raises `NotFound`,
        `InvalidInput`, `Refused`."""
        tools = await self._ctx.tools(outside(self._agent.tools))
        if self._agent.memory is None:
            # A pattern such as `*` means all that it can use.
            tools = [tool for tool in tools if not tool.info.spec.name.startswith(MEMORY)]
        plans = {each.name: await self._ctx.pinned(each.workflow) for each in self._agent.functions}
        known = {name: plan for name, plan in plans.items() if plan is not None}
        self.toolbox = self._box(tools, known)
        if began and known:
            # One that began before models were told of a workflow's inputs goes on as it began.
            before = _digests(self._box(tools, {}))
            same = {name for name in known if began.get(name) is not None and began[name] == before.get(name)}
            self.toolbox = self._box(tools, {name: plan for name, plan in known.items() if name not in same})

    def _box(self, tools: Sequence[Tool], plans: Mapping[str, Plan]) -> Toolbox:
        return Toolbox(entries_of(self._agent, tools, self._ctx.agents, self._ctx.variables, plans))

    def instructions(self) -> str:
        """The system prompt."""
        parts = [self._agent.system]
        if self._schema is not None:
            parts.append(instruction(self._schema))
        return "\n\n".join(part for part in parts if part)

    def tools(self) -> dict[str, str]:
        """Digests of what the model is told of each."""
        return _digests(self.toolbox)

    def definition(self) -> str:
        """What the agent is: a recording that was made by another one does not fit it."""
        return digest([self.instructions(), self.tools(), self._schema])

    async def same(self, path: str, transcript: Transcript) -> list[NoteValue]:
        """Require that it is what it was when it began, or that somebody lets it go on nevertheless, of which is noted
        what is returned. A plan does not change under a run; what tools there are, and what servers say of theirs, can.
        Raises `Refused`."""
        name, now = self._agent.name, self.definition()
        if now == transcript.definition:
            return []
        changes = redefined(transcript.tools, self.tools())
        key = f"{path}/definition/{now[:SHORT_DIGEST]}"
        decision = self._ctx.decisions.get(key)
        if decision is None or not decision.decision:
            await self._ctx.ask([self._changed(key, changes)])
            return []
        if decision.decision != "approved":
            raise Refused(
                f"{name} has changed since it began: {changes}", hint="`fleet retry RUN --from STEP` begins anew"
            )
        value = {"definition": now, "tools": self.tools(), "changes": changes, "by": list(decision.by)}
        value[DECISION] = answered(decision, "go on although it has changed?")
        return [(REDEFINED, path, value)]

    def _changed(self, key: str, changes: str) -> Question:
        name = self._agent.name
        return Question(
            call=key,
            about="definition",
            message=f"{name} is no longer what it was when it began: {changes}. Go on with its work?",
            show={"agent": name, "changes": changes},
            excludes=self._agent.approval.excludes,
        )


def _digests(toolbox: Toolbox) -> dict[str, str]:
    return {tool.name: digest([tool.description, tool.parameters])[:SHORT_DIGEST] for tool in toolbox.specs()}


def redefined(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What differs between two sets of tools, for people."""
    parts = {
        "gone": [name for name in before if name not in now],
        "new": [name for name in now if name not in before],
        "changed": [name for name in now if name in before and now[name] != before[name]],
    }
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in parts.items() if names) or "its instructions"
