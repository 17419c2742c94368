"""What a run asks: the approval it waits for, and what can be done about it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct
from rich.style import Style
from rich.text import Text
from textual.widgets import Static

from fleetprompt.client.values import cut
from fleetprompt.client.wording import ago, count, rough, sign
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.gate import Gate, whom
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.state import Step
from fleetprompt.tui.actions import BY_ID
from fleetprompt.tui.screens.base import ConsoleScreen
from fleetprompt.tui.state.approval_call import CORRECTING, can_be
from fleetprompt.tui.state.approval_preview import briefly
from fleetprompt.tui.state.approvals import DECIDING
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.state.run import RunView
from fleetprompt.tui.state.run_fold import RunFold
from fleetprompt.tui.state.run_verbs import why_no_vote
from fleetprompt.tui.state.steady import Steady

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

LONGEST = 500
"""Characters of a line of the message."""


_KINDS = {
    "tool": "approval of a call",
    "question": "question",
    "budget": "limit reached",
    "stuck": "goes in circles",
    "definition": "has changed",
}
"""What stands above what an agent asks."""


class Question(Struct, frozen=True):
    """Something that a step asks."""

    fold: RunFold
    step: Step
    gate: Gate


def _question(fold: RunFold, step: Step, gate: Gate | None = None) -> Question | None:
    if gate is None or gate.decision:
        gate = step.gate
    return Question(fold, step, gate) if gate is not None else None


class AskBox(Static):
    """The approval that a run waits for: what is asked, who may answer, how long."""

    DEFAULT_CSS = """
    AskBox { height: auto; border: round $warning; padding: 0 1; display: none; border-title-color: $warning; }
    AskBox.-asks { display: block; }
    """
    LINES: ClassVar = 4
    """Lines of the message that are shown; the values of the step have the whole."""
    app: FleetConsole

    def __init__(self) -> None:
        super().__init__()
        # Links would all have one colour.
        self.auto_links = False
        self.steady = Steady()
        """Whether what is asked has been shown for long enough to be meant by a key."""
        self._view: RunView | None = None
        self._matter = ""
        self._matter_of = ("", 0)

    def asked(self) -> Question | None:
        """What is shown: what the row of the cursor asks, else what has waited longest."""
        view = self._view
        if view is None:
            return None
        step, fold, node = view.current_step, view.current_fold, view.tree.current
        if step is not None and step.path in fold.index.asking:
            asked = node.entry.asked if node is not None and node.entry is not None else None
            gate = step.asked(asked.id) if asked is not None else None
            return _question(fold, step, gate)
        first = next(iter(view.fold.index.asking.values()), None)
        return _question(view.fold, first.step) if first is not None else None

    def _why_not(self, asked: Question) -> str:
        return self.app.votes_not_why or why_no_vote(asked.step, asked.gate, self.app.who, self.app.groups)

    def can_be(self, action: str) -> bool:
        """Whether this operator can do what an action does to what is asked."""
        asked = self.asked()
        if asked is None or not can_be(action, asked.gate):
            return False
        return not self._why_not(asked) or (self._corrects(asked) and action in CORRECTING)

    def _corrects(self, asked: Question) -> bool:
        """The operator has said something already, and can say something else."""
        return self.app.who in asked.gate.votes and not asked.gate.decision and asked.step.asks

    def show(self, view: RunView | None, now: float) -> None:
        """Show what a run asks for, if it does."""
        self._view = view
        asked = self.asked()
        if asked is None:
            self.steady.show(b"", now, by_hand=False)
            self.remove_class("-asks")
            return
        gate = asked.gate
        self.steady.show(f"{gate.id} {gate.digest}".encode(), now, by_hand=False)
        if (gate.id, gate.level) != self._matter_of:
            self._matter_of, self._matter = (gate.id, gate.level), ""
            self.run_worker(partial(self._read_matter, gate.id), group="matter", exclusive=True)
        self._draw(asked, now)

    async def _read_matter(self, approval: str) -> None:
        """The beginning of what is decided about: the whole is in the inbox."""
        view = self._view
        if view is None:
            return
        try:
            found, _ = await view.console.approval(approval)
        except FleetError:
            # It was asked a moment ago and is gone: what has come of it is on its way here.
            return
        self._matter = briefly(found)
        self.show(self._view, self.app.now())

    def _draw(self, asked: Question, now: float) -> None:
        step, gate, tracks = asked.step, asked.gate, asked.fold.index.asking
        number = sum(len(track.step.open_gates) for track in tracks.values())
        at = tracks[step.path].since
        self.add_class("-asks")
        self.border_title = f"{sign('◆')} {_KINDS.get(gate.about, 'approval')}{f' 1 of {number}' if number > 1 else ''}"
        message = gate.message.strip().splitlines() or ["(it says nothing)"]
        lines: list[Sequence[Part]] = []
        for line in message[: self.LINES]:
            lines.append(((inert(cut(line, LONGEST)), "" if lines else "strong"),))
        if len(message) > self.LINES:
            lines.append(((f"… {count(len(message) - self.LINES, 'more line')}", "warning"),))
        if self._matter:
            lines.append(((f"  {self._matter}", "link"),))
        about: list[Part] = [(inert(step.path), "link"), (f"  asked {ago(now - at)}", "dim")]
        who = whom(gate.approvers, gate.barred)
        about.append((f"  by {inert(who)}" if who else "", "dim"))
        about.append((f"  {len(gate.votes)} of {gate.quorum} so far" if gate.quorum > 1 else "", "dim"))
        about.append((f"  {rough(gate.until - now)} left" if gate.until is not None else "", "warning"))
        style = self.app.palette.style
        said = [Text.assemble(*((text, style(name)) for text, name in parts)) for parts in [*lines, about]]
        self.update(Text("\n").join([*said, self._keys(asked, deciding=(gate.id, gate.level) in self.app.voting)]))

    def _keys(self, asked: Question, *, deciding: bool) -> Text:
        """What can be done about it: a click on it is as good as its key."""
        style = self.app.palette.style
        if deciding:
            return Text.assemble((DECIDING, style("warning")), ("  your decision is on its way", style("dim")))
        if self.app.fleet.away:
            return Text("nothing can be decided until the daemon is back", style("warning"))
        if self.app.read_only:
            return Text("this console is read-only", style("dim"))
        keys = Text()
        if why_not := self._why_not(asked):
            keys.append(inert(why_not), style("warning"))
            if not self._corrects(asked):
                return keys
            keys.append("   ")
        # In the list of runs less can be done than in a run.
        places = self.screen.places() if isinstance(self.screen, ConsoleScreen) else ()
        for id_, name in (
            ("approval.approve", "approved"),
            ("approval.reject", "rejected"),
            ("approval.edit", "accent"),
            ("approval.comment", "accent"),
            ("approval.grant_run", "approved"),
            ("approval.grant_workflow", "approved"),
            ("approval.end", "rejected"),
            ("approval.escalate", "accent"),
        ):
            action = BY_ID[id_]
            if not set(action.where) & set(places) or not self.can_be(id_):
                continue
            click = Style(meta={"@click": f"screen.do('{id_}')"})
            keys.append(self.app.keymap.shown(action), style(name) + click)
            keys.append(f" {action.label}", click)
            keys.append("   ")
        return keys
