"""Messages of a conversation, as steps take them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import Field, model_validator

from fleetprompt.engine.definition.parts import Part


class Said(Part):
    """Something that was said before."""

    role: Literal["user", "assistant", "system"]
    """Who said it. What a client calls `system` is kept on the record, and told to no model: agents take their
    instructions from no conversation."""
    text: str
    """What was said; `content`, as clients of chats call it, is the same."""

    @model_validator(mode="before")
    @classmethod
    def _as_chats_have_it(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "text" in value or "content" not in value:
            return cast("Any", value)
        body = cast("dict[str, Any]", value)
        return {"text" if key == "content" else key: each for key, each in body.items()}


History: TypeAlias = Annotated[list[Said], Field(max_length=1000)]
