"""`workflow.start`: an agent starts a workflow that the project knows."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from fleetprompt.engine.core.codec import canonical
from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports.budget import Caps
from fleetprompt.engine.ports.tool import Preview, Startable, ToolRoom
from fleetprompt.engine.ports.world import Outcome
from fleetprompt.engine.tools.declare import ToolModel, summary_of, tool

START = "workflow.start"


@tool(START)
class Start(ToolModel):
    """Start a workflow that the project knows, and wait for its output; or go on at once with the id of its run."""

    judged_by: ClassVar[tuple[str, ...] | None] = ("workflow", "inputs", "wait")

    workflow: Annotated[str, Field(min_length=1, max_length=100)]
    """Its name."""
    inputs: dict[str, Any] = Field({}, max_length=100)
    """What it is given, by the names of its inputs."""
    wait: bool = True
    """Whether to wait until it has ended. Otherwise it goes its own way, and nobody tells you what comes of it."""

    repeat: ClassVar[Literal["safe", "never"]] = "safe"
    waits: ClassVar[bool] = True
    grants_bound: ClassVar[bool] = True

    async def preview(self, room: ToolRoom) -> Preview:
        """Which plan would be started with what, and what that may cost. What is shown is what is started, whatever
        becomes of the workflow meanwhile."""
        found = await room.startable(self.workflow, self.inputs)
        return Preview(
            summary=f"start {inert(found.workflow)} {summary_of(found.inputs)}"[:300],
            show={
                "workflow": found.workflow,
                "description": found.description,
                "inputs": dict(found.inputs),
                "wait": self.wait,
                "may_cost": costs(found),
                "plan": found.plan[:12],
            },
            risk="starts a run" if self.wait else "starts a run that nobody waits for",
            bound={"plan": found.plan},
            subject={
                "workflow": found.workflow,
                "inputs": canonical(self.inputs).decode(),
                "wait": self.wait,
            },
        )

    async def call(self, room: ToolRoom) -> Outcome:
        """It is the engine that starts runs, once for each call."""
        raise Refused("a workflow is started by the step or the agent that calls this, and by nobody else")


def costs(found: Startable) -> str:
    """What a run may cost, as people read it."""
    own = _said(found.caps)
    above = [f"{_said(caps)} ({scope})" for scope, caps in found.above]
    if not own and not above:
        return "nothing limits it"
    return "; ".join([f"at most {own}" if own else "no limit of its own", *(f"within {each}" for each in above)])


def _said(caps: Caps) -> str:
    parts = [
        f"${caps.cost_nano / 1_000_000_000:.2f}" if caps.cost_nano is not None else "",
        f"{caps.requests:,} requests" if caps.requests is not None else "",
        f"{caps.tokens:,} tokens" if caps.tokens is not None else "",
        f"{caps.tool_calls:,} tool calls" if caps.tool_calls is not None else "",
    ]
    return ", ".join(part for part in parts if part)
