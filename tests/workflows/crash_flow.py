"""Examples that are killed: `python crash_flow.py FOLDER NAME:NTH,NTH,… …` sends SIGKILL to an engine at each of these
commits, recovers in another process, and prints a line of JSON about the end; `NAME:$(seq -s, 1 200)` takes them all.

Forked from a process that has everything loaded, an engine costs little. What the example talks to lives elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from flow_kit import End, Scene, make_project, perform, surroundings  # noqa: E402
from scenes import SCENES  # noqa: E402

from tests.crash.loading import load_everything  # noqa: E402
from tests.crash.points import mortal  # noqa: E402


def forked(scene: Scene, folder: Path, url: str, nth: int = 0) -> dict[str, Any] | None:
    """Perform the example in a process of its own, which dies at its n-th commit; None: it did."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            if nth:
                mortal(nth, "after" if nth % 2 else "before")
            os.write(write, json.dumps(told(asyncio.run(perform(scene, folder, url)))).encode())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        given = pipe.read()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -9), f"an engine has failed by itself: {code}"
    return json.loads(given) if code == 0 else None


def told(end: End) -> dict[str, Any]:
    return {
        "status": end.status,
        "output": end.output,
        "error": str(end.error) if end.error else "",
        "doubts": end.doubts,
        "reserved": len(end.reserved),
        "used": {budget.scope.rpartition("/")[2]: end.used(budget.scope)[0] for budget in end.budgets},
        "steps": {path: step.status for path, step in end.state.steps.items()},
        "answers": [f"{note.path} {note.key}" for note in end.notes("llm.completed")],
    }


def main(folder: Path, wanted: list[str]) -> None:
    load_everything()
    for each in wanted:
        name, _, points = each.partition(":")
        for nth in map(int, points.split(",")):
            if not survives(folder / f"{name}-{nth}", SCENES[name], nth):
                break


def survives(folder: Path, scene: Scene, nth: int) -> bool:
    """Kill it at a commit, recover, and tell; False where it has not so many."""
    project = make_project(folder)
    with surroundings(scene, project) as url:
        if forked(scene, project, url, nth) is not None:
            return False
        end = forked(scene, project, url)
        assert end is not None
        told = {"name": scene.name, "nth": nth, **end, "effects": scene.effects(project)}
        print(json.dumps(told), flush=True)
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
