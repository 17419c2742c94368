"""`python -m tests.tui.record NAME`: let real runs happen, and write down what they left in the store.

Names of people and folders of this machine are replaced by those of a small shop. A journal that is recorded again has
other ids and times, so the pictures that are made from it change.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.files import load_files
from fleetprompt.client.opening import Place, open_console
from fleetprompt.client.protocol import StartRun
from fleetprompt.demo.world import start as start_world
from fleetprompt.engine.core.codec import encode
from fleetprompt.engine.core.facts import RunCreated
from fleetprompt.engine.core.signal import CANCEL, PAUSE, Signal
from fleetprompt.engine.ports import Page, Store, Stored
from tests.tui import record_project as texts
from tests.tui.recorded import FOLDER, Entry, Kept, Known, Logged, Planned, Sent, Told

ME = "ana"
OTHERS = ("bo", "ci", "cron", "eve")
SHOP = "/srv/shop"
"""What the project's folder is called in what is recorded."""
CLONE = Path(__file__).resolve().parents[2]
PAY = "--pay"
ALL = Page(limit=1000, oldest_first=True)


class Recording:
    """A project in which runs happen."""

    def __init__(self, root: Path) -> None:
        self.root = root
        state = root / ".fleet"
        self.place = Place(root=root, state=state, database=str(state / "fleet.db"), grace=0.5)

    def write(self, **files: str) -> None:
        """Workflow files by name, and the functions that they call."""
        folder = self.root / "workflows"
        folder.mkdir(exist_ok=True)
        (folder / "work.py").write_text(texts.WORK)
        for name, text in files.items():
            (folder / f"{name}.yaml").write_text(text.lstrip())

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[EmbeddedConsole]:
        """The engine, until it is left."""
        console = await open_console(self.place, "engine", recover=True)
        assert isinstance(console, EmbeddedConsole)
        try:
            yield console
        finally:
            await console.close()

    async def start(self, console: EmbeddedConsole, name: str, by: str = ME, **options: Any) -> str:
        """Start a workflow of the project, or of this clone."""
        file = self.root / "workflows" / f"{name}.yaml"
        if not file.exists():
            file = CLONE / "workflows" / f"{name}.yaml"
        return await console.start(StartRun(files=load_files(file, file.parent), by=by, **options))

    async def over(self, console: EmbeddedConsole, name: str, **options: Any) -> str:
        """Start a workflow and wait until it is over or waits for somebody."""
        run = await self.start(console, name, **options)
        await console.engine.wait(run)
        return run


async def until(test: Callable[[], Awaitable[Any]]) -> Any:
    """Wait until there is something."""
    for _ in range(600):
        if found := await test():
            return found
        await asyncio.sleep(0.1)
    raise SystemExit("it never came")


async def pending(console: EmbeddedConsole) -> str:
    """The first approval that waits."""

    async def look() -> str:
        found, _ = await console.approvals("status:pending", ALL)
        return found[0].id if found else ""

    return await until(look)


# ---------------------------------------------------------------- what happens


async def incident(project: Recording) -> None:
    """The demo: faults, an approval, a repair, a report."""
    with start_world(project.root / "demo") as world:
        async with project.engine() as console:
            run = await project.start(
                console, "incident-triage", inputs=world.inputs(project.root), labels={"demo": "incident"}
            )
            approval = await pending(console)
            await asyncio.sleep(1.5)
            values = {"note": "coupon service told"}
            await console.vote(approval, "approved", by=ME, comment="customers wait", values=values)
            await console.engine.wait(run)


async def audit(project: Recording) -> None:
    """The audit of a repository with a few commits."""
    repo = project.root / "repo"
    repo.mkdir()
    who = ("-c", "user.name=Ana", "-c", "user.email=ana@example.org")

    def git(*words: str) -> None:
        subprocess.run(["git", *who, *words], cwd=repo, check=True, stdout=subprocess.DEVNULL)

    git("init", "-q", "-b", "main")
    for at in range(4):
        (repo / "shop.py").write_text(f"# TODO: prices\nVALUE = {at}\n" * (20 + at))
        (repo / "requirements.txt").write_text("flask\nrequests==2.0\n")
        git("add", "-A")
        git("commit", "-qm", f"Change prices, part {at + 1}")
    async with project.engine() as console:
        await project.over(console, "repo-audit", inputs={"repo": str(repo), "report": str(project.root / "r.md")})


async def crawl(project: Recording) -> None:
    """A fan-out of 300, of which two fail."""
    project.write(**{"crawl-docs": texts.CRAWL})
    async with project.engine() as console:
        await project.over(console, "crawl-docs")


async def retries(project: Recording) -> None:
    """A run that fails after three attempts."""
    project.write(**{"publish-docs": texts.RETRIES})
    async with project.engine() as console:
        await project.over(console, "publish-docs", by="ci")


async def doubt(project: Recording) -> None:
    """A run of which nobody knows whether its payment happened: the engine was killed meanwhile."""
    project.write(**{"pay-suppliers": texts.DOUBT})
    command = (sys.executable, "-m", "tests.tui.record", PAY, str(project.root))
    engine = await asyncio.create_subprocess_exec(*command, cwd=CLONE)

    async def begun() -> bool:
        return (project.root / "begun").exists()

    await until(begun)
    await asyncio.sleep(1.5)  # what it has logged is stored by now
    engine.kill()
    await engine.wait()
    async with project.engine() as console:

        async def doubtful() -> bool:
            heads, _ = await console.runs("", ALL)
            return heads[0].waiting_on == "in_doubt"

        await until(doubtful)


async def pay(project: Recording) -> None:
    """The engine that is killed."""
    async with project.engine() as console:
        await project.over(console, "pay-suppliers")


async def paused(project: Recording) -> None:
    """A run that somebody has paused."""
    project.write(**{"reindex-search": texts.PAUSED})
    async with project.engine() as console:
        run = await project.start(console, "reindex-search", by="bo")

        async def waits() -> bool:
            return (await console.run(run)).waiting_on == "signal"

        await until(waits)
        await console.command(PAUSE, run, by="bo", data={"reason": "the mirror is being repaired"})


async def chain(project: Recording) -> None:
    """A long chain of child runs, the last of which waits."""
    project.write(**texts.chain())
    async with project.engine() as console:
        await project.start(console, texts.CHAIN[0], by="ci")

        async def waits() -> bool:
            heads, _ = await console.runs(f"wf:{texts.CHAIN[-1]} status:waiting", ALL)
            return bool(heads)

        await until(waits)


async def hostile(project: Recording) -> None:
    """Texts that do what they can to a terminal, and an approval that asks in such words."""
    project.write(hostile=texts.HOSTILE)
    async with project.engine() as console:
        await project.start(console, "hostile", by="[red]eve\x1b[31m\u202e")
        await pending(console)


async def diagnosis(project: Recording) -> None:
    """The demo with its agent, whose words are simulated and whose tools are real; it waits for approval."""
    with start_world(project.root / "demo") as world:
        async with project.engine() as console:
            inputs = world.inputs(project.root)
            await project.start(console, "incident-triage", inputs=inputs, labels={"demo": "incident"})
            await pending(console)
            await asyncio.sleep(1.0)


async def team(project: Recording) -> None:
    """An agent that has another look something up, is refused a call, and asks before it writes and before it knows."""
    project.write(**{"release-notes": texts.TEAM})
    (project.root / "simulations").mkdir()
    (project.root / "simulations" / "release-notes.yaml").write_text(texts.TEAM_WORDS)
    (project.root / "changes.md").write_text(texts.CHANGES)
    async with project.engine() as console:
        await project.start(console, "release-notes", by="bo")
        one = await pending(console)
        await console.vote(one, "approved", by=ME, grant="run", comment="fine for this release")
        await asyncio.sleep(0.5)
        await pending(console)
        await project.start(console, "release-notes", by="eve", inputs={"release": "4.8.0"})
        await asyncio.sleep(1.5)


async def fleet(project: Recording) -> None:
    """An hour of a small shop: many short runs, some that fail or wait, signals, votes."""
    project.write(
        **{
            "triage-inbox": texts.TRIAGE,
            "nightly-eval": texts.EVAL,
            "deploy-canary": texts.DEPLOY,
            "watch-queue": texts.WATCH,
        }
    )
    async with project.engine() as console:
        for at in range(9):
            by = ("cron", ME, "eve")[at % 3]
            await project.over(console, "triage-inbox", by=by, inputs={"mails": 1 + at * at % 9})
            await asyncio.sleep(0.1 + at % 4 * 0.1)
            if at % 4 == 0:
                await project.over(console, "nightly-eval", by="cron")
            if at in (2, 5, 7):
                await project.start(console, "deploy-canary", by="ci", inputs={"release": f"4.{at}.0"})
                approval = await pending(console)
                if at == 2:
                    for who in (ME, "bo"):
                        await console.vote(approval, "approved", by=who, comment="looks good")
                elif at == 5:
                    await console.vote(approval, "rejected", by="bo", comment="not on a Friday")
            await console.publish(_order(at))
        (one, *_), _ = await console.approvals("status:pending", ALL)
        await console.vote(one.id, "approved", by="bo", comment="canary is fine", values={"batch": 8})
        await project.start(console, "deploy-canary", by=ME, inputs={"release": "4.8.0"})
        for at in range(3):
            run = await project.start(console, "watch-queue", by="cron")
            await asyncio.sleep(0.3)
            if at == 1:
                await console.command(CANCEL, run, by="eve", data={"reason": "started twice"})
        await asyncio.sleep(1.0)


def _order(at: int) -> Signal:
    return Signal(
        id=f"01h5-order-{at:04}",
        type="order.paid" if at % 3 else "order.refunded",
        source="shop",
        at=time.time(),
        data={"order": 4100 + at, "amount": 12.5 * (at + 1), "customer": ("Ada", "Grace", "Edsger")[at % 3]},
        subject=f"order/{4100 + at}",
        correlation=f"order/{4100 + at}",
    )


SCENES = (incident, audit, crawl, retries, doubt, paused, chain, hostile, fleet, diagnosis, team)


# ---------------------------------------------------------------- what is written down


async def taken(store: Store) -> list[Entry]:
    """Everything in a store, in the order in which it came."""
    facts: list[Stored] = []
    while more := await store.journal.since(facts[-1].seq if facts else 0):
        facts += [entry for entry in more if isinstance(entry, Stored)]
    runs = list(dict.fromkeys(entry.run for entry in facts))
    workflows = await store.catalog.workflows()
    plans = {workflow.plan for workflow in workflows}
    for entry in facts:
        if isinstance(entry.fact, RunCreated):
            plans |= {entry.fact.plan, *entry.fact.children.values()}
    found: list[Entry] = []
    for digest in sorted(plans):
        plan, source = await store.catalog.plan(digest), await store.catalog.source(digest)
        assert plan is not None
        found.append(Planned(digest, plan, source or ""))
    found += [Known(workflow) for workflow in workflows]
    sent = await _signals(store)
    for entry in facts:
        while sent and sent[0].signal.at <= entry.fact.at:
            found.append(sent.pop(0))
        blob = getattr(entry.fact, "blob", None)
        if blob is not None and (data := await store.blobs.get(blob.digest)) is not None:
            found.append(Kept(blob.digest, data.decode()))
        found.append(Told(entry.run, entry.n, msgspec.json.decode(encode(entry.fact))))
    found += sent
    for run in runs:
        lines, _ = await store.logs.read(run, limit=100_000)
        found += [Logged(run, line) for line in lines]
    return found


async def _signals(store: Store) -> list[Sent]:
    from fleetprompt.engine.core.query import parse
    from fleetprompt.engine.core.query_fields import SIGNAL_FIELDS

    signals, _ = await store.signals.list(parse("", SIGNAL_FIELDS), ALL, now=time.time())
    return [Sent(signal, tuple((await store.signals.results(signal.id))[1])) for signal in signals]


def neutral(text: str, root: Path) -> str:
    """Without folders of this machine."""
    for folder, name in ((root, SHOP), (CLONE, SHOP), (Path(sys.prefix), "/usr"), (Path.home(), "/home/ana")):
        text = text.replace(str(folder), name)
    return text


async def record(name: str) -> Path:
    """Let it happen and write it down."""
    scene = next((scene for scene in SCENES if scene.__name__ == name), None)
    if scene is None:
        raise SystemExit(f"there is nothing called {name}; choose one of {', '.join(s.__name__ for s in SCENES)}")
    with tempfile.TemporaryDirectory(prefix="record-") as folder:
        root = Path(folder).resolve()
        project = Recording(root)
        await scene(project)
        from fleetprompt.client.opening import open_store

        store = open_store(project.place)
        await store.open()
        try:
            entries = await taken(store)
        finally:
            await store.close()
        encoder = msgspec.json.Encoder()
        lines = [neutral(encoder.encode(entry).decode(), root) for entry in entries]
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{name}.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def main() -> None:
    """Record what is named, or everything."""
    if sys.argv[1:2] == [PAY]:
        asyncio.run(pay(Recording(Path(sys.argv[2]))))
        return
    for name in sys.argv[1:] or [scene.__name__ for scene in SCENES]:
        file = asyncio.run(record(name))
        print(f"{file.relative_to(CLONE)}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
