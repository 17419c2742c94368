"""One store of each kind, fresh for every test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fleetprompt.engine.ports import Store
from fleetprompt.engine.store.database import SqlStore
from fleetprompt.engine.store.memory import MemoryStore

KINDS = ["memory", "sqlite"]


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open, empty store."""
    made: Store
    if request.param == "memory":
        made = MemoryStore(log_cap=20_000)
    else:
        made = SqlStore(tmp_path / "fleet.db", log_cap=20_000)
    await made.open()
    yield made
    await made.close()
