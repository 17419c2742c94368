"""An engine in a process beside a console: started for it, watched, ended with it.

It is `fleet engine --until-eof`, which ends when its standard input does: also when the console is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from fleetprompt.client.attached import AttachedConsole
from fleetprompt.client.protocol import TakenUp
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import Store
from fleetprompt.engine.runtime.lock import EngineIsRunning

if TYPE_CHECKING:
    from fleetprompt.client.opening import Place

TAIL = 16 * 1024
"""Bytes that are kept of what the process said last on standard error."""
LINES = 20
LINGER_SECONDS = 0.2
"""How long the output of a process is waited for once it has ended: others may hold its pipes open."""
KNOWN_SECONDS = 2.0
"""How long an engine that is gone may go on as a process: one that hangs as it ends is not waited for."""
CLOSING_SECONDS = 5.0
"""How long an engine may take to close, beyond the grace of its work."""


class Ready(Struct, frozen=True):
    """The engine listens."""

    pid: int
    taken_up: TakenUp


class Refusal(Struct, frozen=True):
    """The engine cannot be had."""

    message: str
    where: str = ""
    hint: str = ""
    holder: dict[str, Any] | None = None
    """Who holds it, when somebody does."""


class Announcement(Struct, frozen=True, omit_defaults=True):
    """The one line that an engine without a face prints."""

    ready: Ready | None = None
    error: Refusal | None = None


_announced = msgspec.json.Decoder(Announcement).decode


def refusal_of(error: FleetError) -> Refusal:
    """An error as it is announced."""
    holder = error.holder if isinstance(error, EngineIsRunning) else None
    return Refusal(error.message, error.where, error.hint, None if holder is None else dict(holder))


class Ended(Struct, frozen=True):
    """How a process ended."""

    pid: int
    code: int
    """Its exit code; less than 0: the number of the signal that killed it."""
    asked: bool
    """It was told to end."""
    lines: tuple[str, ...] = ()
    """The last that it said on standard error, inert."""

    @property
    def why(self) -> str:
        """For people, such as `killed by SIGKILL` or `exit code 70: fleet: internal error`."""
        if self.code < 0:
            with suppress(ValueError):
                return f"killed by {signal.Signals(-self.code).name}"
        said = f": {self.lines[-1]}" if self.lines else ""
        return f"exit code {self.code}{said}"


class EngineBeside:
    """A process that holds the engine of a place."""

    def __init__(self, place: Place, *, recover: bool = True) -> None:
        """`recover`: it takes up what was interrupted."""
        self._place = place
        self._recover = recover
        self._transport: asyncio.SubprocessTransport | None = None
        self._ears: _Ears | None = None
        self._asked = False
        self._ready = False
        """The process that was started last has become the engine."""

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._transport is not None and self._transport.get_returncode() is None

    @property
    def pid(self) -> int:
        """Of the process that was started last; 0 before the first."""
        return self._transport.get_pid() if self._transport is not None else 0

    async def last_words(self) -> str:
        """How the engine that was started last has ended, which is known a moment after its socket is closed; empty
        while it goes on, and where none has ever been ready."""
        if not self._ready:
            return ""
        try:
            async with asyncio.timeout(KNOWN_SECONDS):
                return (await self.ended()).why
        except TimeoutError:
            return ""

    async def start(self) -> Ready:
        """Start it, also again after it has ended, and wait until it listens.

        Raises `EngineIsRunning` where another process was faster, and `FleetError` with what else is in the way.
        """
        if self.alive:
            raise FleetError(f"the engine beside this process runs already (pid {self.pid})")
        self._asked = self._ready = False
        self._transport, self._ears = await asyncio.get_running_loop().subprocess_exec(
            _Ears, *self._command(), start_new_session=True, cwd=self._place.root
        )
        try:
            announced = await asyncio.shield(self._ears.announced)
        except BaseException:
            self._hang_up()
            raise
        if announced is not None and announced.ready is not None:
            self._ready = True
            return announced.ready
        ended = await self.ended()
        refusal = announced.error if announced is not None else None
        if refusal is None:
            text = f"the engine ended before it was ready ({ended.why})"
            raise FleetError(text, where=str(self._place.root), hint="see .fleet/engine.log, and `fleet doctor`")
        if refusal.holder is not None:
            raise EngineIsRunning(refusal.holder)
        raise FleetError(refusal.message, where=refusal.where, hint=refusal.hint)

    def _command(self) -> list[str]:
        # Without the folder it is started in on its path: there may be files that are called as modules are.
        python = [sys.executable, "-P", "-m", "fleetprompt.cli"]
        options = ["-C", str(self._place.root), "--db", _absolute(self._place)]
        return [*python, *options, "engine", "--until-eof", *([] if self._recover else ["--no-recover"])]

    async def ended(self) -> Ended:
        """Wait until the process that was started last has ended. Raises `FleetError` where none was started."""
        if self._transport is None or self._ears is None:
            raise FleetError("no engine was started beside this process")
        transport, ears = self._transport, self._ears
        await asyncio.shield(ears.ended)
        transport.close()
        return Ended(transport.get_pid(), transport.get_returncode() or 0, self._asked, ears.lines())

    async def stop(self) -> Ended:
        """Let it finish or park what it does, and end. One that does not end is killed, as nothing is lost by it.

        Raises `FleetError` where none was started.
        """
        self._asked = True
        self._hang_up()
        try:
            async with asyncio.timeout(CLOSING_SECONDS + 4 * self._place.grace):
                return await self.ended()
        except TimeoutError:
            self.kill()
            return await self.ended()

    async def restart(self) -> Ready:
        """End it, if it still runs, and start it again; see `start`."""
        if self.alive:
            await self.stop()
        return await self.start()

    def kill(self) -> None:
        """End it at once. Nothing is lost, but work in flight becomes doubtful."""
        if self.alive and self._transport is not None:
            self._transport.kill()

    def _hang_up(self) -> None:
        stdin = self._transport.get_pipe_transport(0) if self._transport is not None else None
        if stdin is not None:
            stdin.close()


def _absolute(place: Place) -> str:
    """The store, as it is called from anywhere."""
    return place.database if place.file is None else str(Path(os.path.abspath(place.file)))  # noqa: PTH100


class _Ears(asyncio.SubprocessProtocol):
    """Hears what a process says: whatever it is, it must never wait for somebody to read it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.announced: asyncio.Future[Announcement | None] = self._loop.create_future()
        """What it announced; None when it ended without."""
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._line = b""
        self._tail = b""

    def lines(self) -> tuple[str, ...]:
        """The last lines of its standard error."""
        text = self._tail.decode(errors="replace")
        return tuple(inert(line) for line in text.splitlines() if line.strip())[-LINES:]

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._tail = (self._tail + data)[-TAIL:]
        elif not self.announced.done():
            *lines, self._line = (self._line + data).split(b"\n")
            for line in lines:
                self._read(line)

    def _read(self, line: bytes) -> None:
        # Whatever is installed beside us may print something of its own first.
        with suppress(msgspec.DecodeError):
            announced = _announced(line)
            if (announced.ready or announced.error) and not self.announced.done():
                self.announced.set_result(announced)

    def process_exited(self) -> None:
        self._loop.call_later(LINGER_SECONDS, self._end)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        if not self.announced.done():
            self.announced.set_result(None)
        if not self.ended.done():
            self.ended.set_result(None)


class BesideConsole(AttachedConsole):
    """The engine is in a process that was started for this console and ends with it."""

    def __init__(self, store: Store, place: Place, *, recover: bool) -> None:
        super().__init__(store, place.root, place.lock, place.socket)
        self.admission = place.admission
        self.workflow_folders, self.names = place.agency.workflows, place.names
        self.equipment = place.equipment
        self.engine = EngineBeside(place, recover=recover)
        """It may end before the console does: whoever waits for `ended` can start it again."""

    async def begin(self) -> None:
        """Start the engine, or find that another process has been faster. Raises `FleetError`."""
        with suppress(EngineIsRunning):
            self.taken_up = (await self.engine.start()).taken_up

    async def restart(self) -> None:
        """Start the engine again, after it has ended or in place of one that runs. Raises `FleetError`."""
        self.taken_up = TakenUp()
        self.taken_up = (await self.engine.restart()).taken_up

    async def close(self) -> None:
        """Disconnect, and let the engine finish or park."""
        try:
            await super().close()
        finally:
            if self.engine.alive and not self._lent:
                await self.engine.stop()
