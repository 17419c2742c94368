"""The four answers for steps of which nobody knows whether they happened: one step, or those of many runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from msgspec import Struct, field
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from fleetprompt.client.protocol import Console, why_queued
from fleetprompt.client.values import preview
from fleetprompt.client.wording import count, duration, glyph, short
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.core.evolve_work import doubted_call
from fleetprompt.engine.core.facts import Answer
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.state import Step
from fleetprompt.engine.ports import RunHead
from fleetprompt.tui import sending
from fleetprompt.tui.acting import read
from fleetprompt.tui.screens.dialog import Ask, Confirm, Dialog
from fleetprompt.tui.screens.gathering import Told, gathered
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.widgets.answers import Answers, Offer
from fleetprompt.tui.widgets.said import Said

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

LISTED = 20
"""Steps that a question names one by one."""
ANSWERS: tuple[tuple[str, Answer, str], ...] = (
    ("h", "happened", "it happened: say what came out, and go on"),
    ("u", "run", "it did not happen: run it"),
    ("s", "skip", "never mind: skip it"),
    ("b", "abort", "fail the run, and undo what can be undone"),
)
DONE: dict[Answer, str] = {"happened": "it happened", "run": "run again", "skip": "skipped", "abort": "aborted"}
WARNINGS: dict[Answer, str] = {
    "run": "what has happened after all happens twice",
    "skip": "what waits for their ports is skipped, too",
    "abort": "every run of them fails, and its compensations run",
}


class Doubt(Struct, frozen=True):
    """An attempt of which nobody knows whether it happened, as it was seen."""

    head: RunHead
    path: str
    attempt: int
    reason: str
    input: str
    """On one line, inert."""
    tool: str = ""
    """The tool of the call that it is about; empty: it is the step itself."""
    since: float | None = None
    check: str = ""
    """What a check has found out; empty where none has run."""
    checked: bool = False
    """The step declares a check."""


def doubt_of(head: RunHead, step: Step) -> Doubt:
    """What is known of a step in doubt."""
    checks = [value for kind, _, value, _ in step.notes or () if kind == "reconcile"]
    call = doubted_call(step)
    return Doubt(
        head=head,
        path=step.path,
        attempt=step.attempt,
        reason=step.reason,
        input=preview(call.get("arguments") if call else step.input_blob or step.input),
        tool=str(call.get("tool") or ""),
        since=step.started_at,
        check=preview(checks[-1]) if checks else "",
        checked=step.program.node.reconcile is not None,
    )


class Found(Struct):
    """What many runs are in doubt about."""

    doubts: list[Doubt] = field(default_factory=list[Doubt])
    unread: list[str] = field(default_factory=list[str])
    """Runs that cannot be read, and why."""


async def doubts_of(console: Console, heads: Sequence[RunHead], told: Told = lambda far: None) -> Found:
    """Every step in doubt of these runs."""
    found = Found()
    for at, head in enumerate(heads):
        run = await read(console, head)
        if isinstance(run, str):
            found.unread.append(f"run {short(head.id)}: {run}")
        else:
            found.doubts += [doubt_of(head, step) for step in run.steps.values() if step.status == "in_doubt"]
        told(at + 1)
    return found


class Doubts(Dialog[tuple[Answer, str]]):
    """What is known, and the four answers by their letters; a comment may be written first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"answer('{answer}')", answer, show=False) for key, answer, _ in ANSWERS),
        Binding("c", "comment", "comment", show=False),
    ]

    def __init__(self, doubts: Sequence[Doubt], now: float) -> None:
        super().__init__()
        self._doubts = doubts
        self._now = now
        self._comment = ""

    def compose(self) -> ComposeResult:
        box = Vertical(classes="box -asks")
        many = len(self._doubts) > 1
        box.border_title = f"did they happen? {count(len(self._doubts), 'step')}" if many else "did it happen?"
        with box:
            yield Said(self.lines(self._known()))
            yield Answers(*self._keys(), below=True)

    def _known(self) -> list[Sequence[Part]]:
        lines = [line for doubt in self._doubts[:LISTED] for line in _known(doubt, self._now)]
        return [*lines, *_more(self._doubts)]

    def _keys(self) -> list[Offer]:
        keys = [Offer(key, said, f"answer('{answer}')") for key, answer, said in ANSWERS]
        comment = inert(self._comment)
        about = f"comment: {comment}" if comment else "write a comment first"
        return [*keys, Offer("c", about, "comment", quiet=not comment), Offer("esc", "not now", "leave", quiet=True)]

    def action_answer(self, answer: Answer) -> None:
        """One of the four."""
        self.dismiss((answer, self._comment))

    def action_comment(self) -> None:
        """Why; it is recorded."""

        def written(text: str | None) -> None:
            if text is not None:
                self._comment = text
                self.query_one(Answers).offer(*self._keys())

        self.app.push_screen(Ask("comment", [], "keep it", placeholder="it is recorded", value=self._comment), written)


def _known(doubt: Doubt, now: float) -> list[Sequence[Part]]:
    since = f"  {duration(now - doubt.since)} ago" if doubt.since is not None else ""
    check = doubt.check or ("it is being checked" if doubt.checked else "the step declares none")
    return [
        (
            (f"{glyph('in_doubt')} ", "in_doubt"),
            (inert(f"{doubt.tool} in {doubt.path}" if doubt.tool else doubt.path), "strong"),
            (f"  attempt {doubt.attempt}{since}  ", "dim"),
            (f"{inert(doubt.head.workflow)} ", ""),
            (short(doubt.head.id), "id"),
        ),
        (("  why: ", "dim"), (inert(doubt.reason), "waiting")),
        (("  check: ", "dim"), (check, "" if doubt.check else "dim")),
        (("  input: ", "dim"), (doubt.input, "")),
    ]


def _more(doubts: Sequence[Doubt]) -> list[Sequence[Part]]:
    more = len(doubts) - LISTED
    return [((f"… and {count(more, 'more step')}; the answer is for all of them", "warning"),)] if more > 0 else []


async def resolve(app: FleetConsole, heads: Sequence[RunHead]) -> None:
    """Answer for every step of these runs that is in doubt, all of them alike."""
    if app.client is None or not app.may_change("answer"):
        return

    def found(what: Found) -> None:
        for at, text in enumerate(what.unread):
            app.say("error", f"answer: {text}", quiet=at >= sending.ONE_BY_ONE)
        if what.doubts:
            ask_answer(app, what.doubts)
        elif not what.unread:
            app.say("warning", f"answer: no step of {'these runs' if len(heads) > 1 else 'this run'} is in doubt")

    going_on = [head for head in heads if head.finished_at is None]
    look = partial(doubts_of, app.client, going_on)
    await gathered(app, "looking for steps in doubt", len(going_on), look, found)


def ask_answer(app: FleetConsole, doubts: Sequence[Doubt]) -> None:
    """Ask what is known of steps in doubt, and send the answer. It is about the attempts that were seen."""
    named = inert(doubts[0].path) if len(doubts) == 1 else count(len(doubts), "step")
    comment = ""

    def send(answer: Answer, output: Any = None) -> None:
        app.run_worker(partial(_send_all, app, doubts, answer, output, comment), group="commands", exit_on_error=False)

    def ask_output(said: str, text: str) -> None:
        lines: list[Sequence[Part]] = [((said, "bad" if text else "dim"),)]
        title, hint = f"what came out of {named}?", 'JSON, for example {"id": 7}'
        # An empty text is no answer: enter is pressed too easily.
        app.push_screen(Ask(title, lines, "it happened", placeholder=hint, value=text, needed=True), given)

    def given(text: str | None) -> None:
        if text is None:
            return
        try:
            output = msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            ask_output(f"this is not JSON: {inert(str(error))}", text)
            return
        send("happened", output)

    def confirm(answer: Answer) -> None:
        def agreed(yes: bool | None) -> None:
            if yes:
                send(answer)

        lines: list[Sequence[Part]] = [((_named(doubt), ""),) for doubt in doubts[:LISTED]]
        lines += _more(doubts)
        lines.append(((WARNINGS[answer], "warning"),))
        verb = {"run": "run again", "skip": "skip", "abort": "abort the run for"}[answer]
        app.push_screen(Confirm(f"{verb} {named}?", lines, verb.removesuffix(" for")), agreed)

    def answered(given: tuple[Answer, str] | None) -> None:
        nonlocal comment
        if given is None:
            return
        answer, comment = given
        if answer == "happened":
            ask_output("the steps behind it see this as its output; for none write null", "")
        elif answer == "abort" or len(doubts) > 1:
            confirm(answer)
        else:
            send(answer)

    app.push_screen(Doubts(doubts, app.now()), answered)


async def _send_all(app: FleetConsole, doubts: Sequence[Doubt], answer: Answer, output: Any, comment: str) -> None:
    console = app.client
    if console is None or not app.may_change("answer"):
        return

    async def send(doubt: Doubt) -> sending.Answer:
        data = {"path": doubt.path, "answer": answer, "attempt": doubt.attempt, "output": output, "comment": comment}
        result = await console.command(types.RESOLVE, doubt.head.id, by=app.who, data=data)
        if result.status == "refused":
            raise Refused(result.reason)
        return sending.Answer(_named(doubt), queued=why_queued(result))

    sent = await sending.send_each(
        app, doubts, send, _named, doing="answering for", thing="step", marks=lambda doubt: (doubt.head.id,)
    )
    sending.tell(app, f"answered ({DONE[answer]})", "step", sent, refused="answered")


def _named(doubt: Doubt) -> str:
    return f"{inert(doubt.path)} of {short(doubt.head.id)}"
