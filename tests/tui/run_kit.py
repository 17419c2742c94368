"""Runs for tests of what the console shows of one: plans in a few words, facts as an engine records them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from fleetprompt.engine.core.codec import decode
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import (
    AnyFact,
    RunCreated,
    RunStarted,
    StepExpanded,
    StepFailed,
    StepStarted,
    StepSucceeded,
)
from fleetprompt.engine.core.plan import Block, Loop, Node, Plan
from fleetprompt.engine.core.program import Program
from fleetprompt.engine.ports import Stored
from fleetprompt.tui.state.run_fold import RunFold
from fleetprompt.tui.state.tree import RunTree
from fleetprompt.tui.state.tree_rows import TreeRow, tree_rows

START = 1_800_000_000.0
RUN = "01-abcdefgh"
GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*/*.jsonl"))
SIGNS = {"completed": "✓", "failed": "✗", "running": "●", "waiting": "◆", "pending": "○", "in_doubt": "?"}


class Golden(msgspec.Struct):
    """What stands beside a recorded journal."""

    plan: Plan


def golden(file: Path) -> tuple[Plan, list[AnyFact]]:
    """A recorded journal."""
    plan = msgspec.json.decode(file.with_suffix(".run.json").read_bytes(), type=Golden).plan
    return plan, [decode(line) for line in file.read_bytes().splitlines()]


def act(id_: str, **options: Any) -> Node:
    return Node(id=id_, type="shell", config={"argv": ["true"]}, **options)


def loop(id_: str, *nodes: Node, concurrency: int = 9, **options: Any) -> Node:
    """A loop that goes on when an iteration fails."""
    made = Loop(over=[], concurrency=concurrency, on_item_error="continue")
    return Node(id=id_, type="loop", kind="loop", loop=made, blocks=(Block("steps", nodes),), **options)


def fan(id_: str, **branches: tuple[Node, ...]) -> Node:
    blocks = tuple(Block(name, nodes) for name, nodes in branches.items())
    return Node(id=id_, type="parallel", kind="parallel", blocks=blocks)


class Telling:
    """A run that is told fact by fact, and the tree that shows it."""

    def __init__(self, plan: Plan, *, run: str = RUN, begin: bool = True) -> None:
        self.fold = RunFold(run, Program(plan, "d"))
        self.tree = RunTree(self.fold)
        self.now = START
        if begin:
            self.say(RunCreated(at=START, run=run, plan="d", workflow=plan.name), RunStarted(at=START))

    def say(self, *facts: AnyFact) -> None:
        """The run moves on."""
        for fact in facts:
            n = self.fold.run.n + 1
            track = self.fold.apply(Stored(seq=n, run=self.fold.id, n=n, fact=fact))
            self.tree.apply(self.fold, track)
            self.now = max(self.now, fact.at)

    def start(self, *paths: str, **options: Any) -> None:
        self.say(*(StepStarted(at=self.now, path=path, input={}, **options) for path in paths))

    def ok(self, *paths: str, **options: Any) -> None:
        self.say(*(StepSucceeded(at=self.now, path=path, **options) for path in paths))

    def fail(self, *paths: str, **options: Any) -> None:
        self.say(
            *(StepFailed(at=self.now, path=path, error=Failure("TOOL_ERROR", "boom"), **options) for path in paths)
        )

    def expand(self, path: str, count: int) -> None:
        """A loop opens."""
        self.start(path)
        self.say(StepExpanded(at=self.now, path=path, items=list(range(count)), count=count))

    def rows(self) -> list[TreeRow]:
        return tree_rows(self.tree, 0, len(self.tree), self.now)

    def lines(self) -> list[str]:
        """The rows as they could be drawn: indent, sign, name."""
        return [f"{'  ' * row.depth}{SIGNS.get(row.status, row.status or ' ')} {row.name}" for row in self.rows()]

    def put_cursor(self, key: str) -> None:
        keys = [node.key for node in self.tree.visible()]
        self.tree.go(keys.index(key))


def telling(*nodes: Node, **options: Any) -> Telling:
    return Telling(Plan(name="t", root=Block("", nodes)), **options)


def iterate(run: Telling, path: str, step: str, indexes: Iterable[int], failed: Iterable[int] = ()) -> None:
    """Perform the only step of iterations; some of them fail."""
    bad = set(failed)
    for index in indexes:
        run.start(f"{path}[{index}].{step}")
        (run.fail if index in bad else run.ok)(f"{path}[{index}].{step}")
