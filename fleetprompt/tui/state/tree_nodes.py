"""What is a row of the tree, what is below it, and whether that is shown.

A `TreeNode` is a row that can be seen; its key tells it apart for ever, whatever rows come and go around it. Nodes are
made when somebody first looks at what they are in.
"""

from __future__ import annotations

from typing import Literal

from fleetprompt.engine.core.state import Step
from fleetprompt.tui.state.agent_work import AgentWork, Entry
from fleetprompt.tui.state.run_fold import RunFold
from fleetprompt.tui.state.tree_index import Attempt, Branch, Concern, Inside, Track

FOLD = 50
"""Iterations from which a loop is one row until somebody opens it."""
PAGE = 1_000
"""Iterations of an opened loop that are shown, and as many more each time."""
SMALL = 3
"""Steps up to which the inside of what is over stays open."""

What = Literal["step", "branch", "attempt", "more", "child", "turn", "call", "agent", "said"]


class TreeNode:
    """A row that can be seen. Which of the fields are set depends on what it is."""

    __slots__ = (
        "attempt",
        "branch",
        "child",
        "depth",
        "entry",
        "flat",
        "fold",
        "hidden",
        "key",
        "name",
        "parent",
        "track",
        "what",
        "work",
    )

    def __init__(self, key: str, what: What, fold: RunFold, parent: TreeNode | None) -> None:
        self.key = key
        self.what: What = what
        self.fold = fold
        self.parent = parent
        self.depth = parent.depth + 1 if parent is not None else 0
        self.name = ""
        self.track: Track | None = None
        self.branch: Branch | None = None
        self.attempt: Attempt | None = None
        self.entry: Entry | None = None
        """What an agent did, in the step of `track`."""
        self.work: AgentWork | None = None
        """The piece of work that it belongs to."""
        self.child = ""
        """Id of a run that is started here and not loaded."""
        self.hidden = 0
        """Iterations that a `more` stands for."""
        self.flat: list[TreeNode] | None = None
        """It and what is visible below it; None when that has to be found again."""

    @property
    def step(self) -> Step | None:
        """The step of the row, or that in which an agent did what the row says; None for what stands for several."""
        is_one = self.what == "step" or self.entry is not None
        return self.track.step if self.track is not None and is_one else None

    @property
    def inside(self) -> Inside | None:
        """What the composite of this row has opened, in the attempt that the row is about."""
        if self.track is None or self.what not in ("step", "attempt"):
            return None
        return self.track.inside if self.attempt is None else self.track.inside_of(self.attempt.number)


class TreeNodes:
    """The rows of a run, and of the child runs that were opened in it."""

    def __init__(self, fold: RunFold) -> None:
        self.fold = fold
        self.children: dict[str, RunFold] = {}
        """Child runs that are loaded, by id."""
        self._cursor = ""
        """Key of the row that the cursor was on last."""
        self._choices: dict[str, bool] = {}
        self._limits: dict[str, int] = {}
        self._nodes: dict[str, TreeNode] = {}
        self._places: dict[str, TreeNode] = {}
        """Where a child run is shown."""
        self._rows: dict[Inside, tuple[TreeNode, dict[int, TreeNode]]] = {}
        """The row of a composite, and those of its branches by position: keys of ten thousand take their time."""

    def node(self, key: str) -> TreeNode | None:
        """The row with a key, visible or not; None when it was never to be seen."""
        return self._nodes.get(key)

    def is_expandable(self, node: TreeNode) -> bool:
        """Whether there is something below a row."""
        if node.what in ("more", "child"):
            return False
        if node.what == "branch":
            return True
        if node.entry is not None:
            return bool(node.entry.inside or node.entry.child)
        track, inside = node.track, node.inside
        if inside is not None and inside.branches:
            return True
        if track is None:
            return False
        if node.attempt is not None:
            return bool(node.attempt.child) or bool(_works(node, track))
        return bool(track.child or track.undo is not None or track.attempts or track.works is not None)

    def is_open(self, node: TreeNode) -> bool:
        """Whether what is below a row is shown: as somebody has chosen, else where something goes on or went wrong."""
        if not self.is_expandable(node):
            return False
        chosen = self._choices.get(node.key)
        if chosen is not None:
            return chosen
        if node.entry is not None:
            return self._is_entry_open(node, node.entry)
        if node.branch is not None and node.what == "branch":
            inside = node.branch.inside
            few = inside is not None and max(len(inside.branches), len(node.branch.tracks)) <= SMALL
            return few or not node.branch.scope.done or node.branch.tally.worst is not Concern.NONE
        track, inside = node.track, node.inside
        if track is None or node.attempt is not None:
            return False
        if track.undo is not None and not track.undo.step.settled:
            return True
        if inside is None or len(inside.branches) > FOLD:
            at_work = track.works is not None and (not track.step.settled or track.concern is Concern.FAILED)
            return inside is None and (track.undo is not None or at_work)
        return not track.step.settled or inside.tally.worst is not Concern.NONE or inside.size <= SMALL

    @staticmethod
    def _is_entry_open(node: TreeNode, entry: Entry) -> bool:
        """What an agent is just doing is to be seen, and of the rest as much as is easily read."""
        if any(each.open for each in entry.inside) and not is_past(node):
            return True
        return entry.what == "agent" or 0 < len(entry.inside) <= SMALL

    def inside_of(self, node: TreeNode) -> list[TreeNode]:
        """The rows directly below one, in their order."""
        track, inside = node.track, node.inside
        if node.what == "branch" and node.branch is not None:
            return [self._step_node(node, each, "") for each in node.branch.tracks]
        if track is None:
            return []
        if node.entry is not None:
            below = [self._entry_node(node, track, node.work, each) for each in node.entry.inside if node.work]
            return below + (self._child_nodes(node, node.entry.child) if node.entry.child else [])
        found: list[TreeNode] = []
        if node.attempt is None:
            present = track.step.attempt
            found += [self._attempt_node(node, track, each) for each in track.attempts or () if each.number < present]
        if inside is not None:
            found += self._branch_nodes(node, inside)
        for work in _works(node, track):
            found += [self._entry_node(node, track, work, each) for each in work.root.inside]
        child = child_of(node)
        if child:
            found += self._child_nodes(node, child)
        if node.attempt is None and track.undo is not None:
            found.append(self._step_node(node, track.undo, f"undo {track.step.program.node.id}"))
        return found

    def _root_nodes(self) -> list[TreeNode]:
        root = self.fold.index.root
        return [self._step_node(None, track, "") for track in root.tracks] if root is not None else []

    def _branch_nodes(self, node: TreeNode, inside: Inside) -> list[TreeNode]:
        branches = inside.branches
        if len(branches) <= FOLD:
            return [self._branch_node(node, branch) for branch in branches]
        limit = self._limits.get(node.key, PAGE)
        shown = inside.pressing_first(limit)
        # What the cursor is in stays to be seen, also when others have become more pressing.
        kept = self._position_in(node, inside)
        if kept is not None and kept not in shown:
            shown.append(kept)
        known = self._known(inside, node)
        found = [known.get(position) or self._branch_node(node, branches[position]) for position in shown]
        if len(shown) < len(branches):
            more = self._make(f"{node.key}…", "more", node)
            more.hidden = len(branches) - len(shown)
            found.append(more)
        return found

    def _known(self, inside: Inside, parent: TreeNode) -> dict[int, TreeNode]:
        """The rows of what is inside one, if they are below this row."""
        below, known = self._rows.get(inside, (None, {}))
        if below is not parent:
            known = {}
            self._rows[inside] = parent, known
        return known

    def _position_in(self, node: TreeNode, inside: Inside) -> int | None:
        at = self._nodes.get(self._cursor)
        while at is not None and at.parent is not node:
            at = at.parent
        branch = None if at is None else at.branch
        return branch.position if branch is not None and branch.inside is inside else None

    def _branch_node(self, parent: TreeNode, branch: Branch) -> TreeNode:
        scope = branch.scope
        name = f"[{scope.index}]" if scope.index >= 0 else scope.name
        if len(branch.tracks) == 1:
            only = branch.tracks[0]
            id_ = only.step.program.node.id
            node = self._step_node(parent, only, name if name == id_ else f"{name} {id_}")
        else:
            node = self._make(node_key(parent.fold, self.fold, branch_name(branch)), "branch", parent)
            node.name = name
        node.branch = branch
        if branch.inside is not None:
            self._known(branch.inside, parent)[branch.position] = node
        return node

    def _step_node(self, parent: TreeNode | None, track: Track, name: str, fold: RunFold | None = None) -> TreeNode:
        fold = fold or (parent.fold if parent is not None else self.fold)
        node = self._make(node_key(fold, self.fold, track.step.path), "step", parent, fold)
        node.track = track
        node.name = name or track.step.program.node.id
        return node

    def _attempt_node(self, parent: TreeNode, track: Track, attempt: Attempt) -> TreeNode:
        node = self._make(f"{parent.key}#{attempt.number}", "attempt", parent)
        node.track = track
        node.attempt = attempt
        node.name = f"attempt {attempt.number}"
        return node

    def _entry_node(self, parent: TreeNode, track: Track, work: AgentWork, entry: Entry) -> TreeNode:
        step = node_key(parent.fold, self.fold, track.step.path)
        node = self._make(f"{step}@{work.number}/{entry.key}", entry.what, parent)
        node.track, node.work, node.entry = track, work, entry
        return node

    def _child_nodes(self, node: TreeNode, run: str) -> list[TreeNode]:
        self._places[run] = node
        fold = self.children.get(run)
        if fold is not None and fold.index.root is not None:
            return [self._step_node(node, track, "", fold) for track in fold.index.root.tracks]
        child = self._make(f"{node.key}/{run}", "child", node)
        child.child = run
        return [child]

    def _make(self, key: str, what: What, parent: TreeNode | None, fold: RunFold | None = None) -> TreeNode:
        node = self._nodes.get(key)
        if node is None:
            fold = fold or (parent.fold if parent is not None else self.fold)
            node = self._nodes[key] = TreeNode(key, what, fold, parent)
        elif node.parent is not parent or (parent is not None and node.depth != parent.depth + 1):
            # What was in the present attempt is now in an earlier one.
            node.parent, node.flat = parent, None
            node.depth = parent.depth + 1 if parent is not None else 0
        return node


def child_of(node: TreeNode) -> str:
    """Id of the run that was started where a row is; empty when none was."""
    if node.entry is not None:
        return node.entry.child
    track = node.track
    if track is None:
        return ""
    if node.attempt is not None:
        return node.attempt.child
    # What an agent calls stands below the call.
    return track.child if track.works is None else ""


def _works(node: TreeNode, track: Track) -> list[AgentWork]:
    """What agents have done in the attempt of a row. A later attempt goes on with what was done before it, unless it
    has begun anew."""
    if track.works is None:
        return []
    *before, last = track.works.found()
    if node.attempt is None:
        return [last]
    return [work for work in before if work.attempt == node.attempt.number]


def is_past(node: TreeNode) -> bool:
    """Nothing goes on any more in the piece of work that a row belongs to."""
    track, work = node.track, node.work
    if track is None or work is None or track.works is None:
        return True
    return track.step.settled or track.works.found()[-1] is not work


def node_key(fold: RunFold, root: RunFold, path: str) -> str:
    """The key of what has that path in a run: the path itself in the run that the tree is about."""
    return path if fold is root else f"{fold.id}/{path}"


def branch_name(branch: Branch) -> str:
    """What tells a branch apart from everything else in its run."""
    scope = branch.scope
    return f"{scope.prefix}({scope.name})" if scope.index < 0 else scope.prefix.rstrip(".")
