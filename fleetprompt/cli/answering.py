"""An answer of an agent as it comes: its words, what it calls, what it asks."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from rich.text import Text

from fleetprompt.cli.asking import Questions
from fleetprompt.cli.display import Display, Silent
from fleetprompt.cli.follow import Following, race
from fleetprompt.cli.outcome import error_object, held_lines
from fleetprompt.cli.render import failure_lines, plain
from fleetprompt.cli.terminal import is_terminal
from fleetprompt.cli.tree import Tree
from fleetprompt.client.values import block, preview
from fleetprompt.client.wording import NANO, count, duration, mode_label, short, sign, spent
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.evolve_work import ANSWERED, CALLED, HANDED_OVER
from fleetprompt.engine.core.facts import AnyFact, StepNoted
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.mode import is_unreal
from fleetprompt.engine.ports import LogLine, Piece

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.client.protocol import Console

LOOK_SECONDS = 0.5
LINES = 10_000
"""Lines of an answer that is no text."""


class Answered(Struct, frozen=True, kw_only=True):
    """What came of a message."""

    run: str
    status: str
    output: Any = None
    tree: Tree | None = None
    held: str = ""
    """Why the engine does nothing for it any more."""

    @property
    def finished(self) -> bool:
        """Whether the run is over."""
        return self.tree is not None and self.tree.finished is not None

    def lines(self) -> list[Text]:
        """The answer as lines for a terminal."""
        if isinstance(self.output, str):
            return [Text(inert(line)) for line in self.output.split("\n")]
        return [Text(line) for line in block(self.output, LINES)]


class Answering:
    """Waits for the answer to one message. `shown`: as it comes; else nothing but what needs somebody is said."""

    def __init__(self, front: Front, run: str, *, shown: bool) -> None:
        self._front = front
        self._run = run
        self._shown = shown
        self.display: Display = Silent()
        self.following = Following([run], self)
        asking = is_terminal(sys.stdin) and is_terminal(sys.stderr)
        self._questions = Questions(front, self, asking=asking, wait=True)
        self._words: dict[str, str] = {}
        """What was shown of the answers that are being received, by their keys."""
        self._done: set[str] = set()
        self._last = ""
        """The last answer that is whole."""
        self._open = False
        """The line on which the cursor stands has begun."""

    async def wait(self, console: Console, stop: asyncio.Event) -> Answered:
        """Until it has come, cannot come any more, or somebody has had enough."""
        held: dict[str, str] = {}
        await race(
            self.following.until(lambda: self.following.done),
            stop.wait(),
            self._read(console),
            self._hear(console),
            self._questions.answer(console),
            self._until_lost(console, held),
        )
        with suppress(FleetError):
            await self.following.catch_up(console)
        tree = self.following.trees.get(self._run)
        output = None
        if tree is not None and tree.finished is not None:
            output = await console.value(tree.finished) if tree.finished.blob is not None else tree.finished.output
        status = tree.run.status if tree is not None else "pending"
        answered = Answered(run=self._run, status=status, output=output, tree=tree, held=held.get(self._run, ""))
        self._end(answered)
        return answered

    async def _read(self, console: Console) -> None:
        await self.following.read(console)
        await asyncio.Event().wait()

    async def _hear(self, console: Console) -> None:
        if self._shown:
            async with aclosing(console.pieces(self._run)) as batches:
                async for batch in batches:
                    for piece in batch:
                        self._piece(piece)
        await asyncio.Event().wait()

    async def _until_lost(self, console: Console, held: dict[str, str]) -> None:
        """Until nobody does anything for it any more."""
        missed = 0
        while missed < 2 and self._run not in held:
            await asyncio.sleep(LOOK_SECONDS)
            missed = missed + 1 if console.where == "none" else 0
            held.update(await console.holds())

    # ------------------------------------------------------------ what is shown

    def fact(self, tree: Tree, fact: AnyFact) -> None:
        """Something has happened, in the run or in one that it has started."""
        if not self._shown or tree.id != self._run or not isinstance(fact, StepNoted):
            return
        value = mapping(fact.value)
        if fact.kind == ANSWERED and _is_own(fact.key):
            self._whole(fact.key, value.get("text"))
        elif fact.kind == CALLED:
            called = plain(f"  {sign('→')} {value.get('tool', '')}  ", "dim")
            self._notice(called.append(preview(value.get("arguments"))))
        elif fact.kind == "tool.failed":
            said = mapping(value.get("error")).get("message", "")
            self._notice(plain(f"  {value.get('tool', '')}: {said}", "yellow"))
        elif fact.kind == HANDED_OVER:
            self._notice(plain(f"  {value.get('to', '')} goes on", "dim"))

    def line(self, tree: Tree, line: LogLine) -> None:
        """Logs are for `fleet logs`."""

    def _piece(self, piece: Piece) -> None:
        if piece.kind == "reset":
            for key in [piece.key] if piece.key else [*self._words]:
                if self._words.pop(key, ""):
                    self._notice(plain("  it is asked again", "dim"))
        elif piece.kind == "status" and _is_own(piece.key):
            self._notice(plain(f"  {piece.text}", "dim"))
        elif piece.kind == "text" and piece.key not in self._done and _is_own(piece.key):
            self._words[piece.key] = self._words.get(piece.key, "") + piece.text
            self._show(piece.text)

    def _whole(self, key: str, text: Any) -> None:
        """An answer is there as a whole: what was not shown of it is."""
        shown = self._words.pop(key, "")
        self._done.add(key)
        if not isinstance(text, str):
            return
        if text.startswith(shown):
            self._show(text[len(shown) :])
        else:
            self._close_line()
            self._show(text)
        self._last = text

    def _show(self, text: str) -> None:
        if text:
            harmless = "\n".join(map(inert, text.split("\n")))
            self._front.terminal.out.print(Text(harmless), end="", soft_wrap=True)
            self._open = not text.endswith("\n")

    def _notice(self, line: Text) -> None:
        self._close_line()
        self._front.terminal.say(line)

    def _close_line(self) -> None:
        if self._open:
            self._front.terminal.out.print()
            self._open = False

    @contextmanager
    def pen_down(self, *, keep: bool = False) -> Iterator[None]:
        """Print something below the answer so far."""
        del keep
        self._close_line()
        yield

    def say(self, text: str) -> None:
        """Print a line for whoever has to do something."""
        self._close_line()
        self._front.terminal.say(plain(text, "yellow"))

    def _end(self, answered: Answered) -> None:
        """What is still to be said once it is over."""
        terminal, tree = self._front.terminal, answered.tree
        if self._shown and answered.output is not None and answered.output != self._last:
            self._close_line()
            terminal.print(*answered.lines())
        self._close_line()
        if answered.held:
            terminal.say(*held_lines(self._run, answered.held))
        elif tree is None or tree.finished is None:
            terminal.say(plain(f"  not answered yet: `fleet recover {short(self._run)}` goes on with it", "yellow"))
        elif answered.status != "completed":
            error = tree.run.error
            if answered.status == "cancelled" or error is None:
                terminal.say(plain(f"  {answered.status}", "yellow"))
            else:
                terminal.say(*failure_lines(error))
        if self._shown and tree is not None and tree.finished is not None:
            terminal.say(_footer(tree))


def _is_own(key: str) -> bool:
    """Whether a request was made by whoever has the task, and not by somebody it has delegated to."""
    return "/tool/" not in key.rpartition("/llm/")[0]


def _footer(tree: Tree) -> Text:
    run = tree.run
    line = Text("  ")
    if label := mode_label(run.mode):
        line.append(f"{label}  ", style="bold yellow")
    uncertain = f", perhaps {spent(run.uncertain_nano)} more" if run.uncertain_nano else ""
    seconds = duration(tree.seconds(time.time()))
    used = f"{spent(run.cost_nano, run.mode)}{uncertain}  {count(run.tokens, 'token')}  {seconds}  {short(tree.id)}"
    return line.append(used, style="dim")


def answer_object(answered: Answered, agent: str, session: str, message: str) -> dict[str, Any]:
    """What machines read: always the same keys."""
    run = answered.tree.run if answered.tree is not None else None
    mode = run.mode if run is not None else ""
    cost = run.cost_nano if run is not None and not is_unreal(mode) else None
    seconds = answered.tree.seconds(time.time()) if answered.tree is not None else None
    return {
        "run": answered.run,
        "session": session,
        "agent": agent,
        "message": message,
        "answer": answered.output,
        "status": answered.status,
        "error": error_object(run.error) if run is not None else None,
        "mode": mode or None,
        "cost_usd": cost / NANO if cost is not None else None,
        "cost_nano": cost,
        "uncertain_nano": run.uncertain_nano if run is not None else 0,
        "tokens": run.tokens if run is not None else 0,
        "duration": round(seconds, 6) if seconds is not None else None,
    }
