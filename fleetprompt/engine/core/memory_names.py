"""The names of memories: whose they are, and of which type. PURE."""

from __future__ import annotations

import re
from typing import Final, Literal

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.inert import inert

MemoryType = Literal["conversation", "fact", "learned"]
"""What was said in a session, what is so, and what experience has taught."""
TYPES: Final[tuple[MemoryType, ...]] = ("conversation", "fact", "learned")
SHARED: Final = "shared"
"""The scope that is nobody's own. The others are `agent/NAME` and `workflow/NAME`."""
_SCOPE = re.compile(r"shared|(agent|workflow)/[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def scope_of(text: str) -> str:
    """The scope that a text names. Raises `InvalidInput`."""
    if not _SCOPE.fullmatch(text):
        raise InvalidInput(f"there is no memory {inert(text)}", hint="write shared, agent/NAME or workflow/NAME")
    return text


def type_of(text: str) -> MemoryType:
    """The type that a text names. Raises `InvalidInput`."""
    for known in TYPES:
        if known == text:
            return known
    hint = did_you_mean(text, TYPES) or f"types are {', '.join(TYPES)}"
    raise InvalidInput(f"there is no type of memory {inert(text)}", hint=hint)
