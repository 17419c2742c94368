"""`fleet engine`: the engine without a face, for a console in another process. It prints one line, in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import asyncio

    from fleetprompt.cli.front import Front
    from fleetprompt.client.beside import Announcement
    from fleetprompt.client.opening import Place

app = typer.Typer(rich_markup_mode=None)


@app.command("engine", hidden=True)
def engine(
    ctx: typer.Context,
    until_eof: Annotated[bool, typer.Option("--until-eof", help="End when standard input ends, too.")] = False,
    recover: Annotated[
        bool, typer.Option("--recover/--no-recover", help="Go on with what was interrupted, or leave it alone.")
    ] = True,
) -> int:
    """Drive the runs of this project, and let its schedules fire, until SIGTERM or SIGINT.

    Prints one line of JSON when it is ready, or why not."""
    front: Front = ctx.obj
    return front.run(_hold(front.place, until_eof=until_eof, recover=recover))


async def _hold(place: Place, *, until_eof: bool, recover: bool) -> int:
    import os

    from fleetprompt.client.beside import Announcement, Ready, refusal_of
    from fleetprompt.client.opening import open_console
    from fleetprompt.engine.core.errors import FleetError

    stop = stop_event(until_eof=until_eof)
    try:
        console = await open_console(place, "engine", what="fleet engine", recover=recover, fires=True)
    except FleetError as error:
        _announce(Announcement(error=refusal_of(error)))
        raise
    try:
        _announce(Announcement(ready=Ready(os.getpid(), console.taken_up)))
        # Functions of steps may print, and nobody reads on there.
        os.dup2(2, 1)
        await stop.wait()
    finally:
        leave_at_once_when_told_again()
        await console.close()
    return 0


def _announce(announcement: Announcement) -> None:
    import sys

    import msgspec

    sys.stdout.write(msgspec.json.encode(announcement).decode() + "\n")
    sys.stdout.flush()


def stop_event(*, until_eof: bool = False) -> asyncio.Event:
    """Set when a signal says that it is enough, or when standard input ends."""
    import asyncio
    import os
    import signal

    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def read() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    if until_eof:
        try:
            loop.add_reader(0, read)
        except PermissionError:
            # A file, or nothing at all: there is no end of it to wait for.
            stop.set()
    return stop


def leave_at_once_when_told_again() -> None:
    """While the engine closes: another Ctrl-C is impatience. Nothing is lost, but work in flight becomes doubtful."""
    import asyncio
    import os
    import signal

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, os._exit, 130)
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: None)
