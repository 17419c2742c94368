"""A memory as a model is given it. PURE."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fleetprompt.engine.ports.memory import Memory


def told(memory: Memory, most: int | None = None) -> dict[str, Any]:
    """What it says (at most so many characters of it), since when, and where it is from."""
    source = {"run": memory.run, "agent": memory.agent, "workflow": memory.workflow, "person": memory.by}
    return {
        "id": memory.id,
        "type": memory.type,
        "text": memory.text if most is None or len(memory.text) <= most else f"{memory.text[:most]} …",
        "tags": list(memory.tags),
        "since": datetime.fromtimestamp(memory.created_at, UTC).isoformat(timespec="seconds"),
        "from": {name: value for name, value in source.items() if value} | {"untrusted": memory.untrusted},
    }
