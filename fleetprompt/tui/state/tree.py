"""The steps of a run as the rows of a tree that is open where something goes on, with a cursor that stays where it is.

Which rows are visible is kept as one flat list; a fact makes only the composites around its step be listed again. What
a row says is made when it is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fleetprompt.engine.core.transition import COMPENSATION
from fleetprompt.tui.state.run_fold import RunFold
from fleetprompt.tui.state.tree_index import Concern, Tally, Track
from fleetprompt.tui.state.tree_nodes import FOLD, PAGE, TreeNode, TreeNodes, branch_name, child_of, node_key


class RunTree(TreeNodes):
    """Which rows are visible, and where the cursor is."""

    def __init__(self, fold: RunFold) -> None:
        super().__init__(fold)
        self.missing: dict[str, str] = {}
        """Child runs that cannot be shown, and why."""
        self.version = 0
        """Rises when rows come, go or move."""
        self.touched: set[str] = set()
        """Keys of rows that say something else than before; whoever has drawn them clears it."""
        self._flat: list[TreeNode] = []
        self._stale = True
        self._position = 0

    # ------------------------------------------------------------ what happens

    def apply(self, fold: RunFold, track: Track | None) -> None:
        """A fact about this step was folded; None: one about the run as a whole."""
        if track is None:
            self._mark(self._places.get(fold.id) if fold is not self.fold else None)
            self._stale = True
            return
        path = track.step.path
        if track.step.role == "compensation":
            self.touched.add(node_key(fold, self.fold, path))
            track = fold.index.tracks[path.removesuffix(COMPENSATION)]
        node = self._nearest(fold, track)
        if track.works is not None and node is not None and node.track is track:
            self.touched.update(each.key for each in node.flat or ())
        self._mark(node)

    def adopt(self, fold: RunFold) -> None:
        """A child run was loaded."""
        self.children[fold.id] = fold
        self.missing.pop(fold.id, None)
        self._mark(self._places.get(fold.id))

    def miss(self, run: str, why: str) -> None:
        """A child run cannot be shown."""
        self.missing[run] = why
        self._mark(self._places.get(run))

    @property
    def wanted(self) -> list[str]:
        """Ids of child runs whose rows are open and that are not loaded."""
        return [
            run
            for run, place in self._places.items()
            if run not in self.children and run not in self.missing and self._choices.get(place.key, False)
        ]

    def _nearest(self, fold: RunFold, track: Track) -> TreeNode | None:
        """The row of a step; while it has none, that of what it is in."""
        at: Track | None = track
        while at is not None:
            node = self._nodes.get(node_key(fold, self.fold, at.step.path))
            if node is not None:
                return node
            node = self._nodes.get(node_key(fold, self.fold, branch_name(at.branch)))
            if node is not None:
                return node
            at = at.branch.inside.track if at.branch.inside is not None else None
        return self._places.get(fold.id)

    def _mark(self, node: TreeNode | None) -> None:
        """What is below a row, and so below everything around it, has to be listed again."""
        self._stale = True
        while node is not None:
            node.flat = None
            self.touched.add(node.key)
            node = node.parent

    # ------------------------------------------------------------ what is visible

    def visible(self) -> list[TreeNode]:
        """The rows in their order. The list is not to be changed."""
        if self._stale:
            self._stale = False
            flat = [node for child in self._root_nodes() for node in self._flatten(child)]
            if flat != self._flat:
                self._flat = flat
                self.version += 1
            self._anchor()
        return self._flat

    def __len__(self) -> int:
        return len(self.visible())

    @property
    def position(self) -> int:
        """Where the cursor is; 0 while there are no rows."""
        self.visible()
        return self._position

    @property
    def cursor(self) -> str:
        """Key of the row that the cursor is on; empty while there are no rows."""
        self.visible()
        return self._cursor

    @property
    def current(self) -> TreeNode | None:
        """The row that the cursor is on."""
        rows = self.visible()
        return rows[self._position] if rows else None

    def _flatten(self, node: TreeNode) -> list[TreeNode]:
        flat = node.flat
        if flat is None:
            flat = [node]
            if self.is_open(node):
                for child in self.inside_of(node):
                    flat += child.flat or self._flatten(child)
            node.flat = flat
        return flat

    def _anchor(self) -> None:
        """Find the cursor's row again, or the nearest one around it."""
        rows = self._flat
        found = self._place(self._cursor)
        self._position = found if found is not None else max(0, min(self._position, len(rows) - 1))
        self._cursor = rows[self._position].key if rows else ""

    def _place(self, key: str) -> int | None:
        node = self._nodes.get(key)
        while node is not None:
            try:
                return self._flat.index(node)
            except ValueError:
                node = node.parent
        return None

    def place(self, key: str) -> int | None:
        """Where a row is, or the nearest one around it; None when there is none."""
        self.visible()
        return self._place(key)

    # ------------------------------------------------------------ what somebody does

    def move(self, by: int) -> None:
        """The cursor goes so many rows down, or up."""
        self.go(self.position + by)

    def go(self, position: int) -> None:
        """The cursor goes to a row, or to the nearest there is."""
        rows = self.visible()
        self._position = max(0, min(position, len(rows) - 1))
        self._cursor = rows[self._position].key if rows else ""

    def toggle(self, key: str) -> None:
        """Open what is below a row, or close it; a row that stands for more iterations shows a thousand of them."""
        self.visible()
        node = self._nodes.get(key)
        if node is None:
            return
        if node.what == "more" and node.parent is not None:
            self._limits[node.parent.key] = self._limits.get(node.parent.key, PAGE) + PAGE
            # The cursor goes on where the first of the new rows is, not behind the last.
            before = self._before(node) if self._cursor == key else None
            self._mark(node.parent)
            self.visible()
            if before is not None:
                self.go(before + 1)
            return
        if self.is_expandable(node):
            self.set_open(node, not self.is_open(node))

    def set_open(self, node: TreeNode, is_open: bool) -> None:
        """Open what is below a row, or close it, whatever happens there."""
        self._choices[node.key] = is_open
        if is_open and node.track is not None:
            run = child_of(node)
            if run:
                self._places[run] = node
        self._mark(node)

    def inward(self) -> None:
        """Open what is below the cursor's row; where it is open, go there."""
        node = self.current
        if node is not None and self.is_open(node):
            self.move(1)
        elif node is not None:
            self.toggle(node.key)

    def outward(self) -> None:
        """Close what is below the cursor's row; where nothing is open, go to the row around it."""
        node = self.current
        if node is not None and self.is_open(node):
            self.set_open(node, False)
        elif node is not None and node.parent is not None:
            self._cursor = node.parent.key
            self._anchor()

    def _before(self, node: TreeNode) -> int | None:
        rows = self.visible()
        return rows.index(node) - 1 if node in rows else None

    def reveal(self, node: TreeNode) -> None:
        """Put the cursor on a row, and open everything around it."""
        self._cursor = node.key
        at = node.parent
        while at is not None:
            if not self.is_open(at):
                self._choices[at.key] = True
            self._mark(at)
            at = at.parent
        self._stale = True
        self.visible()

    def reveal_path(self, path: str) -> bool:
        """Put the cursor on the step at a path of the run; False when it has no such step (yet)."""
        track = self.fold.index.tracks.get(path)
        around: list[Track] = []
        while track is not None:
            around.append(track)
            track = track.branch.inside.track if track.branch.inside is not None else None
        node: TreeNode | None = None
        for track in reversed(around):
            node = self._below(node, track)
            if node is None:
                return False
        if node is not None:
            self.reveal(node)
        return node is not None

    def _below(self, node: TreeNode | None, track: Track) -> TreeNode | None:
        """The row of a step that is directly in what a row stands for."""
        wanted = track.step.path.removesuffix(COMPENSATION)
        if node is None:
            return self._undoing(_of_path(self._root_nodes(), wanted), track)
        inside = track.branch.inside
        if inside is not node.inside:
            # It is in an earlier attempt.
            node = next((each for each in self.inside_of(node) if each.inside is inside and inside is not None), None)
        if node is None:
            return None
        branch = self._branch_node(node, track.branch)
        if branch.what == "step":
            return self._undoing(branch, track)
        return self._undoing(_of_path(self.inside_of(branch), wanted), track)

    def _undoing(self, node: TreeNode | None, track: Track) -> TreeNode | None:
        if node is None or track.step.role != "compensation":
            return node
        return next((each for each in self.inside_of(node) if each.track is track), None)

    def next_failure(self) -> bool:
        """Go to the next step that failed, from the top after the last one; False when there is none."""
        return self._jump(Concern.FAILED)

    def next_active(self) -> bool:
        """Go to the next step that is active now; while none is, to what is in doubt or waits."""
        return any(self._jump(concern) for concern in (Concern.ACTIVE, Concern.DOUBT, Concern.WAITING))

    def _jump(self, concern: Concern) -> bool:
        first: TreeNode | None = None
        passed = False
        for node in self._found(concern):
            if node.key == self._cursor:
                passed = True
                if first is None and _is_it(node, concern):
                    first = node
            elif passed:
                self.reveal(node)
                return True
            elif first is None:
                first = node
        if first is None:
            return False
        self.reveal(first)
        return True

    def _found(self, concern: Concern) -> Iterator[TreeNode]:
        """Rows of steps of a concern, in order and wherever they are; between them the cursor's."""
        around: set[TreeNode] = set()
        at = self._nodes.get(self._cursor)
        while at is not None:
            around.add(at)
            at = at.parent
        stack = list(reversed(self._root_nodes()))
        while stack:
            node = stack.pop()
            if node.key == self._cursor or _is_it(node, concern):
                yield node
            if node in around or self._has(node, concern):
                stack += reversed(self._candidates(node, lambda tally: tally[concern] > 0, around))

    def _has(self, node: TreeNode, concern: Concern) -> bool:
        if node.what == "branch" and node.branch is not None:
            return node.branch.tally[concern] > 0
        track = node.track
        if track is None or node.attempt is not None or node.entry is not None:
            return False
        inside, child = node.inside, self.children.get(track.child)
        if child is not None and child.index.root is not None and child.index.root.tally[concern]:
            return True
        return bool(inside is not None and inside.tally[concern]) or (
            track.undo is not None and track.undo.concern is concern
        )

    def _candidates(self, node: TreeNode, wanted: Callable[[Tally], bool], around: set[TreeNode]) -> list[TreeNode]:
        """The rows below one in which what is looked for may be."""
        inside = node.inside
        if inside is None or len(inside.branches) <= FOLD:
            return self.inside_of(node)
        kept = self._position_in(node, inside) if node in around else None
        return [
            self._branch_node(node, inside.branches[position])
            for position in inside.pressing_first(len(inside.branches))
            if position == kept or wanted(inside.branches[position].tally)
        ]


def _of_path(nodes: list[TreeNode], path: str) -> TreeNode | None:
    return next((node for node in nodes if node.track is not None and node.track.step.path == path), None)


def _is_it(node: TreeNode, concern: Concern) -> bool:
    """Whether a row is a step of that concern, and not only something around one."""
    track = node.track
    if track is None or node.what != "step" or track.concern is not concern:
        return False
    inside = track.inside
    return inside is None or not inside.tally[concern]
