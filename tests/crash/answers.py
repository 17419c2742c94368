"""The operator: approves, and says of what is in doubt whether it happened, as the effects file has it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from fleetprompt.client.attached import AttachedConsole
from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.core.facts import AnyFact, ApprovalRequested, StepInDoubt, StepNoted
from fleetprompt.engine.core.signal import RESOLVE
from fleetprompt.engine.ports import Stored
from tests.crash.project import Project

ME = "operator"
RECONCILED = ("stock", "papers.label")
"""Steps with a check of their own: a person is asked only where it fails."""


class Operator:
    """Sits beside whatever engine there is. What has been answered is a signal in the store, and never sent again."""

    def __init__(self, project: Project, console: AttachedConsole | EmbeddedConsole) -> None:
        self.project = project
        self.console = console

    async def work(self) -> None:
        """Answer every question, until cancelled."""
        async with asyncio.TaskGroup() as group, aclosing(self.console.watch()) as entries:  # pyright: ignore[reportArgumentType] it is a generator
            async for entry in entries:
                if isinstance(entry, Stored):
                    group.create_task(self._answer(entry.run, entry.fact))

    async def _answer(self, run: str, fact: AnyFact) -> None:
        match fact:
            case ApprovalRequested():
                try:
                    await self.console.vote(fact.id, "approved", by=ME)
                except Refused:
                    pass  # an earlier operator has answered
            case StepInDoubt() if fact.path not in RECONCILED:
                await self._tell(run, fact.path, fact.attempt)
            case StepNoted(kind="reconcile"):
                await self._tell(run, fact.path, fact.attempt)
            case _:
                pass

    async def _tell(self, run: str, path: str, attempt: int) -> None:
        happened = [
            effect
            for effect in self.project.effects()
            if (effect.run, effect.path, effect.what) == (run, path, "happened")
        ]
        if happened:
            value = happened[0].value
            said = {"answer": "happened", "output": {"stdout": value} if path == "papers.label" else value}
        else:
            said = {"answer": "run"}
        await self.console.command(RESOLVE, run, by=ME, data={"path": path, "attempt": attempt, **said})
