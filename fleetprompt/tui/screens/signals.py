"""The stream of signals: what came, what it carried, what led to it and what it did."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import msgspec
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.message import Message
from textual.timer import Timer

from fleetprompt.client.values import one_line_json
from fleetprompt.client.wording import count, rfc3339
from fleetprompt.engine.core.dead_letter import DeadLetter
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.query_fields import SIGNAL_FIELDS
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.tui.acting_signals import letters, publish, replay
from fleetprompt.tui.screens.filtered import FilteredScreen
from fleetprompt.tui.state.json_text import JsonText
from fleetprompt.tui.state.lineage import Place, lineage_rows
from fleetprompt.tui.state.lines import Part, Rows
from fleetprompt.tui.state.run_text import TEXT, ValueLines
from fleetprompt.tui.state.run_values import Held
from fleetprompt.tui.state.signals import SignalList, only
from fleetprompt.tui.widgets.filter_bar import FilterBar
from fleetprompt.tui.widgets.heading import Heading
from fleetprompt.tui.widgets.lines import Lines
from fleetprompt.tui.widgets.text_view import TextView

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Change, Console
    from fleetprompt.engine.ports import Lineage
    from fleetprompt.tui.actions import Action

REST = 0.06
"""Seconds the cursor rests on a signal before its details are read."""
LEAST_SECONDS = 0.1
"""How often the top of the stream is read again, at most."""
DEAD = ("signal.redo", "signal.dismiss")
"""What is done to dead letters."""
LOOKED = 500
"""Signals that are marked among which dead letters are looked for; of more, some may have them."""
SHARE = 10
"""And not again for so many times what reading it has taken."""


class SignalLines(Lines):
    """The stream. Of a line is copied what its signal carries, and not what little the line shows of it."""

    source: SignalList

    async def do_list_mark_all(self) -> None:
        """All that match, also those that were not read yet."""
        self.mark(await self.source.everything())

    async def listed(self) -> Iterable[object]:
        return await self.source.everything()

    class Copied(Message):
        """What the signal at the cursor carries is to be copied."""

    def do_list_copy_line(self) -> None:
        self.post_message(self.Copied())


class SignalsScreen(FilteredScreen[SignalLines]):
    """The signals that match a filter, and details of the one at the cursor."""

    PLACES: ClassVar = ("signals",)
    NAME: ClassVar = "signals"
    EVERYTHING: ClassVar = "every signal"
    ONE: ClassVar = "signal"
    DEFAULT_CSS = """
    SignalsScreen #list { height: 1fr; }
    SignalsScreen #details { height: 1fr; layout: horizontal; }
    SignalsScreen #details Lines { border: round $foreground 30%; border-title-color: $foreground 60%; width: 1fr;
        height: 1fr; }
    SignalsScreen #details Lines:focus { border: round $primary; border-title-color: $primary; }
    SignalsScreen.-narrow #lineage, SignalsScreen.-narrow.-lineage #payload { display: none; }
    SignalsScreen.-narrow.-lineage #lineage { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.stream: SignalList | None = None
        self._rest: Timer | None = None
        self._due: Timer | None = None
        self._took = 0.0
        self._shown: Signal | None = None
        """The signal whose details are shown, with what it carries."""
        self._dead = False
        """What is marked, or else at the cursor, has dead letters."""

    def body(self) -> ComposeResult:
        yield FilterBar(SIGNAL_FIELDS, self.about, self._values)
        with Vertical(id="list"):
            yield Heading()
        with Container(id="details"):
            yield TextView(id="payload")
            yield Lines(Rows(TEXT), id="lineage")

    @property
    def payload(self) -> TextView:
        """What the signal carries, what came of it, and what it is."""
        return self.query_one("#payload", TextView)

    @property
    def lineage(self) -> Lines:
        """Where it came from and what it led to."""
        return self.query_one("#lineage", Lines)

    async def opened(self, console: Console) -> None:
        """Show the stream."""
        self.lineage.border_title = "lineage"
        self.stream = SignalList(console, self.app.now, self.app.times)
        # What was asked for while the store was not open yet.
        self.stream.filter = self.bar.text
        lines = SignalLines(self.stream)
        lines.pinned = True
        self.query_one(Heading).watch_lines(lines)
        await self.query_one("#list").mount(lines)
        self.lines = lines
        lines.focus()
        await self._load()

    async def _values(self, name: str) -> Sequence[tuple[str, int]]:
        return self.stream.values(name) if self.stream is not None else ()

    # ------------------------------------------------------------ what is said about the list

    def said(self) -> Sequence[Part] | None:
        """How many there are, and whether the newest is followed."""
        stream = self.stream
        if stream is None or not stream.loaded:
            return None
        said: list[Part] = [(f"{stream.fresh:,} new, . shows  ", "accent")] if stream.fresh else []
        said.append((f"{count(stream.count, 'signal')}{', and older ones' if stream.more else ''}", ""))
        said.append((" · follow" if stream.follow else " · held", "dim"))
        return said

    # ------------------------------------------------------------ reading

    async def _load(self) -> None:
        stream, lines = self.stream, self.lines
        if stream is None or lines is None:
            return
        try:
            await stream.load()
            self.error = None
        except FleetError as error:
            self.error = error
        if stream.filter:
            lines.empty = (("no signal matches ", "dim"), (inert(stream.filter), ""), (" — esc shows all", "dim"))
        else:
            lines.empty = (("there are no signals yet", "strong"), (" — n publishes one", "dim"))
        self._redraw()
        self._rest_then_show()

    def _redraw(self) -> None:
        if self.lines is not None:
            self.lines.renew()
        self.bar.redraw()

    def on_lines_shown(self, event: Lines.Shown) -> None:
        """Near the end the next page is read."""
        if isinstance(event.lines, SignalLines) and self.stream is not None and self.stream.wants_more:
            self.run_worker(self._fetch_more, group="pages", exit_on_error=False, exclusive=True)

    async def _fetch_more(self) -> None:
        try:
            if self.stream is not None and await self.stream.fetch_more():
                self._redraw()
        except FleetError as error:
            self.app.say("error", error.message)

    async def changed(self, change: Change) -> None:
        """Signals have come, or something came of them."""
        if (change.signals or change.lost) and self._due is None:
            self._due = self.set_timer(max(LEAST_SECONDS, self._took * SHARE), self._renew)

    async def _renew(self) -> None:
        self._due = None
        stream, lines = self.stream, self.lines
        if stream is None or lines is None or not stream.loaded:
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            looks_different = await stream.renew()
            self.error = None
        except FleetError as error:
            self.error = error
            looks_different = frozenset[str]()
        self._took = loop.time() - began
        if looks_different or self.error is not None:
            self._redraw()
        # Something may have come of it that is far from it.
        self._rest_then_show()

    async def reload(self) -> None:
        """Read everything again."""
        await self._load()

    # ------------------------------------------------------------ details

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Another signal: its details follow when the cursor rests."""
        lines, stream = self.lines, self.stream
        if not isinstance(event.lines, SignalLines) or lines is None or stream is None:
            return
        stream.at_top = lines.cursor == 0
        self.note_cursor()
        self.bar.redraw()
        self._rest_then_show()

    def _rest_then_show(self) -> None:
        # Not put off: signals may come faster than anybody's fingers.
        if self._rest is None:
            self._rest = self.set_timer(REST, self._show_soon)

    def _show_soon(self) -> None:
        self._rest = None
        key = self.lines.key if self.lines is not None else None
        if isinstance(key, str):
            self.run_worker(partial(self._show_details, key), group="details", exclusive=True, exit_on_error=False)
        elif self._shown is not None:
            self._shown = None
            self._offer(False)
            self.payload.show(ValueLines())
            self._show_lineage(None)

    async def _show_details(self, id_: str) -> None:
        try:
            signal, routed, results = await self.client.signal(id_)
            lineage = await self.client.lineage(id_)
            dead = await self.client.letters_of([id_])
        except FleetError as error:
            self.payload.empty = ((inert(error.message), "error"),)
            self.payload.show(ValueLines())
            self._show_lineage(None)
            return
        same = self._shown is not None and self._shown.id == id_
        self._shown = signal
        if self.lines is not None and not self.lines.selection.marks:
            self._offer(any(each.status == "dead" for each in dead))
        self.payload.border_title = Text(inert(signal.type)).markup
        held = _values_of(signal, routed, results, dead)
        shown = self.payload.source
        if not (isinstance(shown, ValueLines) and shown.same(id_, held)):
            self.payload.show(ValueLines(held, id_), at=self.payload.cursor if same else 0)
        self._show_lineage(lineage, keep=same)

    def _show_lineage(self, lineage: Lineage | None, *, keep: bool = False) -> None:
        tree = self.lineage
        source = tree.source
        assert isinstance(source, Rows)
        source.set(lineage_rows(lineage) if lineage is not None else ())
        tree.renew()
        if lineage is not None and not keep:
            tree.go(source.find(Place("signal", lineage.signal.id, "self")) or 0, by_hand=False)

    async def on_lines_opened(self, event: Lines.Opened) -> None:
        """Enter goes into the lineage, and from a line of it to that signal or run."""
        if isinstance(event.lines, SignalLines):
            self._look_at(self.lineage)
        elif event.lines is self.lineage and isinstance(event.lines.key, Place):
            place = event.lines.key
            if place.kind == "run":
                await self.app.go_to(f"run {place.id}")
            elif place.kind == "signal" and self.lines is not None:
                await self.seek(place.id)
                self.lines.focus()

    def _look_at(self, part: Lines) -> None:
        self.set_class(part is self.lineage, "-lineage")
        part.focus()

    def do_details_read(self) -> None:
        """From the list to what the signal carries, to its lineage, and back."""
        if self.lines is None:
            return
        parts: list[Lines] = [self.lines, self.payload, self.lineage]
        at = next((at for at, part in enumerate(parts) if part.has_focus), 0)
        self._look_at(parts[(at + 1) % len(parts)])

    def do_details_down(self) -> None:
        self.payload.do_list_page_down()

    def do_details_up(self) -> None:
        self.payload.do_list_page_up()

    # ------------------------------------------------------------ filter

    async def filter(self, text: str) -> None:
        """List the signals that match, the cursor at the top."""
        stream, lines = self.stream, self.lines
        if stream is not None and lines is not None and stream.filter != text:
            stream.filter = text
            await self._load()
            lines.go(0, by_hand=False)

    async def seek(self, id_: str) -> None:
        """Put the cursor on a signal; one that was not read is found by a filter."""
        stream, lines = self.stream, self.lines
        at = stream.find(id_) if stream is not None else None
        if at is not None and lines is not None:
            lines.go(at)
        else:
            await self.apply_filter(only(id_))

    def do_list_follow(self) -> None:
        stream, lines = self.stream, self.lines
        if stream is not None and lines is not None:
            stream.follow = not stream.follow
            lines.pinned = stream.follow
            if stream.follow:
                self.do_list_show_new()
            self.bar.redraw()

    def do_list_show_new(self) -> None:
        stream, lines = self.stream, self.lines
        if stream is not None and lines is not None:
            stream.show_new()
            lines.renew()
            lines.go(0)
            self.bar.redraw()

    def leave_details(self) -> bool:
        """Back from what a signal carries, or from its lineage."""
        inside = self.payload.has_focus or self.lineage.has_focus
        if inside and self.lines is not None:
            self._look_at(self.lines)
        return inside

    # ------------------------------------------------------------ doing

    def footer(self) -> Sequence[Action]:
        """What can be done to the signal at the cursor, or to what is marked."""
        return [action for action in super().footer() if self._dead or action.id not in DEAD]

    def _offer(self, dead: bool) -> None:
        if self._dead != dead:
            self._dead = dead
            self.refresh_bars()

    def on_lines_marked(self) -> None:
        # Beside what all lists do then: Textual asks each class for itself.
        self.run_worker(self._look_for_letters, group="letters", exclusive=True, exit_on_error=False)

    async def _look_for_letters(self) -> None:
        marks = [str(key) for key in self.lines.chosen()] if self.lines is not None else []
        try:
            found = await self.client.letters_of(marks) if len(marks) <= LOOKED else ()
        except FleetError:
            return  # It stays at what was known, and why the store cannot be read is said by the list.
        self._offer(len(marks) > LOOKED or any(each.status == "dead" for each in found))

    def do_signal_publish(self) -> None:
        """Write a signal; known types are offered."""
        publish(self.app, [type_ for type_, _ in self.stream.types()] if self.stream is not None else [])

    async def do_signal_replay(self) -> None:
        """Publish copies of what is marked, or of what is at the cursor."""
        if self.settled("replay"):
            await replay(self.app, [str(key) for key in self.lines.chosen()] if self.lines is not None else [])

    async def do_signal_redo(self) -> None:
        """Try again what these signals could not start, or be delivered to."""
        await self._letters(dismissed=False)

    async def do_signal_dismiss(self) -> None:
        """Let that be."""
        await self._letters(dismissed=True)

    async def _letters(self, *, dismissed: bool) -> None:
        if self.settled("dismiss" if dismissed else "try again") and self.lines is not None:
            await letters(self.app, [str(key) for key in self.lines.chosen()], dismissed=dismissed)

    async def on_signal_lines_copied(self) -> None:
        await self.do_signal_copy()

    async def do_signal_copy(self) -> None:
        """Copy what the signal at the cursor carries, as JSON."""
        key = self.lines.key if self.lines is not None else None
        if not isinstance(key, str):
            return
        try:
            signal, _, _ = await self.client.signal(key)
        except FleetError as error:
            self.app.say("error", error.message)
            return
        text = one_line_json(signal.data) if isinstance(signal.data, str) else JsonText(signal.data).text
        self.app.copy(text, text.count("\n") + 1)


def _values_of(signal: Signal, routed: bool, results: Sequence[Result], dead: Sequence[DeadLetter]) -> list[Held]:
    """What a signal carries, what came of it, and its envelope."""
    envelope = {
        name: value
        for name, value in msgspec.to_builtins(signal).items()
        if name not in ("data", "at", "sequence") and value
    }
    envelope = {"id": signal.id, "type": signal.type, "time": rfc3339(signal.at), **envelope}
    came = [msgspec.to_builtins(result) for result in results]
    for result in came:
        result.pop("signal", None)
    held = [Held("data", signal.data)] if signal.data is not None else []
    held.append(Held("what came of it" if routed else "what came of it so far", came))
    if dead:
        names = ("status", "code", "reason", "attempts", "id")
        told = [{"for": each.place} | {name: getattr(each, name) for name in names} for each in dead]
        held.append(Held("dead letters", told))
    return [*held, Held("envelope", envelope)]
