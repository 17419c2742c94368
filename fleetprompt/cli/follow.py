"""Following runs: their facts are folded as they come, and so are those of the runs that they start."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing, suppress
from typing import Any, Protocol

from fleetprompt.cli.tree import Tree
from fleetprompt.client.protocol import Console, Progress
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.facts import AnyFact, RunCreated, RunFinished, StepWaiting
from fleetprompt.engine.core.plan import Plan
from fleetprompt.engine.core.program import Program
from fleetprompt.engine.ports import LogLine, Stored

MOST = 200
"""Child runs that are followed at a time; further ones are known by what their parent says of them."""


HEAR_SECONDS = 0.2
"""How often at most what is said is taken up."""


class Witness(Protocol):
    """Whoever is told what happens, as it happens."""

    def fact(self, tree: Tree, fact: AnyFact) -> None: ...
    def line(self, tree: Tree, line: LogLine) -> None: ...


class Following:
    """Some runs and their children. It outlives the console that it reads from."""

    def __init__(
        self,
        roots: list[str],
        witness: Witness,
        *,
        hears: bool = False,
        foretell: Callable[[Plan], Awaitable[str]] | None = None,
    ) -> None:
        """`hears`: what is done before a model is asked is followed too. `foretell`: in which mode a plan will run."""
        self.roots = roots
        self._foretell = foretell
        self._hears = hears
        self.trees: dict[str, Tree] = {}
        self.witness = witness
        self.facts = 0
        """How many were seen."""
        self._parents: dict[str, Tree] = {}
        self._seen: dict[str, int] = dict.fromkeys(roots, 0)
        self._moved = asyncio.Event()

    @property
    def done(self) -> bool:
        """Every run that was asked for is over."""
        return all(root in self.trees and self.trees[root].finished is not None for root in self.roots)

    @property
    def open(self) -> list[str]:
        """Ids of followed runs that are not over."""
        return [run for run in self._seen if run not in self.trees or self.trees[run].finished is None]

    async def until(self, test: Callable[[], bool]) -> None:
        """Until something holds; it is asked again whenever a fact has come."""
        while not test():
            await self._moved.wait()

    async def moved(self) -> None:
        """Until another fact has come."""
        await self._moved.wait()

    async def read(self, console: Console) -> None:
        """Follow everything that is open, until it is over."""
        async with asyncio.TaskGroup() as group:
            for run in self.open:
                group.create_task(self._follow(console, run, group))

    async def _follow(self, console: Console, run: str, group: asyncio.TaskGroup) -> None:
        hearing = group.create_task(self._hear(console, run)) if self._hears else None
        try:
            await self._read(console, run, group)
        finally:
            if hearing is not None:
                hearing.cancel()

    async def _hear(self, console: Console, run: str) -> None:
        """Take up what is said in a run. Nothing is lost where that cannot be heard."""
        await self.until(lambda: run in self.trees)
        with suppress(FleetError):
            async with aclosing(console.pieces(run, HEAR_SECONDS)) as said:
                async for pieces in said:
                    for piece in pieces:
                        self.trees[run].hear(piece)

    async def _read(self, console: Console, run: str, group: asyncio.TaskGroup) -> None:
        async with aclosing(console.watch(run, self._seen[run])) as entries:  # pyright: ignore[reportArgumentType] it is a generator
            async for entry in entries:
                if isinstance(entry, Progress):
                    self._say(run, entry.line)
                    continue
                tree = await self._take(console, run, entry)
                if tree is None:
                    continue
                self._follow_child(console, tree, entry.fact, group)
                if isinstance(entry.fact, RunFinished):
                    return

    async def catch_up(self, console: Console) -> None:
        """Take up what is recorded and has not come yet. Raises `FleetError` when that cannot be read."""
        for run in self.open:
            for entry in await console.facts(run):
                await self._take(console, run, entry)

    async def _take(self, console: Console, run: str, entry: Stored) -> Tree | None:
        """Fold a fact of a run that was not seen before; the tree that has changed."""
        if entry.run != run or entry.seq <= self._seen[run]:
            return None
        # Whoever is broken off here has not seen it: it is taken up again.
        tree = await self._tree(console, run, entry.fact)
        self._seen[run] = entry.seq
        if tree is not None:
            tree.apply(entry.fact)
            self.witness.fact(tree, entry.fact)
            self._tell()
        return tree

    async def _tree(self, console: Console, run: str, fact: AnyFact) -> Tree | None:
        tree = self.trees.get(run)
        if tree is None and isinstance(fact, RunCreated):
            tree = self.trees[run] = Tree(Program(await console.plan(fact.plan), fact.plan))
            if self._foretell is not None:
                tree.foretold = await self._foretell(tree.run.program.plan)
            parent = self._parents.get(run)
            if parent is not None:
                parent.children[run] = tree
        return tree

    def _follow_child(self, console: Console, tree: Tree, fact: AnyFact, group: asyncio.TaskGroup) -> None:
        if not isinstance(fact, StepWaiting) or fact.on != "child" or fact.ref in self._seen:
            return
        if len(self.open) - len(self.roots) >= MOST:
            return
        self._seen[fact.ref] = 0
        self._parents[fact.ref] = tree
        group.create_task(self._follow(console, fact.ref, group))

    def _say(self, run: str, line: LogLine) -> None:
        tree = self.trees.get(run)
        if tree is not None:
            tree.log(line)
            self.witness.line(tree, line)

    def _tell(self) -> None:
        self.facts += 1
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


async def race(*works: Coroutine[Any, Any, Any]) -> int:
    """Run several things until the first one ends, end the others, and tell which one it was."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in works]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        first = next(i for i, task in enumerate(tasks) if task.done())
        for task in tasks:
            task.cancel()
    return first
