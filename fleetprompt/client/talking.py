"""A conversation with the engine behind a socket: one question, and lines of answer until somebody hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

ANSWER_SECONDS = 2.0
"""How long an engine may take to say its first word."""

_encode = msgspec.json.encode


class Talk:
    """One who asks the engine, again and again while it comes and goes, until the console is closed."""

    def __init__(self) -> None:
        self._writer: asyncio.StreamWriter | None = None
        self._over = False

    def hang_up(self) -> None:
        """End it, and let no other begin: the console is closed."""
        self._over = True
        if self._writer is not None:
            self._writer.close()

    @asynccontextmanager
    async def ask(self, socket: Path, request: object, longest: int) -> AsyncGenerator[asyncio.StreamReader]:
        """Ask, and hear the answer, whose lines have at most so many bytes. Raises `OSError` when nobody is there, and
        `TimeoutError`, which is one, when somebody is there who takes no question."""
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_unix_connection(socket, limit=longest)
                self._writer = writer
                if self._over:
                    # It was ended while the connection was made: nobody will hang up.
                    raise ConnectionAbortedError
                writer.write(_encode(request) + b"\n")
                await writer.drain()
            yield reader
        finally:
            self._writer = None
            if writer is not None:
                writer.close()
