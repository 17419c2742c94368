"""Recorded journals: what real runs left in a store, put into a new one at a fixed time.

A file in `journals/` has one JSON object a line: plans with their YAML, workflows, then signals, large values and
facts in the order in which they came, and log lines. `python -m tests.tui.record NAME` makes it. Here it becomes a
store again, through the store's own doors: facts are folded by the core and appended with heads as an engine writes.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from fleetprompt.client.opening import Place
from fleetprompt.engine.core.codec import decode
from fleetprompt.engine.core.facts import AnyFact, RunCreated
from fleetprompt.engine.core.plan import Plan
from fleetprompt.engine.core.program import Program
from fleetprompt.engine.core.run import evolve
from fleetprompt.engine.core.signal import VOTE, Result, Signal
from fleetprompt.engine.core.state import Outbox, Run
from fleetprompt.engine.ports import Append, LogLine, Store, Take, Wait, Workflow
from fleetprompt.engine.runtime.head import head_of
from fleetprompt.engine.store.database import SqlStore

NOW = 1_800_000_000.0
"""When pictures are taken: 2027-01-15 08:00 UTC."""
HOST = "console"
FOLDER = Path(__file__).parent / "journals"
TIMES = ("at", "until", "retry_at", "deadline")
"""Members of a fact that are times."""


class Planned(msgspec.Struct, frozen=True, tag="plan"):
    """A plan under the digest that it had when it was recorded."""

    digest: str
    plan: Plan
    source: str


class Known(msgspec.Struct, frozen=True, tag="workflow"):
    """A workflow as the store knew it."""

    workflow: Workflow


class Kept(msgspec.Struct, frozen=True, tag="blob"):
    """A large value, or the YAML that a run was started from."""

    digest: str
    text: str


class Sent(msgspec.Struct, frozen=True, tag="signal", omit_defaults=True):
    """A signal, and what came of it."""

    signal: Signal
    results: tuple[Result, ...] = ()


class Told(msgspec.Struct, frozen=True, tag="fact"):
    """A fact of a run."""

    run: str
    n: int
    fact: dict[str, Any]


class Logged(msgspec.Struct, frozen=True, tag="log"):
    """A line of a step's log."""

    run: str
    line: LogLine


_IDS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=\")ap-[0-9a-z]{6,}")
Entry = Planned | Known | Kept | Sent | Told | Logged
_lines: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


def read(name: str) -> list[Entry]:
    """The entries of a recorded journal."""
    return [_lines.decode(line) for line in (FOLDER / f"{name}.jsonl").read_bytes().splitlines()]


def before(entries: Iterable[Entry], type_: str) -> list[Entry]:
    """What there was before the first fact, or the first signal, of this type. Lines of logs stand behind all facts."""
    found: list[Entry] = []
    end: float | None = None
    for entry in entries:
        if end is not None:
            found += [entry] * (isinstance(entry, Logged) and entry.line.at < end)
        elif isinstance(entry, Told) and entry.fact["type"] == type_:
            end = entry.fact["at"]
        elif isinstance(entry, Sent) and entry.signal.type == type_:
            end = entry.signal.at
        else:
            found.append(entry)
    return found


class RecordedProject:
    """A project in a folder, with a store that recorded journals are put into."""

    def __init__(self, root: Path) -> None:
        self.root = root
        state = root / ".fleet"
        state.mkdir(parents=True, exist_ok=True)
        self.place = Place(root=root, state=state, database=str(state / "fleet.db"))

    def copy(self, root: Path) -> RecordedProject:
        """The same in another folder; its store must be closed."""
        shutil.copytree(self.root, root, dirs_exist_ok=True)
        return RecordedProject(root)

    async def put(self, *tapes: Tape) -> None:
        """Write them one after the other."""
        store = SqlStore(Path(self.place.database), zone=self.place.zone)
        await store.open()
        try:
            for tape in tapes:
                await tape.play(store, self.root)
        finally:
            await store.close()


class Tape:
    """A recorded journal, and when it is to have happened."""

    def __init__(self, name: str, *, ago: float = 60.0, slower: float = 1.0, until: str = "") -> None:
        """Its last fact is `ago` seconds old, and everything took `slower` times as long as it did when it was
        recorded. With `until` it ends before the first fact or signal of that type."""
        self.entries = before(read(name), until) if until else read(name)
        self._last = max(entry.fact["at"] for entry in self.entries if isinstance(entry, Told))
        self._ago = ago
        self._slower = slower
        self._digests: dict[str, str] = {}
        self._programs: dict[str, Program] = {}
        self._runs: dict[str, Run] = {}

    @property
    def run(self) -> str:
        """The first run in it."""
        return next(entry.run for entry in self.entries if isinstance(entry, Told))

    @property
    def runs(self) -> list[str]:
        """The runs in it, in the order in which they began."""
        return list(dict.fromkeys(entry.run for entry in self.entries if isinstance(entry, Told)))

    def renamed(self) -> Tape:
        """The same runs again, with other ids of runs, signals and approvals."""
        text = msgspec.json.encode(self.entries).decode()
        text = _IDS.sub(lambda found: found[0][:-4] + found[0][-3:] + found[0][-4], text)
        self.entries = msgspec.json.decode(text, type=list[Entry])
        return self

    def moved(self, at: float) -> float:
        """A recorded time as it is to be."""
        return round(NOW - self._ago + (at - self._last) * self._slower, 3)

    async def play(self, store: Store, root: Path) -> None:
        """Put everything into a store, and the workflows' files into the project."""
        blobs: list[tuple[str, bytes]] = []
        sent: list[Sent] = []
        written: list[asyncio.Future[Any]] = []
        lines: dict[str, list[LogLine]] = {}
        for entry in self.entries:
            match entry:
                case Planned(digest, plan, source):
                    self._digests[digest] = known = await store.catalog.put(plan, source=source)
                    self._programs[known] = Program(plan, known)
                    file = root / "workflows" / f"{plan.name}.yaml"
                    file.parent.mkdir(exist_ok=True)
                    file.write_text(source, encoding="utf-8")
                case Known(workflow):
                    plan = self._digests.get(workflow.plan, workflow.plan)
                    file = f"workflows/{workflow.name}.yaml"
                    at = self.moved(workflow.updated_at)
                    await store.catalog.set_workflow(replace(workflow, plan=plan, file=file, updated_at=at))
                case Kept(digest, text):
                    blobs.append((digest, text.encode()))
                case Sent(signal):
                    sent.append(entry)
                    if not signal.source.startswith("run/"):
                        await asyncio.gather(*written)
                        await store.signals.publish(replace(signal, at=self.moved(signal.at)))
                case Told(run, _, fact):
                    written.append(store.journal.append(self._append(run, self._fact(fact), tuple(blobs))))
                    blobs.clear()
                case Logged(run, line):
                    lines.setdefault(run, []).append(replace(line, at=self.moved(line.at), line=0))
        await asyncio.gather(*written)
        for run, told in lines.items():
            store.logs.write(run, told)
        await store.logs.flush()
        for entry in sent:
            if await store.signals.get(entry.signal.id) is not None:
                await store.signals.close(entry.signal.id, entry.results)
        for signal in await store.signals.unrouted():
            await store.signals.close(signal.id)

    def _fact(self, told: dict[str, Any]) -> AnyFact:
        moved = {name: self.moved(told[name]) for name in TIMES if told.get(name) is not None}
        fact = decode(msgspec.json.encode(told | moved))
        if isinstance(fact, RunCreated):
            children = {name: self._digests[digest] for name, digest in fact.children.items()}
            fact = replace(fact, plan=self._digests[fact.plan], children=children)
        return fact

    def _append(self, id_: str, fact: AnyFact, blobs: tuple[tuple[str, bytes], ...]) -> Append:
        if isinstance(fact, RunCreated):
            self._runs[id_] = Run(self._programs[fact.plan])
        run = self._runs[id_]
        after = run.n
        evolve(run, fact)
        out, run.outbox = run.outbox, Outbox()
        return Append(
            run=id_,
            tenant="default",
            after=after,
            facts=(fact,),
            head=head_of(run, HOST, fact.at),
            takes=tuple(Take(slot, path) for path, slot in out.takes),
            releases=tuple(out.releases),
            waits=tuple(Wait(*wait) for wait in out.waits),
            unwaits=tuple(out.unwaits),
            signals=tuple(out.signals),
            blobs=blobs,
        )


def shop() -> list[Tape]:
    """A morning of a small fleet: every recorded journal, the oldest first; an incident waits for approval."""
    return [
        Tape("crawl", ago=7_200, slower=4),
        Tape("audit", ago=5_400),
        Tape("incident", ago=4_000).renamed(),
        Tape("retries", ago=1_500, slower=3),
        Tape("doubt", ago=900),
        Tape("paused", ago=800, slower=10),
        Tape("chain", ago=500),
        Tape("hostile", ago=300),
        Tape("fleet", ago=45, slower=150),
        Tape("incident", ago=20, until=VOTE),
    ]
