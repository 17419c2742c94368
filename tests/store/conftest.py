"""The kit of the contract suite serves here, too."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fleetprompt.engine.store.database import SqlStore

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))
collect_ignore = [] if os.environ.get("FLEET_TEST_POSTGRES_URL") else ["test_postgres.py"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store of a test is."""
    return tmp_path / "fleet" / "fleet.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqlStore]:
    """An open, empty store in a file."""
    made = SqlStore(path)
    await made.open()
    yield made
    await made.close()
