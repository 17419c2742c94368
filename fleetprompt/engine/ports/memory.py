"""What agents keep from one run to the next: texts, where each is from, and how they are found again."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

from fleetprompt.engine.core.memory_names import SHARED as SHARED
from fleetprompt.engine.core.memory_names import TYPES as TYPES
from fleetprompt.engine.core.memory_names import MemoryType as MemoryType

MOST: Final = 2_000
"""Memories of one scope, unless the settings say otherwise."""
MOST_CHARS: Final = 8_000
"""Characters of one memory."""
MOST_TAGS: Final = 10
MOST_TAG_CHARS: Final = 60


class Vector(Struct, frozen=True):
    """What a text means, as a model puts it."""

    model: str
    """Vectors of different models cannot be compared."""
    numbers: tuple[float, ...]


class Memory(Struct, frozen=True, kw_only=True):
    """One of them. Its text does not change."""

    id: str
    """Made from the idempotency key of the call that wrote it: written again after a crash, it is the same."""
    tenant: str = "default"
    scope: str
    type: MemoryType
    text: str
    tags: tuple[str, ...] = ()
    run: str = ""
    """Where it is from, like the fields that follow; empty where a person added it."""
    path: str = ""
    """Of the step."""
    agent: str = ""
    workflow: str = ""
    tool: str = ""
    by: str = ""
    """The person who added it; empty where an agent did."""
    untrusted: bool = False
    """Something from outside had been read in the work that wrote it, so that it may be written to deceive."""
    created_at: float
    accessed_at: float
    accesses: int = 0
    """How often it was found by an agent."""
    expires_at: float | None = None
    model: str = ""
    """Whose vector it has; empty for none."""
    seq: int = 0
    """Position in the store; 0 until stored."""


class Which(Struct, frozen=True, kw_only=True):
    """Which memories are meant."""

    tenant: str = "default"
    scope: str = ""
    """Empty: every scope."""
    type: str = ""
    tag: str = ""
    at: float
    """The time: those that have expired by then are none any more."""


class Memories(Protocol):
    """All memories."""

    async def add(self, memory: Memory, vector: Vector | None = None, *, most: int = MOST) -> tuple[Memory, bool]:
        """Keep one; what is kept, and whether it is new. One with its id, or with the same text and type in its scope,
        is kept as it is. Where the scope holds `most`, the oldest conversation makes room for another one; what else
        there is does not. Raises `Refused` where there is no room."""
        ...

    async def get(self, id: str, tenant: str = "default") -> Memory | None: ...

    async def find(self, text: str, tenant: str = "default") -> builtins.list[str]:
        """Ids that equal, begin or end with a text."""
        ...

    async def list(self, which: Which, *, limit: int = 100, before: int = 0) -> builtins.list[Memory]:
        """The newest first; `before` a position, for going on."""
        ...

    async def search(self, text: str, which: Which, *, limit: int = 10) -> builtins.list[Memory]:
        """Those that hold a word of the text, or one that begins so, the best first."""
        ...

    async def near(self, vector: Vector, which: Which, *, limit: int = 10) -> builtins.list[Memory]:
        """Those whose vectors of the same model point most the same way, the nearest first."""
        ...

    async def touch(self, ids: Sequence[str], at: float, tenant: str = "default") -> None:
        """Count that an agent was given them."""
        ...

    async def forget(self, ids: Sequence[str], tenant: str = "default") -> int:
        """Delete them; how many there were."""
        ...


class ToolMemory(Protocol):
    """The memory of whoever calls a tool, in one scope."""

    @property
    def scope(self) -> str: ...

    async def remember(self, text: str, type: MemoryType, tags: Sequence[str] = ()) -> tuple[Memory, bool]:
        """Keep a text, without secrets; what is kept, and whether it is new. The same call keeps it once. Raises
        `InvalidInput`, `Refused`."""
        ...

    async def recall(self, query: str, *, type: str = "", limit: int = 5) -> builtins.list[Memory]:
        """What fits best, by words and, where the project has a model for it, by meaning."""
        ...

    async def get(self, id: str) -> Memory | None: ...

    async def forget(self, ids: Sequence[str]) -> int:
        """Delete some of this scope; how many there were."""
        ...
