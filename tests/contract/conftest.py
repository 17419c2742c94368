"""One store of each kind, fresh for every test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from fleetprompt.engine.ports import Store
from fleetprompt.engine.store.database import SqlStore
from fleetprompt.engine.store.memory import MemoryStore

LOG_CAP = 20_000
KINDS: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(log_cap=LOG_CAP),
    "sqlite": lambda folder: SqlStore(folder / "fleet.db", log_cap=LOG_CAP),
}


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open, empty store."""
    made = KINDS[request.param](tmp_path)
    await made.open()
    yield made
    await made.close()
