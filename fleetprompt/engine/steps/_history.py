"""Messages of a conversation, as steps take them."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from fleetprompt.engine.definition.parts import Part


class Said(Part):
    """Something that was said before."""

    role: Literal["user", "assistant"]
    """Who said it."""
    text: str
    """What was said."""


History: TypeAlias = Annotated[list[Said], Field(max_length=1000)]
