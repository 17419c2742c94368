"""Asking the person at the terminal about approvals, while everything else goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from msgspec import Struct
from rich.text import Text

from fleetprompt.cli.display import Display
from fleetprompt.cli.follow import Following, race
from fleetprompt.cli.keyboard import Keyboard
from fleetprompt.cli.question import change_lines, field_words, question_lines
from fleetprompt.cli.render import plain
from fleetprompt.cli.terminal import Terminal
from fleetprompt.client.deciding import may_decide
from fleetprompt.client.edited_call import changes
from fleetprompt.client.forms import form_fields
from fleetprompt.client.protocol import Console
from fleetprompt.client.wording import glyph
from fleetprompt.engine.core.errors import FleetError, NotFound
from fleetprompt.engine.core.gate import Gate
from fleetprompt.engine.ports import Approval, Vote
from fleetprompt.engine.ports.tool import EditedCall

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front

CHOICES = "approve (a), reject (r) or later (l); words after it are the comment"
PAUSE_SECONDS = 0.3
_WORDS: dict[str, Literal["approved", "rejected", "later"]] = {
    **dict.fromkeys(("a", "approve", "approved", "y", "yes"), "approved"),
    **dict.fromkeys(("r", "reject", "rejected", "n", "no"), "rejected"),
    **dict.fromkeys(("l", "later"), "later"),
}


class Answer(Struct, frozen=True):
    """What somebody has answered."""

    decision: Literal["approved", "rejected", "later"]
    comment: str = ""
    values: dict[str, Any] = {}
    call: EditedCall | None = None
    """The call as the values change it, as it was shown."""


async def ask(
    keyboard: Keyboard, terminal: Terminal, console: Console, approval: Approval, votes: list[Vote], mode: str = ""
) -> Answer:
    """Show an approval of a run in this mode, and wait for an answer. The end of input means later."""
    terminal.say(Text(), *question_lines(approval, votes, terminal.times, time.time(), mode=mode), Text())
    terminal.say(Text(f"  {CHOICES}", style="dim"))
    # Whoever was typing something else must not have decided by it.
    await asyncio.sleep(PAUSE_SECONDS)
    with keyboard.asking():
        return await _answer(keyboard, terminal, console, approval)


async def _answer(keyboard: Keyboard, terminal: Terminal, console: Console, approval: Approval) -> Answer:
    while True:
        line = await keyboard.line("  > ")
        if line is None:
            return Answer("later")
        word, _, comment = line.strip().partition(" ")
        decision = _WORDS.get(word.lower().rstrip(",.:;"))
        if decision is None:
            terminal.say(Text(f"  please answer with {CHOICES}", style="yellow"))
            continue
        if decision != "approved" or not approval.form:
            return Answer(decision, comment.strip())
        values = await _fill(keyboard, terminal, approval.form)
        if values is None:
            continue
        changed = changes(approval, values)
        try:
            call = await console.edited(approval.id, values) if changed else None
        except FleetError as error:
            terminal.say(plain(f"  not approved: {error.message}", "yellow"))
            continue
        if call is not None:
            terminal.say(*change_lines(changed, call))
            if (await keyboard.line("  approve it so? y or n > ") or "").strip().lower() not in ("y", "yes"):
                continue
        return Answer(decision, comment.strip(), values, call)


async def _fill(keyboard: Keyboard, terminal: Terminal, form: dict[str, Any]) -> dict[str, Any] | None:
    """The values of a form, each checked as it is given; None when the person has left."""
    values: dict[str, Any] = {}
    for field in form_fields(form):
        while True:
            terminal.say(Text("  ").append_text(plain(field_words(field))))
            line = await keyboard.line("  = ")
            if line is None:
                return None
            if not line and not field.needed:
                break
            value = field.read(line)
            problem = field.problem(value) if line else "is required"
            if not problem:
                values[field.name] = value
                break
            terminal.say(Text("  ").append_text(plain(f"`{field.name}` {problem}", "yellow")))
    return values


async def decide(console: Console, terminal: Terminal, approval: Approval, answer: Answer, me: str) -> bool:
    """Send the decision and say what came of it; false when it does not count."""
    assert answer.decision != "later"
    result = await console.vote(
        approval.id,
        answer.decision,
        by=me,
        comment=answer.comment,
        values=answer.values,
        digest=approval.digest,
        level=approval.level,
        edited=answer.call.edited if answer.call is not None else "",
        previewed=answer.call.previewed if answer.call is not None else "",
    )
    if result.status == "refused":
        terminal.say(plain(f"  not counted: {result.reason}", "yellow"))
        return False
    style = "green" if answer.decision == "approved" else "red"
    terminal.say(Text(f"  {glyph(answer.decision)} ", style=style).append_text(plain(f"{answer.decision} by {me}")))
    return True


class Page(Protocol):
    """Where runs are watched."""

    following: Following
    display: Display

    def pen_down(self, *, keep: bool = False) -> AbstractContextManager[None]:
        """Print something where the tree is, or below it."""
        ...

    def say(self, text: str) -> None: ...


class Questions:
    """The approvals that come up in runs that somebody watches."""

    def __init__(
        self, front: Front, page: Page, *, asking: bool, wait: bool, approve_as: str = "", unasked: str = ""
    ) -> None:
        self._front = front
        self._page = page
        self._asking = asking
        self._wait = wait
        self._approve_as = approve_as
        self._unasked = unasked
        """Because of what nobody is asked."""
        self._later: set[tuple[str, int]] = set()
        """Approvals (id and level) that were put off."""
        self._settled: set[tuple[str, int]] = set()
        """Approvals that are not to be asked about again."""

    async def answer(self, console: Console) -> None:
        """Answer what comes up, or tell how it is answered; never ends by itself."""
        if self._approve_as:
            await self._approve_all(console, [name for name in self._approve_as.split(",") if name])
        elif self._asking:
            with Keyboard() as keyboard:
                await self._ask_all(console, keyboard)
        else:
            await self._tell_all()

    def _questions(self) -> Iterator[Gate]:
        """Approvals that are open and not settled for us."""
        for tree in self._page.following.trees.values():
            for step in tree.asking():
                if step.gate is not None and (step.gate.id, step.gate.level) not in self._settled:
                    yield step.gate

    def _next(self) -> Gate | None:
        return next((gate for gate in self._questions() if (gate.id, gate.level) not in self._later), None)

    async def _tell_all(self) -> None:
        """Where nobody can be asked: how an approval is answered. Who does not wait is told at the end."""
        while True:
            for gate in list(self._questions()) if self._wait else ():
                self._settled.add((gate.id, gate.level))
                with self._page.pen_down():
                    self._page.say(f"to see all of it: fleet approvals show {gate.id}")
                    self._page.say(f"to answer: fleet approve {gate.id}, or fleet reject {gate.id}")
            await self._page.following.moved()

    async def _approve_all(self, console: Console, people: Sequence[str]) -> None:
        while True:
            await self._page.following.until(lambda: self._next() is not None)
            for gate in list(self._questions()):
                self._settled.add((gate.id, gate.level))
                for name in people[: gate.quorum]:
                    await self._approve(console, gate, name)
                if gate.quorum > len(people):
                    with self._page.pen_down():
                        self._page.say(f"it takes {gate.quorum} people: `fleet approve {gate.id}` as somebody else")

    async def _approve(self, console: Console, gate: Gate, person: str) -> None:
        comment = f"approved without looking, because {self._unasked}"
        with self._page.pen_down():
            self._page.say(f"approving `{gate.message}` as {person}, because {self._unasked}")
            result = await console.vote(
                gate.id, "approved", by=person, comment=comment, digest=gate.digest, level=gate.level
            )
            if result.status == "refused":
                self._page.say(f"not counted: {result.reason}")

    async def _ask_all(self, console: Console, keyboard: Keyboard) -> None:
        while True:
            found = self._next()
            if found is not None:
                await self._ask(console, keyboard, found)
            elif next(self._questions(), None) is not None:
                await race(self._page.following.moved(), self._ask_again(keyboard))
            else:
                await self._page.following.moved()

    async def _ask_again(self, keyboard: Keyboard) -> None:
        """`a` asks again about what was put off."""
        self._page.display.notice = "an approval waits: press a to decide"
        try:
            while (key := await keyboard.key()) != "a":
                if not key:
                    await asyncio.Event().wait()
            self._later.clear()
        finally:
            self._page.display.notice = ""

    async def _ask(self, console: Console, keyboard: Keyboard, gate: Gate) -> None:
        terminal, me = self._front.terminal, self._front.me
        asked = (gate.id, gate.level)
        try:
            approval, votes = await console.approval(gate.id)
        except NotFound:
            self._settled.add(asked)
            return
        if not may_decide(approval, votes, me, self._front.groups_of(me)):
            self._settled.add(asked)
            return
        answer = Answer("later")

        async def question() -> None:
            nonlocal answer
            tree = self._page.following.trees.get(approval.run)
            answer = await ask(keyboard, terminal, console, approval, votes, tree.mode if tree is not None else "")

        def closed() -> bool:
            return asked not in ((other.id, other.level) for other in self._questions())

        def tell() -> None:
            terminal.say(plain(""), plain(f"  {gate.decision or 'closed'} elsewhere in the meantime", "yellow"))

        with self._page.pen_down(keep=True):
            try:
                first = await race(question(), self._page.following.until(closed))
            except asyncio.CancelledError:
                if closed():
                    tell()
                raise
            if first:
                tell()
            elif answer.decision == "later":
                self._later.add(asked)
                terminal.say(f"  later: press a, or elsewhere: fleet approve {approval.id}")
            elif await decide(console, terminal, approval, answer, me):
                self._settled.add(asked)
            else:
                self._later.add(asked)
