"""What simulated models say, held in the middle for as long as a test wants to look at it.

Between two words of a simulation with a `pace` passes a time, after which it is over, seen or not.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from fleetprompt.engine.llm import script


class HeldSpeech:
    """No more than `most` pieces of what has a pace are said in all, until it is let go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: float) -> None:
        self._most = most
        self._said = 0
        self._moved = asyncio.Event()
        monkeypatch.setattr(script, "asyncio", self)

    def go_on(self, most: float = math.inf) -> None:
        """Let it be said as far as that, or to the end."""
        self._most = most
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """In place of `asyncio.sleep`."""
        self._said += 1
        while self._said >= self._most:
            await self._moved.wait()
        await asyncio.sleep(seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)
