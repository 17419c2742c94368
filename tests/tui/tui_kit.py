"""Short ways to say what a console looks at: runs in a real store, read through the half of the client that reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

from fleetprompt.client.reading import Reading
from fleetprompt.engine.core.facts import RunCreated, RunFinished
from fleetprompt.engine.ports import Append, RunHead
from fleetprompt.engine.store.database import SqlStore

NOW = 1_800_000_000.0


class Still:
    """A clock that stands still."""

    def __init__(self, at: float = NOW) -> None:
        self.at = at

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.at


@asynccontextmanager
async def reading(folder: Path) -> AsyncIterator[Reading]:
    """A store, and what reads it."""
    store = SqlStore(folder / "fleet.db", zone=UTC)
    await store.open()
    try:
        yield Reading(store, Still())  # type: ignore[arg-type]
    finally:
        await store.close()


def begun(number: int, **fields: Any) -> Append:
    """The first append of run `number`."""
    run = f"run-{number:06}"
    created = RunCreated(run=run, plan="p", workflow=fields.get("workflow", "audit"), at=NOW + number)
    return Append(run=run, tenant="default", after=0, facts=(created,), head=_head(run, 1, number, fields))


def moved(number: int, after: int, status: str, **fields: Any) -> Append:
    """Another append of run `number`, which has that status from now on."""
    run = f"run-{number:06}"
    fact = RunFinished(status="completed", at=NOW + number + after)
    head = _head(run, after + 1, number, fields | {"status": status})
    return Append(run=run, tenant="default", after=after, facts=(fact,), head=head)


def _head(run: str, n: int, number: int, fields: dict[str, Any]) -> RunHead:
    values: dict[str, Any] = {
        "id": run,
        "tenant": "default",
        "workflow": "audit",
        "plan": "p",
        "status": "running",
        "n": n,
        "created_at": NOW + number,
        "updated_at": NOW + number + n,
        "started_at": NOW + number,
    }
    return RunHead(**(values | fields))


async def put(client: Reading, *entries: Append) -> None:
    """Append in order, and wait."""
    for future in [client.store.journal.append(entry) for entry in entries]:
        await future
