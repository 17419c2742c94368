"""What an agent remembers from one run to the next: written once whatever happens, without secrets, and found by words
and by meaning together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from fleetprompt.engine.agents.asking import Asking, Wanted
from fleetprompt.engine.core.agent import Agent, MemorySettings
from fleetprompt.engine.core.codec import digest
from fleetprompt.engine.core.errors import FleetError, InvalidInput
from fleetprompt.engine.llm import prices
from fleetprompt.engine.llm.stream import estimate_tokens
from fleetprompt.engine.ports.budget import Allowance, Amounts
from fleetprompt.engine.ports.memory import MOST_CHARS, SHARED, Memory, MemoryType, Vector, Which
from fleetprompt.engine.ports.model import EmbeddingAnswer, ModelTarget, Provider
from fleetprompt.engine.ports.work import WorkContext
from fleetprompt.engine.tools._memory import MemoryTable, plain
from fleetprompt.engine.tools._recalled import told as told
from fleetprompt.engine.tools._settings import read_section

MEMORY = "memory."
"""How the names of the tools begin that need a memory."""
CANDIDATES = 30
"""Memories that are found in each way, and ranked together."""
RANK = 60
"""How much the first places are worth more than the later ones (reciprocal rank fusion)."""
GOAL_CHARS, RESULT_CHARS = 2_000, 5_000
"""Of a conversation."""


class Place(Struct, frozen=True):
    """Where in the work something is remembered."""

    note: str
    """Key of the call, under which its vector is recorded."""
    key: str
    """Idempotency key."""
    tool: str


def fuse(*rankings: Sequence[Memory]) -> list[Memory]:
    """Several orders as one: what stands in front in one of them, and above all in several, comes first."""
    scores: defaultdict[str, float] = defaultdict(float)
    known: dict[str, Memory] = {}
    for ranking in rankings:
        for place, memory in enumerate(ranking, 1):
            scores[memory.id] += 1 / (RANK + place)
            known.setdefault(memory.id, memory)
    return sorted(known.values(), key=lambda memory: (-scores[memory.id], -memory.seq))


class AgentMemory:
    """See `ports.memory.ToolMemory`."""

    def __init__(
        self,
        ctx: WorkContext,
        agent: Agent,
        place: Place,
        *,
        untrusted: bool,
        own: Sequence[Allowance] = (),
    ) -> None:
        """`untrusted`: something from outside was read in this work. `own`: limits of the agent itself."""
        self._ctx = ctx
        self._agent = agent
        self._settings = agent.memory or MemorySettings()
        self._place = place
        self._untrusted = untrusted
        self._own = tuple(own)

    @property
    def scope(self) -> str:
        """Whose memory it is."""
        kind = self._settings.scope
        if kind == "shared":
            return SHARED
        return f"{kind}/{self._agent.name if kind == 'agent' else self._ctx.effect.workflow}"

    async def remember(self, text: str, type: MemoryType, tags: Sequence[str] = ()) -> tuple[Memory, bool]:
        """Keep a text; what is kept, and whether it is new. Raises `InvalidInput`, `Refused`."""
        ctx, effect, now = self._ctx, self._ctx.effect, self._ctx.now()
        kept = plain(ctx.redact(text))
        if not kept or len(kept) > MOST_CHARS:
            raise InvalidInput(f"a memory has between 1 and {MOST_CHARS:,} characters")
        table = await self._table()
        memory = Memory(
            id=f"m-{self._place.key[:20]}",
            tenant=effect.tenant,
            scope=self.scope,
            type=type,
            text=kept,
            tags=tuple(dict.fromkeys(plain(ctx.redact(tag)) for tag in tags)),
            run=effect.run,
            path=effect.path,
            agent=self._agent.name,
            workflow=effect.workflow,
            tool=self._place.tool,
            untrusted=self._untrusted,
            created_at=now,
            accessed_at=now,
            expires_at=now + self._settings.keep if self._settings.keep is not None else None,
        )
        vector = await self._vector(table, kept)
        return await ctx.memories.add(memory, vector, most=table.most)

    async def recall(self, query: str, *, type: str = "", limit: int = 5) -> list[Memory]:
        """What fits best."""
        ctx, asked = self._ctx, plain(self._ctx.redact(query))[:MOST_CHARS]
        which = Which(tenant=ctx.effect.tenant, scope=self.scope, type=type, at=ctx.now())
        rankings = [await ctx.memories.search(asked, which, limit=CANDIDATES)]
        vector = await self._vector(await self._table(), asked)
        if vector is not None:
            rankings.append(await ctx.memories.near(vector, which, limit=CANDIDATES))
        found = fuse(*rankings)[:limit]
        if found:
            await ctx.memories.touch([memory.id for memory in found], ctx.now(), ctx.effect.tenant)
        return found

    async def get(self, id: str) -> Memory | None:
        """One of this scope."""
        found = await self._ctx.memories.get(id, self._ctx.effect.tenant)
        return found if found is not None and found.scope == self.scope else None

    async def forget(self, ids: Sequence[str]) -> int:
        """How many there were."""
        own = [id for id in ids if await self.get(id) is not None]
        return await self._ctx.memories.forget(own, self._ctx.effect.tenant)

    async def conversation(self, goal: str, output: Any) -> str:
        """Keep what was asked and what came of it; its id, empty where there was no room."""
        result = output if isinstance(output, str) else msgspec.json.encode(output).decode()
        text = f"Asked: {_shortened(goal, GOAL_CHARS)}\nResult: {_shortened(result, RESULT_CHARS)}"
        try:
            kept, _ = await self.remember(text, "conversation")
        except FleetError as error:
            self._ctx.log(f"the conversation was not kept: {error.message}", "warning")
            return ""
        return kept.id

    async def _table(self) -> MemoryTable:
        # Settings of tools are known once tools are.
        await self._ctx.tools(["memory.recall"])
        return read_section(("tools", "memory"), MemoryTable, self._ctx.tool_settings("memory.recall"))

    async def _vector(self, table: MemoryTable, text: str) -> Vector | None:
        """What a text means, asked for once and recorded; None where there is no model, or it does not answer: words
        are enough to go on."""
        if not table.embedding or not text:
            return None
        ctx = self._ctx
        try:
            asking = Asking(ctx, "embedding", await ctx.notes(), self._own)
            told = await asking.ask(f"{self._place.note}/embedding", _wanted(ctx, table.embedding, text))
            numbers = msgspec.json.decode(await ctx.kept(str(told["vector"])), type=tuple[float, ...])
        except FleetError as error:
            ctx.log(f"no vector for the memory: {error.message}", "warning")
            return None
        return Vector(str(told["model"]), numbers)


def _wanted(ctx: WorkContext, model: str, text: str) -> Wanted:
    tokens = estimate_tokens(text)

    def most(target: ModelTarget) -> Amounts | None:
        cost = prices.most(target.price, tokens, 0)
        return Amounts(tokens=tokens, cost_nano=cost) if cost is not None else None

    async def send(provider: Provider, target: ModelTarget, credential: str, key: str) -> EmbeddingAnswer:
        del key
        return await provider.embed(target, [text], credential)

    async def told(answer: EmbeddingAnswer) -> dict[str, Any]:
        numbers = answer.vectors[0]
        return {"vector": await ctx.keep(msgspec.json.encode(numbers), with_run=True), "dimensions": len(numbers)}

    return Wanted(model, digest([text, model]), most, send, told)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} …"
