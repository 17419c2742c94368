"""The agents of a step at work, until one of them has a result: who has the task, and to whom it is handed over."""

from __future__ import annotations

from fleetprompt.engine.agents.messages import handed_over
from fleetprompt.engine.agents.transcript import Record, read
from fleetprompt.engine.agents.worker import Task, Team, Worker
from fleetprompt.engine.core.errors import Failure, FleetError
from fleetprompt.engine.ports.work import WorkContext
from fleetprompt.engine.ports.world import Failed, Outcome


async def work(ctx: WorkContext, task: Task) -> Outcome:
    """Do a task, or go on with it."""
    team = Team(ctx, task, read(await ctx.notes()))
    try:
        return await _result(team)
    except FleetError as error:
        return Failed(Failure(error.code, error.message, hint=error.hint, retryable=False))


async def _result(team: Team) -> Outcome:
    """Until somebody has one."""
    task = team.task
    name, path, number = task.agent, task.agent, 0
    again = _goes_on(team, path)
    goal, request = task.goal, None
    while True:
        worker = Worker(team, path, name, goal, task, depth=0, again=again, request=request)
        outcome = await worker.run()
        handed = team.record.of(path).handed_over
        if outcome is not None or handed is None:
            assert outcome is not None
            return outcome
        number += 1
        request = handed_over(worker.agent.name, path, handed, team.ctx.now())
        name, reason = str(handed.get("to")), str(handed.get("reason", ""))
        goal = f"{task.goal}\n\n{worker.agent.name} hands this over to you: {reason}"
        path = f"{name}#{number}"


def _goes_on(team: Team, path: str) -> bool:
    """Whether this attempt goes on with the work of an earlier one; else what that has recorded is put aside."""
    attempt, record = team.ctx.effect.attempt, team.record
    # What delegates fail at is told to whoever has asked them, and ends nothing.
    own = [each for path, each in record.agents.items() if "/tool/" not in path]
    failed = next((each.failed for each in own if each.failed is not None), None)
    if record.attempt == attempt or not record.of(path).session:
        return False
    if failed is not None and not failed.get("resumes"):
        team.record = Record()
        return False
    return True
