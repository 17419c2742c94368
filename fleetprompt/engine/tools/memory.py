"""`memory.*`: what agents remember from one run to the next."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fleetprompt.engine.core.errors import NotFound
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports.memory import MOST_CHARS, MOST_TAG_CHARS, MOST_TAGS, Memory, MemoryType
from fleetprompt.engine.ports.tool import Preview, Reach, ToolRoom, Verdict
from fleetprompt.engine.ports.world import Done, Outcome
from fleetprompt.engine.tools._memory import plain
from fleetprompt.engine.tools._recalled import told
from fleetprompt.engine.tools.declare import ToolModel, tool

Tag = Annotated[str, Field(min_length=1, max_length=MOST_TAG_CHARS)]


@tool("memory.remember")
class Remember(ToolModel):
    """Keep something for later work: one thing that will still be true and useful then, in a sentence or two that can
    be understood on their own. No secrets, and nothing that is only about this task."""

    judged_by: ClassVar[tuple[str, ...] | None] = ("scope", "type")

    text: Annotated[str, Field(min_length=1, max_length=MOST_CHARS)]
    type: MemoryType = "fact"
    """`fact`: what is so. `learned`: what experience has taught. `conversation`: what was said."""
    tags: list[Tag] = Field([], max_length=MOST_TAGS)
    """Words by which it is found as well."""

    repeat: ClassVar[Literal["safe", "never"]] = "safe"
    verdict: ClassVar[Verdict] = "allow"

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not plain(self.text) or not all(map(plain, self.tags)):
            raise ValueError("a text, or a tag, says nothing")
        return self

    async def preview(self, room: ToolRoom) -> Preview:
        """What would be kept, and where."""
        scope = room.memory.scope
        return Preview(
            summary=f"remember in {inert(scope)}: {inert(self.text)[:150]}",
            show={"scope": scope, **self.model_dump()},
            subject={"scope": scope, "type": self.type},
        )

    async def call(self, room: ToolRoom) -> Outcome:
        """Keep it, once."""
        kept, new = await room.memory.remember(self.text, self.type, self.tags)
        return Done({"id": kept.id, "scope": kept.scope, "new": new})


@tool("memory.recall")
class Recall(ToolModel):
    """Look up what is remembered from earlier work: what fits the query best. It may be out of date or wrong."""

    judged_by: ClassVar[tuple[str, ...] | None] = ("scope",)

    query: Annotated[str, Field(min_length=1, max_length=2000)]
    type: MemoryType | None = None
    """Only memories of this type."""
    limit: Annotated[int, Field(ge=1, le=20)] = 5

    reach: ClassVar[Reach] = "read"
    repeat: ClassVar[Literal["safe", "never"]] = "safe"
    verdict: ClassVar[Verdict] = "allow"
    untrusted: ClassVar[bool] = True

    async def preview(self, room: ToolRoom) -> Preview:
        """What would be looked for, and where."""
        scope = room.memory.scope
        return Preview(
            summary=f"recall from {inert(scope)}: {inert(self.query)[:150]}",
            show={"scope": scope, **self.model_dump()},
            subject={"scope": scope},
        )

    async def call(self, room: ToolRoom) -> Outcome:
        """Look it up."""
        found = await room.memory.recall(self.query, type=self.type or "", limit=self.limit)
        return Done({"memories": [told(each) for each in found]})


@tool("memory.forget")
class Forget(ToolModel):
    """Delete memories that are wrong or of no use any more, by the ids that recalling gave."""

    judged_by: ClassVar[tuple[str, ...] | None] = ("scope",)

    ids: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(min_length=1, max_length=20)]

    repeat: ClassVar[Literal["safe", "never"]] = "safe"

    async def preview(self, room: ToolRoom) -> Preview:
        """What would be gone."""
        memory = room.memory
        found = [await self._known(memory, id) for id in self.ids]
        return Preview(
            summary=f"forget {len(found)} of {inert(memory.scope)}: {inert(found[0].text)[:120]}",
            show={"scope": memory.scope, "memories": [told(each) for each in found]},
            risk="it cannot be brought back",
            subject={"scope": memory.scope},
        )

    async def _known(self, memory: Any, id: str) -> Memory:
        found = await memory.get(id)
        if found is None:
            raise NotFound(f"{inert(memory.scope)} holds no memory {inert(id)}", hint="recall it, which gives its id")
        return found

    async def call(self, room: ToolRoom) -> Outcome:
        """Delete them; what is gone already is as it should be."""
        return Done({"forgotten": await room.memory.forget(self.ids)})
