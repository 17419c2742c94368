"""The recorded journals are what pictures are made from: they fold, and the runs in them stand where they stood."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetprompt.client.opening import open_console
from fleetprompt.engine.core.signal import VOTE
from fleetprompt.engine.ports import NEWEST_FIRST
from tests.tui.recorded import FOLDER, NOW, Logged, RecordedProject, Tape, Told

ENDS = {
    "audit": {"completed": 1},
    "chain": {"waiting": 6},
    "crawl": {"completed": 1},
    "diagnosis": {"waiting": 1},
    "doubt": {"waiting": 1},
    "fleet": {"cancelled": 1, "completed": 10, "failed": 4, "running": 2, "waiting": 2},
    "hostile": {"waiting": 1},
    "incident": {"completed": 1},
    "paused": {"waiting": 1},
    "retries": {"failed": 1},
    "team": {"waiting": 2},
}
INCIDENTS = {"whole": Tape("incident"), "asked": Tape("incident", until=VOTE)}


def test_every_recorded_journal_is_known() -> None:
    assert sorted(ENDS) == sorted(file.stem for file in FOLDER.glob("*.jsonl"))


@pytest.mark.parametrize("name", ENDS)
async def test_a_recorded_journal_becomes_the_store_it_came_from(name: str, tmp_path: Path) -> None:
    project = RecordedProject(tmp_path)
    await project.put(Tape(name, ago=60))
    console = await open_console(project.place, "attach")
    try:
        assert await console.tally("") == ENDS[name]
        seqs = await console.index("", NEWEST_FIRST)
        heads = [head for head in await console.heads(seqs) if head is not None]
        assert max(head.updated_at for head in heads) == pytest.approx(NOW - 60, abs=0.01)
        for head in heads:
            run = await console.state(head.id)
            assert (run.ignored, run.n) == (0, head.n)
        assert (await console.store.check()).problems == ()
    finally:
        await console.close()


def test_a_journal_that_is_cut_short_has_what_was_said_until_then() -> None:
    said = {name: [each for each in tape.entries if isinstance(each, Logged)] for name, tape in INCIDENTS.items()}
    asked_at = max(each.fact["at"] for each in INCIDENTS["asked"].entries if isinstance(each, Told))
    assert [each.line.path for each in said["asked"]] == ["context.health"]
    assert [each.line.at <= asked_at for each in said["whole"]] == [True] + [False] * 5
