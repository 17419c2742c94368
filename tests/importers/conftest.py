"""The tests of importers play runs as those of the core do, and open engines as those of the examples do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

_TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).parent), *(str(_TESTS / name) for name in ("core", "workflows", "llm"))]


@pytest.fixture(autouse=True, scope="session")
def _step_types() -> None:
    from fleetprompt.client.files import discover_steps

    discover_steps()
