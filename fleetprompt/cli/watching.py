"""Waiting for runs: drawing them, asking about approvals, taking over from an engine that has gone, parking.

One loop does all of it; nothing here decides anything about a run.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct
from rich.text import Text

from fleetprompt.cli.asking import Questions
from fleetprompt.cli.display import FRAMES, Display, Drawn, Lines, Silent, halted
from fleetprompt.cli.failures import leaf
from fleetprompt.cli.follow import Following, race
from fleetprompt.cli.render import plain
from fleetprompt.cli.terminal import is_terminal
from fleetprompt.cli.tree import Tree
from fleetprompt.client.protocol import Console
from fleetprompt.client.wording import count, short
from fleetprompt.engine.core.errors import FleetError

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.engine.core.plan import Plan

Ending = Literal["over", "stopped", "idle", "orphaned", "held"]
"""Every run is over; somebody stopped the watch; nothing is active any more; the engine that drove them is gone; the
engine does nothing for them any more."""

ONCE = (signal.SIGTERM, signal.SIGHUP)
"""What stops a watch, and is not heard again while the engine closes."""
STOPPING = (signal.SIGINT, *ONCE)
LOOK_SECONDS = 0.5
QUIET_SECONDS = 0.15
"""How long nothing may happen before a run counts as waiting for somebody else."""


class Manner(Struct, frozen=True):
    """How to wait."""

    quiet: bool = False
    json: bool = False
    wait: bool = True
    listed: bool = False
    """JSON is an array, also of one run."""
    approve_as: str = ""
    """Approve everything as this operator, and as these, with commas between, where it takes several; for the demo."""
    unasked: str = "of --approve-as"
    """Because of what nobody is asked then."""
    beside: Callable[[Console, str], Awaitable[None]] | None = None
    """Done with a run meanwhile, until it is over; for the demo."""


class Watch:
    """Some runs that somebody waits for."""

    def __init__(self, front: Front, roots: list[str], manner: Manner) -> None:
        self._front = front
        self._manner = manner
        terminal = front.terminal
        stream = sys.stderr if manner.json else sys.stdout
        rich = terminal.err if manner.json else terminal.out
        self.drawing = not manner.quiet and is_terminal(stream)
        self.display: Display
        if manner.quiet:
            self.display = Silent()
        elif self.drawing:
            self.display = Drawn(rich)
        else:
            self.display = Lines(rich, terminal.times, many=len(roots) > 1)
        self.following = Following(roots, self.display, hears=self.drawing, foretell=self._foretell)
        asking = self.drawing and is_terminal(sys.stdin)
        self._questions = Questions(
            front, self, asking=asking, wait=manner.wait, approve_as=manner.approve_as, unasked=manner.unasked
        )
        self.outputs: dict[str, Any] = {}
        """Large outputs of runs, by run."""
        self.held: dict[str, str] = {}
        """Why the engine does nothing for a run any more, by run; set when that ended the watch."""
        self._holds: Mapping[str, str] = {}
        """What the engine does nothing for, as it said last."""
        self.told = 0
        """How many complaints of the engine were printed."""
        self._stop = asyncio.Event()
        self.stopped_by = 130
        """Exit code after somebody stopped the watch."""
        self._presses = 0
        self._embedded = False
        self._drawn = False

    async def _foretell(self, plan: Plan) -> str:
        """In which mode a plan will run; nothing where nobody reads it."""
        from fleetprompt.client.foretelling import asked_models, foretold

        if self._manner.quiet or not asked_models(plan) or self._front.elsewhere is not None:
            return ""
        return await foretold(self._front.place, plan)

    # ------------------------------------------------------------ the whole of it

    async def wait(self, console: Console) -> Ending:
        """Until the runs are over, or somebody has had enough. The console is closed at the end."""
        from fleetprompt.client.embedded import EmbeddedConsole
        from fleetprompt.client.opening import open_console

        while True:
            try:
                ending = await self._watch(console)
                if ending != "orphaned":
                    await self._finish(console, ending)
                    return ending
            except (OSError, ExceptionGroup) as error:
                if isinstance(leaf(error), OSError):
                    self._leave()
                raise
            finally:
                await self._close(console)
            self.say(f"the engine that drove {count(len(self.following.open), 'run')} is gone: going on here")
            opened = await open_console(self._front.place, "prefer", what="fleet run")
            console = self._front.guarded(opened)
            if isinstance(opened, EmbeddedConsole):
                for run in self.following.open:
                    await opened.adopt(run)

    def _leave(self) -> None:
        """The reader has gone, or there is no room for output. The runs are not lost by it, and that is said."""
        self.following.witness = self.display = Silent()
        runs = ", ".join(short(run) for run in self.following.open)
        if self._embedded and runs:
            with suppress(OSError):
                self.say(f"the output has gone: `fleet recover` goes on with {runs}")

    async def _close(self, console: Console) -> None:
        """Close the console, and take up what becomes of work in flight meanwhile."""
        with hurry(self.following.open):
            await race(console.close(), self._read_on(console))

    async def _read_on(self, console: Console) -> None:
        # The store is closed under it.
        with suppress(FleetError, ExceptionGroup):
            await self.following.read(console)
        await asyncio.Event().wait()

    async def _watch(self, console: Console) -> Ending:
        self._embedded = console.where == "embedded"
        with self._interrupts(), self._drawing():
            works = [
                self.following.until(lambda: self.following.done),
                self._stop.wait(),
                self._until_idle(console),
                self._until_orphaned(console),
                self._until_held(console),
                self._look_at_switch(console),
                self._read(console),
                self._redraw(),
                self._questions.answer(console),
                self._beside(console),
            ]
            endings: list[Ending] = ["over", "stopped", "idle", "orphaned", "held"]
            return endings[await race(*works)]

    async def _finish(self, console: Console, ending: Ending) -> None:
        """Fetch what is to be told about the runs while there is a store to ask."""
        # Whoever stops the watch may be ahead of it, and is told how things stand.
        with suppress(FleetError):
            await self.following.catch_up(console)
            self.display.position = (await console.switch()).position
        for root in self.following.roots:
            tree = self.following.trees.get(root)
            if tree is not None and tree.finished is not None and tree.finished.blob is not None:
                self.outputs[root] = await console.value(tree.finished)
        if (
            ending == "stopped"
            and console.where == "embedded"
            and any(tree.run.pending for tree in self.following.trees.values())
        ):
            self.say("parking: what must not be repeated gets some seconds to finish; Ctrl-C leaves at once")

    async def _beside(self, console: Console) -> None:
        if self._manner.beside is not None:
            await self._manner.beside(console, self.following.roots[0])
        await asyncio.Event().wait()

    async def _read(self, console: Console) -> None:
        await self.following.read(console)
        await asyncio.Event().wait()

    async def _redraw(self) -> None:
        while True:
            self._complain()
            if self._drawn:
                self.display.tick()
            await asyncio.sleep(1 / FRAMES)

    def _complain(self) -> None:
        """Show what the engine complains about: at once where lines are printed, below the tree where one is drawn."""
        messages = self._front.engine_messages
        if self.told < len(messages):
            if self.drawing:
                self.display.notice = f"engine: {messages[-1]}"
                return
            for message in dict.fromkeys(messages[self.told :]):
                self.say(f"engine: {message}")
            self.told = len(messages)

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        self.display.start(self.following)
        self._drawn = True
        try:
            yield
        finally:
            self._drawn = False
            self.display.stop()

    @contextmanager
    def pen_down(self, *, keep: bool = False) -> Iterator[None]:
        """Print something where the tree is, or below it."""
        self.display.stop(keep=keep)
        was, self._drawn = self._drawn, False
        try:
            yield
        finally:
            if was:
                self.display.start(self.following)
                self._drawn = True

    def say(self, text: str) -> None:
        """Print a line for the person at the terminal."""
        if not self._manner.quiet:
            self._front.terminal.say(plain(text, "yellow"))

    # ------------------------------------------------------------ reasons to stop

    @contextmanager
    def _interrupts(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in STOPPING:
            loop.add_signal_handler(number, self._interrupted, number)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            for number in ONCE:
                # From here on the engine closes as fast as it can: impatience must not kill what is in flight.
                loop.add_signal_handler(number, lambda: None)

    def _interrupted(self, number: int) -> None:
        self._presses += 1
        if number == signal.SIGINT and self._presses == 1 and self.drawing and self._embedded:
            text = "still running; Ctrl-C again parks the run, to be continued with `fleet recover`"
            if self._drawn:
                self.display.notice = text
            else:
                self._front.terminal.say(Text("\n" + text, style="yellow"))
            return
        self.stopped_by = 128 + number
        self._stop.set()

    async def _until_idle(self, console: Console) -> None:
        """Without waiting: until nothing goes on in any of the runs."""
        if self._manner.wait:
            await asyncio.Event().wait()
        while True:
            await self.following.until(self._idle)
            facts = self.following.facts
            await asyncio.sleep(QUIET_SECONDS)
            self._holds = await console.holds()
            if facts == self.following.facts and self._idle():
                return

    def _idle(self) -> bool:
        trees, roots = self.following.trees, self.following.roots
        if any(root not in trees or self._holding(root) for root in roots):
            return False
        return all(map(_resting, trees.values()))

    async def _until_orphaned(self, console: Console) -> None:
        """Until the engine in another process is gone. What nobody drives for a moment may be between two engines."""
        missed = 0
        while missed < 2:
            await asyncio.sleep(LOOK_SECONDS)
            missed = missed + 1 if console.where == "none" else 0

    async def _until_held(self, console: Console) -> None:
        """Until the engine does nothing any more for what is left: neither will there be a fact that tells of it."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._holds = await console.holds()
            trees, wait = self.following.trees, self._manner.wait
            open_ = [root for root in self.following.roots if root not in trees or trees[root].finished is None]
            holding = {root: self._holding(root) for root in open_}
            if all(found or (not wait and root in trees and _resting(trees[root])) for root, found in holding.items()):
                self.held = dict(held for found in holding.values() for held in found)
                if self.held:
                    return

    async def _look_at_switch(self, console: Console) -> None:
        """Say why nothing starts, where the whole fleet stands still: no fact of the run tells of it."""
        told = ""
        while True:
            self.display.position = (await console.switch()).position
            trees = [self.following.trees[root] for root in self.following.roots if root in self.following.trees]
            why = next(filter(None, (halted(tree, self.display.position) for tree in trees)), "")
            if why != told and not self.drawing:
                self.say(f"{why}: nothing new starts" if why else "the fleet goes on")
            told = why
            await asyncio.sleep(LOOK_SECONDS)

    def _holding(self, run: str) -> list[tuple[str, str]]:
        """What holds a run, and why: itself, or the children that it waits for."""
        if why := self._holds.get(run):
            return [(run, why)]
        tree = self.following.trees.get(run)
        if tree is None or tree.run.status != "waiting":
            return []
        return [found for child in tree.children for found in self._holding(child)]


def _resting(tree: Tree) -> bool:
    return tree.run.ended or tree.run.status in ("waiting", "pending")


@contextmanager
def hurry(runs: list[str]) -> Iterator[None]:
    """While an engine closes: another Ctrl-C leaves at once. Nothing is lost, but work in flight becomes doubtful."""
    loop = asyncio.get_running_loop()

    def leave() -> None:
        sys.stderr.write(
            f"\nleft at once; `fleet recover` takes up {', '.join(short(run) for run in runs) or 'the rest'}\n"
        )
        sys.stderr.flush()
        os._exit(130)

    loop.add_signal_handler(signal.SIGINT, leave)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
