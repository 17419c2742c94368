"""What comes one by one, taken as much at once as there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from fleetprompt.engine.ports import Stored

MOST = 1_000
"""Facts that are held for somebody who does not take them: what comes then waits where it comes from."""


class Pump:
    """Facts of a feed, as they are taken. `run` has to be running beside."""

    def __init__(self, entries: AsyncIterator[Any]) -> None:
        self._entries = entries
        self._there: list[Stored] = []
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ended = False

    async def run(self) -> None:
        """Take what comes, until it ends or this is cancelled."""
        try:
            async with aclosing(self._entries) as entries:  # pyright: ignore[reportArgumentType]
                async for entry in entries:
                    if isinstance(entry, Stored):
                        self._there.append(entry)
                        self._some.set()
                        if len(self._there) >= MOST:
                            self._room.clear()
                            await self._room.wait()
        finally:
            self._ended = True
            self._some.set()

    async def take(self) -> list[Stored]:
        """All that is there, as soon as there is something; nothing at the end."""
        await self._some.wait()
        found, self._there = self._there, []
        if not self._ended:
            self._some.clear()
        self._room.set()
        return found
