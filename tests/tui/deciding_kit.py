"""A console in Textual's test driver over a project with a real engine, and workflows that ask."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from textual.css.query import NoMatches
from textual.pilot import Pilot

from fleetprompt.client.opening import Mode, open_console
from fleetprompt.client.protocol import Console
from fleetprompt.engine.ports import Approval, Page
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.screens.approvals import ApprovalsScreen
from fleetprompt.tui.screens.dialog import Ask, Confirm, ConfirmWithReason
from fleetprompt.tui.screens.form import FormDialog
from fleetprompt.tui.screens.runs import RunsScreen
from fleetprompt.tui.screens.shown import ConfirmShown
from tests.client.client_kit import place_at, start_of

GATED = """
name: gated
steps:
  - id: touch
    type: shell
    argv: [touch, done]
    approval: {message: "Touch it?"}
"""
TWO = """
name: two
steps:
  - {id: gate, type: approval, message: "Both of you?", approvers: ["user:ana", "user:bo"], quorum: 2}
"""
FORM = """
name: form
steps:
  - id: gate
    type: approval
    message: How many?
    form:
      count: {type: integer, required: true, minimum: 1}
      size: {type: string, enum: [small, large], default: small}
output: "${{ steps.gate.output.values }}"
"""


DOUBT = """
name: doubt
steps:
  - {id: pay, type: http, method: POST, url: "URL", repeat: never}
  - {id: after, type: transform, output: "${{ steps.pay.output }}"}
"""


class HandClock:
    """Time that goes on when it is told to."""

    def __init__(self) -> None:
        self.at = time.time()

    def __call__(self) -> float:
        return self.at


@asynccontextmanager
async def console(
    root: Path, *, who: str = "ana", mode: Mode = "prefer", link: str = "approvals", size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[FleetConsole, Pilot[Any], HandClock]]:
    """A console at a place in it. Its clock stands still, later than everything that was there before it."""
    clock = HandClock()
    app = FleetConsole(lambda: open_console(place_at(root), mode), who=who, now=clock, link=link)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.client is not None and not app.opening._link)
        if link.startswith("approvals"):
            await until(pilot, lambda: inbox(app).loaded)
        clock.at += 10
        yield app, pilot, clock
    if app.client is not None:
        await app.client.close()


def holds(test: Callable[[], Any]) -> bool:
    """Whether something does. What is said of a widget does not, where the screen has not got so far as to have it."""
    try:
        return bool(test())
    except NoMatches:
        return False


async def until(pilot: Pilot[Any], test: Callable[[], Any], most: float = 60.0) -> None:
    """Until something holds."""
    waited = 0.0
    while not holds(test):
        assert waited < most, "it did not come true"
        await pilot.pause(0.02)
        waited += 0.02


def client_of(app: FleetConsole) -> Console:
    """What the console speaks through."""
    assert app.client is not None
    return app.client


def approvals(app: FleetConsole) -> ApprovalsScreen:
    """The screen of approvals, wherever it is in the stack."""
    return next(screen for screen in app.console_screens() if isinstance(screen, ApprovalsScreen))


class _Nothing:
    loaded = False
    count = 0


def inbox(app: FleetConsole) -> Any:
    """What is listed."""
    found = next((screen for screen in app.console_screens() if isinstance(screen, ApprovalsScreen)), None)
    return (found.inbox if found is not None else None) or _Nothing


def shown(app: FleetConsole) -> Approval:
    """The approval that is shown."""
    look = approvals(app).look
    assert look is not None
    return look.approval


def said(app: FleetConsole, words: str) -> bool:
    """Whether the console has said something."""
    return any(words in message.text for message in app.fleet.messages)


async def start(app: FleetConsole, root: Path, text: str, **options: Any) -> str:
    """Start a workflow."""
    file = root / f"{text.split()[1]}.yaml"
    file.write_text(text)
    return await client_of(app).start(start_of(file, **options))


async def asking(
    app: FleetConsole, pilot: Pilot[Any], clock: HandClock, root: Path, text: str, number: int = 1
) -> list[str]:
    """Start a workflow so often, and wait until all of it asks and is shown, long enough to be meant."""
    before = inbox(app).count
    runs = [await start(app, root, text) for _ in range(number)]
    await until(pilot, lambda: inbox(app).count == before + number and approvals(app).look is not None)
    clock.at += 10
    return runs


async def pending(client: Console) -> list[Approval]:
    """What waits, the oldest first."""
    found, _ = await client.approvals("status:pending", Page(limit=100, oldest_first=True))
    return found


async def ended(client: Console, *runs: str) -> list[str]:
    """Wait for runs to end; their statuses."""
    for _ in range(6000):
        heads = [await client.run(run) for run in runs]
        if all(head.finished_at is not None for head in heads):
            return [head.status for head in heads]
        await asyncio.sleep(0.02)
    raise AssertionError("they did not end")


class Desk:
    """Takes payments, and hangs up on whoever pays: nobody knows then, unless it `answers`."""

    def __init__(self) -> None:
        self.url = ""
        self.paid = 0
        self.answers = False

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A payment."""
        await reader.readuntil(b"\r\n\r\n")
        self.paid += 1
        if self.answers:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\npaid")
        writer.close()
        await writer.wait_closed()


async def in_doubt(app: FleetConsole, pilot: Pilot[Any], root: Path, desk: Desk, number: int) -> list[str]:
    """Runs with a step in doubt, which have paid at this desk."""
    runs = [await start(app, root, DOUBT.replace("URL", desk.url)) for _ in range(number)]
    screen = app.console_screens()[0]
    assert isinstance(screen, RunsScreen)
    await until(pilot, lambda: screen.runs is not None and screen.runs.count == number and screen.head() is not None)
    while [(await client_of(app).run(run)).waiting_on for run in runs] != ["in_doubt"] * number:
        await pilot.pause(0.02)
    return runs


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Another process writes to the store, and takes its time."""
    connection = sqlite3.connect(root / ".fleet" / "fleet.db", isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def dialog(app: FleetConsole) -> str:
    """What a question says."""
    screen: Any = app.screen
    lines: Any = screen._lines if isinstance(screen, (Confirm, ConfirmWithReason, Ask, FormDialog)) else []
    if isinstance(screen, ConfirmShown):
        lines = chain.from_iterable(screen.blocks)
    return "\n".join("".join(part for part, _ in line) for line in lines)


def title(app: FleetConsole) -> str:
    """What is asked."""
    return str(app.screen.query(".box").first().border_title)
