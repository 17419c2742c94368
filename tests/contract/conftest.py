"""One store of each kind, fresh for every test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path

import pytest
from store_kit import KINDS, throw_away

from fleetprompt.engine.ports import Store


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open, empty store."""
    made = KINDS[request.param](tmp_path, UTC)
    await made.open()
    yield made
    await throw_away(made)
