"""What is counted is what really happened: agents with a model's wire, daemons over HTTP."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path

import pytest

from fleetprompt.engine.ports import Store

for beside in ("llm", "simulation", "agents", "daemon", "contract"):
    sys.path.insert(0, str(Path(__file__).parents[1] / beside))

from store_kit import KINDS, throw_away  # noqa: E402


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open, empty store."""
    made = KINDS[request.param](tmp_path, UTC)
    await made.open()
    yield made
    await throw_away(made)
