"""The frame of every screen: what is true of the fleet above, what can be done below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.events import Click
from textual.strip import Strip
from textual.widget import Widget

from fleetprompt.client.wording import GLYPHS, money, sign
from fleetprompt.tui.state.fleet import Fleet, sparkline
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.state.work import Work

if TYPE_CHECKING:
    from fleetprompt.tui.actions import Action
    from fleetprompt.tui.app import FleetConsole

Piece = tuple[int, tuple[Part, ...]]
"""How soon it is left out (the highest number first), and what it says."""


class Bar(Widget):
    """One line of parts."""

    DEFAULT_CSS = "Bar { height: 1; background: $panel; color: $foreground; }"
    app: FleetConsole

    def parts(self, width: int) -> Sequence[Part]:
        """What is shown in so many cells."""
        raise NotImplementedError

    def render_line(self, y: int) -> Strip:
        """The line."""
        width = self.size.width
        ground = self.rich_style
        style = self.app.palette.style
        segments = [Segment(" ", ground)]
        segments += [Segment(text, ground + style(name)) for text, name in self.parts(width - 2)]
        return Strip(segments).adjust_cell_length(width, ground)


def fitted(pieces: Sequence[Piece], width: int) -> list[Part]:
    """The pieces that fit beside each other, two cells apart."""
    kept: list[int] = []
    room = width + 2
    for at in sorted(range(len(pieces)), key=lambda at: (pieces[at][0], at)):
        needed = sum(cell_len(text) for text, _ in pieces[at][1]) + 2
        if needed <= room or not kept:
            kept.append(at)
            room -= needed
    parts: list[Part] = []
    for at in sorted(kept):
        if parts:
            parts.append(("  ", ""))
        parts += pieces[at][1]
    return parts


class TopBar(Bar):
    """Where the engine is, how many runs there are, what was spent, and where one is."""

    def __init__(self, trail: Callable[[], Sequence[str]]) -> None:
        super().__init__()
        self._trail = trail

    def parts(self, width: int) -> Sequence[Part]:
        """The line, with what matters least left out first."""
        fleet = self.app.fleet
        engine = _engine(fleet, self.app.read_only)
        crumbs = self._trail()
        trail = " › ".join(crumbs)
        if len(crumbs) > 1 and cell_len(trail) + sum(cell_len(text) for text, _ in engine) + 2 > width:
            trail = f"… › {crumbs[-1]}"
        pieces: list[Piece] = [
            (9, (("FleetPrompt", "strong"),)),
            (1, engine),
            (3, tuple(self._counts(fleet))),
            (2, tuple(self._approvals(fleet))),
            (7, ((sparkline(fleet.activity, 20), "link"),)),
            (5, (("today ", "dim"), (money(fleet.spent), ""))),
            (0, ((trail, "accent"),)),
            (-1, _work(self.app.work)),
        ]
        return fitted([piece for piece in pieces if any(text.strip() for text, _ in piece[1])], width)

    def _counts(self, fleet: Fleet) -> list[Part]:
        shown: list[Part] = []
        for status, number in (
            ("running", fleet.counts.get("running", 0)),
            ("waiting", fleet.counts.get("waiting", 0)),
            ("failed", fleet.counts.get("failed", 0) + fleet.counts.get("timeout", 0)),
            ("pending", fleet.counts.get("pending", 0)),
            ("completed", fleet.counts.get("completed", 0)),
        ):
            shown.append((f"{sign(GLYPHS[status])} {short_count(number)}  ", status if number else "dim"))
        shown[-1] = (shown[-1][0].rstrip(), shown[-1][1])
        return shown

    def _approvals(self, fleet: Fleet) -> list[Part]:
        if not fleet.approvals:
            return []
        noun = "approval" if fleet.approvals == 1 else "approvals"
        return [(f"{sign('◆')} {fleet.approvals}{'+' if fleet.approvals_more else ''} {noun}", "accent")]


def _engine(fleet: Fleet, read_only: bool) -> tuple[Part, ...]:
    said: dict[str, Part] = {
        "opening": (f"{sign('○')} opening", "dim"),
        "starting": (f"{sign('○')} engine starting", "dim"),
        "embedded": (f"{sign('●')} live", "completed"),
        "attached": (f"{sign('●')} attached", "completed"),
        "silent": (f"{sign('◆')} engine silent", "warning"),
        "none": (f"{sign('○')} no engine", "warning"),
        "failed": (f"{sign('✗')} no store", "error"),
    }
    shown = said[fleet.engine]
    if fleet.trouble and fleet.engine not in ("opening", "failed"):
        shown = (f"{sign('✗')} store {'lost' if fleet.lost else 'unreadable'}", "error")
    return (shown, (" read-only", "warning")) if read_only else (shown,)


def _work(work: Work) -> tuple[Part, ...]:
    """What is being sent, where that takes a while."""
    return ((work.words, "warning"), (" · esc stops", "dim")) if work.words else (("", ""),)


def short_count(number: int) -> str:
    """A number in at most five cells: `987`, `12,345`, `1.2M`."""
    return f"{number:,}" if number < 1_000_000 else f"{number / 1_000_000:.1f}M"


class FootBar(Bar):
    """What can be done here, by key; as much as fits."""

    def __init__(self, actions: Callable[[], Sequence[Action]]) -> None:
        super().__init__()
        self._actions = actions
        self._spots: list[tuple[int, int, str]] = []

    def parts(self, width: int) -> Sequence[Part]:
        """Keys and words; where each stands is remembered for the mouse."""
        keymap = self.app.keymap
        parts: list[Part] = []
        self._spots = []
        x = 0
        actions = sorted((a for a in self._actions() if a.footer), key=lambda action: action.footer)
        last = [action for action in actions if action.footer >= 80]
        room = width - sum(len(keymap.shown(a)) + len(a.label) + 3 for a in last)
        first = [action for action in actions if action.footer < 80]
        for action in [*first, *last]:
            key = keymap.shown(action)
            if not key:
                continue
            length = len(key) + 1 + len(action.label)
            if action.footer < 80 and x + length > room:
                continue
            if x + length > width:
                break
            parts += [(key, "accent"), (f" {action.label}", ""), ("  ", "")]
            self._spots.append((x, x + length, action.id))
            x += length + 2
        return parts

    async def on_click(self, event: Click) -> None:
        """A word is as good as its key."""
        at = int(event.x) - 1
        for start, end, id_ in self._spots:
            if start <= at < end:
                await self.app.perform(id_)
                return


class Pill(Bar):
    """One line about the list below: its filter, how much there is, what is new."""

    DEFAULT_CSS = "Pill { background: $background; }"

    def __init__(self, parts: Callable[[int], Sequence[Part]], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._parts = parts
        self._said: Sequence[Part] | None = None
        """What was drawn last."""

    def parts(self, width: int) -> Sequence[Part]:
        """Whatever the screen says."""
        self._said = self._parts(width)
        return self._said

    def redraw(self) -> None:
        """Draw it again if it says something else by now: a frame costs what a key waits for."""
        if self._said is None or self._parts(self.size.width - 2) != self._said:
            self.refresh()


def spread(left: Sequence[Part], right: Sequence[Part], width: int) -> list[Part]:
    """Some parts at the left and some at the right; those at the right give way."""
    length = sum(cell_len(text) for text, _ in left)
    other = sum(cell_len(text) for text, _ in right)
    if length + other + 2 > width:
        return list(left)
    return [*left, (" " * (width - length - other), ""), *right]


NOTHING = Style.null()
