"""A conversation with an agent, or with a workflow that takes messages: each message is a run, which answers with all
that was said before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.widgets import Input

from fleetprompt.client.wording import count
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.signal import CANCEL
from fleetprompt.tui.actions import BY_ID, Action
from fleetprompt.tui.errors import explained
from fleetprompt.tui.screens.base import ConsoleScreen
from fleetprompt.tui.state.chat import last_conversation, live_lines, turn_lines
from fleetprompt.tui.state.lines import Line, Part
from fleetprompt.tui.state.speech import Speech
from fleetprompt.tui.widgets.bars import Pill, spread
from fleetprompt.tui.widgets.fields import SafeInput
from fleetprompt.tui.widgets.text_pane import TextPane

if TYPE_CHECKING:
    from fleetprompt.client.chatting import Turn
    from fleetprompt.client.protocol import Change, Console

SECONDS = 0.05
"""How often what is just said is shown, at most."""


class ChatScreen(ConsoleScreen):
    """What was said, and a line to say more."""

    PLACES: ClassVar = ("chat",)
    NAME: ClassVar = "chat"
    LISTS: ClassVar = False
    DEFAULT_CSS = """
    ChatScreen TextPane { height: 1fr; border: none; }
    ChatScreen SafeInput { height: 1; padding: 0 1; background: $panel; }
    """

    def __init__(self, agent: str) -> None:
        super().__init__()
        self.agent = agent
        self.session = ""
        self.turns: list[Turn] = []
        self.speech = Speech()
        self._blocks: list[Iterable[Line]] = []
        self._asking = ""
        """What the agent asks people."""
        self._sending = False

    def body(self) -> ComposeResult:
        yield Pill(self._about)
        pane = TextPane()
        # Keys are for the message.
        pane.can_focus = False
        yield pane
        yield SafeInput(placeholder="say something; enter sends it", compact=True, select_on_focus=False)

    def crumb(self) -> str:
        """Whom one talks to."""
        return f"chat {inert(self.agent)}"

    def link(self) -> str:
        """This conversation, as the last one with the agent."""
        return f"chat {self.agent}"

    def footer(self) -> Sequence[Action]:
        """Letters are for the message, and nothing is to be stopped where nothing answers."""
        own = [action for action in super().footer() if "chat" in action.where or action.id == "go.back"]
        return [action for action in own if self.open_run or action.id != "chat.stop"]

    @property
    def pane(self) -> TextPane:
        """What was said."""
        return self.query_one(TextPane)

    @property
    def box(self) -> SafeInput:
        """What is going to be said."""
        return self.query_one(SafeInput)

    @property
    def open_run(self) -> str:
        """The run in which the agent is answering; empty where it is not."""
        return self.turns[-1].run if self.turns and self.turns[-1].ended_at is None else ""

    def _about(self, width: int) -> Sequence[Part]:
        if self.error is not None:
            return [(inert(self.error.message), "error")]
        said: list[Part] = [("conversation ", "dim"), (inert(self.session), "id")]
        return spread(said, [(count(len(self.turns), "message"), "dim")], width)

    # ------------------------------------------------------------ reading

    async def opened(self, console: Console) -> None:
        """Go on with the last conversation, or begin one."""
        self.box.focus()
        try:
            self.session = await last_conversation(console, self.agent, self.app.who)
        except FleetError as error:
            self.error = error
        if not self.session:
            self._begin_anew()
        await self.reload()

    def _begin_anew(self) -> None:
        from fleetprompt.client.store_console import new_id

        self.session = f"{self.agent[:40]}-{new_id()[-12:]}"
        self.turns = []

    async def reload(self) -> None:
        """Read what was said."""
        before = self.open_run
        try:
            self.turns = await self.client.conversation(self.session)
            self.error = None
        except FleetError as error:
            self.error = error
        now = self.app.now()
        self._blocks = [turn_lines(turn, self.app.times, now) for turn in self.turns]
        if self.open_run != before:
            self.speech = Speech()
            self.refresh_bars()
        if self.open_run and not any(worker.group == "overhear" and not worker.is_finished for worker in self.workers):
            self.run_worker(self._overhear(self.open_run), name="overhear", group="overhear", exclusive=True)
        self._draw()

    async def changed(self, change: Change) -> None:
        """The run in which the agent answers has moved on."""
        if change.lost or self.open_run in change.runs:
            await self.reload()

    def fleet_changed(self) -> None:
        """It asks something, or not any more."""
        self._draw()

    async def _overhear(self, run: str) -> None:
        """Show what is said until the run is over."""
        speech = self.speech
        try:
            async with aclosing(self.client.pieces(run, SECONDS)) as said:
                async for pieces in said:
                    speech.apply(pieces)
                    self._draw()
                    if self.open_run != run:
                        return
        except FleetError as error:
            self.app.say("error", error.message)

    def _draw(self) -> None:
        blocks = list(self._blocks)
        if self.open_run:
            asked = self.app.fleet.asking.get(self.open_run)
            key = self.app.keymap.shown(BY_ID["chat.run"])
            blocks.append(live_lines(self.agent, self.speech, asked.question if asked is not None else "", key))
        elif not blocks:
            blocks.append([((f"nothing was said to {inert(self.agent)} yet", "dim"),)])
        pane = self.pane
        follow = pane.ended or not pane.below
        pane.show(*blocks, keep=True)
        if follow:
            pane.action_scroll_to_row(-1)
        self.query_one(Pill).refresh()

    # ------------------------------------------------------------ saying

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Say it."""
        event.stop()
        text = event.value
        if self._sending or not text.strip() or not self.app.may_change("say something"):
            return
        self._sending = True
        self.box.value = ""
        self.run_worker(partial(self._say, text), group="say")

    async def _say(self, text: str) -> None:
        try:
            run = await self.client.chat(self.agent, text, self.session, by=self.app.who)
        except FleetError as error:
            self.app.say("error", explained(error))
            if not self.box.value:
                self.box.value = text
            return
        finally:
            self._sending = False
        if not self.app.fleet.live:
            self.app.say("info", f"recorded: run {run[-8:]} begins when an engine runs")
        await self.reload()
        self.pane.action_scroll_to_row(-1)

    def do_chat_new(self) -> None:
        """Another conversation."""
        self._begin_anew()
        self._blocks = []
        self.speech = Speech()
        self.workers.cancel_group(self, "overhear")
        self._draw()

    async def do_chat_run(self) -> None:
        """The run of the last message: what the agent has done, and what it asks."""
        if self.turns:
            await self.app.go_to(f"run {self.turns[-1].run} answer")
        else:
            self.app.say("info", "nothing was said yet")

    async def do_chat_stop(self) -> None:
        """Stop the agent."""
        run = self.open_run
        if not run:
            self.app.say("info", f"{self.agent} is not answering")
            return
        result = await self.client.command(CANCEL, run, by=self.app.who, data={"reason": "stopped in the conversation"})
        if result.status == "refused":
            self.app.say("error", f"not stopped: {result.reason}")

    def do_list_page_up(self) -> None:
        self.pane.action_page(-1)

    def do_list_page_down(self) -> None:
        self.pane.action_page(1)
