"""One connection: who is at the other end of a Unix socket, and how long a request may take to arrive."""

from __future__ import annotations

import asyncio
import socket
import struct
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fleetprompt.daemon.problems import problem

HEAD_SECONDS = 10.0
"""How long the head of a request may take."""
BODY_SECONDS = 60.0
"""How long the body of a request may take."""
WRITE_SECONDS = 60.0
"""How long somebody may take to read anything of an answer that waits for them."""
HEAD_BYTES = 64 * 1024
"""How large the head of a request may be."""


class Connection(HttpToolsProtocol):
    """An HTTP connection that waits for nobody for ever: slow requests cost their sender, not us."""

    head_seconds = HEAD_SECONDS
    body_seconds = BODY_SECONDS
    write_seconds = WRITE_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._patience: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._head = 0
        """Bytes of a head that is not complete."""
        self._in_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Look who it is, and begin to wait for a request."""
        super().connection_made(transport)
        uid = _peer_uid(transport.get_extra_info("socket"))
        if uid is not None:
            self.client = (f"uid:{uid}", 0)
        self._wait(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._wait(None)
        self._read()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """What was written is not read."""
        super().pause_writing()
        self._read()
        self._unread = self.loop.call_later(self.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It is read."""
        self._read()
        super().resume_writing()

    def _read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def data_received(self, data: bytes) -> None:
        """Some of a request."""
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > HEAD_BYTES:
                self._refuse(431, f"the head of a request may have {HEAD_BYTES:,} bytes")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head, self._head = True, 0
        self._wait(self.head_seconds)

    def on_headers_complete(self) -> None:
        """Its head is there."""
        self._in_head = False
        self._wait(self.body_seconds)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._wait(None)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What comes is no HTTP."""
        self._refuse(400, "this is no HTTP request")

    def _wait(self, seconds: float | None) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = self.loop.call_later(seconds, self._give_up) if seconds is not None else None

    def _give_up(self) -> None:
        self._refuse(408, "the request took too long to arrive")

    def _refuse(self, status: int, detail: str) -> None:
        if self.transport.is_closing():
            return
        answer = problem(status, detail, "VALIDATION_ERROR", headers={"Connection": "close"})
        head = [b"%s: %s" % header for header in answer.raw_headers]
        first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
        self.transport.write(b"\r\n".join((first, *head, b"", bytes(answer.body))))
        self.transport.close()


def _peer_uid(sock: socket.socket | None) -> int | None:
    if sock is None or sock.family != socket.AF_UNIX:
        return None
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return uid
