"""An `image` step that is killed at every commit: `python image_crash.py FOLDER BASE` prints a line of JSON each."""

from __future__ import annotations

import asyncio
import json
import sys
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), *(str(ROOT / "tests" / folder) for folder in ("llm", "agents"))]

from agent_kit import StubModels, engine_at, head, notes, start  # noqa: E402
from crash_kit import forked  # noqa: E402
from stub_server import Stub  # noqa: E402

from fleetprompt.engine.llm.library import imported  # noqa: E402
from fleetprompt.engine.ports.model import Price  # noqa: E402
from tests.crash.loading import load_everything  # noqa: E402

FLOW = """
name: crash
guardrails: {cost_usd: 1}
steps:
  - {id: draw, type: image, prompt: a cat, n: 2, file: out/cat.png}
"""
PRICE = Price(image=40_000_000, source="test")


async def live(folder: Path, base: str, run: str) -> dict[str, Any]:
    """Start the run, or go on with it, until it is over; what it came to."""
    async with engine_at(folder, StubModels(Stub(base, folder / "unused"), PRICE)) as engine:
        if await engine.store.runs.get(run) is None:
            await start(engine, FLOW, run=run)
        async with asyncio.timeout(120):
            ended = await engine.wait(run)
        [budget] = await engine.store.budgets.of_run(run)
        found = await head(engine, run)
        return {
            "run": run,
            "status": ended.status,
            "made": len(await notes(engine, "image.completed", run)),
            "broken": len(await notes(engine, "image.failed", run)),
            "files": sorted(file.name for file in (folder / "out").iterdir()),
            "reserved": budget.reserved.cost_nano,
            "spent": [budget.spent.cost_nano, found.cost_nano],
            "uncertain": [budget.uncertain.cost_nano, found.uncertain_nano],
        }


def main(folder: Path, base: str) -> None:
    imported()
    load_everything()
    # Once without a kill: what is done for the first time takes longer than the rest.
    (folder / "first").mkdir()
    asyncio.run(live(folder / "first", base, "first"))
    for nth in count(1):
        alive = 0
        for when in ("before", "after"):
            run = f"r-{nth}-{when}"
            place = folder / run
            place.mkdir()
            killed, _ = forked(live, place, base, run, nth=nth, when=when)
            assert killed in (0, -9), killed
            alive += killed == 0
            code, found = forked(live, place, base, run)
            assert code == 0
            print(json.dumps(found), flush=True)
        if alive == 2:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
