"""The engine's socket: nudges in, live facts out. One JSON object a line; only the owner of the files can connect.

`{"op": "nudge"}` says that signals were published, `{"op": "health"}` asks how the engine is, `{"op": "holds"}` what it
does nothing for any more, `{"op": "edited", "run": ID, "approval": ID, "values": {…}}` what the call of an approval
would be with these arguments. `{"op": "watch", "after": SEQ, "run": ID}` turns the connection into the feed,
`{"op": "changes", "seconds": S}` into changes, at most one in so many seconds, and
`{"op": "pieces", "run": ID, "seconds": S}` into the answers of models that a run is receiving; each but the nudge
and the edited call says for which `tenant`, and hears of nobody else's runs. Who cannot connect still works:
engines also look at the store twice a second.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.ports import EngineHealth, Stored
from fleetprompt.engine.ports.tool import EditedCall
from fleetprompt.engine.runtime.edits import LOOK_SECONDS, look_at

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

LONGEST_PATH = 100
"""Bytes of a socket path that every Unix takes (`sun_path` is 104 or 108 long)."""
POLL_SECONDS = 0.5
MAX_LINE = 2 * 1024 * 1024
"""Bytes of a request: arguments of a call can be as long as the data of a signal."""
SHORTEST, LONGEST = 0.01, 60.0
"""Seconds between two changes that a listener may ask for."""
NUDGE_SECONDS = 5.0
"""How long an engine may take to look at the signals it was told of."""
HEALTH_SECONDS = 2.0
LONGEST_ANSWER = 64 * 1024 * 1024

T = TypeVar("T")
_encode = msgspec.json.encode


class _Request(msgspec.Struct):
    op: str
    after: int = 0
    run: str = ""
    tenant: str = "default"
    seconds: float = 0.05
    approval: str = ""
    values: dict[str, Any] = {}


class Looked(msgspec.Struct):
    """What came of a look at a changed call: the call, nothing where nothing would be changed, or why it cannot be."""

    call: EditedCall | None = None
    problem: str = ""
    hint: str = ""
    code: str = ""


class _Holds(msgspec.Struct):
    holds: dict[str, str]


_decode = msgspec.json.Decoder(_Request).decode


class Wire:
    """Listens beside an engine."""

    def __init__(self, engine: Engine, path: Path | None) -> None:
        """Without a path nobody can connect; the store is looked at all the same."""
        self._engine = engine
        self._path = path
        self._server: asyncio.Server | None = None
        self._poller: asyncio.Task[None] | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen. Where there can be no socket, others are left to polling."""
        self._poller = asyncio.get_running_loop().create_task(self._poll())
        if self._path is None:
            return
        try:
            if len(bytes(self._path)) > LONGEST_PATH:
                raise OSError(f"{self._path} is too long for a socket")
            self._path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._accept, sock=_private(self._path), limit=MAX_LINE)
        except OSError as error:
            self._engine.trouble("socket, so other processes poll", error)

    async def close(self) -> None:
        """Hang up."""
        tasks = [task for task in (self._poller, *self._connections) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        if self._server is not None and self._path is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _poll(self) -> None:
        """See what other processes have written, also when nobody nudges."""
        token, elapsed, told = None, asyncio.get_running_loop().time, ""
        while True:
            try:
                now = await self._engine.store.changed(token or 0)
                if now != token:
                    await self._engine.others_wrote()
                    if token is not None:
                        # Nobody says what was written: it may be that runs were pruned.
                        self._engine.feed.mark(lost=True)
                    token = now
                if told:
                    told = ""
                    self._engine.feed.mark(lost=True)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                # Once, not twice a second for as long as it lasts.
                if str(error) != told:
                    told = str(error)
                    self._engine.trouble("looking for signals", error)
            due = elapsed() + POLL_SECONDS
            await asyncio.sleep(POLL_SECONDS)
            self._engine.vitals.was_late(elapsed() - due)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            await self._talk(reader, writer)
        except (ConnectionError, _TooLong, asyncio.CancelledError):
            pass
        except Exception as error:
            self._engine.trouble("socket", error)
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await _line(reader):
            try:
                request = _decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                writer.write(_encode({"error": "not a request"}) + b"\n")
                return
            if request.op == "nudge":
                await self._engine.bus.drain()
                writer.write(b'{"ok":true}\n')
                await writer.drain()
            elif request.op in ("health", "holds"):
                engine, whose = self._engine, request.tenant
                asked = request.op == "health"
                answer = await engine.vitals.health(whose) if asked else _Holds(engine.holds_of(whose))
                writer.write(_encode(answer) + b"\n")
                await writer.drain()
            elif request.op == "edited":
                writer.write(_encode(await self._looked(request)) + b"\n")
                await writer.drain()
            elif request.op == "watch":
                await _until_hung_up(reader, self._send_feed(writer, request))
                return
            elif request.op == "pieces":
                await _until_hung_up(reader, self._send_pieces(writer, request))
                return
            elif request.op == "changes":
                await _until_hung_up(reader, self._send_changes(writer, request))
                return
            else:
                writer.write(_encode({"error": f"unknown op {request.op!r}"}) + b"\n")

    async def _looked(self, request: _Request) -> Looked:
        try:
            return Looked(call=await look_at(self._engine, request.run, request.approval, request.values))
        except FleetError as error:
            return Looked(problem=error.message, hint=error.hint, code=error.code)

    async def _send_feed(self, writer: asyncio.StreamWriter, request: _Request) -> None:
        feed, journal = self._engine.feed, self._engine.store.journal
        async for entry in feed.watch(journal, request.after, request.run, request.tenant):
            if isinstance(entry, Stored):
                writer.write(_encode({"fact": entry}) + b"\n")
            else:
                writer.write(_encode({"run": entry[0], "log": entry[1]}) + b"\n")
            await writer.drain()

    async def _send_changes(self, writer: asyncio.StreamWriter, request: _Request) -> None:
        # Whoever reads slowly keeps this waiting, and is told more at once.
        seconds = min(max(request.seconds, SHORTEST), LONGEST)
        changed = self._engine.feed.changes(self._engine.store.journal, seconds, request.tenant)
        async with aclosing(changed) as changes:
            async for change in changes:
                writer.write(_encode(change) + b"\n")
                await writer.drain()

    async def _send_pieces(self, writer: asyncio.StreamWriter, request: _Request) -> None:
        seconds = min(max(request.seconds, SHORTEST), LONGEST)
        async with aclosing(self._engine.pieces.watch(request.run, seconds, request.tenant)) as pieces:
            async for some in pieces:
                writer.write(_encode(some) + b"\n")
                await writer.drain()


def _private(path: Path) -> socket.socket:
    """A socket that is its owner's from the beginning: nobody is let in before its mode is set."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(before)
    sock.setblocking(False)
    return sock


class _TooLong(Exception):
    """A line of a request has no end."""


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError:
        raise _TooLong from None


async def _until_hung_up(reader: asyncio.StreamReader, sending: Coroutine[Any, Any, None]) -> None:
    """Until either side hangs up: where nothing happens any more, writing would never tell that nobody reads."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(sending), loop.create_task(_hung_up(reader))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        sent, _ = await asyncio.gather(*tasks, return_exceptions=True)
    if isinstance(sent, Exception):
        raise sent


async def _hung_up(reader: asyncio.StreamReader) -> None:
    while await reader.read(MAX_LINE):
        pass


async def nudge(path: Path, patience: float = NUDGE_SECONDS) -> bool:
    """Tell the engine behind a socket that there are signals; False when nobody listens or answers in time."""
    return bool(await _ask(path, "nudge", patience))


async def ask_health(path: Path, tenant: str = "default") -> EngineHealth | None:
    """How the engine behind a socket is, with the runs of a tenant that are held; None when nobody listens or answers
    in time."""
    return _understood(await _ask(path, "health", HEALTH_SECONDS, {"tenant": tenant}), EngineHealth)


async def ask_holds(path: Path, tenant: str = "default") -> dict[str, str] | None:
    """What the engine behind a socket does nothing for of a tenant, and why; None when nobody listens or answers
    in time."""
    found = _understood(await _ask(path, "holds", HEALTH_SECONDS, {"tenant": tenant}), _Holds)
    return found.holds if found is not None else None


async def ask_edited(path: Path, run: str, approval: str, values: dict[str, Any]) -> Looked | None:
    """What the engine behind a socket sees in a changed call; None when nobody listens or answers in time."""
    given = {"run": run, "approval": approval, "values": values}
    return _understood(await _ask(path, "edited", LOOK_SECONDS + NUDGE_SECONDS, given), Looked)


async def _ask(path: Path, op: str, patience: float, given: dict[str, Any] | None = None) -> bytes:
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=LONGEST_ANSWER)
    except (OSError, ValueError):
        return b""
    try:
        # The kernel accepts for an engine that is stopped or hangs, which then never answers.
        async with asyncio.timeout(patience):
            writer.write(_encode({"op": op} | (given or {})) + b"\n")
            await writer.drain()
            return await reader.readline()
    except (OSError, ValueError):  # `TimeoutError` is an `OSError`
        return b""
    finally:
        writer.close()


def _understood(line: bytes, type_: type[T]) -> T | None:
    """What was answered; an engine of another version may not know the question."""
    try:
        return msgspec.json.decode(line, type=type_)
    except msgspec.DecodeError:
        return None
