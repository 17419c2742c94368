"""Start runs, kill the engine again and again in the middle of them, let the last one finish, judge what is left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from fleetprompt.client.attached import AttachedConsole
from fleetprompt.client.files import load_files
from fleetprompt.client.opening import open_console
from fleetprompt.client.protocol import StartRun
from tests.crash.answers import ME, Operator
from tests.crash.engines import Engine, Moment
from tests.crash.project import Project
from tests.crash.verdict import Kill, Verdict, judge, look

SURE = 22
"""Lines that the effects of any one order leave at least."""


async def suffer(project: Project, *, runs: int, kills: int, seed: int, say: Callable[[str], None]) -> Verdict:
    """The whole of it. At least one run is started before each kill, so that there is always something to kill."""
    chance = random.Random(seed)
    console = await open_console(project.place, "attach")
    assert isinstance(console, AttachedConsole)
    operator = asyncio.create_task(Operator(project, console).work())
    started: dict[int, str] = {}
    killed: list[Kill] = []
    try:
        for kill in range(1, kills + 1):
            share = runs * kill // kills - len(started)
            await _start(console, project, started, share)
            moment = Moment.draw(chance, max(len(started) * SURE - project.lines, SURE // 2))
            async with await Engine.start(project, list(started.values())) as engine:
                await engine.until(moment)
                hit = await engine.kill()
                if hit:
                    killed.append(await look(console, project))
            over = await console.count("status:completed,failed,cancelled,timeout")
            when = moment if hit else "too late, the engine was done already"
            say(f"kill {kill} of {kills}: {when}; {over} of {len(started)} runs were over")
        say("the last engine goes on with what is left")
        await _start(console, project, started, runs - len(started))
        async with await Engine.start(project, list(started.values())) as engine:
            await engine.finish()
        return await judge(console, project, started, killed, seed, kills - len(killed))
    finally:
        operator.cancel()
        await asyncio.gather(operator, return_exceptions=True)
        await console.close()


async def _start(console: AttachedConsole, project: Project, started: dict[int, str], share: int) -> None:
    for number in range(len(started) + 1, len(started) + share + 1):
        request = StartRun(
            files=load_files(project.workflow, project.workflow.parent),
            inputs={"number": number},
            key=f"order-{number}",
            by=ME,
        )
        started[number] = await console.start(request)
