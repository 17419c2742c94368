"""What an agent asks people because of where its work has come to: for more budget at a limit, and whether to go on
where it goes in circles. What they are asked is noted with the question.
"""

from __future__ import annotations

from collections.abc import Mapping

from fleetprompt.engine.agents.decide import AskForHelp
from fleetprompt.engine.agents.decisions import DECISION, at_limit
from fleetprompt.engine.agents.limits import more
from fleetprompt.engine.agents.messages import Said, to_people
from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.ports.budget import BudgetRefused
from fleetprompt.engine.ports.work import Decision, Question


def whether_to_go_on(agent: Agent, path: str, wanted: AskForHelp, now: float) -> Question:
    """It goes in circles. `path` of the agent; `now`: the time."""
    settings, why, key = agent.approval, wanted.why, wanted.key
    said = Said("collaboration_request", agent.name, {"message": f"it goes in circles: {why}"})
    return Question(
        call=key,
        about="stuck",
        message=f"{agent.name} goes in circles: {why}. Go on?",
        show={"agent": agent.name, "why": why},
        form={"advice": {"type": "string", "description": "What the agent is told; it goes on with it."}},
        approvers=settings.approvers,
        excludes=settings.excludes,
        quorum=settings.quorum,
        seconds=settings.timeout,
        escalate=settings.escalate,
        notes=(to_people(said, path, key, settings.approvers, now), (DECISION, path, wanted.decided)),
    )


def more_budget(
    agent: Agent, path: str, refused: BudgetRefused, decisions: Mapping[str, Decision], now: float
) -> Question:
    """It is at a limit with `on_limit: ask`. `decisions` of the step so far."""
    number = sum(1 for decision in decisions.values() if decision.about == "budget")
    question = f"{path}/budget/{number}"
    told = {"message": refused.message, "scope": refused.scope, "limit": refused.limit, "wanted": refused.wanted}
    asked = to_people(Said("resource_request", agent.name, told), path, question, (), now)
    decided = at_limit(refused, "ask", "on_limit: ask")
    return more(refused, agent.name, question, (asked, (DECISION, path, decided)), agent.approval.excludes)
