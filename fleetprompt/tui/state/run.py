"""One run as the console looks at it: loaded from its facts, and brought up to date with those that have come since."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing

from fleetprompt.client.protocol import Console
from fleetprompt.client.reasons import run_seconds, run_status
from fleetprompt.engine.core.errors import FleetError, NotFound
from fleetprompt.engine.core.facts import RunCreated
from fleetprompt.engine.core.program import Program
from fleetprompt.engine.core.state import Run, Step
from fleetprompt.engine.ports import RunHead
from fleetprompt.tui.state.run_fold import RunFold
from fleetprompt.tui.state.speech import Speech
from fleetprompt.tui.state.tree import RunTree

BATCH = 250
"""Facts that are read and folded at a time: so long nobody else has a turn."""
MOST_CHILDREN = 200
"""Child runs that are followed at a time."""


class RunView:
    """A run, and those of its child runs that were opened. Everything that reads raises `FleetError`."""

    def __init__(self, console: Console, head: RunHead, fold: RunFold) -> None:
        self.console = console
        self.head = head
        self.fold = fold
        self.tree = RunTree(fold)
        self.speech = Speech()
        self.held = ""
        """Why the engine does nothing for the run any more, as far as it was asked; empty while it can go on."""
        self._busy = asyncio.Lock()

    @classmethod
    async def load(cls, console: Console, run: str) -> RunView:
        """The run as it is now. Raises `NotFound`, or `FleetError` when its journal is damaged."""
        head = await console.run(run)
        view = cls(console, head, await _begin(console, head))
        await view.catch_up()
        return view

    # ------------------------------------------------------------ what is asked of it

    @property
    def id(self) -> str:
        return self.head.id

    @property
    def run(self) -> Run:
        """The run as its facts make it."""
        return self.fold.run

    def over(self, now: float) -> float | None:
        """Seconds since the run ended; None while it goes on."""
        run = self.run
        if not run.ended:
            return None
        return max(0.0, now - (run.finished_at if run.finished_at is not None else now))

    @property
    def created(self) -> RunCreated | None:
        """How it began."""
        return self.fold.run.created

    @property
    def status(self) -> str:
        """Its status; between two facts that belong together it goes on."""
        return run_status(self.fold.run)

    def seconds(self, now: float) -> float | None:
        """How long it took, or has taken; None before it starts."""
        return run_seconds(self.fold.run, now)

    @property
    def runs(self) -> list[str]:
        """Ids of the runs that are shown: a change of one of them is a reason to catch up."""
        return [self.fold.id, *self.tree.children, *self.tree.wanted, *self.tree.missing]

    @property
    def may_speak(self) -> bool:
        """A model may say something in it: agents work in it, and it goes on."""
        return bool(self.run.agents) and not self.run.ended

    async def overhear(self, seconds: float) -> AsyncGenerator[None]:
        """Take up what models are just saying, until the run or the console ends; once for all that came at a time."""
        async with aclosing(self.console.pieces(self.id, seconds)) as said:
            async for pieces in said:
                self.speech.apply(pieces)
                yield
                if not self.may_speak:
                    return

    @property
    def current_fold(self) -> RunFold:
        """The run that the row under the cursor belongs to."""
        node = self.tree.current
        return node.fold if node is not None else self.fold

    @property
    def current_step(self) -> Step | None:
        """The step under the cursor; None where the row stands for several."""
        node = self.tree.current
        return node.step if node is not None else None

    # ------------------------------------------------------------ what changes it

    async def catch_up(self, changed: Collection[str] | None = None) -> bool:
        """Fold what has come since; True when something has. `changed` are the runs that have moved: None means any.

        Child runs whose rows have been opened are loaded too.
        """
        async with self._busy:
            moved = False
            if (changed is None or self.fold.id in changed) and await self._take(self.fold):
                moved = True
                self.head = await self.console.run(self.fold.id)
            for run, fold in list(self.tree.children.items()):
                if (changed is None or run in changed) and not fold.run.ended:
                    moved |= await self._take(fold)
            for run in list(self.tree.missing):
                if changed is None or run in changed:
                    del self.tree.missing[run]
            while wanted := self.tree.wanted:
                moved = True
                await self._adopt(wanted[0])
            if changed is None:
                moved |= await self._ask_held()
            return moved

    async def _ask_held(self) -> bool:
        held = "" if self.run.ended else (await self.console.holds()).get(self.id, "")
        before, self.held = self.held, held
        return held != before

    async def _adopt(self, run: str) -> None:
        if len(self.tree.children) >= MOST_CHILDREN:
            self.tree.miss(run, f"not shown: {MOST_CHILDREN} runs are open already")
            return
        try:
            fold = await _begin(self.console, await self.console.run(run))
            await self._take(fold)
        except NotFound:
            self.tree.miss(run, "has not begun")
        except FleetError as error:
            self.tree.miss(run, error.message)
        else:
            self.tree.adopt(fold)

    async def _take(self, fold: RunFold) -> bool:
        """Fold the facts after the last one that is known, a batch at a time."""
        first = fold.run.n
        while True:
            n = fold.run.n
            entries = await self.console.facts(fold.id, after=n, upto=n + BATCH)
            for stored in entries:
                self.tree.apply(fold, fold.apply(stored))
                if fold is self.fold:
                    self.speech.note(stored.fact)
            if len(entries) < BATCH:
                return fold.run.n > first
            await asyncio.sleep(0)

    def toggle(self) -> bool:
        """Open or close what is below the cursor's row; True when a run has to be loaded for it, by `catch_up`."""
        self.tree.toggle(self.tree.cursor)
        return bool(self.tree.wanted)


async def _begin(console: Console, head: RunHead) -> RunFold:
    return RunFold(head.id, Program(await console.plan(head.plan), head.plan))
