"""What is said of a run above its steps: how it is, which part is shown beside them, and what it asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len
from textual.events import Click
from textual.message import Message

from fleetprompt.client.reasons import run_reason
from fleetprompt.client.wording import ago, duration, glyph, short
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.state.money import badge, cost_words
from fleetprompt.tui.state.run import RunView
from fleetprompt.tui.state.runs import tokens
from fleetprompt.tui.widgets.bars import Bar, spread
from fleetprompt.tui.widgets.palette import Palette

LEAST = 8
"""Cells below which nothing is said behind titles."""


class RunBar(Bar):
    """The run itself, in one line."""

    DEFAULT_CSS = "RunBar { background: $surface; }"

    def __init__(self) -> None:
        super().__init__()
        self.view: RunView | None = None
        self.said: tuple[Part, ...] = (("loading…", "dim"),)
        """What is said while there is no run to be shown."""

    @property
    def palette(self) -> Palette:
        """What is said of a run can be stale, as what is shown of its steps."""
        return self.app.palette

    def parts(self, width: int) -> Sequence[Part]:
        """How it is and since when; where it came from."""
        view = self.view
        if view is None:
            return self.said
        created = view.created
        began, child = view.run.started_at is not None, created is not None and bool(created.parent)
        state = _state(view, self.app.now(), self.app.fleet.halts(began=began, child=child))
        return spread(state, _origin(view, self.app.now()), width)


def _state(view: RunView, now: float, halted: str) -> list[Part]:
    run, status, created = view.run, view.status, view.created
    parts: list[Part] = [(f"{glyph(status)} ", status), (inert(created.workflow if created else "…"), "strong")]
    parts += [(f"  {short(view.id)}", "id"), (f"  {status}", status)]
    seconds = view.seconds(now)
    if seconds is not None:
        parts.append((f"  {duration(seconds)}", ""))
    for marks in (badge(run.mode), cost_words(run.cost_nano, run.uncertain_nano, run.mode)):
        parts += [("  ", ""), *marks] if marks else []
    if run.tokens:
        parts.append((f"  {tokens(run.tokens)} tok", "dim"))
    said = run_reason(run, halted)
    if not said and run.error is not None:
        first = run.error.message.strip().splitlines()
        said = f"{run.error.code}: {first[0] if first else ''}"
    if view.held:
        said = f"held: {view.held}"
    if said:
        parts.append((f"  {inert(said)}", "error" if view.held else status))
    return parts


def _origin(view: RunView, now: float) -> list[Part]:
    created = view.created
    if created is None:
        return []
    who = created.owner or view.head.trigger
    parts: list[Part] = [(f"by {inert(who)}  " if who else "", "dim"), (ago(now - created.at), "dim")]
    if created.retry_of:
        parts.append((f"  retry of {short(created.retry_of)}", "dim"))
    if created.parent:
        parts.append((f"  for {short(created.parent)} {inert(created.parent_path)}", "dim"))
    if created.source.file:
        parts.append((f"  {inert(created.source.file)}{'*' if created.source.dirty else ''}", "dim"))
    return parts


class Tabs(Bar):
    """The parts of a screen of which one is shown, each with its key."""

    DEFAULT_CSS = "Tabs { background: $background; }"

    class Chosen(Message):
        """Another part is to be shown."""

        def __init__(self, tab: str) -> None:
            super().__init__()
            self.tab = tab

    def __init__(
        self,
        tabs: Sequence[tuple[str, str]],
        key: Callable[[str], str],
        more: Callable[[int], Sequence[Part]],
    ) -> None:
        """`tabs`: id and title of each. `key`: the key of one. `more`: what is said behind them in so many cells."""
        super().__init__()
        self._tabs = tabs
        self._key = key
        self._more = more
        self._shown = tabs[0][0]
        self._spots: list[tuple[int, int, str]] = []

    def show(self, tab: str) -> None:
        """This part is shown."""
        self._shown = tab
        self.refresh()

    def room(self, width: int) -> int:
        """Cells for what is said behind the titles."""
        return max(0, width - sum(cell_len(self._key(tab)) + len(title) + 4 for tab, title in self._tabs) - 2)

    def parts(self, width: int) -> Sequence[Part]:
        """Titles with their keys."""
        parts: list[Part] = []
        self._spots = []
        x = 0
        for tab, title in self._tabs:
            key = self._key(tab)
            length = cell_len(key) + 1 + len(title)
            self._spots.append((x, x + length, tab))
            parts += [(f"{key} ", "faint"), (title, "accent" if tab == self._shown else "dim"), ("   ", "")]
            x += length + 3
        room = self.room(width)
        return spread(parts, self._more(room), width) if room >= LEAST else parts

    def on_click(self, event: Click) -> None:
        """A title is as good as its key."""
        at = int(event.x) - 1
        for start, end, tab in self._spots:
            if start <= at < end:
                self.post_message(self.Chosen(tab))
