"""Pruning a project: what comes of its room, and who has to be away for a vacuum."""

from __future__ import annotations

from pathlib import Path

import pytest
from client_kit import embedded, place_at, start_of

from fleetprompt.client.database import prunable, prune
from fleetprompt.client.identity import Identity
from fleetprompt.engine.ports import Page
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


async def test_each_tenant_is_pruned_by_itself_and_some_workflows_at_times_of_their_own(tmp_path: Path) -> None:
    place = place_at(tmp_path)
    for name in ("deploy-eu", "audit"):
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\nsteps: [{{id: a, type: transform, output: 1}}]\n")
    console = await embedded(place)
    acme = console.bound(Identity(name="eve", tenant="acme", role="admin", via="cli"))
    for each in (console, acme):
        for name in ("deploy-eu", "audit"):
            await console.engine.wait(await each.start(start_of(tmp_path / f"{name}.yaml")))
    later = console.clock.now() + 10
    assert await prunable(place, before=0.0, now=later, workflows={"deploy-*": later}) == 1
    await prune(place, before=0.0, workflows={"deploy-*": later})
    assert [head.workflow for head in (await console.runs("", Page(limit=9)))[0]] == ["audit"]
    assert len((await acme.runs("", Page(limit=9)))[0]) == 2
    await prune(place, before=later, tenant="acme")
    assert (await acme.runs("", Page(limit=9)))[0] == []
    assert len((await console.runs("", Page(limit=9)))[0]) == 1
    await console.close()
