"""Every agent: how it did of late, what it is and may do, what it has worked on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from fleetprompt.client.agents import sessions_of
from fleetprompt.client.wording import count
from fleetprompt.engine.core.query_fields import AGENT_FIELDS
from fleetprompt.engine.ports import Page
from fleetprompt.tui.screens.entries import EntriesScreen
from fleetprompt.tui.state.agent_details import RECENT, details
from fleetprompt.tui.state.agents import AgentEntry, AgentList
from fleetprompt.tui.state.lines import Line, Part

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Change, Console
    from fleetprompt.engine.ports import AgentSession


class AgentsScreen(EntriesScreen[AgentList, AgentEntry, "AgentSession"]):
    """The agents that match a filter, and details of the one at the cursor."""

    PLACES: ClassVar = ("agents",)
    NAME: ClassVar = "agents"
    EVERYTHING: ClassVar = "every agent"
    ONE: ClassVar = "agent"
    FIELDS: ClassVar = AGENT_FIELDS
    LEAST_SECONDS: ClassVar = 2.0
    DEFAULT_CSS = """
    AgentsScreen #list { height: 2fr; }
    AgentsScreen #details { height: 3fr; }
    AgentsScreen.-beside #list { width: 6fr; }
    AgentsScreen.-beside #details { width: 5fr; }
    """

    def made(self, console: Console) -> AgentList:
        """The agents."""
        return AgentList(console, self.app.now)

    def said(self) -> Sequence[Part] | None:
        """How many there are, and how many cannot be worked with."""
        agents = self.listed
        if agents is None or not agents.loaded:
            return None
        broken = sum(bool(entry.problem) for entry in agents.entries)
        said: list[Part] = [(f"{count(broken, 'broken agent')}  ", "error")] if broken else []
        return [*said, (count(agents.count, "agent"), ""), (" · figures of 7 days", "dim")]

    # ------------------------------------------------------------ reading

    def none_yet(self) -> Sequence[Part]:
        """How there come to be some."""
        return ("there are no agents yet", "strong"), (" — agents/NAME.yaml is one", "dim")

    async def changed(self, change: Change) -> None:
        """Runs or workflows have changed: read again, but not all the time."""
        if change.runs or change.workflows or change.lost:
            self.load_soon()

    # ------------------------------------------------------------ details

    async def look_up(self, entry: AgentEntry) -> Sequence[AgentSession]:
        """What it did last. Raises `FleetError`."""
        found, _ = await self.client.agent_sessions(sessions_of(entry.name, entry.workflow), Page(limit=RECENT))
        return found

    def detailed(self, entry: AgentEntry, known: Sequence[AgentSession]) -> list[Line]:
        """Everything about an agent."""
        return details(entry, known, self.app.now())

    async def on_lines_opened(self) -> None:
        """Enter shows the runs in which it has worked."""
        entry = self.entry()
        if entry is not None:
            await self.app.go_to(f"runs {sessions_of(entry.name, entry.workflow)}")

    async def do_agent_chat(self) -> None:
        """Talk to it."""
        entry = self.entry()
        if entry is None:
            return
        if entry.definition is None or entry.problem:
            self.app.say("warning", f"chat: nobody can talk to {entry.name}: {entry.problem or 'it is no agent'}")
            return
        await self.app.go_to(f"chat {entry.name}")
