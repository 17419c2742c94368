"""Text that is looked at line by line, and to the right where lines are long."""

from __future__ import annotations

from fleetprompt.tui.state.run_text import TextLines, ValueLines
from fleetprompt.tui.widgets.lines import Lines

SHIFT = 20
"""Cells that left and right move the text."""


class TextView(Lines):
    """Lines of one text."""

    source: TextLines

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(ValueLines(), id=id, classes=classes)

    def show(self, source: TextLines, *, at: int = 0) -> None:
        """Look at another text."""
        self.source = source
        self.selection.clear()
        self.selection.place(source, at)
        self.scroll_to(y=max(0, at - self.size.height // 3), animate=False, immediate=True)
        self.renew()
        self._keep_visible()

    def do_list_left(self) -> None:
        """Look further to the left."""
        self._shift(-SHIFT)

    def do_list_right(self) -> None:
        """Look further to the right."""
        self._shift(SHIFT)

    def _shift(self, by: int) -> None:
        self.source.left = max(0, self.source.left + by)
        self.refresh()

    def find(self, words: str, *, again: bool = False) -> bool:
        """Go to the next line in which a text is; False when there is none."""
        found = self.source.search(words, self.cursor + (1 if again else 0)) if words else None
        if found is not None:
            self.go(found)
        return found is not None

    def copied(self, key: object) -> str:
        """The line."""
        index = self.source.find(key)
        return "".join(text for text, _ in self.source.parts(index)).rstrip() if index is not None else ""
