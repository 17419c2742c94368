"""The keyboard of the person at the terminal, read beside everything else and without threads."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from fleetprompt.client.wording import sign


class Keyboard:
    """Silent while a tree is drawn, an ordinary line when a question is asked. `with Keyboard() as keyboard`."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._saved = termios.tcgetattr(self._fd)

    def __enter__(self) -> Keyboard:
        self._silent()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)

    def _silent(self) -> None:
        mode = termios.tcgetattr(self._fd)
        mode[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(self._fd, termios.TCSADRAIN, mode)

    async def key(self) -> str:
        """The next key that is pressed; empty at the end of input."""
        return (await self._read())[:1]

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While this lasts, what is typed is seen and can be corrected. What was typed before does not count."""
        termios.tcsetattr(self._fd, termios.TCSAFLUSH, self._saved)
        try:
            yield
        finally:
            self._silent()

    async def line(self, question: str) -> str | None:
        """A line of text, while asking; None at the end of input (Ctrl-D)."""
        sys.stderr.write(sign(question))
        sys.stderr.flush()
        text = await self._read()
        if not text:
            sys.stderr.write("\n")
            return None
        return text.rstrip("\r\n")

    async def _read(self) -> str:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._fd, lambda: ready.done() or ready.set_result(None))
        try:
            await ready
        finally:
            loop.remove_reader(self._fd)
        try:
            return os.read(self._fd, 4096).decode(errors="replace")
        except OSError:
            return ""
