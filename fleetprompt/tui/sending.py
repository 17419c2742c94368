"""Many things sent one after another: how far it is can be seen, it can be stopped, and what came of it is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct, field

from fleetprompt.client.wording import count
from fleetprompt.engine.core.errors import FleetError, StoreUnavailable
from fleetprompt.tui.state.work import Batch

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

T = TypeVar("T")
AT_ONCE = 8
"""Things that are on their way at the same time: the engine makes one append of what comes together."""
SLOW_SECONDS = 1.0
"""Seconds without an answer after which the frame says what is on its way: a store may be busy."""
ONE_BY_ONE = 3
"""Refusals that are told one by one, and reasons that are told where there are more."""
KEPT = 100
"""Refusals that are kept among the messages."""


def of_many(why: str, number: int) -> str:
    """A reason, said of so many: `9 are paused already`, `2: its form has to be filled in`."""
    if why.startswith("it is "):
        return f"{number:,} {'is' if number == 1 else 'are'} {why.removeprefix('it is ')}"
    return f"{number:,}: {why}"


def stop_sending(app: FleetConsole) -> bool:
    """Send nothing more of what takes a while; whether there was any such thing."""
    stopped = app.work.stop()
    for batch in stopped:
        app.say("warning", f"stopping: {batch.words} so far; what is sent already is carried out")
    return bool(stopped)


class Answer(Struct, frozen=True):
    """What came of one thing."""

    said: str
    """Which it is, and what there is to say about it."""
    queued: str = ""
    """Why it is not carried out yet."""
    run: str = ""
    """The run that it has started."""


class Sent(Struct):
    """What came of many things."""

    total: int
    done: list[Answer] = field(default_factory=list[Answer])
    refused: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Which, and why."""

    @property
    def unsent(self) -> int:
        """How many were not sent, because it was stopped."""
        return self.total - len(self.done) - len(self.refused)

    @property
    def queued(self) -> str:
        """Why something is not carried out yet."""
        return next((answer.queued for answer in self.done if answer.queued), "")


async def send_each(
    app: FleetConsole,
    things: Sequence[T],
    send: Callable[[T], Awaitable[Answer]],
    named: Callable[[T], str],
    *,
    doing: str,
    thing: str,
    marks: Callable[[T], Iterable[str]],
    at_once: int = AT_ONCE,
) -> Sent:
    """Send each. `send` raises `FleetError`; when the store is not to be had, the rest is not tried.

    `marks` are the ids of what may be marked for it: marks go when what they were for is done.
    """
    sent = Sent(len(things))
    done: set[str] = set()
    refused: set[str] = set()

    async def one(batch: Batch, each: T) -> None:
        try:
            sent.done.append(await send(each))
            done.update(marks(each))
        except FleetError as error:
            refused.update(marks(each))
            sent.refused.append((named(each), error.message))
            batch.stopped = batch.stopped or isinstance(error, StoreUnavailable)

    with under_way(app, doing, named(things[0]) if len(things) == 1 else "", thing, len(things)) as batch:
        for at in range(0, len(things), at_once):
            if batch.stopped:
                break
            portion = things[at : at + at_once]
            await asyncio.gather(*(one(batch, each) for each in portion))
            app.work.go_on(batch, len(portion))
    app.tell_done(done - refused)
    return sent


@contextmanager
def under_way(app: FleetConsole, doing: str, name: str, thing: str = "", total: int = 1) -> Iterator[Batch]:
    """While something is sent: the frame says so where that takes longer than it should."""
    batch = app.work.begin(doing, thing, total, name)
    timer = app.set_timer(SLOW_SECONDS, partial(app.work.linger, batch))
    try:
        yield batch
    finally:
        timer.stop()
        app.work.end(batch)


def tell(app: FleetConsole, done: str, thing: str, sent: Sent, *, refused: str = "") -> None:
    """Say what was done (`cancelled`), what was not (`not cancelled`, or as `refused` says it), and why."""
    if sent.done or sent.unsent:
        named = sent.done[0].said if sent.total == 1 else _counted(sent, thing)
        queued = f" — {sent.queued}" if sent.queued else ""
        rest = f"; stopped: {count(sent.unsent, thing)} not sent" if sent.unsent else ""
        app.say("warning" if queued or rest else "info", f"{done}: {named}{queued}{rest}")
    if 1 < len(sent.done) <= KEPT:
        for answer in sent.done:
            app.say("info", f"{done}: {answer.said}", quiet=True)
    _tell_refused(app, refused or done, thing, sent.refused)


def _counted(sent: Sent, thing: str) -> str:
    if len(sent.done) == sent.total:
        return count(sent.total, thing)
    return f"{len(sent.done):,} of {count(sent.total, thing)}"


def _tell_refused(app: FleetConsole, done: str, thing: str, refused: Sequence[tuple[str, str]]) -> None:
    if len(refused) <= ONE_BY_ONE:
        for name, why in refused:
            app.say("error", f"not {done}: {name}: {why}")
        return
    reasons = Counter(why for _, why in refused).most_common()
    for why, number in reasons[:ONE_BY_ONE]:
        app.say("error", f"not {done}: {count(number, thing)}: {why}")
    if len(reasons) > ONE_BY_ONE:
        number = sum(number for _, number in reasons[ONE_BY_ONE:])
        app.say("error", f"not {done}: {count(number, f'more {thing}')}, for other reasons; see the messages (g m)")
    for name, why in refused[:KEPT]:
        app.say("error", f"not {done}: {name}: {why}", quiet=True)
