"""What a run asks: the approval it waits for, and what can be done about it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.widgets import Static

from fleetprompt.client.values import cut
from fleetprompt.client.wording import ago, count, rough, sign
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.state import Step
from fleetprompt.tui.actions import BY_ID
from fleetprompt.tui.screens.base import ConsoleScreen
from fleetprompt.tui.state.approval_preview import briefly
from fleetprompt.tui.state.approvals import DECIDING
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.state.run import RunView
from fleetprompt.tui.state.run_fold import RunFold
from fleetprompt.tui.state.steady import Steady

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

LONGEST = 500
"""Characters of a line of the message."""


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
        self.steady = Steady()
        """Whether what is asked has been shown for long enough to be meant by a key."""
        self._view: RunView | None = None
        self._matter = ""
        self._matter_of = ("", 0)

    def asked(self) -> tuple[RunFold, Step] | None:
        """The step whose approval is shown: that of the cursor, else the one that has waited longest."""
        view = self._view
        if view is None:
            return None
        step, fold = view.current_step, view.current_fold
        if step is not None and step.path in fold.index.asking:
            return fold, step
        first = next(iter(view.fold.index.asking.values()), None)
        return (view.fold, first.step) if first is not None else None

    @property
    def has_form(self) -> bool:
        """There are values to fill in."""
        asked = self.asked()
        return asked is not None and asked[1].gate is not None and bool(asked[1].gate.form)

    def show(self, view: RunView | None, now: float) -> None:
        """Show what a run asks for, if it does."""
        self._view = view
        asked = self.asked()
        gate = asked[1].gate if asked is not None else None
        if asked is None or gate is None:
            self.steady.show(b"", now, by_hand=False)
            self.remove_class("-asks")
            return
        fold, step = asked
        self.steady.show(f"{gate.id} {gate.digest}".encode(), now, by_hand=False)
        if (gate.id, gate.level) != self._matter_of:
            self._matter_of, self._matter = (gate.id, gate.level), ""
            self.run_worker(partial(self._read_matter, gate.id), group="matter", exclusive=True)
        self._draw(step, len(fold.index.asking), now, fold.index.asking[step.path].since)

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

    def _draw(self, step: Step, number: int, now: float, at: float) -> None:
        """What a step has asked for since `at`, one of so many."""
        gate = step.gate
        assert gate is not None
        self.add_class("-asks")
        self.border_title = f"{sign('◆')} approval{f' 1 of {number}' if number > 1 else ''}"
        message = gate.message.strip().splitlines() or ["(it says nothing)"]
        lines: list[Sequence[Part]] = []
        for line in message[: self.LINES]:
            lines.append(((inert(cut(line, LONGEST)), "" if lines else "strong"),))
        if len(message) > self.LINES:
            lines.append(((f"… {count(len(message) - self.LINES, 'more line')}", "warning"),))
        if self._matter:
            lines.append(((f"  {self._matter}", "link"),))
        about: list[Part] = [(inert(step.path), "link"), (f"  asked {ago(now - at)}", "dim")]
        about.append((f"  by {inert(', '.join(gate.approvers))}" if gate.approvers else "", "dim"))
        about.append((f"  {len(gate.votes)} of {gate.quorum} so far" if gate.quorum > 1 else "", "dim"))
        about.append((f"  {rough(gate.until - now)} left" if gate.until is not None else "", "warning"))
        lines += [about, self._keys(deciding=(gate.id, gate.level) in self.app.voting)]
        style = self.app.palette.style
        self.update(Text("\n").join(Text.assemble(*((text, style(name)) for text, name in parts)) for parts in lines))

    def _keys(self, *, deciding: bool) -> list[Part]:
        """What can be done about it."""
        if deciding:
            return [(DECIDING, "warning"), ("  your decision is on its way", "dim")]
        if self.app.read_only:
            return [("this console is read-only", "dim")]
        # In the list of runs less can be done than in a run.
        places = self.screen.places() if isinstance(self.screen, ConsoleScreen) else ()
        parts: list[Part] = []
        for id_, style in (
            ("approval.approve", "approved"),
            ("approval.reject", "rejected"),
            ("approval.edit", "accent"),
            ("approval.comment", "accent"),
        ):
            action = BY_ID[id_]
            if not set(action.where) & set(places) or (id_ == "approval.edit" and not self.has_form):
                continue
            parts += [(self.app.keymap.shown(action), style), (f" {action.label}   ", "")]
        return parts
