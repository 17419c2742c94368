"""`fleet agents`: who they are, what they may do, and what they have done."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetprompt.cli.commands import ListGroup
from fleetprompt.cli.completion import complete_agents_term
from fleetprompt.cli.options import FILTERED, AgentName, Json, Since

if TYPE_CHECKING:
    from fleetprompt.cli.agent_views import Known
    from fleetprompt.cli.front import Front
    from fleetprompt.client.protocol import Console

app = typer.Typer(rich_markup_mode=None)
agents = typer.Typer(
    cls=ListGroup,
    rich_markup_mode=None,
    help="List agents with what they have done of late: fleet agents [FILTER]... [--since TIME] [--json]. Or show one, "
    "or check their files.",
    subcommand_metavar="[FILTER]... | COMMAND [NAME]",
)
app.add_typer(agents, name="agents")

RECENT = 10
"""Executions that `show` lists."""


@agents.command("list", context_settings=FILTERED, hidden=True)
def list_(
    ctx: typer.Context,
    filter_: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILTER", help="Such as status:failed", autocompletion=complete_agents_term),
    ] = None,
    since: Since = "7d",
    json: Json = False,
) -> int:
    """List agents with what they have done of late.

    RUNS counts each time that an agent worked on a goal, OK the part that completed of those that came to an end. AVG
    and P95 are the time in which it was active, without what it waited for. What was simulated or replayed has no
    cost and counts for neither.
    """
    from fleetprompt.cli.agent_views import agent_object, agents_table
    from fleetprompt.cli.filters import joined
    from fleetprompt.engine.core.query import parse
    from fleetprompt.engine.core.query_fields import AGENT_FIELDS
    from fleetprompt.engine.core.query_match import matcher

    front: Front = ctx.obj
    text = joined(filter_)
    fits = matcher(parse(text, AGENT_FIELDS).require(), time.time())
    known = [each for each in _known(front, _begin(front, since)) if fits(each.row)]
    if json:
        front.terminal.json([agent_object(each, since) for each in known])
    elif not known and text:
        front.terminal.say("no agent matches")
    elif not known:
        front.terminal.say("there are no agents: write agents/NAME.yaml (docs/workflows.md, Agents)")
    else:
        agents_table(front, known)
    return 0


@agents.command("show")
def show(ctx: typer.Context, name: AgentName, since: Since = "7d", json: Json = False) -> int:
    """Show one agent: what it is, the model and the tools it works with, its figures and its last executions."""
    from fleetprompt.cli.agent_views import agent_lines, agent_object, means_object, session_object
    from fleetprompt.client.agent_means import means_of
    from fleetprompt.client.agents import sessions_of
    from fleetprompt.engine.core.errors import NotFound
    from fleetprompt.engine.ports import AgentSession, Page

    front: Front = ctx.obj
    known = _known(front, _begin(front, since))
    found = _meant(name, known)

    async def recent(console: Console) -> list[AgentSession]:
        sessions, _ = await console.agent_sessions(sessions_of(found.name, found.workflow), Page(limit=RECENT))
        return sessions

    try:
        sessions = front.ask(recent)
    except NotFound:
        sessions = []
    agent = found.definition.agent if found.definition is not None else None
    # What it works with is known where it works.
    means = front.run(means_of(front.place, agent)) if agent is not None and front.elsewhere is None else None
    if json:
        object_ = agent_object(found, since) | means_object(found, means)
        front.terminal.json(object_ | {"recent": [session_object(each) for each in sessions]})
    else:
        front.terminal.print(*agent_lines(front, found, means, sessions, since))
    return 0


@agents.command("validate")
def validate(
    ctx: typer.Context,
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE|DIR", help="Agent files, or folders of them.")
    ] = None,
    json: Json = False,
) -> int:
    """Check agent files: every problem of every file, at its place, tools and policies included."""
    from fleetprompt.cli.terminal import colored
    from fleetprompt.client.agents import read_agents, read_files
    from fleetprompt.client.definitions import as_json, render
    from fleetprompt.client.wording import count, faults

    front: Front = ctx.obj
    names = front.names
    checked = read_files([front.here / name for name in files], names) if files else read_agents(_folders(front), names)
    problems = [problem for each in checked for problem in each.problems]
    errors = sum(each.errors for each in checked)
    if json:
        front.terminal.json([as_json(problem) for problem in problems])
        return 2 if errors else 0
    for problem in problems:
        sys.stdout.write(render(problem, colored()) + "\n")
    sys.stdout.flush()
    good = sum(not each.errors for each in checked)
    said = f"{good} of {count(len(checked), 'agent')} valid"
    front.terminal.say(", ".join(filter(None, (said, faults(errors, len(problems) - errors)))))
    return 2 if errors else 0


def _meant(name: str, known: list[Known]) -> Known:
    """The agent of a name, or of a workflow and a name: WORKFLOW/NAME. Raises `NotFound`, and `InvalidInput` where
    several have that name."""
    from fleetprompt.client.agents import no_agent
    from fleetprompt.engine.core.errors import InvalidInput

    found = [each for each in known if name in (each.name, f"{each.workflow}/{each.name}")]
    first = next((each for each in found if not each.workflow), None)
    if first is None and len(found) > 1:
        names = ", ".join(f"{each.workflow}/{each.name}" for each in found)
        raise InvalidInput(f"there are {len(found)} agents `{name}`", hint=f"say which: {names}")
    if not found:
        raise no_agent(name, [each.name for each in known])
    return first or found[0]


def _begin(front: Front, since: str) -> float:
    from fleetprompt.cli.filters import begin

    return begin(since, time.time(), front.terminal.times.tzinfo)


def _folders(front: Front) -> list[Path]:
    from fleetprompt.client.agents import places

    return places(front.project.root, inside=[front.project.workflows])


def _known(front: Front, since: float) -> list[Known]:
    """The agents that are written somewhere, and those that have done something; by name."""
    from fleetprompt.cli.agent_views import Known
    from fleetprompt.client.agents import read_agents, told
    from fleetprompt.engine.core.errors import NotFound

    try:
        return [Known(*each) for each in front.ask(lambda console: told(console, since))]
    except NotFound:
        # Nothing was run here yet.
        found = [Known(each.name, "", each, None) for each in read_agents(_folders(front), front.names)]
    return sorted(found, key=lambda each: each.name)
