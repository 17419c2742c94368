"""What a console tells of many runs, and of one signal: through a real engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from client_kit import ME, attached, embedded, place_at, start_of

from fleetprompt.client.protocol import Console
from fleetprompt.engine.core.errors import InvalidInput, NotFound
from fleetprompt.engine.core.signal import Signal

HEARS = """
name: hears
triggers: [{type: signal, match: order.placed, inputs: {n: "${{ data.n }}"}}]
inputs: {n: {type: integer, default: 0}}
steps: [{id: tell, type: emit, signal: order.seen, data: {n: "${{ inputs.n }}"}}]
"""


async def finished(console: Console, run: str) -> None:
    async for _ in console.watch(run):
        if (await console.run(run)).finished_at is not None:
            return


async def placed(console: Console) -> str:
    """A signal that has started a run which is over; its id."""
    sent = Signal(id="sig-1", type="order.placed", source="test", at=1.0, data={"n": 1}, key="k", by=ME)
    # Over the network an id is made the tenant's own.
    kept, _ = await console.publish(sent)
    routed, (result,) = await console.outcome(kept.id)
    assert routed
    await finished(console, result.run)
    return kept.id


async def test_a_signal_is_followed_to_what_it_caused_and_replayed(tmp_path: Path, reach: str) -> None:
    (tmp_path / "hears.yaml").write_text(HEARS)
    console = await embedded(place_at(tmp_path))
    await finished(console, await console.start(start_of(tmp_path / "hears.yaml")))
    first = await placed(console)
    lineage = await console.lineage(first)
    assert [(kin.depth, kin.how, kin.signal and kin.signal.type) for kin in lineage.effects] == [
        (1, "caused", "fleet.run.start"),
        (2, "started", None),
        (3, "emitted", "order.seen"),
        (3, "emitted", "fleet.run.finished"),
    ]
    start, run, seen, end = lineage.effects
    assert run.run is not None
    assert run.run.status == "completed"
    back = await console.lineage(seen.id)
    assert [(kin.how, kin.id) for kin in back.causes] == [
        ("emitted", run.id),
        ("started", start.id),
        ("caused", first),
    ]
    assert {each.id for each in back.family} == {first, start.id, seen.id, end.id}

    again = await console.replay(first, by="ben")
    # Over HTTP nobody says who they are: they are who has come.
    assert again.signal.by == ("ben" if reach == "here" else ME)
    assert (again.duplicate, again.routed, again.signal.key) == (False, True, "")
    assert (again.signal.causation, again.signal.replay_of, again.signal.data) == (first, first, {"n": 1})
    assert [result.status for result in again.results] == ["accepted"]
    assert again.results[0].run != run.id
    await finished(console, again.results[0].run)
    assert [kin.how for kin in (await console.lineage(first)).effects].count("started") == 2
    with pytest.raises(InvalidInput):
        await console.replay(start.id, by=ME)
    for ask in (console.lineage, console.outcome):
        with pytest.raises(NotFound):
            await ask("nothing")
    await console.close()


async def test_figures_are_the_same_beside_an_engine(tmp_path: Path) -> None:
    (tmp_path / "hears.yaml").write_text(HEARS)
    console = await embedded(place_at(tmp_path))
    for _ in range(3):
        await finished(console, await console.start(start_of(tmp_path / "hears.yaml")))
    beside = await attached(place_at(tmp_path))
    now = console.clock.now() + 1
    for face in (console, beside):
        (hears,) = await face.statistics(now - 3600)
        assert (hears.workflow, hears.runs, hears.success, hears.cost_nano) == ("hears", 3, 1.0, 0)
        assert hears.p50 is not None
        assert len(hears.recent) == 3
        parts = await face.activity(now - 3600, now, 12)
        assert [sum(each.started for each in parts), sum(each.completed for each in parts)] == [3, 3]
        assert await face.spend(0) == (0, 0, 0)
        assert await face.costs("workflow", "wf:hears") == []
        with pytest.raises(InvalidInput):
            await face.costs("workflow", "wf:")
    await beside.close()
    await console.close()
