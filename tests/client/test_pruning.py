"""Pruning a project: what comes of its room, and who has to be away for a vacuum."""

from __future__ import annotations

from pathlib import Path

import pytest
from client_kit import embedded, place_at, start_of

from fleetprompt.client.database import prune
from fleetprompt.engine.runtime.lock import EngineIsRunning, engine_holder

BIG = f"""
name: big
steps: [{{id: a, type: transform, output: {"x" * 50_000}}}]
"""


async def test_a_store_is_not_written_anew_beside_an_engine(tmp_path: Path) -> None:
    place = place_at(tmp_path)
    (tmp_path / "big.yaml").write_text(BIG)
    console = await embedded(place)
    run = await console.start(start_of(tmp_path / "big.yaml"))
    await console.engine.wait(run)
    with pytest.raises(EngineIsRunning):
        await prune(place, before=9e9, vacuum=True)
    counts, room = await prune(place, before=9e9)
    assert counts["runs"] == 1
    assert room.freed > 0
    await console.close()
    _, room = await prune(place, before=9e9, vacuum=True)
    assert room.left == 0
    assert place.lock is not None
    assert engine_holder(place.lock) is None
