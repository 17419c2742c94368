"""Facts on their way to the journal: stored as they are folded, spilled, loaded again."""

from __future__ import annotations

import msgspec
import pytest
from play import Play, act, each, plan

from fleetprompt.engine.core.batch import CACHE_BYTES, remember
from fleetprompt.engine.core.codec import decode
from fleetprompt.engine.core.facts import RunFinished
from fleetprompt.engine.core.names import HYDRATE_BYTES
from fleetprompt.engine.core.state import Run

BIG = "x" * 100_000
HUGE = "y" * (HYDRATE_BYTES + 10)


@pytest.mark.parametrize("count", [3, 40])
def test_a_composite_of_large_outputs_has_them_all(count: int) -> None:
    """However little of it a run keeps in memory, or the same value would be loaded again and again."""
    texts = [f"{i}" + BIG for i in range(count)]
    play = Play(plan(each("l", list(range(count)), [act("a")], at_once=count)))
    for i, text in enumerate(texts):
        play.ok(f"l[{i}].a", text)
    assert msgspec.json.decode(play.blobs[play.run.output_blob.digest]) == texts
    assert len(play.run.blobs) <= CACHE_BYTES // HYDRATE_BYTES


def test_values_that_are_too_large_to_load_are_not_kept() -> None:
    run = Run(Play(plan()).program)
    remember(run, "d", HUGE, len(HUGE))
    assert run.blobs == {}


def test_stored_facts_are_what_was_folded() -> None:
    play = Play(plan(act("a"), act("b")))
    play.ok("a", {"text": BIG, "n": [1, 2.5, None, True]})
    assert [decode(data) for data in play.journal] == play.facts
    play.ok("b", [1])
    assert decode(play.journal[-1]) == RunFinished(at=play.now, status="completed", output=[1])
