"""A conversation with an agent or a workflow as it is shown: each message and its answer, and what is just being said.
PURE."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fleetprompt.client.protocol import Console
from fleetprompt.client.wording import Times, duration, glyph, sign
from fleetprompt.engine.core.errors import NotFound
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.query_scan import quote
from fleetprompt.engine.ports import Page
from fleetprompt.tui.state.approval_value import text_lines
from fleetprompt.tui.state.lines import Line, Part
from fleetprompt.tui.state.money import badge, cost_words
from fleetprompt.tui.state.runs import tokens
from fleetprompt.tui.state.speech import Speech, lines

if TYPE_CHECKING:
    from fleetprompt.client.chatting import Turn

LOOKED = 50
"""Runs among which one's last conversation is looked for."""


async def conversations_with(console: Console, name: str) -> str:
    """A filter that finds what was said to the agent of that name, or to the workflow where no agent has it. Raises
    `NotFound` where nobody of that name takes messages."""
    try:
        await console.agent(name)
    except NotFound:
        if await console.listens(name):
            return f"wf:{quote(name)} trigger:chat"
        raise
    return f"wf:{quote(f'chat:{name}')}"


async def last_conversation(console: Console, name: str, who: str) -> str:
    """The conversation in which somebody has talked to an agent or a workflow last; empty for none. Raises
    `FleetError`."""
    heads, _ = await console.runs(await conversations_with(console, name), Page(limit=LOOKED))
    return next((head.session for head in heads if head.session and head.owner == who), "")


def turn_lines(turn: Turn, times: Times, now: float) -> list[Line]:
    """A message, and its answer as far as there is one."""
    found: list[Line] = [((inert(turn.by or "somebody"), "accent"), (f"  {times.moment(turn.at, now)}", "dim"))]
    found += [_indented(line) for line in text_lines_of(turn.message)]
    if turn.ended_at is None:
        return found
    parts: list[Part] = [(f"{glyph(turn.status)} ", turn.status), (inert(turn.agent), "strong")]
    for marks in (badge(turn.mode), cost_words(turn.cost_nano, turn.uncertain_nano, turn.mode)):
        parts += [("  ", ""), *marks] if marks else []
    used = f"  {tokens(turn.tokens)} tok" if turn.tokens else ""
    parts.append((f"{used}  {duration(turn.ended_at - turn.at)}", "dim"))
    found += [(), parts]
    found += [_indented(line) for line in text_lines_of(turn.text)]
    if turn.error is not None:
        found.append((("  ", ""), (f"{turn.error.code}: {inert(turn.error.message)}", "error")))
        if turn.error.hint:
            found.append((("  ", ""), (inert(turn.error.hint), "dim")))
    elif turn.answer is None:
        found.append((("  ", ""), (f"no answer: it was {turn.status}", "warning")))
    return [*found, ()]


def text_lines_of(text: str) -> Iterator[Line]:
    """A text, line by line and inert."""
    if text:
        for line in text_lines(text.rstrip("\n"), ""):
            yield tuple((part, "" if style == "code" else style) for part, style in line)


def _indented(line: Line) -> Line:
    return line if line and line[0][1] == "continued" else (("  ", ""), *line)


def live_lines(agent: str, speech: Speech, question: str, asks: str) -> list[Line]:
    """What is being said where there is no answer yet, or what is asked; `asks` is the key that leads there."""
    heard = speech.latest()
    parts: list[Part] = [(f"{sign('●')} ", "running"), (inert(agent), "strong"), ("  is answering", "dim")]
    if question:
        parts = [(f"{sign('◆')} ", "waiting"), (inert(agent), "strong"), ("  asks: ", "waiting"), (inert(question), "")]
        parts += [(f"   {asks}", "accent"), (" decides", "dim")]
    found: list[Line] = [(), parts]
    if heard is not None:
        found += [_indented(line) for line in lines(heard)]
    return found
