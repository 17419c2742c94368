"""Settings of what agents remember, and what is kept of a text."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from fleetprompt.engine.ports.memory import MOST
from fleetprompt.engine.tools._settings import Section

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]|[\ud800-\udfff]")


class MemoryTable(Section):
    """`[tools.memory]`."""

    embedding: Annotated[str, Field(max_length=200)] | None = None
    """Alias or model that makes vectors of texts; without it they are found by their words alone."""
    most: Annotated[int, Field(ge=1, le=10_000)] = MOST
    """Memories of one scope."""


def plain(text: str) -> str:
    """A text without what would only act on terminals and databases, and without space around it."""
    return _CONTROLS.sub(" ", text).strip()
