"""What the rows of the tree say: made for those that are drawn, at the time they are drawn. PURE."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from fleetprompt.client.reasons import scope_status, step_reason
from fleetprompt.client.wording import short
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.transition import COMPENSATION
from fleetprompt.tui.state.agent_rows import told
from fleetprompt.tui.state.agent_work import Entry
from fleetprompt.tui.state.timeline import Interval
from fleetprompt.tui.state.tree import RunTree
from fleetprompt.tui.state.tree_index import Branch, Concern, Track
from fleetprompt.tui.state.tree_nodes import TreeNode, What, is_past


class TreeRow(Struct, frozen=True, kw_only=True):
    """One row. Texts come from files and programs: whoever draws them makes them inert."""

    key: str
    what: What
    depth: int
    status: str
    name: str
    run: str
    """Id of the run that the row belongs to: a child's for what is below a step that started one."""
    path: str = ""
    """The step's path in that run; empty for what stands for several steps."""
    kind: str = ""
    """Type of the step."""
    detail: str = ""
    """Why it waits, what went wrong, how often it was tried."""
    started: float | None = None
    ended: float | None = None
    cost_nano: int = 0
    tokens: int = 0
    uncertain_nano: int = 0
    """What may have been spent besides."""
    mode: str = ""
    """How what models said here came about; empty where none said anything."""
    given: str = ""
    """What a call of an agent was given; the first words of a model's answer."""
    by: str = ""
    """Which model said it, or who allowed it."""
    attempt: int = 0
    active: bool = False
    """Something is being performed here now."""
    expandable: bool = False
    expanded: bool = False
    undo: bool = False
    """It undoes the step above it."""


def tree_rows(tree: RunTree, first: int, last: int, now: float) -> list[TreeRow]:
    """The visible rows from `first` to before `last`."""
    return [tree_row(tree, node, now) for node in tree.visible()[max(0, first) : max(0, last)]]


def tree_row(tree: RunTree, node: TreeNode, now: float) -> TreeRow:
    """One row, as things are now."""
    match node.what:
        case "more":
            name = f"… {node.hidden:,} more"
            return TreeRow(key=node.key, what="more", depth=node.depth, status="", name=name, run=node.fold.id)
        case "child":
            missing = tree.missing.get(node.child, "")
            return TreeRow(
                key=node.key,
                what="child",
                depth=node.depth,
                status="failed" if missing else "pending",
                name=f"run {short(node.child)}",
                run=node.child,
                detail=missing or "loading …",
            )
        case "branch":
            assert node.branch is not None
            return _branch_row(tree, node, node.branch)
        case "attempt":
            return _attempt_row(tree, node)
        case "turn" | "call" | "agent" | "said":
            assert node.entry is not None
            return _entry_row(tree, node, node.entry)
        case "step":
            assert node.track is not None
            return _step_row(tree, node, node.track, now)


def _branch_row(tree: RunTree, node: TreeNode, branch: Branch) -> TreeRow:
    scope, tally = branch.scope, branch.tally
    started = [step.started_at for step in scope.steps if step.started_at is not None]
    ended = [step.finished_at for step in scope.steps if step.finished_at is not None]
    going_on = "" if scope.done or scope.failure is not None else tally.status
    return TreeRow(
        key=node.key,
        what="branch",
        depth=node.depth,
        status=going_on or scope_status(scope),
        name=node.name,
        run=node.fold.id,
        started=min(started, default=None),
        ended=max(ended, default=None) if scope.done else None,
        cost_nano=tally.cost_nano,
        tokens=tally.tokens,
        uncertain_nano=tally.uncertain_nano,
        active=tally[Concern.ACTIVE] > 0,
        expandable=True,
        expanded=tree.is_open(node),
    )


def _attempt_row(tree: RunTree, node: TreeNode) -> TreeRow:
    track, attempt = node.track, node.attempt
    assert track is not None
    assert attempt is not None
    return TreeRow(
        key=node.key,
        what="attempt",
        depth=node.depth,
        status="timeout" if attempt.error.code == "TIMEOUT" else "failed",
        name=node.name,
        run=node.fold.id,
        path=track.step.path,
        kind=track.step.program.node.type,
        detail=_said(attempt.error),
        started=attempt.started,
        ended=attempt.ended,
        attempt=attempt.number,
        expandable=tree.is_expandable(node),
        expanded=tree.is_open(node),
    )


def _step_row(tree: RunTree, node: TreeNode, track: Track, now: float) -> TreeRow:
    step = track.step
    inside = track.inside
    child = tree.children.get(track.child)
    inner = [each.tally for each in track.insides or ()]
    used = [track, *inner, *([child.run] if child is not None else [])]
    return TreeRow(
        key=node.key,
        what="step",
        depth=node.depth,
        status=track.status,
        name=node.name,
        run=node.fold.id,
        path=step.path,
        kind=step.program.node.type,
        detail=step_reason(step, now),
        started=step.started_at,
        ended=step.finished_at,
        cost_nano=sum(each.cost_nano for each in used),
        tokens=sum(each.tokens for each in used),
        uncertain_nano=sum(each.uncertain_nano for each in used),
        mode=track.mode,
        attempt=step.attempt,
        active=track.concern is Concern.ACTIVE or (inside is not None and inside.tally[Concern.ACTIVE] > 0),
        expandable=tree.is_expandable(node),
        expanded=tree.is_open(node),
        undo=step.path.endswith(COMPENSATION),
    )


def _entry_row(tree: RunTree, node: TreeNode, entry: Entry) -> TreeRow:
    track = node.track
    assert track is not None
    said = told(entry)
    cost, tokens, uncertain = entry.spent
    status = entry.status(track.step, over=is_past(node))
    return TreeRow(
        key=node.key,
        what=node.what,
        depth=node.depth,
        status=status,
        name=said.name,
        given=said.given,
        by=said.by,
        run=node.fold.id,
        path=track.step.path,
        detail=said.detail,
        started=entry.started if entry.what != "said" else None,
        ended=entry.ended if entry.ended is not None else track.step.finished_at,
        cost_nano=cost,
        tokens=tokens,
        uncertain_nano=uncertain,
        mode=entry.mode,
        active=status == "running",
        expandable=tree.is_expandable(node),
        expanded=tree.is_open(node),
    )


def row_intervals(node: TreeNode) -> Sequence[Interval]:
    """When something was going on in a row: its step's attempts, or one of them."""
    track = node.track
    if track is None:
        return ()
    if node.entry is not None:
        return _entry_intervals(node.entry, track.step.finished_at)
    found = track.intervals.found
    return found if node.attempt is None else [each for each in found if each.attempt == node.attempt.number]


def _entry_intervals(entry: Entry, over: float | None) -> Sequence[Interval]:
    if entry.what not in ("turn", "call"):
        return ()
    end = entry.ended if entry.ended is not None else over
    return [Interval(entry.started, end, "inside" if entry.inside else "active")]


def _said(error: Failure) -> str:
    first = error.message.strip().splitlines()
    return f"{error.code}: {first[0] if first else ''}"
