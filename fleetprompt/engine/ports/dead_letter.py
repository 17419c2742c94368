"""Dead letters: written by whoever closes a signal or gives a delivery up, in that same transaction."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Protocol

from fleetprompt.engine.core.dead_letter import DeadLetter
from fleetprompt.engine.core.query import Query
from fleetprompt.engine.ports.lists import Page


class DeadLetters(Protocol):
    """What came to nothing. `Signals.close` writes them; see there."""

    async def get(self, letter: str, tenant: str = "default") -> DeadLetter | None: ...

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[builtins.list[DeadLetter], str]:
        """Matching letters (`DEAD_LETTER_FIELDS`), those that are newest first, and the cursor of the next page. Raises
        `InvalidInput` for a bad filter or cursor."""
        ...

    async def ids(self, query: Query, *, now: float, tenant: str = "default") -> builtins.list[str]:
        """The ids of all matching letters, the newest first. Raises `InvalidInput` for a bad filter."""
        ...

    async def of_signals(self, signals: Sequence[str], tenant: str = "default") -> builtins.list[DeadLetter]:
        """The letters about these signals, whatever became of them, the oldest first."""
        ...

    async def dismiss(self, letters: Sequence[str], *, by: str, at: float, tenant: str = "default") -> int:
        """Let these be, as far as they are dead; how many were."""
        ...
