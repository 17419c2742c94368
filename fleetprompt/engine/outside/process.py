"""A program in a session of its own, which does not start before we say so and does not outlive us.

The program waits behind a gate until its pid is durable, so that there is no moment in which it runs and a later engine
could not find it. Signals always go to its whole process group.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

SHELL = "/bin/sh"
GATE = 'IFS= read -r _ && exec "$@"'
"""The gate is the first line of standard input. `read` takes no byte more than that line, so the rest of the pipe is
the program's own input. Where the engine dies first, `read` fails and the program never runs."""
DRAIN = 1.0
"""Seconds that output may still arrive after the program has ended: what it left behind may hold the pipes for ever."""
_POLL = 0.02
_REAP = 2.0


class _Pipe(asyncio.Protocol):
    """One output of a process."""

    def __init__(self, receive: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        self._receive = receive
        self._ended = ended

    def data_received(self, data: bytes) -> None:
        self._receive(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended()


class Process:
    """A spawned program. `receive(fd, data)` gets its output (fd 1 or 2) as it comes.

    Not asyncio's own subprocess: there, waiting for the exit also waits for the pipes in some versions of Python, and
    a spawn that is cancelled while the loop shuts down never returns.
    """

    def __init__(self, popen: subprocess.Popen[bytes], gate: int) -> None:
        self.pid = popen.pid
        self.left_open = False
        """Something the program started still held the output when we stopped listening."""
        self._popen = popen
        self._gate = gate
        self._exited = asyncio.Event()
        self._silent = asyncio.Event()
        self._open = 2
        self._transports: list[asyncio.BaseTransport] = []
        self._stdin: asyncio.WriteTransport | None = None
        self._pidfd = self._watch()

    @classmethod
    def spawn(cls, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None) -> Process:
        """Start the program behind its gate. `argv[0]` is a path. Raises `OSError`. `stop` is owed from here on."""
        reader, gate = os.pipe()
        try:
            popen = subprocess.Popen(
                (SHELL, "-c", GATE, "sh", *argv),
                bufsize=0,
                stdin=reader,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env=dict(env),
                start_new_session=True,
            )
        except BaseException:
            os.close(gate)
            raise
        finally:
            os.close(reader)
        return cls(popen, gate)

    async def release(self, stdin: bytes, receive: Callable[[int, bytes], None]) -> None:
        """Open the gate: from here on the program runs, with this input."""
        loop = asyncio.get_running_loop()
        for fd, pipe in ((1, self._popen.stdout), (2, self._popen.stderr)):
            listener = _Pipe(partial(receive, fd), self._one_ended)
            transport, _ = await loop.connect_read_pipe(partial(_same, listener), pipe)
            self._transports.append(transport)
        gate = os.fdopen(self._gate, "wb", buffering=0)
        self._gate = -1
        self._stdin, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, gate)
        self._stdin.write(b"\n" + stdin)
        self._stdin.close()

    async def ended(self) -> int:
        """Wait for the program to end and its output to arrive. The exit code; negative: the signal it died of."""
        await self._exit()
        try:
            async with asyncio.timeout(DRAIN):
                await self._silent.wait()
        except TimeoutError:
            self.left_open = True
        self._close()
        return self._popen.returncode

    async def stop(self, grace: float) -> None:
        """End the whole group: SIGTERM, up to `grace` seconds, then SIGKILL. Also when cancelled meanwhile."""
        gone = False
        try:
            _signal_group(self.pid, signal.SIGTERM)
            async with asyncio.timeout(grace):
                await self._exit()
                # A group outlives its leader when a child ignores the signal; nothing tells us when it has emptied.
                while not gone:
                    gone = not _signal_group(self.pid, 0)
                    await asyncio.sleep(0 if gone else _POLL)
        except TimeoutError:
            pass
        finally:
            if not gone:
                _signal_group(self.pid, signal.SIGKILL)
            try:
                async with asyncio.timeout(_REAP):
                    await self._exit()
            except TimeoutError:
                pass
            finally:
                self._close()

    async def _exit(self) -> None:
        if self._pidfd >= 0:
            await self._exited.wait()
        while self._popen.returncode is None:
            await asyncio.sleep(_POLL)
            self._popen.poll()

    def _watch(self) -> int:
        """Learn of the exit from the kernel where it tells us; -1: we have to ask now and then."""
        if sys.platform != "linux":
            return -1
        try:
            pidfd = os.pidfd_open(self.pid)
        except OSError:
            return -1
        asyncio.get_running_loop().add_reader(pidfd, self._on_exit)
        return pidfd

    def _on_exit(self) -> None:
        self._popen.poll()
        self._exited.set()
        self._unwatch()

    def _unwatch(self) -> None:
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _one_ended(self) -> None:
        self._open -= 1
        if not self._open:
            self._silent.set()

    def _close(self) -> None:
        self._unwatch()
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1
        if self._stdin is not None and self._stdin.get_write_buffer_size():
            self._stdin.abort()
        for transport in self._transports:
            transport.close()
        for pipe in (self._popen.stdout, self._popen.stderr)[len(self._transports) :]:
            if pipe is not None:
                pipe.close()


def _same(listener: _Pipe) -> _Pipe:
    return listener


def identity(pid: int, argv0: str) -> dict[str, Any]:
    """What a later engine needs in order to recognise a process: pids are used again, these values together are not."""
    known = {"pid": pid, "start_time": started_at(pid), "argv0": argv0, "boot_id": current_boot()}
    return known | {"engine": os.getpid()}


def kill_orphan(pid: int, start_time: str, boot_id: str, engine: int = 0) -> bool:
    """Kill the process group that an engine which is gone has left behind (SIGKILL); whether there was one.

    Nothing happens unless the machine has not been restarted since, the process with that pid started at that very
    time, and it leads its own group: anything else is somebody else's process. Neither does it while the engine that
    started it (its pid, where it is known) is still its parent: then we were given a copy of that engine's store.
    """
    if pid <= 1 or not start_time or boot_id != current_boot() or started_at(pid) != start_time:
        return False
    try:
        if os.getpgid(pid) != pid or pid == os.getpgid(0):
            return False
    except ProcessLookupError:
        return False
    if engine and engine != os.getpid() and parent_of(pid) == engine:
        return False
    return _signal_group(pid, signal.SIGKILL)


def started_at(pid: int) -> str:
    """When a process started, as text that only serves to be compared; empty when there is no such process."""
    if sys.platform == "linux":
        return _stat(pid, 19)
    return _answer_of("ps", "-o", "lstart=", "-p", str(pid))


def parent_of(pid: int) -> int:
    """The process that started another one, or took it over when that was gone; 0 when there is no such process."""
    found = _stat(pid, 1) if sys.platform == "linux" else _answer_of("ps", "-o", "ppid=", "-p", str(pid))
    return int(found or 0)


def _stat(pid: int, field: int) -> str:
    """A field of what Linux says of a process, counted from its state; empty when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    # The second field is the program's name in brackets and may itself hold brackets and spaces.
    return stat[stat.rindex(b")") + 2 :].split()[field].decode()


@lru_cache(maxsize=1)
def current_boot() -> str:
    """Which start of which machine (and, in a container, which pid namespace) a pid belongs to."""
    if sys.platform == "linux":
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return _answer_of("sysctl", "-n", "kern.boottime")


def _answer_of(*argv: str) -> str:
    answer = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    return answer.stdout.strip()


def _signal_group(pid: int, number: int) -> bool:
    """Signal a process group; whether it exists."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # It exists; a member runs as another user, or (on macOS) all that is left is a zombie.
        return number == 0 and sys.platform == "linux"
    return True
