"""What models answered in a run, as a file for `replay/FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.facts import StepNoted

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Console


async def record(console: Console, run: str, target: Path) -> int:
    """Write the answers of a run, and how requests failed, to a new file; how many. Raises `InvalidInput` for a run in
    which no model was asked, `Refused` where there is such a file. Its texts are those of the journal: without secrets.
    """
    from fleetprompt.engine.llm.journaled import KINDS, Noted, entries_of
    from fleetprompt.engine.llm.recording import write

    facts = [stored.fact for stored in await console.facts(run)]
    notes = [fact for fact in facts if isinstance(fact, StepNoted) and fact.kind in KINDS]
    entries = entries_of(
        [
            Noted(
                note.path,
                note.attempt,
                note.kind,
                note.key,
                mapping(await console.value(note) if note.blob is not None else note.value),
            )
            for note in notes
        ]
    )
    if not entries:
        raise InvalidInput(f"no model has answered in run {run}", hint="`fleet runs agent:*` lists those with agents")
    target.parent.mkdir(parents=True, exist_ok=True)
    return write(target, entries)
