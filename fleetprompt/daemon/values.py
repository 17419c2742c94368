"""Values that are too large for a journal: given whole up to a size, else as a reference with an address."""

from __future__ import annotations

from typing import Any

import msgspec

from fleetprompt.client.protocol import Console
from fleetprompt.daemon.records import reference
from fleetprompt.engine.core.errors import NotFound
from fleetprompt.engine.core.facts import Blob, RunFinished, StepSucceeded
from fleetprompt.engine.ports import Stored

MOST = 1024 * 1024
"""Bytes of large values that one answer, or one event of a stream, gives whole."""


async def fetched(console: Console, ref: str) -> Any:
    """A value by its reference. Raises `NotFound`."""
    value = await console.value(_holder(Blob(ref, 0)))
    if value is None:
        raise NotFound(f"there is no value {ref[:64]}", hint="retention may have deleted it with its execution")
    return value


class Room:
    """How much of what one answer refers to still fits into it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._left = MOST

    async def whole(self, value: Any) -> Any:
        """A value itself, or what stands for it where it does not fit, or is gone."""
        if not isinstance(value, Blob):
            return value
        if value.size > self._left:
            return reference(value)
        found = await self._console.value(_holder(value))
        if found is None:
            return reference(value)
        self._left -= value.size
        return found


async def told(console: Console, stored: Stored) -> Stored:
    """A fact with what came of a step or a run in it."""
    fact = stored.fact
    if not isinstance(fact, RunFinished | StepSucceeded) or fact.blob is None:
        return stored
    output = await Room(console).whole(fact.blob)
    return msgspec.structs.replace(stored, fact=msgspec.structs.replace(fact, blob=None, output=output))


def _holder(blob: Blob) -> RunFinished:
    # The port reads the value of whatever refers to one.
    return RunFinished(at=0.0, status="completed", blob=blob)
