"""The example workflows as a project has them: copied into a folder, with what they talk to beside it, and people who
agree to everything. What has really happened is asked of the things themselves.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.files import load_files
from fleetprompt.client.opening import AgencySettings, Place, open_console
from fleetprompt.client.protocol import StartRun
from fleetprompt.demo import fixtures, shop, world
from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.core.facts import AnyFact, StepNoted
from fleetprompt.engine.core.signal import RESOLVE
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.llm.settings import ModelSettings
from fleetprompt.engine.ports.budget import Budget

ROOT = Path(__file__).resolve().parents[2]
UNPACED = re.compile(r"^pace: .*\n", re.MULTILINE)


@dataclass(frozen=True)
class Scene:
    """An example, and what it needs."""

    name: str
    inputs: Callable[[Path, str], dict[str, Any]]
    """Given the project's folder and the address of what it talks to."""
    effects: Callable[[Path], Any]
    """What has really happened, as the things themselves tell it."""
    people: Sequence[str] = ("ana",)
    happened: Callable[[Path, str, str], Any] = lambda folder, path, key: None
    """What came of a step that is in doubt, where it happened; None: it did not."""
    incident: bool = False
    """Whether it needs the whole world, with its incident."""
    tools: Callable[[str], dict[str, Any]] = lambda url: {}


@dataclass
class End:
    """What a run came to."""

    run: str
    status: str
    output: Any
    error: Any
    state: Run
    facts: list[AnyFact]
    doubts: list[str] = field(default_factory=list[str])
    budgets: list[Budget] = field(default_factory=list[Budget])

    @property
    def reserved(self) -> list[Budget]:
        """Those of which something is still held."""
        return [budget for budget in self.budgets if any(msgspec.structs.astuple(budget.reserved))]

    def used(self, scope: str) -> tuple[int, int]:
        """Requests, and nano-USD, that were or may have been used at scopes that end so."""
        found = [each for each in self.budgets if each.scope.endswith(scope)]
        return (
            sum(each.spent.requests + each.uncertain.requests for each in found),
            sum(each.spent.cost_nano + each.uncertain.cost_nano for each in found),
        )

    def notes(self, kind: str) -> list[StepNoted]:
        return [fact for fact in self.facts if isinstance(fact, StepNoted) and fact.kind == kind]


def make_project(folder: Path, settings: str = "") -> Path:
    """A project with the examples, whose simulations answer at once."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("workflows", "agents"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (folder / "workflows" / "simulations").glob("*.yaml"):
        file.write_text(UNPACED.sub("", file.read_text()))
    (folder / ".fleet").mkdir(mode=0o700)
    if settings:
        (folder / "fleet.toml").write_text(settings)
    return folder.resolve()


def place(
    folder: Path, models: Mapping[str, ModelSettings] | None = None, tools: Mapping[str, Any] | None = None
) -> Place:
    """The project as `fleet` finds it."""
    state = folder / ".fleet"
    agency = AgencySettings(models=models or {}, tools=tools or {}, workflows=(folder / "workflows",))
    return Place(root=folder, state=state, database=str(state / "fleet.db"), agency=agency)


@contextmanager
def surroundings(scene: Scene, folder: Path) -> Iterator[str]:
    """What the example talks to, in processes that outlive engines; its address."""
    directory = folder / "demo"
    if scene.incident:
        with world.start(directory) as running:
            yield json.dumps([running.service_url, running.control_url])
        return
    fixtures.make_all(directory)
    shop.create(directory / "shop.db", orders=50)
    command = [sys.executable, "-P", "-m", "fleetprompt.demo.office", "--directory", str(directory)]
    office = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert office.stdout is not None
        yield json.loads(office.stdout.readline())["url"]
    finally:
        office.kill()
        office.communicate()


async def perform(
    scene: Scene,
    folder: Path,
    url: str,
    *,
    models: Mapping[str, ModelSettings] | None = None,
    key: str = "once",
    decide: Callable[[Any], Mapping[str, Any]] | None = None,
    **inputs: Any,
) -> End:
    """Start the example unless it was started, and answer what it asks, until it is over. `decide`: what is said about
    an approval besides that it is approved."""
    found = place(folder, models, scene.tools(url))
    console = await open_console(found, "engine", recover=True)
    assert isinstance(console, EmbeddedConsole)
    try:
        file = folder / "workflows" / f"{scene.name}.yaml"
        request = StartRun(
            files=load_files(file, file.parent), inputs=scene.inputs(folder, url) | inputs, key=key, by="op"
        )
        run = await console.start(request)
        people = People(scene, folder, console, run, decide)
        async with asyncio.timeout(120):
            answering = asyncio.create_task(people.answer())
            try:
                await console.engine.wait(run)
            finally:
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)
        state = await console.state(run)
        facts = [stored.fact for stored in await console.facts(run)]
        error = state.error
        budgets = await console.engine.store.budgets.of_run(run)
        return End(
            run=run,
            status=state.status,
            output=state.output,
            error=error,
            state=state,
            facts=facts,
            doubts=people.doubts,
            budgets=budgets,
        )
    finally:
        await console.close()


class People:
    """Everybody who is asked: they approve, and look at the world where nobody knows what happened."""

    def __init__(self, scene: Scene, folder: Path, console: EmbeddedConsole, run: str, decide: Any) -> None:
        self.scene = scene
        self.folder = folder
        self.console = console
        self.run = run
        self.decide = decide
        self.doubts: list[str] = []

    async def answer(self) -> None:
        """Until cancelled."""
        while True:
            for head in (await self.console.runs("status:waiting", _page()))[0]:
                state = await self.console.state(head.id)
                for step in list(state.steps.values()):
                    for gate in step.open_gates:
                        await self._vote(gate)
                    if step.status == "in_doubt" and step.path not in state.pending:  # else its check will tell
                        await self._resolve(head.id, step)
            await asyncio.sleep(0.02)

    async def _vote(self, gate: Any) -> None:
        more = dict(self.decide(gate)) if self.decide is not None else {}
        decision = more.pop("decision", "approved")
        for person in self.scene.people:
            try:
                await self.console.vote(gate.id, decision, by=person, digest=gate.digest, level=gate.level, **more)
            except Refused:
                continue

    async def _resolve(self, run: str, step: Any) -> None:
        known = self.scene.happened(self.folder, step.path, run)
        data = {"path": step.path, "attempt": step.attempt}
        data |= {"answer": "run"} if known is None else {"answer": "happened", "output": known}
        try:
            await self.console.command(RESOLVE, run, by="ana", data=data)
        except Refused:
            return
        self.doubts.append(step.path)


def _page() -> Any:
    from fleetprompt.engine.ports import Page

    return Page(limit=100)


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """What a database holds."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


def actions(path: Path, kind: str) -> list[dict[str, Any]]:
    """What a service has done, as it has written it down."""
    if not path.exists():
        return []
    found = rows(path, f"SELECT answer FROM actions WHERE kind = '{kind}' ORDER BY rowid")
    return [json.loads(answer) for (answer,) in found]
