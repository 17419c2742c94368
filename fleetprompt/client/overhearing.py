"""What models are just saying where the engine is in another process: told by its socket, and by nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from fleetprompt.client.listening import LOOK_SECONDS, Situation
from fleetprompt.client.talking import Talk
from fleetprompt.engine.ports.live import Piece
from fleetprompt.engine.runtime.pieces import EVERYTHING

LONGEST_LINE = 64 * 1024 * 1024

_decode = msgspec.json.Decoder(list[Piece]).decode


class Overhearing:
    """One who follows what models say in a run, beside an engine that others hold, or nobody."""

    def __init__(self, situation: Situation, run: str) -> None:
        self._situation = situation
        self._run = run
        self._talk = Talk()

    async def pieces(self, seconds: float) -> AsyncGenerator[Sequence[Piece]]:
        """What is said; see `Console.pieces`."""
        self._situation.listening.add(self._talk)
        try:
            while not self._situation.closed:
                heard = False
                async with aclosing(self._told(seconds)) as told:
                    async for some in told:
                        heard = True
                        yield some
                if heard and not self._situation.closed:
                    # Who said it is gone, and will not end the sentence.
                    yield (EVERYTHING,)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._situation.listening.discard(self._talk)

    async def _told(self, seconds: float) -> AsyncGenerator[Sequence[Piece]]:
        """What the engine tells, until it hangs up; nothing where none can be reached."""
        socket = self._situation.socket
        if socket is None or not self._situation.driven:
            return
        request = {"op": "pieces", "run": self._run, "seconds": seconds, "tenant": self._situation.tenant}
        try:
            async with self._talk.ask(socket, request, LONGEST_LINE) as reader:
                while line := await reader.readline():
                    yield _decode(line)
        except (OSError, ValueError, msgspec.DecodeError):  # `TimeoutError` is an `OSError`
            return
