"""What models answered in runs, read back from their journals for `replay/RUN`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.facts import StepNoted
from fleetprompt.engine.ports import Corrupt

if TYPE_CHECKING:
    from fleetprompt.engine.llm.providers import Lines
    from fleetprompt.engine.runtime.engine import Engine


async def recording_of(engine: Engine, name: str, asker: str) -> Lines | None:
    """The answers that a run was given, for a run of the same tenant. `name`: an id, or a part of one that means one
    run. None where the tenant has no such run, or nobody knows who asks."""
    from fleetprompt.engine.llm.journaled import KINDS, Noted, entries_of

    asking = await engine.store.runs.get(asker) if asker else None
    if asking is None:
        return None
    tenant = asking.tenant
    found = await engine.store.runs.find(name, tenant)
    if name not in found and len(found) != 1:
        return None
    run = name if name in found else found[0]
    stored = await engine.store.journal.facts(run, tenant=tenant)
    facts = [each.fact for each in stored if not isinstance(each, Corrupt)]
    notes = [fact for fact in facts if isinstance(fact, StepNoted) and fact.kind in KINDS]
    return entries_of(
        [Noted(note.path, note.attempt, note.kind, note.key, await _whole(engine, note, tenant)) for note in notes]
    )


async def _whole(engine: Engine, note: StepNoted, tenant: str) -> dict[str, Any]:
    """What a note holds, also where most of it was spilled; what is left of it where that was pruned."""
    content = await engine.store.blobs.get(note.blob.digest, tenant) if note.blob is not None else None
    return dict(mapping(msgspec.json.decode(content) if content is not None else note.value))
