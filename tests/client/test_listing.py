"""What a console asks to keep a list of runs on its screen, beside a store that others write to."""

from __future__ import annotations

from pathlib import Path

import pytest
from client_kit import attached, embedded, place_at, start_of

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.ports import Order

QUICK = "name: {name}\nsteps: [{{id: a, type: transform, output: quiet}}]\n"
PARKED = "name: parked\nsteps: [{id: a, type: delay, for: 30d}]\n"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name, text in (("audit", QUICK.format(name="audit")), ("etl", QUICK.format(name="etl")), ("parked", PARKED)):
        found[name] = tmp_path / f"{name}.yaml"
        found[name].write_text(text)
    return found


async def test_a_list_of_runs_by_number(tmp_path: Path, files: dict[str, Path]) -> None:
    place = place_at(tmp_path)
    console = await embedded(place)
    started = [await console.start(start_of(files[name])) for name in ("audit", "parked", "etl")]
    for run in (started[0], started[2]):
        await console.engine.wait(run)
    index = await console.index("")
    heads = await console.heads([*index, 10**9])
    assert [head.id if head else None for head in heads] == [*reversed(started), None]
    by_workflow = await console.index("", Order("workflow", descending=False))
    assert [head.workflow for head in await console.heads(by_workflow) if head] == ["audit", "etl", "parked"]
    beside = await attached(place)
    assert await beside.index("status:completed -wf:audit") == index[:1]
    assert await beside.tally("") == {"completed": 2, "waiting": 1}
    assert await beside.values("wf", "status:completed", prefix="E") == [("etl", 1)]
    assert await beside.values("wf", "", limit=1) == [("audit", 1)]
    await console.command("fleet.run.cancel", started[1], by="ana")
    await console.engine.wait(started[1])
    changed = await beside.matching([started[1], "gone"], "status:waiting")
    assert [(head.id, head.status, holds) for head, holds in changed] == [(started[1], "cancelled", False)]
    for ask in (beside.index, beside.tally):
        with pytest.raises(InvalidInput):
            await ask("status:bogus")
    await beside.close()
    await console.close()
