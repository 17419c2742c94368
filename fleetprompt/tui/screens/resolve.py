"""The four answers for a step of which nobody knows whether it happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from fleetprompt.client.values import preview
from fleetprompt.client.wording import short
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.facts import Answer
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.state import Step
from fleetprompt.engine.ports import RunHead
from fleetprompt.tui.acting import Command, command_runs
from fleetprompt.tui.screens.dialog import Ask, Confirm, Dialog
from fleetprompt.tui.state.lines import Part

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

RESOLVE = Command(types.RESOLVE, "answer for", "answered")
ANSWERS: tuple[tuple[str, Answer, str], ...] = (
    ("h", "happened", "it happened: say what came out, and go on"),
    ("u", "run", "it did not happen: run it"),
    ("s", "skip", "never mind: skip it"),
    ("b", "abort", "fail the run, and undo what can be undone"),
)


class Doubt(Dialog[Answer]):
    """What is known, and the four answers by their letters."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, f"answer('{answer}')", answer, show=False) for key, answer, _ in ANSWERS
    ]

    def __init__(self, head: RunHead, step: Step) -> None:
        super().__init__()
        self._head = head
        self._step = step

    def compose(self) -> ComposeResult:
        step = self._step
        box = Vertical(classes="box -asks")
        box.border_title = "did it happen?"
        known: list[Sequence[Part]] = [
            ((inert(step.path), "strong"), (f"  attempt {step.attempt}  run ", "dim"), (short(self._head.id), "id")),
            ((inert(step.reason), "waiting"),),
        ]
        checks = [value for kind, _, value, _ in step.notes or () if kind == "reconcile"]
        known += [(("check: ", "dim"), (preview(value), "")) for value in checks[-1:]]
        known.append((("input: ", "dim"), (preview(step.input_blob or step.input), "")))
        keys: list[Sequence[Part]] = [((f"{key}  ", "accent"), (said, "")) for key, _, said in ANSWERS]
        keys.append((("esc  ", "accent"), ("not now", "dim")))
        with box, VerticalScroll(classes="said", can_focus=False):
            yield Static(self.lines([*known, (), *keys]))

    def action_answer(self, answer: Answer) -> None:
        """One of the four."""
        self.dismiss(answer)


def ask_answer(app: FleetConsole, head: RunHead, step: Step, attempt: int) -> None:
    """Ask what is known of a step in doubt, and send the answer. It is about the attempt that was seen."""
    path = step.path

    async def send(answer: Answer, output: Any = None) -> None:
        data = {"path": path, "answer": answer, "attempt": attempt, "output": output}
        await command_runs(app, RESOLVE, [head], data)

    def ask_output(said: str, text: str) -> None:
        lines: list[Sequence[Part]] = [((said, "bad" if text else "dim"),)]
        dialog = Ask("what came out?", lines, "it happened", placeholder='JSON, for example {"id": 7}', value=text)
        app.push_screen(dialog, given)

    async def given(text: str | None) -> None:
        if text is None:
            return
        try:
            output = msgspec.json.decode(text) if text else None
        except msgspec.DecodeError as error:
            ask_output(f"this is not JSON: {inert(str(error))}", text)
            return
        await send("happened", output)

    async def aborted(yes: bool | None) -> None:
        if yes:
            await send("abort")

    async def answered(answer: Answer | None) -> None:
        if answer == "happened":
            ask_output("the steps behind it see this as its output; nothing at all is null", "")
        elif answer == "abort":
            lines: list[Sequence[Part]] = [((inert(path), "strong"),), (("the run fails; compensations run", "dim"),)]
            app.push_screen(Confirm("abort the run?", lines, "abort"), aborted)
        elif answer is not None:
            await send(answer)

    app.push_screen(Doubt(head, step), answered)
