"""What is seen of runs while they go on: a tree that is redrawn in place, plain lines, or nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from fleetprompt.cli.render import head_line, log_row, plain, spinner, tree_lines
from fleetprompt.cli.say import news
from fleetprompt.cli.tree import Row, Tree, fitted
from fleetprompt.client.halted import halted_by
from fleetprompt.client.wording import Times, count, short
from fleetprompt.engine.core.facts import AnyFact
from fleetprompt.engine.ports import LogLine

if TYPE_CHECKING:
    from fleetprompt.cli.follow import Following
    from fleetprompt.engine.ports.operations import Position

FRAMES = 10
"""Redraws a second while something goes on."""
RECENT_SECONDS = 10.0
"""What is older than this when the watch begins is history."""
TAIL_LINES = 4
"""Log lines below active steps, in all."""


class Display(Protocol):
    """Told of everything; shows what fits."""

    notice: str
    position: Position
    """Of the fleet's switch: why nothing may start."""

    def fact(self, tree: Tree, fact: AnyFact) -> None: ...
    def line(self, tree: Tree, line: LogLine) -> None: ...
    def start(self, following: Following) -> None: ...
    def stop(self, *, keep: bool = False) -> None: ...
    def tick(self) -> None:
        """Time has passed."""
        ...


def halted(tree: Tree, position: Position) -> str:
    """Why nothing new starts in a run, as far as that is not up to the run; empty where it may."""
    created = tree.created
    child = created is not None and bool(created.parent)
    return "" if tree.run.ended else halted_by(position, began=tree.run.started_at is not None, child=child)


class Silent:
    """Shows nothing."""

    def __init__(self) -> None:
        self.notice = ""
        self.position: Position = "on"

    def fact(self, tree: Tree, fact: AnyFact) -> None:
        """Ignored."""

    def line(self, tree: Tree, line: LogLine) -> None:
        """Ignored."""

    def start(self, following: Following) -> None:
        """Nothing to start."""

    def stop(self, *, keep: bool = False) -> None:
        """Nothing to stop."""

    def tick(self) -> None:
        """Nothing to redraw."""


class Lines(Silent):
    """A line with the time for each fact that is worth one."""

    def __init__(self, console: Console, times: Times, *, many: bool) -> None:
        super().__init__()
        self._console = console
        self._times = times
        self._many = many
        self._since = time.time() - RECENT_SECONDS
        self._old: set[str] = set()

    def fact(self, tree: Tree, fact: AnyFact) -> None:
        """Print the fact, unless it is history; of a run with a history, where it stands before it goes on."""
        if fact.at < self._since and fact.at:
            self._old.add(tree.id)
            return
        text = news(tree, fact)
        if text is None:
            return
        if tree.id in self._old:
            self._old.discard(tree.id)
            self._console.print(head_line(tree, fact.at), soft_wrap=True)
        line = Text(self._times.clock(fact.at) + " ", style="dim")
        if self._many or tree.run.created is None or tree.run.created.parent:
            line.append(short(tree.id) + " ", style="cyan")
        self._console.print(line.append_text(text), soft_wrap=True)


class Drawn(Silent):
    """The tree of a run, or a line for each of several, redrawn in place."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._live: Live | None = None
        self._following: Following | None = None
        self._frame = 0
        self._dirty = True
        self._drawn_at = 0.0

    def fact(self, tree: Tree, fact: AnyFact) -> None:
        """Something has changed."""
        self._dirty = True

    def line(self, tree: Tree, line: LogLine) -> None:
        """Something has changed."""
        self._dirty = True

    def start(self, following: Following) -> None:
        """Begin to draw."""
        self._following = following
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._live.start()
        self._dirty = True

    def stop(self, *, keep: bool = False) -> None:
        """Wipe what was drawn, so that what is printed next takes its place; or leave it standing as it is now."""
        if self._live is not None:
            if keep:
                self._live.update(Group(*self._lines(time.time())), refresh=True)
                self._live.transient = False
            self._live.stop()
            self._live = None

    def tick(self) -> None:
        """Draw again when there is a reason to."""
        if self._live is None or self._following is None:
            return
        now = time.time()
        busy = any(tree.run.pending for tree in self._following.trees.values())
        if not (busy or self._dirty or now - self._drawn_at > 1):
            return
        self._dirty = False
        self._drawn_at = now
        self._frame += 1
        lines = self._lines(now)
        self._live.update(Group(*lines), refresh=True)

    def _lines(self, now: float) -> list[Text]:
        following = self._following
        assert following is not None
        width, height = self._console.size
        footer = [plain(self.notice, "yellow")] if self.notice else []
        room = max(3, height - 2 - len(footer))
        trees = [following.trees[root] for root in following.roots if root in following.trees]
        if not trees:
            lines = [Text("…", style="dim")]
        elif len(following.roots) == 1:
            lines = [self._head(trees[0], now), *self._tree(trees[0], now, width, room - 1)]
        else:
            lines = self._table(trees, now, room)
        for line in [*lines, *footer]:
            line.no_wrap = True
            line.truncate(width - 1, overflow="ellipsis")
        return [*lines, *footer]

    def _head(self, tree: Tree, now: float) -> Text:
        return head_line(tree, now, spinner(self._frame), halted(tree, self.position))

    def _tree(self, tree: Tree, now: float, width: int, room: int) -> list[Text]:
        rows = fitted(tree, now, max(2, room - (TAIL_LINES if tree.run.pending else 0)))
        return tree_lines(self._with_tails(tree, rows, room - len(rows)), width - 1, spinner(self._frame))

    def _with_tails(self, tree: Tree, rows: list[Row], room: int) -> list[Row]:
        active = [row for row in rows if row.active]
        each = min(TAIL_LINES, room) // len(active) if active else 0
        if not each:
            return rows
        found: list[Row] = []
        for row in rows:
            found.append(row)
            if row.active:
                found += [log_row(line, row.depth + 1) for line in self._tail(tree, row.path, each)]
        return found

    def _tail(self, tree: Tree, path: str, most: int) -> list[LogLine]:
        lines = tree.tail(path, most)
        for child in tree.children.values():
            lines = lines or self._tail(child, path, most)
        return lines

    def _table(self, trees: list[Tree], now: float, room: int) -> list[Text]:
        """Runs that go on first, each with what it does now."""
        order = sorted(trees, key=lambda tree: tree.finished is not None)
        over = sum(tree.finished is not None for tree in trees)
        lines = [Text(f"{count(len(trees), 'run')}, {over} over", style="bold")]
        for tree in order[: room - 1]:
            line = self._head(tree, now)
            active = [step.path for step in tree.active[:3]]
            if active:
                line.append("  ").append_text(plain(", ".join(active), "dim"))
            lines.append(line)
        if len(order) > room - 1:
            lines[-1] = Text(f"  {len(order) - room + 2} more", style="dim")
        return lines
