"""Asking the person at the terminal about an approval, while everything else goes on."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Literal

from msgspec import Struct
from rich.text import Text

from fleetprompt.cli.keyboard import Keyboard
from fleetprompt.cli.question import field_problem, field_words, question_lines, read_field, specification
from fleetprompt.cli.render import plain
from fleetprompt.cli.terminal import Terminal
from fleetprompt.cli.wording import glyph
from fleetprompt.client.protocol import Console
from fleetprompt.engine.ports import Approval, Vote

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


async def ask(keyboard: Keyboard, terminal: Terminal, approval: Approval, votes: list[Vote]) -> Answer:
    """Show an approval and wait for an answer. The end of input means later."""
    terminal.say_wrapped(Text(), *question_lines(approval, votes, terminal.times, time.time()), Text())
    terminal.say_wrapped(Text(f"  {CHOICES}", style="dim"))
    # Whoever was typing something else must not have decided by it.
    await asyncio.sleep(PAUSE_SECONDS)
    with keyboard.asking():
        return await _answer(keyboard, terminal, approval)


async def _answer(keyboard: Keyboard, terminal: Terminal, approval: Approval) -> Answer:
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
        if values is not None:
            return Answer(decision, comment.strip(), values)


async def _fill(keyboard: Keyboard, terminal: Terminal, form: dict[str, Any]) -> dict[str, Any] | None:
    """The values of a form, each checked as it is given; None when the person has left."""
    values: dict[str, Any] = {}
    for name in form:
        spec = specification(form, name)
        while True:
            terminal.say(Text("  ").append_text(plain(field_words(form, name))))
            line = await keyboard.line("  = ")
            if line is None:
                return None
            if not line and ("default" in spec or not spec.get("required")):
                break
            value = read_field(form, name, line)
            problem = field_problem(form, name, value) if line else f"`{name}` is required"
            if not problem:
                values[name] = value
                break
            terminal.say(Text("  ").append_text(plain(problem, "yellow")))
    return values


async def decide(console: Console, terminal: Terminal, approval: Approval, answer: Answer, me: str) -> bool:
    """Send the decision and say what came of it; false when it does not count."""
    assert answer.decision != "later"
    result = await console.vote(approval.id, answer.decision, by=me, comment=answer.comment, values=answer.values)
    if result.status == "refused":
        terminal.say(plain(f"  not counted: {result.reason}", "yellow"))
        return False
    style = "green" if answer.decision == "approved" else "red"
    terminal.say(Text(f"  {glyph(answer.decision)} ", style=style).append_text(plain(f"{answer.decision} by {me}")))
    return True
