"""Die at every commit: one run for each moment at which a commit is about to be durable, or has just become it.

`python -m tests.crash.points FOLDER FIRST STRIDE` takes every STRIDE-th commit from FIRST on, until a run outlives its
number. For each it forks an engine that sends itself SIGKILL there and another one that recovers, and prints a line.
Forked from a process that has everything loaded, an engine costs a few milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Literal

from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.files import load_files
from fleetprompt.client.opening import open_console
from fleetprompt.client.protocol import StartRun
from fleetprompt.engine.store import writer_sqlite
from fleetprompt.engine.store.remains import OpenFiles
from tests.crash.answers import ME, Operator
from tests.crash.project import Project
from tests.crash.verdict import Kill, judge, look

When = Literal["before", "after"]
NUMBER = 5
"""The order that all of them are about: one that is undone in the end."""


class Connection:
    """The writer's connection; it ends this process at a commit."""

    def __init__(self, raw: Any, commit: Callable[[Any], Any]) -> None:
        self._raw = raw
        self._commit = commit

    def execute(self, sql: str, *parameters: Any) -> Any:
        return self._commit(self._raw) if sql == "COMMIT" else self._raw.execute(sql, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


def mortal(nth: int, when: When) -> None:
    """From here on the n-th commit of this process is its end: all is written and not durable, or it just became so."""
    commits = count(1)

    def commit(raw: Any) -> Any:
        last = next(commits) == nth
        if last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = raw.execute("COMMIT")
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    class Session(writer_sqlite.SqliteSession):
        def __init__(self, path: str, patience: float, known: OpenFiles) -> None:
            super().__init__(path, patience, known)
            self.raw = Connection(self.raw, commit)  # pyright: ignore[reportAttributeAccessIssue]

    writer_sqlite.SqliteSession = Session


async def live(project: Project, *killed: Kill) -> dict[str, Any]:
    """An engine and an operator, until the order is over; what it came to, and which promises were broken."""
    console = await open_console(project.place, "engine", recover=True)
    assert isinstance(console, EmbeddedConsole)
    operator = asyncio.create_task(Operator(project, console).work())
    try:
        request = StartRun(
            files=load_files(project.workflow, project.workflow.parent), inputs={"number": NUMBER}, key="order", by=ME
        )
        run = await console.start(request)
        await console.engine.wait(run)
        state = await console.state(run)
        verdict = await judge(console, project, {NUMBER: run}, killed)
        steps = {path: [step.status, _output(step.output)] for path, step in state.steps.items()}
        return {
            "run": run,
            "status": state.status,
            "steps": steps,
            "doubts": verdict.in_doubt,
            "broken": verdict.broken,
        }
    finally:
        operator.cancel()
        await asyncio.gather(operator, return_exceptions=True)
        await console.close()


def _output(output: Any) -> Any:
    """An output without what differs between two runs that are the same: times, ids, what a check cannot know."""
    if not isinstance(output, dict):
        return output
    if "stdout" in output:
        return output["stdout"]
    return {name: _output(value) for name, value in output.items() if name != "approval"}


async def recover(project: Project) -> dict[str, Any]:
    """What an engine does after a crash."""
    console = await open_console(project.place, "attach")
    kill = await look(console, project)
    await console.close()
    return await live(project, kill)


def in_fork(work: Callable[[], Any], answer: Path) -> bool:
    """Do something in a process of its own and keep in a file what it comes to; whether it lived to tell."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            answer.write_text(json.dumps(work()))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("an engine has failed by itself")
    return os.WIFEXITED(status)


def outlive(project: Project, nth: int, when: When) -> bool:
    """Die at a commit, recover, and print what it came to; False when there is no n-th commit any more."""

    def die() -> Any:
        mortal(nth, when)
        return asyncio.run(live(project))

    end = project.folder / "end.json"
    if in_fork(die, end):
        return False
    in_fork(lambda: asyncio.run(recover(project)), end)
    tell(project, f"{when} commit {nth}", json.loads(end.read_text()))
    return True


def tell(project: Project, point: str, end: dict[str, Any]) -> None:
    """Print what one life, or two, have come to."""
    print(json.dumps({"point": point, **end}), flush=True)
    shutil.rmtree(project.folder)


def main() -> None:
    """The order without a crash, which also loads whatever is needed, then the crashes."""
    folder, first, stride = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    project = Project.make(folder / f"uncrashed-{first}")
    tell(project, "", asyncio.run(live(project)))
    for nth in count(first, stride):
        modes: tuple[When, When] = ("before", "after")
        died = [outlive(Project.make(folder / f"{when}-{nth}"), nth, when) for when in modes]
        if not any(died):
            return


if __name__ == "__main__":
    main()
