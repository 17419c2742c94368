"""An agent that is killed at every commit: `python crash_kit.py FOLDER BASE REPEAT…` prints a line of JSON for each.

The model is a stub server's, reached through litellm; the tool writes a line and syncs it, so that effects can be
counted. Forked from a process that has everything loaded, an engine costs little.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "llm"), str(ROOT / "tests" / "agents")]

from agent_kit import StubModels, command, engine_at, head, notes, start  # noqa: E402
from stub_server import Stub  # noqa: E402

from fleetprompt.engine.core import signal as types  # noqa: E402
from fleetprompt.engine.llm.library import imported  # noqa: E402
from tests.crash.loading import load_everything  # noqa: E402
from tests.crash.points import mortal  # noqa: E402

TOOL = '''
import os
from fleetprompt.engine.tools.python import tool, ToolContext

@tool(effect="write", repeat="{repeat}", name="append")
def append(line: str, context: ToolContext) -> str:
    """Append a line."""
    with open("{folder}/effects", "a") as file:
        file.write(context.key + " " + line + "\\n")
        file.flush()
        os.fsync(file.fileno())
    return "appended"
'''
FLOW = """
name: crash
agents:
  a: {tools: [append], max_tokens: 100}
guardrails: {cost_usd: 1}
steps:
  - {id: work, type: agent, agent: a, prompt: go}
"""
SCRIPT = [
    {"when": "appended", "text": "done"},
    {"when": "nobody knows", "text": "done"},
    {"calls": [{"name": "append", "arguments": {"line": "one"}}]},
]


def settings(folder: Path) -> dict[str, Any]:
    return {
        "tools": {"python": ["appending:append"]},
        "policy": {"allow": ["append"]},
        "workflows": (folder,),
    }


async def live(folder: Path, base: str, run: str) -> None:
    """Start the run, or go on with it, until it is over or waits for somebody."""
    async with engine_at(folder, StubModels(Stub(base, folder / "unused")), **settings(folder)) as engine:
        if await engine.store.runs.get(run) is None:
            await start(engine, FLOW, run=run)
        while True:
            found = await head(engine, run)
            if found.finished_at is not None or found.status == "waiting":
                return
            await asyncio.sleep(0.005)


async def verdict(folder: Path, base: str, run: str) -> dict[str, Any]:
    """Go on with it, and say what it came to: another engine finds what is in doubt, which an operator skips."""
    await live(folder, base, run)
    async with engine_at(folder, StubModels(Stub(base, folder / "unused")), **settings(folder)) as engine:
        doubtful = (await head(engine, run)).waiting_on == "in_doubt"
        before = effects(folder)
        if doubtful:
            await command(engine, types.RESOLVE, run, path="work", answer="skip")
        async with asyncio.timeout(120):
            ended = await engine.wait(run)
        [budget] = await engine.store.budgets.of_run(run)
        return {
            "status": ended.status,
            "doubtful": doubtful,
            "effects_before": before,
            "effects": effects(folder),
            "answered": len(await notes(engine, "llm.completed", run)),
            "broken": len(await notes(engine, "llm.failed", run)),
            "reserved": budget.reserved.cost_nano,
            "spent": [budget.spent.cost_nano, ended.cost_nano],
            "uncertain": [budget.uncertain.cost_nano, ended.uncertain_nano],
        }


def effects(folder: Path) -> list[str]:
    file = folder / "effects"
    return file.read_text().splitlines() if file.exists() else []


def forked(work: Any, *args: Any, nth: int = 0, when: str = "after") -> tuple[int, Any]:
    """Run in a process of its own: its exit code (negative: killed), and what it gave."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        code = 1
        try:
            if nth:
                mortal(nth, when)  # type: ignore[arg-type]
            result = asyncio.run(work(*args))
            os.write(write, json.dumps(result).encode())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        given = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), json.loads(given) if given else None


def prepared(folder: Path, run: str, repeat: str) -> Path:
    place = folder / run
    place.mkdir()
    (place / "appending.py").write_text(TOOL.format(repeat=repeat, folder=place))
    return place


def main(folder: Path, base: str, repeats: list[str]) -> None:
    imported()
    load_everything()
    # Once without a kill: what is done for the first time takes longer than the rest.
    asyncio.run(live(prepared(folder, "first", "safe"), base, "first"))
    for repeat in repeats:
        die_everywhere(folder, base, repeat)


def die_everywhere(folder: Path, base: str, repeat: str) -> None:
    for nth in count(1):
        alive = 0
        for when in ("before", "after"):
            run = f"{repeat}-{nth}-{when}"
            place = prepared(folder, run, repeat)
            killed, _ = forked(live, place, base, run, nth=nth, when=when)
            assert killed in (0, -9), killed
            alive += killed == 0
            if killed == 0:
                continue
            code, found = forked(verdict, place, base, run)
            assert code == 0
            print(json.dumps({"run": run, "repeat": repeat} | found), flush=True)
        if alive == 2:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
