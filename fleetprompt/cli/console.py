"""`fleet` alone: the operator console, with the engine in it, beside it, or elsewhere."""

from __future__ import annotations

import asyncio
import gc
import signal
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fleetprompt.cli.front import Front
    from fleetprompt.client.door import Door
    from fleetprompt.client.opening import Mode
    from fleetprompt.client.protocol import Console
    from fleetprompt.tui.app import FleetConsole

EngineChoice = Literal["embedded", "process", "none"]
WHAT = "fleet console"
GARBAGE = (5_000, 3, 50)
"""Thresholds of the search for garbage, see `gc.set_threshold`. A portion takes some milliseconds."""


def open_in_terminal(
    front: Front,
    engine: EngineChoice = "embedded",
    *,
    read_only: bool = False,
    link: str = "",
    first: Callable[[Console], Awaitable[str]] | None = None,
    beside: Callable[[Console], Awaitable[None]] | None = None,
) -> int:
    """Show the console until the operator leaves it; its exit code. Raises `FleetError`.

    `first` is done once the store is open, and says where to go; then `beside`, while somebody looks.
    """
    if front.elsewhere is not None:
        return front.run(_show_elsewhere(front, read_only, link))
    _require_project(front)
    return front.run(_show(front, engine, read_only, link, first, beside))


async def _show(
    front: Front,
    engine: EngineChoice,
    read_only: bool,
    link: str,
    first: Callable[[Console], Awaitable[str]] | None,
    beside: Callable[[Console], Awaitable[None]] | None,
) -> int:
    from fleetprompt.tui.painting import prepare_painting

    prepare_painting()
    from fleetprompt.client.workflow_files import WorkflowFiles
    from fleetprompt.engine.core.inert import inert
    from fleetprompt.tui.app import FleetConsole
    from fleetprompt.tui.settings import load_settings
    from fleetprompt.tui.state.views import FILE, Views

    opened = False

    async def open_() -> Console:
        nonlocal opened
        if opened:
            _require_store(front)
        console = await _open(front, "none" if read_only else engine)
        opened = True
        return console

    async def again(console: Console) -> Console:
        return await _start_engine(front, console)

    async def begin(console: Console) -> str:
        where = await first(console) if first is not None else link
        if beside is not None:
            app.run_worker(partial(beside, console), group="beside", exit_on_error=False)
        return where

    app = FleetConsole(
        open_,
        again=None if read_only else again,
        who=front.me,
        tenant=front.identity.tenant,
        project=inert(front.project.root.name),
        groups=front.groups_of(front.me),
        times=front.terminal.times,
        settings=load_settings(),
        read_only=read_only,
        link=link,
        first=begin if first is not None else None,
        views=Views(front.project.state / FILE),
        files=WorkflowFiles(front.project.root, front.project.workflows, lambda: front.names),
    )
    return await _until_left(front, app)


async def _show_elsewhere(front: Front, read_only: bool, link: str) -> int:
    """The same, of a daemon: it is said before anything is shown where it does not let one in."""
    from fleetprompt.tui.painting import prepare_painting

    prepare_painting()
    from fleetprompt.client.identity import roles_with
    from fleetprompt.engine.core.inert import inert
    from fleetprompt.tui.app import FleetConsole
    from fleetprompt.tui.settings import load_settings, state_folder
    from fleetprompt.tui.state.views import Views, file_of

    console = await front.connect()
    # What the console tells itself need not be said on a terminal that it draws on.
    console.link.told = lambda lost: None
    opened = False

    async def open_() -> Console:
        nonlocal opened
        if opened:
            from fleetprompt.client.http.console import connect

            assert front.elsewhere is not None
            return (await connect(front.elsewhere, tenant=front.tenant)).as_console
        opened = True
        return console.as_console

    hello = console.hello
    viewer, voters = hello.role == "viewer", roles_with("approve")
    app = FleetConsole(
        open_,
        who=front.me,
        tenant=front.tenant,
        project=inert(hello.project),
        groups=hello.groups,
        times=front.terminal.times,
        settings=load_settings(),
        read_only=read_only or viewer,
        read_only_why=f": {inert(hello.name)} is a viewer there" if viewer else "",
        votes_not_why="" if hello.role in voters else f"deciding takes the role {' or '.join(voters)}",
        elsewhere=console.link.address.host or console.link.address.shown,
        link=link,
        views=Views(state_folder() / file_of(console.link.address.shown, front.tenant)),
    )
    return await _until_left(front, app)


async def _until_left(front: Front, app: FleetConsole) -> int:
    _leave_on_signals(app)
    try:
        code = await app.run_async()
    finally:
        await app.ended()
        await _close(front, app.door)
    return code if code is not None else app.return_code or 0


def _leave_on_signals(app: FleetConsole) -> None:
    """A terminal that is closed, and who is asked to end, leave in order: the engine closes, the store is whole."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, lambda number=number: app.exit(128 + number))


async def _open(front: Front, engine: EngineChoice) -> Console:
    # The loop goes on meanwhile: keys are heard, and the frame answers.
    opening = await asyncio.to_thread(import_module, "fleetprompt.client.opening")
    await asyncio.to_thread(opening.load)
    await asyncio.to_thread(import_module, "fleetprompt.tui.widgets.run_preview")
    from fleetprompt.client.opening import make_state, open_beside, open_console

    make_state(front.project.state)
    if (served := await _daemon_here(front)) is not None:
        return served
    if engine == "process":
        # What is in the store is shown while its engine starts.
        console = await open_beside(front.place, recover=True)
    else:
        mode: Mode = "prefer" if engine == "embedded" else "attach"
        console = await open_console(front.place, mode, what=WHAT, recover=True, fires=True)
    # What is there now stays to the end: to look for garbage among it takes as long as three frames, and keys wait.
    # For the same reason the garbage that views leave behind is taken away in small portions.
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    return console


async def _daemon_here(front: Front) -> Console | None:
    """A console of the daemon that serves this project, by its socket: the kernel tells it who asks, and consoles that
    read the store themselves take from it the processor that it needs. None where no daemon answers there."""
    socket = front.project.state / "fleet.sock"
    if front.database or not socket.is_socket():
        return None
    from fleetprompt.client.http.address import UNIX, address_of
    from fleetprompt.client.http.console import connect
    from fleetprompt.client.protocol import Disconnected

    try:
        return (await connect(address_of(f"{UNIX}{socket}"), tenant=front.tenant)).as_console
    except Disconnected:
        # One that has died leaves its socket behind, and one of another version is attached to by the store.
        return None


async def _start_engine(front: Front, console: Console) -> Console:
    from fleetprompt.client.attached import AttachedConsole
    from fleetprompt.client.beside import BesideConsole
    from fleetprompt.client.http.console import RemoteConsole
    from fleetprompt.client.reopening import take_over

    if isinstance(console, RemoteConsole):
        # The daemon is gone: what it held is free, unless somebody was faster.
        opened = await _open(front, "embedded")
        await console.close()
        return opened
    if isinstance(console, BesideConsole):
        await console.restart()
        return console
    if isinstance(console, AttachedConsole):
        return await take_over(console, front.place, what=WHAT)
    return console


async def _close(front: Front, door: Door) -> None:
    from fleetprompt.client.wording import count

    behind = door.behind
    if behind is None:
        return
    try:
        health = await behind.health() if behind.where == "embedded" else None
        if health is not None and health.effects:
            # Where the terminal was closed there is nobody to be told.
            with suppress(OSError):
                front.terminal.say(f"{count(health.effects, 'step')} in flight: a moment to finish…")
    finally:
        await door.close()


def _require_store(front: Front) -> None:
    """Refuse to begin a new store in the place of one that was open. Raises `StoreUnavailable`."""
    from fleetprompt.engine.core.errors import StoreUnavailable

    file = front.place.file
    if file is not None and not file.exists():
        raise StoreUnavailable("the store is gone", where=str(file), hint="put it or a backup back, then read again")


def _require_project(front: Front) -> None:
    """Refuse to make a project where somebody only looks. Raises `NotFound`."""
    from fleetprompt.engine.core.errors import NotFound
    from fleetprompt.settings import FILE, STATE

    root = front.project.root
    if not front.database and not (root / FILE).is_file() and not (root / STATE).is_dir():
        raise NotFound(
            "there is no project here",
            where=str(root),
            hint="`fleet init` makes one, `fleet demo` shows one at work, `fleet --help` lists the commands",
        )
