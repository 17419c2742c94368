"""What people add to the memory of agents, and what they have forgotten."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.core.errors import InvalidInput, NotFound
from fleetprompt.engine.core.memory_names import scope_of, type_of
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports.memory import MOST_CHARS, MOST_TAG_CHARS, MOST_TAGS, Memory

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine


async def add(engine: Engine, signal: Signal) -> dict[str, Any]:
    """Keep what a person says, once for each signal. Raises `InvalidInput`, `Refused`."""
    from fleetprompt.engine.tools._memory import MemoryTable, plain
    from fleetprompt.engine.tools._settings import read_section

    data, redact = mapping(signal.data), engine.secrets.redact
    text = plain(redact(str(data.get("text") or "")))
    tags = tuple(dict.fromkeys(plain(redact(str(tag))) for tag in items(data.get("tags"))))
    if not text or len(text) > MOST_CHARS:
        raise InvalidInput(f"a memory has between 1 and {MOST_CHARS:,} characters")
    if len(tags) > MOST_TAGS or not all(0 < len(tag) <= MOST_TAG_CHARS for tag in tags):
        raise InvalidInput(f"a memory has up to {MOST_TAGS} tags of up to {MOST_TAG_CHARS} characters")
    await engine.agency.tools(["memory.recall"])
    table = read_section(("tools", "memory"), MemoryTable, engine.agency.tool_settings("memory.recall"))
    now = engine.now()
    memory = Memory(
        id=f"m-{sha256(signal.id.encode()).hexdigest()[:20]}",
        tenant=signal.tenant,
        scope=scope_of(str(data.get("scope") or "")),
        type=type_of(str(data.get("type") or "fact")),
        text=text,
        tags=tags,
        by=signal.by,
        created_at=now,
        accessed_at=now,
    )
    kept, new = await engine.store.memories.add(memory, most=table.most)
    return {"memory": kept.id, "new": new}


async def forget(engine: Engine, signal: Signal) -> dict[str, Any]:
    """Delete memories. Raises `NotFound` where there is none of them."""
    ids = [str(id) for id in items(mapping(signal.data).get("memories"))]
    gone = await engine.store.memories.forget(ids, signal.tenant)
    if not gone:
        raise NotFound("there is no such memory", hint="`fleet memory` lists them")
    return {"forgotten": gone}
