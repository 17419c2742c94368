"""The steps of a run, as a tree that opens and closes."""

from __future__ import annotations

from textual.message import Message

from fleetprompt.tui.state.run_lines import TreeLines
from fleetprompt.tui.widgets.lines import Lines


class TreeView(Lines):
    """The tree. Enter opens what can be opened; of anything else, it is told that it was chosen."""

    source: TreeLines

    class Wanted(Message):
        """A run has to be loaded for what was opened."""

    def _measure(self) -> None:
        super()._measure()
        last = len(self.source.columns) - 1
        self.source.room = next((place.width for place in self.places if place.column == last), 0)

    def go(self, index: int, *, by_hand: bool = True) -> None:
        """Put the cursor on a row."""
        super().go(index, by_hand=by_hand)
        self._tell_tree()

    def renew(self) -> None:
        """Rows have come or gone: the cursor is where its row is now, or on what that is in."""
        super().renew()
        self._tell_tree()

    def _tell_tree(self) -> None:
        self.source.view.tree.go(self.selection.index)

    def follow(self, *, by_hand: bool = True) -> None:
        """The tree has moved its cursor."""
        tree = self.source.view.tree
        self.selection.place(self.source, tree.position)
        self.moved_by_hand += by_hand
        self.renew()
        self._keep_visible()
        self.post_message(self.Moved(self))

    def repaint_touched(self, moved: bool) -> None:
        """Draw again what says something else than before; everything when rows have come or gone."""
        tree = self.source.view.tree
        touched, tree.touched = tree.touched, set()
        if moved:
            self.renew()
            return
        rows = tree.visible()
        self.repaint(index for index in self.visible_range if rows[index].key in touched)

    def do_list_right(self) -> None:
        """Open the row, or go into it."""
        self.source.view.tree.inward()
        self._opened()

    def do_list_left(self) -> None:
        """Close the row, or go out of it."""
        self.source.view.tree.outward()
        self._opened()

    def do_list_open(self) -> None:
        """Open or close the row; what cannot be opened was chosen."""
        tree = self.source.view.tree
        node = tree.current
        if node is None:
            return
        if node.what == "more" or tree.is_expandable(node):
            tree.toggle(node.key)
            self._opened()
        else:
            self.post_message(self.Opened(self))

    def _opened(self) -> None:
        self.follow()
        if self.source.view.tree.wanted:
            self.post_message(self.Wanted())

    def copied(self, key: object) -> str:
        """The path of a step; what stands for several has none but its key."""
        node = self.source.view.tree.node(str(key))
        return node.step.path if node is not None and node.step is not None else str(key)
