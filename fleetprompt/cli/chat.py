"""`fleet chat`: talk to an agent, message by message or once."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated

import typer

from fleetprompt.cli.options import AgentName, Json

if TYPE_CHECKING:
    from rich.text import Text

    from fleetprompt.cli.answering import Answered
    from fleetprompt.cli.front import Front
    from fleetprompt.client.chatting import Turn
    from fleetprompt.client.protocol import Console

app = typer.Typer(rich_markup_mode=None)
HELP = "/history shows what was said, /new begins another conversation, /exit leaves; Ctrl-C stops an answer"
SHOWN = 200
"""Characters of what was said before that are shown when a conversation goes on."""
PROMPT = "› "


@app.command("chat")
def chat(
    ctx: typer.Context,
    agent: AgentName,
    message: Annotated[
        list[str] | None, typer.Argument(metavar="MESSAGE", help="What to say once; - reads it from standard input.")
    ] = None,
    session: Annotated[
        str, typer.Option("--session", "-s", metavar="ID", help="Go on with a conversation, or begin one of that name.")
    ] = "",
    json: Json = False,
) -> int:
    """Talk to an agent, or to a workflow that has a `chat` trigger: each message is a run, which knows what was said
    before.

    Without a message it is asked for one after the other; where standard input is no terminal, all of it is one
    message. What the agent asks is asked in place, as `fleet run` does. Ctrl-C stops an answer.
    """
    from fleetprompt.client.store_console import new_id
    from fleetprompt.engine.core.errors import InvalidInput

    front: Front = ctx.obj
    text = " ".join(message) if message else None
    if text == "-" or (text is None and not sys.stdin.isatty()):
        text = sys.stdin.read().strip()
    if text is None and json:
        raise InvalidInput("--json needs a message", hint="fleet chat AGENT MESSAGE --json")
    return front.run(_talk(front, agent, session or f"{agent[:40]}-{new_id()[-12:]}", text, json))


async def _talk(front: Front, agent: str, session: str, text: str | None, json: bool) -> int:
    from fleetprompt.cli.watching import hurry

    console = await front.open("prefer", what="fleet chat")
    talk = Talk(front, console, agent, session)
    try:
        with talk.interrupts():
            await known(console, agent)
            return await (talk.once(text, json) if text is not None else talk.converse())
    finally:
        with hurry([talk.run] if talk.run else []):
            await console.close()


async def known(console: Console, name: str) -> str:
    """What an agent, or a workflow that takes messages, is for. Raises `NotFound`."""
    from fleetprompt.engine.core.errors import NotFound

    try:
        definition = await console.agent(name)
    except NotFound:
        if not await console.listens(name):
            raise
        # One whose file was never run is registered with the first thing that is said to it.
        with suppress(NotFound):
            return (await console.plan((await console.workflow(name)).plan)).description
        return ""
    return definition.agent.description if definition.agent is not None else ""


class Talk:
    """One conversation at a terminal, or one message of it."""

    def __init__(self, front: Front, console: Console, agent: str, session: str) -> None:
        self._front = front
        self._console = console
        self._agent = agent
        self._session = session
        self.run = ""
        """The run that answers now; empty where none does."""
        self._stop = asyncio.Event()
        self._code = 0
        """What is returned where somebody has stopped it all."""
        self._saying = False
        self._unwanted = False
        """Ctrl-C was pressed before it was known which run answers."""
        self._cancelling: asyncio.Task[object] | None = None

    async def once(self, text: str, json: bool) -> int:
        """Say one thing; the exit code tells how it was answered."""
        from fleetprompt.cli.answering import answer_object
        from fleetprompt.cli.outcome import EXIT_CODES, WAITING
        from fleetprompt.cli.terminal import is_terminal

        shown = not json and is_terminal(sys.stdout)
        answered = await self._say(text, shown=shown)
        if json:
            self._front.terminal.json(answer_object(answered, self._agent, self._session, text))
        elif not shown and answered.output is not None:
            self._front.terminal.print(*answered.lines())
        if not json and answered.status == "completed" and is_terminal(sys.stderr):
            from rich.text import Text

            again = f"fleet chat {self._agent} --session {self._session}"
            self._front.terminal.say(Text(f"  goes on with {again}", style="dim"))
        return self._code or EXIT_CODES.get(answered.status, WAITING)

    async def converse(self) -> int:
        """Message after message, until somebody has had enough."""
        from rich.text import Text

        from fleetprompt.cli.render import plain

        terminal = self._front.terminal
        before = await self._console.conversation(self._session)
        about = await known(self._console, self._agent)
        terminal.say(plain(self._agent, "bold").append("  ").append_text(plain(about)))
        terminal.say(Text(f"  conversation {self._session}; {HELP}", style="dim"))
        if before:
            terminal.say(*_told(before[-1:], short=True))
        while not self._stop.is_set() and (text := await self._read()) is not None:
            if not text.strip():
                continue
            if text.startswith("/") and not text.startswith("//"):
                if not await self._command(text.strip()):
                    break
                continue
            try:
                await self._say(text.removeprefix("/") if text.startswith("//") else text, shown=True)
            except Exception as error:
                self._complain(error)
        terminal.say(Text(f"  fleet chat {self._agent} --session {self._session} goes on", style="dim"))
        return self._code

    def _complain(self, error: Exception) -> None:
        """What was wrong with a message does not end the conversation; anything else does."""
        from fleetprompt.cli.failures import leaf
        from fleetprompt.cli.render import plain
        from fleetprompt.engine.core.errors import FleetError, StoreUnavailable

        found = leaf(error)
        if not isinstance(found, FleetError) or isinstance(found, StoreUnavailable):
            raise error
        hint = f" ({found.hint})" if found.hint else ""
        self._front.terminal.say(plain(f"  {found.message}{hint}", "red"))

    async def _command(self, text: str) -> bool:
        """Do what a line that begins with a slash says; False for the one that ends it."""
        from rich.text import Text

        from fleetprompt.client.store_console import new_id

        terminal = self._front.terminal
        match text.split()[0].lower():
            case "/exit" | "/quit":
                return False
            case "/history":
                turns = await self._console.conversation(self._session)
                terminal.say(*(_told(turns) or [Text("  nothing was said yet", style="dim")]))
            case "/new":
                self._session = f"{self._agent[:40]}-{new_id()[-12:]}"
                terminal.say(Text(f"  conversation {self._session}", style="dim"))
            case _:
                terminal.say(Text(f"  {HELP}; a message that begins with / is written with two", style="dim"))
        return True

    async def _read(self) -> str | None:
        """A message that somebody types; a line that ends in a backslash goes on. None where there is no more."""
        from fleetprompt.cli.follow import race
        from fleetprompt.cli.keyboard import Keyboard

        text: str | None = None

        async def typed() -> None:
            nonlocal text
            lines: list[str] = []
            with Keyboard() as keyboard, keyboard.asking():
                while (line := await keyboard.line(PROMPT if not lines else "  ")) is not None:
                    lines.append(line.removesuffix("\\"))
                    if not line.endswith("\\"):
                        break
            text = "\n".join(lines) if lines else None

        await race(typed(), self._stop.wait())
        return text

    async def _say(self, text: str, *, shown: bool) -> Answered:
        """Say something, show what is answered as it comes, and wait for the end of it."""
        from fleetprompt.cli.answering import Answering

        self._saying, self._unwanted = True, False
        try:
            self.run = await self._console.chat(self._agent, text, self._session, by=self._front.me)
            if self._unwanted:
                self._interrupted(signal.SIGINT)
            answering = Answering(self._front, self.run, shown=shown)
            answered = await answering.wait(self._console, self._stop)
            if answered.finished:
                self.run = ""
            elif not self._code:
                self._code = 1 if answered.held else 3
                self._stop.set()
            return answered
        finally:
            self._saying = False
            if self._cancelling is not None:
                await self._cancelling
                self._cancelling = None

    # ------------------------------------------------------------ Ctrl-C

    @contextmanager
    def interrupts(self) -> Iterator[None]:
        """While this lasts, Ctrl-C cancels what is being answered, and ends the conversation where nothing is."""
        loop = asyncio.get_running_loop()
        stopping = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in stopping:
            loop.add_signal_handler(number, self._interrupted, number)
        try:
            yield
        finally:
            for number in stopping:
                loop.remove_signal_handler(number)

    def _interrupted(self, number: int) -> None:
        if number == signal.SIGINT and self._saying and self._cancelling is None:
            self._unwanted = True
            if self.run:
                self._cancelling = asyncio.get_running_loop().create_task(self._cancel(self.run))
            return
        self._code = 128 + number
        self._stop.set()

    async def _cancel(self, run: str) -> None:
        from fleetprompt.engine.core.signal import CANCEL

        await self._console.command(CANCEL, run, by=self._front.me, data={"reason": "stopped with Ctrl-C"})


def _told(turns: list[Turn], *, short: bool = False) -> list[Text]:
    """What was said, for people."""
    from rich.text import Text

    from fleetprompt.cli.render import plain
    from fleetprompt.client.values import block
    from fleetprompt.client.wording import sign

    lines: list[Text] = []
    for turn in turns:
        lines.append(
            Text(sign(PROMPT), style="cyan").append_text(plain(turn.message[:SHOWN] if short else turn.message))
        )
        if turn.status == "completed":
            text = turn.text[:SHOWN] + "…" if short and len(turn.text) > SHOWN else turn.text
            lines += [Text("  ").append(line) for line in block(text, 10_000)]
        else:
            why = f": {turn.error.message}" if turn.error is not None else ""
            lines.append(plain(f"  {turn.status}{why}", "yellow"))
    return lines
