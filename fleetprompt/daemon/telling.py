"""A response that goes on line by line, for as long as there is somebody who may hear it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import msgspec
from fastapi import Response
from starlette.types import Message, Receive, Scope, Send

from fleetprompt.client.http.messages import BEAT_SECONDS, Told, Trouble
from fleetprompt.daemon.problems import HttpProblem, status_of
from fleetprompt.engine.core.errors import FleetError

_log = logging.getLogger(__name__)


class Telling(Response):
    """Lines as they come. An empty one where there is none for a while, by which either side sees that the other is
    there; then it is also looked whether who listens still may.

    Who reads slowly is waited for, and hears more at once: what the lines are made from keeps nothing for them.
    """

    def __init__(
        self,
        lines: AsyncGenerator[bytes],
        still: Callable[[], Awaitable[None]],
        closing: asyncio.Event,
        *,
        media_type: str,
        beat: float = BEAT_SECONDS,
    ) -> None:
        """`still` raises `HttpProblem` for who may not listen any more; it ends when `closing` is set."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, media_type=media_type)
        del self.headers["content-length"]
        self._lines = lines
        self._still = still
        self._closing = closing
        self._beat = beat
        self._sending = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them (ASGI)."""
        start: Message = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(start)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._until_left(receive))
                group.create_task(self._until_closed())
                group.create_task(self._look(send))
                await self._tell(send)
                raise _Over
        except* _Over:
            pass
        except* Exception as failed:
            # Whoever listens begins anew: that there is a mistake, nobody else sees.
            _log.error("what is told to %s ends", scope["path"], exc_info=failed)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, data: bytes) -> None:
        async with self._sending:
            try:
                await send({"type": "http.response.body", "body": data, "more_body": True})
            except OSError:
                raise _Over from None

    async def _tell(self, send: Send) -> None:
        # The first byte says that it has begun.
        await self._send(send, b"\n")
        try:
            async with aclosing(self._lines) as lines:
                async for line in lines:
                    await self._send(send, line)
            await self._send(send, msgspec.json.encode(Told(over=True)) + b"\n")
        except FleetError as error:
            await self._send(send, _trouble(status_of(error), error.message, error.hint))

    async def _look(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self._beat)
            try:
                await self._still()
            except HttpProblem as problem:
                await self._send(send, _trouble(problem.status, problem.detail, problem.hint))
                raise _Over from None
            except FleetError:
                # The store cannot be read just now: that says nothing of who listens.
                pass
            await self._send(send, b"\n")

    async def _until_left(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        raise _Over

    async def _until_closed(self) -> None:
        await self._closing.wait()
        raise _Over


def _trouble(status: int, detail: str, hint: str) -> bytes:
    # Lines are written by whoever tells them; this one says why there are no more.
    return msgspec.json.encode(Told(trouble=Trouble(status, detail, hint))) + b"\n"


class _Over(Exception):
    """Nobody listens any more, or nothing more will come."""
