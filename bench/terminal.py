"""A program in a real pseudo-terminal: what it paints, when, and what that costs.

Latency is measured from the write of a key to the byte that completes what is waited for; Textual's own test driver
has waits of its own and cannot say that.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

KEYS = {
    "up": b"\x1b[A",
    "down": b"\x1b[B",
    "right": b"\x1b[C",
    "left": b"\x1b[D",
    "pagedown": b"\x1b[6~",
    "pageup": b"\x1b[5~",
    "home": b"\x1b[H",
    "end": b"\x1b[F",
    "enter": b"\r",
    "escape": b"\x1b",
    "tab": b"\t",
    "ctrl+q": b"\x11",
}
LONGEST = 60.0
"""Seconds that are waited for anything."""
ESCAPES = re.compile(rb"\x1b(?:\[[0-9;?<>=]*[a-zA-Z]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-B]|[=>78])")


class Late(Exception):
    """Something was not painted in time."""


class Terminal:
    """A program, its terminal, and when it was started."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        rows: int = 50,
        columns: int = 160,
        env: dict[str, str] | None = None,
    ) -> None:
        self._master, slave = pty.openpty()
        self.resize(rows, columns)
        whole = dict(os.environ, TERM="xterm-256color", COLORTERM="truecolor", LANG="C.UTF-8") | (env or {})
        for name in ("NO_COLOR", "SSH_CONNECTION"):
            if name not in (env or {}):
                whole.pop(name, None)
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env=whole,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.usage = psutil.Process(self.process.pid)
        self.painted = b""
        """Everything since the last `forget`."""
        self.bytes = 0
        self._read_at = self.began

    def resize(self, rows: int, columns: int) -> None:
        """Another size; the program is told (SIGWINCH)."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def age(self) -> float:
        """Seconds from exec to the last bytes that were read."""
        return self._read_at - self.began

    def forget(self) -> None:
        """What was painted until now does not count any more."""
        self.read(0.0)
        self.painted = b""

    def read(self, seconds: float) -> None:
        """Take up what is painted for so long."""
        end = time.perf_counter() + seconds
        while True:
            left = end - time.perf_counter()
            if not select.select([self._master], [], [], max(0.0, left))[0]:
                return
            self._take()

    def _take(self) -> None:
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:
            data = b""
        if not data:
            raise Late("the program has ended")
        self._read_at = time.perf_counter()
        self.painted += data
        self.bytes += len(data)

    def until(self, test: Callable[[bytes], bool], seconds: float = LONGEST) -> float:
        """Seconds from now until the bytes came with which what was painted passes a test. Raises `Late`."""
        began = time.perf_counter()
        while not test(self.painted):
            left = seconds - (time.perf_counter() - began)
            if left <= 0 or not select.select([self._master], [], [], left)[0]:
                raise Late(f"not painted in {seconds} s")
            self._take()
        # The test may take its time: what counts is when the bytes came.
        return max(0.0, self._read_at - began)

    def until_text(self, text: str, seconds: float = LONGEST) -> float:
        """Seconds from now until a text was painted, whatever its colours. Raises `Late`."""
        wanted = text.encode()
        return self.until(lambda painted: wanted in ESCAPES.sub(b"", painted), seconds)

    def press(self, *keys: str) -> None:
        """Press keys: names of `KEYS`, or text."""
        os.write(self._master, b"".join(KEYS.get(key, key.encode()) for key in keys))

    def settled(self, quiet: float = 0.05, seconds: float = 5.0) -> float:
        """Seconds from now to the last byte before a silence. Raises `Late` when nothing comes."""
        began = time.perf_counter()
        last = 0.0
        while select.select([self._master], [], [], quiet if last else seconds)[0]:
            self._take()
            last = time.perf_counter() - began
        if not last:
            raise Late(f"nothing was painted in {seconds} s")
        return last

    @property
    def cpu(self) -> float:
        """Seconds of processor time that the program has used."""
        return sum(self.usage.cpu_times()[:2])

    @property
    def memory(self) -> float:
        """Resident memory in MB."""
        return self.usage.memory_info().rss / 1e6

    def _leave(self, seconds: float) -> None:
        with suppress(Late):
            self.press("ctrl+q")
            self.read(0.3)
            self.press("y")
            end = time.perf_counter() + seconds
            while self.process.poll() is None and time.perf_counter() < end:
                self.read(0.05)

    def close(self) -> int:
        """End the program as an operator does, or else by force; its exit code."""
        if self.process.poll() is None:
            try:
                self._leave(15.0)
                self.process.wait(5)
            except (OSError, subprocess.TimeoutExpired):
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        os.close(self._master)
        return self.process.returncode
