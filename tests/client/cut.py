"""A line to a daemon that can be cut: what is between is a relay on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Cut:
    """Passes bytes on both ways until it is told otherwise."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._refuses = False
        self._swallows = False
        self.asked = 0
        """Portions that have come from the near end."""
        self.url = ""

    @classmethod
    @asynccontextmanager
    async def before(cls, url: str) -> AsyncGenerator[Cut]:
        """A line to what listens there."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        cut = cls(parts.hostname, parts.port)
        cut._server = await asyncio.start_server(cut._accept, "127.0.0.1", 0)
        cut.url = f"http://127.0.0.1:{cut._server.sockets[0].getsockname()[1]}"
        try:
            yield cut
        finally:
            cut.stay()
            cut._server.close()

    def now(self) -> None:
        """Cut what is connected; others can connect."""
        for writer in self._writers:
            writer.transport.abort()

    def stay(self) -> None:
        """Cut it, and let nobody connect."""
        self._refuses = True
        self.now()

    def heal(self) -> None:
        self._refuses = self._swallows = False

    def swallow_answers(self) -> None:
        """What is asked arrives, and nothing comes back."""
        self._swallows = True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        if self._refuses:  # It was cut meanwhile.
            for each in (writer, far_writer):
                each.transport.abort()
            return
        ends = {writer, far_writer}
        self._writers |= ends
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, far_writer, asks=True))
                group.create_task(self._pass(far_reader, writer, asks=False))
        finally:
            self._writers -= ends
            for each in ends:
                each.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, asks: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                self.asked += asks
                if asks or not self._swallows:
                    writer.write(data)
                    await writer.drain()
        writer.transport.abort()
