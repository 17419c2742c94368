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
from functools import lru_cache
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


class Process(asyncio.SubprocessProtocol):
    """A spawned program. `receive(fd, data)` gets its output (fd 1 or 2) as it comes."""

    def __init__(self, receive: Callable[[int, bytes], None]) -> None:
        self.pid = 0
        self.left_open = False
        """Something the program started still held the output when we stopped listening."""
        self._receive = receive
        self._exited = asyncio.Event()
        self._silent = asyncio.Event()
        self._open = {1, 2}
        self._gate = -1
        self._transport: asyncio.SubprocessTransport | None = None
        self._stdin: asyncio.WriteTransport | None = None

    @classmethod
    async def spawn(
        cls,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None,
        receive: Callable[[int, bytes], None],
    ) -> Process:
        """Start the program behind its gate. `argv[0]` is a path. Raises `OSError`."""
        process = cls(receive)
        reader, process._gate = os.pipe()
        try:
            process._transport, _ = await asyncio.get_running_loop().subprocess_exec(
                lambda: process,
                *(SHELL, "-c", GATE, "sh", *argv),
                stdin=reader,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env=dict(env),
                start_new_session=True,
            )
        except BaseException:
            process._shut_gate()
            raise
        finally:
            os.close(reader)
        process.pid = process._transport.get_pid()
        return process

    async def release(self, stdin: bytes) -> None:
        """Open the gate: from here on the program runs, with this input."""
        gate = os.fdopen(self._gate, "wb", buffering=0)
        self._gate = -1
        self._stdin, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.BaseProtocol, gate)
        self._stdin.write(b"\n" + stdin)
        self._stdin.close()

    async def ended(self) -> int:
        """Wait for the program to end and its output to arrive. The exit code; negative: the signal it died of."""
        await self._exited.wait()
        try:
            async with asyncio.timeout(DRAIN):
                await self._silent.wait()
        except TimeoutError:
            self.left_open = True
        assert self._transport is not None
        code = self._transport.get_returncode()
        self._close()
        return code if code is not None else 0

    async def stop(self, grace: float) -> None:
        """End the whole group: SIGTERM, up to `grace` seconds, then SIGKILL. Also when cancelled meanwhile."""
        gone = False
        try:
            _signal_group(self.pid, signal.SIGTERM)
            async with asyncio.timeout(grace):
                await self._exited.wait()
                # A group outlives its leader when a child ignores the signal; nothing tells us when it has emptied.
                while not gone:
                    gone = not _signal_group(self.pid, 0)
                    if not gone:
                        await asyncio.sleep(_POLL)
        except TimeoutError:
            pass
        finally:
            if not gone:
                _signal_group(self.pid, signal.SIGKILL)
            try:
                async with asyncio.timeout(_REAP):
                    await self._exited.wait()
            except TimeoutError:
                pass
            finally:
                self._close()

    # What the event loop calls

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._receive(fd, data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        if not self._open:
            self._silent.set()

    def process_exited(self) -> None:
        self._exited.set()

    def _close(self) -> None:
        self._shut_gate()
        if self._stdin is not None and self._stdin.get_write_buffer_size():
            self._stdin.abort()
        if self._transport is not None:
            self._transport.close()

    def _shut_gate(self) -> None:
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1


def identity(pid: int, argv0: str) -> dict[str, Any]:
    """What a later engine needs in order to recognise a process: pids are used again, these values together are not."""
    return {"pid": pid, "start_time": started_at(pid), "argv0": argv0, "boot_id": current_boot()}


def kill_orphan(pid: int, start_time: str, boot_id: str) -> bool:
    """Kill the process group that an engine which is gone has left behind (SIGKILL); whether there was one.

    Nothing happens unless the machine has not been restarted since, the process with that pid started at that very
    time, and it leads its own group: anything else is somebody else's process.
    """
    if pid <= 1 or not start_time or boot_id != current_boot() or started_at(pid) != start_time:
        return False
    try:
        if os.getpgid(pid) != pid or pid == os.getpgid(0):
            return False
    except ProcessLookupError:
        return False
    return _signal_group(pid, signal.SIGKILL)


def started_at(pid: int) -> str:
    """When a process started, as text that only serves to be compared; empty when there is no such process."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
        except OSError:
            return ""
        # The second field is the program's name in brackets and may itself hold brackets and spaces.
        return stat[stat.rindex(b")") + 2 :].split()[19].decode()
    return _answer_of("ps", "-o", "lstart=", "-p", str(pid))


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
