"""A run as a tree of rows, from its facts alone: what `fleet run` shows live and `fleet show` shows of the past.

PURE: facts and log lines in, rows out; the time is an argument. Nothing here knows about terminals.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

from msgspec import Struct

from fleetprompt.cli.wrapping_up import WrappedUp, wrapped_up
from fleetprompt.client.reasons import run_seconds, run_status, scope_status, step_reason
from fleetprompt.engine.core.facts import (
    AnyFact,
    ApprovalRequested,
    RunCreated,
    RunFinished,
    StepFailed,
    StepInDoubt,
)
from fleetprompt.engine.core.program import Program
from fleetprompt.engine.core.run import evolve
from fleetprompt.engine.core.state import Run, Scope, Step
from fleetprompt.engine.core.transition import COMPENSATION
from fleetprompt.engine.ports import LogLine, Piece

FOLD = 5
"""Iterations of a loop that are shown one by one; of more only the interesting ones are."""
INTERESTING = 3
"""Failed and running iterations of a folded loop that are shown, of each kind."""
TAIL = 5
"""Log lines that are kept of each step."""
STEPS_WITH_TAIL = 200


class Row(Struct, frozen=True, kw_only=True):
    """One line of the tree. Texts come from files and programs: whoever prints them makes them inert."""

    depth: int
    status: str
    name: str
    path: str = ""
    kind: str = ""
    detail: str = ""
    """Why it waits, what went wrong, how often it was tried."""
    seconds: float | None = None
    active: bool = False
    """Something is going on here now."""
    settled: bool = False
    heading: bool = False
    """It groups the rows below: a branch, an iteration."""
    folded: int = 0
    """How many rows it stands for."""
    log: bool = False
    """A line of a step's log."""


class Tree:
    """One run, folded as its facts come."""

    def __init__(self, program: Program) -> None:
        self.run = Run(program)
        self.finished: RunFinished | None = None
        self.created: RunCreated | None = None
        self.foretold = ""
        """The mode that it will be in once its agents are answered, as far as that is known."""
        self.children: dict[str, Tree] = {}
        """Child runs that are followed too, by id."""
        self.wrapped_up: list[WrappedUp] = []
        """Agents that were asked to finish at a limit, in order."""
        self._known = 0
        self._scopes: dict[tuple[str, int], list[Scope]] = {}
        self._failures: dict[tuple[str, int], list[Scope]] = {}
        self._tails: dict[str, deque[LogLine]] = {}
        self._before: dict[tuple[str, str], str] = {}
        """What is done before a model is asked, by the path of the step and the key of the request."""
        self._asking: dict[str, Step] = {}
        self._doubtful: dict[str, Step] = {}

    def apply(self, fact: AnyFact) -> None:
        """The run moves on."""
        run = self.run
        evolve(run, fact)
        if isinstance(fact, RunCreated):
            self.created = fact
        elif isinstance(fact, RunFinished):
            self.finished = fact
        elif isinstance(fact, StepFailed):
            self._note_failure(run.steps.get(fact.path))
        elif isinstance(fact, (ApprovalRequested, StepInDoubt)):
            step = run.steps.get(fact.path)
            if step is not None:
                (self._asking if isinstance(fact, ApprovalRequested) else self._doubtful)[fact.path] = step
        elif (found := wrapped_up(fact, self.id)) is not None:
            self.wrapped_up.append(found)
        if len(run.steps) != self._known:
            self._find_scopes()

    def log(self, line: LogLine) -> None:
        """A step has said something."""
        if line.path not in self._tails and len(self._tails) >= STEPS_WITH_TAIL:
            del self._tails[next(iter(self._tails))]
        self._tails.setdefault(line.path, deque(maxlen=TAIL)).append(line)

    def hear(self, piece: Piece) -> None:
        """Something is said in a step: of that, what is done before a model is asked is kept until it is over."""
        place = (piece.path, piece.key)
        if piece.kind == "status":
            self._before[place] = piece.text
        elif not piece.path:
            self._before.clear()
        else:
            self._before.pop(place, None)

    def _doing(self, path: str) -> str:
        """What is done in a step before a model is asked; empty where nothing is."""
        return next((text for (where, _), text in self._before.items() if where == path), "")

    def _limits(self, step: Step) -> str:
        """At which limits agents were asked to finish, in this attempt at a step; empty where they were not."""
        found = [each.words for each in self.wrapped_up if (each.path, each.attempt) == (step.path, step.attempt)]
        return ", ".join(dict.fromkeys(found))

    def _find_scopes(self) -> None:
        run = self.run
        new = list(islice(reversed(run.steps.values()), len(run.steps) - self._known))
        self._known = len(run.steps)
        for step in reversed(new):
            owner = step.scope.owner
            if owner is None or step.role == "compensation":
                continue
            scopes = self._scopes.setdefault((owner.path, owner.attempt), [])
            if len(scopes) <= FOLD and (not scopes or scopes[-1] is not step.scope):
                scopes.append(step.scope)

    def _note_failure(self, step: Step | None) -> None:
        scope = step.scope if step is not None else None
        while scope is not None and scope.owner is not None:
            if scope.failure is not None and scope.index >= 0:
                known = self._failures.setdefault((scope.owner.path, scope.owner.attempt), [])
                if len(known) < INTERESTING and scope not in known:
                    known.append(scope)
            scope = scope.owner.scope

    # ------------------------------------------------------------ what is asked of it

    @property
    def id(self) -> str:
        return self.created.run if self.created is not None else ""

    @property
    def mode(self) -> str:
        """How its words come about, or will as long as nobody has said any."""
        return self.run.mode or ("" if self.run.ended else self.foretold)

    @property
    def status(self) -> str:
        """The run's status; between two facts that belong together it goes on, though nothing is started."""
        return run_status(self.run)

    @property
    def active(self) -> list[Step]:
        """Steps that do something now, in the order of their start."""
        return list(self.run.pending.values())

    def asking(self) -> list[Step]:
        """Steps that wait for people: for an approval, or at a limit that they are asked to raise."""
        return [step for step in self._asking.values() if step.on in ("approval", "budget") and step.gate is not None]

    def doubtful(self) -> list[Step]:
        """Steps of which nobody knows whether they happened."""
        return [step for step in self._doubtful.values() if step.status == "in_doubt"]

    def tail(self, path: str, most: int) -> list[LogLine]:
        """The latest log lines of a step."""
        lines = list(self._tails.get(path, ()))
        return lines[-most:] if most else []

    def seconds(self, now: float) -> float | None:
        """How long the run took, or has taken."""
        return run_seconds(self.run, now)

    # ------------------------------------------------------------ rows

    def rows(self, now: float, *, depth: int = 0, detail: bool = True, unfold: bool = False) -> list[Row]:
        """The steps in the order of the file, the inside of composites below them.

        Without `detail` the inside of what went well is left out, with `unfold` no iteration is.
        """
        root = self.run.root
        if root is None:
            return []
        return list(self._scope_rows(root, depth, now, detail, unfold))

    def _scope_rows(self, scope: Scope, depth: int, now: float, detail: bool, unfold: bool) -> Iterator[Row]:
        for step in scope.steps:
            yield self._row(step, depth, now)
            open_ = detail or step.status not in ("completed", "skipped")
            if step.program.blocks and open_:
                yield from self._inside(step, depth + 1, now, detail, unfold)
            child = self.children.get(step.ref) if step.program.node.kind == "workflow" else None
            if child is not None and open_:
                yield from child.rows(now, depth=depth + 1, detail=detail, unfold=unfold)
            undo = self.run.steps.get(step.path + COMPENSATION)
            if undo is not None:
                yield self._row(undo, depth + 1, now, name=f"undo {step.program.node.id}")

    def _inside(self, step: Step, depth: int, now: float, detail: bool, unfold: bool) -> Iterator[Row]:
        key = (step.path, step.attempt)
        scopes = self._scopes.get(key, [])
        if step.program.node.kind != "loop":
            for scope in scopes:
                yield from self._group(scope, scope.name, depth, now, detail, unfold)
            return
        if len(scopes) > FOLD and not unfold:
            running = list(step.inner.open.values()) if step.inner is not None else []
            failed = self._failures.get(key, [])
            scopes = [*failed, *(scope for scope in running[:INTERESTING] if scope not in failed)]
        elif len(scopes) > FOLD:
            scopes = _all_scopes(self.run, step)
        for scope in sorted(scopes, key=lambda scope: scope.index):
            yield from self._group(scope, f"[{scope.index}]", depth, now, detail, unfold)

    def _group(self, scope: Scope, name: str, depth: int, now: float, detail: bool, unfold: bool) -> Iterator[Row]:
        if len(scope.steps) == 1:
            step = scope.steps[0]
            id_ = step.program.node.id
            rows = self._scope_rows(scope, depth, now, detail, unfold)
            first = next(rows)
            yield first if name == id_ else _renamed(first, f"{name} {id_}")
            yield from rows
            return
        yield Row(depth=depth, status=scope_status(scope), name=name, heading=True, settled=scope.done)
        yield from self._scope_rows(scope, depth + 1, now, detail, unfold)

    def _row(self, step: Step, depth: int, now: float, name: str = "") -> Row:
        node = step.program.node
        ended = step.finished_at if step.finished_at is not None else now
        return Row(
            depth=depth,
            status=step.status,
            name=name or node.id,
            path=step.path,
            kind=node.type,
            detail=", ".join(filter(None, (step_reason(step, now), self._doing(step.path), self._limits(step)))),
            seconds=max(0.0, ended - step.started_at) if step.started_at is not None else None,
            active=step.path in self.run.pending,
            settled=step.settled,
        )


def _all_scopes(run: Run, owner: Step) -> list[Scope]:
    found: dict[int, Scope] = {}
    attempt = f"#{owner.attempt}" if owner.attempt > 1 else ""
    for step in run.steps.values():
        if step.scope.owner is owner and step.scope.prefix.startswith(f"{owner.path}{attempt}["):
            found.setdefault(step.scope.index, step.scope)
    return list(found.values())


def _renamed(row: Row, name: str) -> Row:
    import msgspec

    return msgspec.structs.replace(row, name=name)


def fitted(tree: Tree, now: float, height: int) -> list[Row]:
    """The rows of a tree, at most so many: the inside of what is over goes first."""
    rows = tree.rows(now)
    return rows if len(rows) <= height else fit(tree.rows(now, detail=False), height)


def fit(rows: list[Row], height: int) -> list[Row]:
    """At most so many rows: what is done or still to come is folded first, what happens now stays."""
    for fold in (_fold_done, _fold_pending, _fold_waiting):
        if len(rows) <= height:
            return rows
        rows = fold(rows)
    if len(rows) <= height:
        return rows
    first = next((i for i, row in enumerate(rows) if row.active), 0)
    start = max(0, min(first - height // 2, len(rows) - height))
    kept = rows[start : start + height]
    if start:
        kept[0] = _stands_for(start + 1, kept[0].depth, "pending", "above")
    if start + height < len(rows):
        kept[-1] = _stands_for(len(rows) - start - height + 1, kept[-1].depth, "pending", "below")
    return kept


def _fold_done(rows: list[Row]) -> list[Row]:
    return _folded(rows, lambda row: row.settled and row.status in ("completed", "skipped"), "completed", "done")


def _fold_pending(rows: list[Row]) -> list[Row]:
    return _folded(rows, lambda row: row.status == "pending" and not row.detail, "pending", "to come")


def _fold_waiting(rows: list[Row]) -> list[Row]:
    return _folded(rows, lambda row: row.status == "waiting", "waiting", "waiting")


def _folded(rows: list[Row], wanted: Any, status: str, word: str) -> list[Row]:
    found: list[Row] = []
    group: list[Row] = []
    for row in [*rows, None]:
        if row is not None and wanted(row):
            group.append(row)
            continue
        if len(group) > 2:
            count = sum(row.folded or 1 for row in group)
            found.append(_stands_for(count, min(row.depth for row in group), status, word))
        else:
            found += group
        group = []
        if row is not None:
            found.append(row)
    return found


def _stands_for(count: int, depth: int, status: str, word: str) -> Row:
    return Row(depth=depth, status=status, name=f"{count} {word}", folded=count, heading=True, settled=True)
