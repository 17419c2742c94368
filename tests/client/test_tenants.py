"""What one tenant has is not there for another, by whatever method of a console they ask, and whoever holds the engine.

Every method of the protocol has a row here that says how it is asked for something of somebody else: it is answered as
for what never was, tells nothing, and changes nothing.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from client_kit import attached, embedded, place_at, until

from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.files import load_files
from fleetprompt.client.guarded import COMMANDS, RULES, guarded
from fleetprompt.client.identity import Forbidden, Identity
from fleetprompt.client.protocol import Console, ReplayRange, StartRun
from fleetprompt.client.saying import Message
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import FleetError, NotFound
from fleetprompt.engine.core.facts import Blob, StepNoted
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.core.subscription_settings import SubscriptionSettings
from fleetprompt.engine.ports import NEWEST_FIRST, LogLine, Page, Stored
from fleetprompt.engine.ports.audit import AuditQuery
from fleetprompt.engine.ports.model import Delta

MARK = "hush"
"""In everything that the first tenant has."""
FLOW = """\
name: hush-flow
triggers: [{type: schedule, id: hush_nightly, every: 1h}, {type: signal, match: hush.happened}, {type: chat}]
inputs: {large: {type: string, default: hush}}
agents: {hush-agent: {system: hush, model: simulated/x}}
steps:
  - {id: big, type: transform, output: "${{ inputs.large }}"}
  - {id: hear, type: wait, needs: [], signal: hush.heard}
  - {id: gate, type: approval, needs: [big], message: "hush?"}
  - {id: work, type: agent, needs: [gate.approved], agent: hush-agent, prompt: hush}
"""
OTHER = "name: mine\ntriggers: [{type: signal, match: hush.happened}]\nsteps: [{id: a, type: transform, output: 1}]\n"
DEAD = """\
name: hush-dead
inputs: {need: {type: string}}
triggers: [{type: signal, match: hush.asked}]
steps: [{id: a, type: transform, output: 1}]
"""
EVERYTHING = Page(limit=500)


class Things(NamedTuple):
    """What somebody has, by id."""

    run: str
    number: int
    plan: str
    blob: str
    approval: str
    signal: str
    memory: str
    grant: str
    token: str
    session: str
    chunk: int
    letter: str
    workflow: str = "hush-flow"
    schedule: str = "hush-flow/hush_nightly"
    agent: str = "hush-agent"
    text: str = MARK

    @property
    def texts(self) -> set[str]:
        return {each for each in self if isinstance(each, str)}


NEVER = Things(
    run="01234567-89ab-7def-8123-456789abcdef",
    number=987_654,
    plan="0" * 64,
    blob="1" * 64,
    approval="apr_0123456789abcdef",
    signal="01234567-89ab-7def-8123-456789abcdee",
    memory="01234567-89ab-7def-8123-456789abcded",
    grant="apr_0123456789abcdee",
    token="abcdefghij",
    session="never",
    chunk=987_654,
    letter="dl-0123456789abcdef",
    workflow="never-flow",
    schedule="never-flow/never-nightly",
    agent="never-agent",
    text="never",
)
Ask = Callable[[Console, Things], Any]


async def _all(stream: Any) -> list[Any]:
    return [each async for each in stream]


async def _steps(console: Console, run: str) -> dict[str, str]:
    return {path: step.status for path, step in (await console.state(run)).steps.items()}


def _command(type_: str) -> Ask:
    data = {"path": "gate", "answer": "skip"} if type_ == types.RESOLVE else {"limits": {"cost": 1}}
    return lambda c, of: c.command(type_, of.run, by="eve", data=data | {"run": of.run})


def _note(blob: str) -> StepNoted:
    return StepNoted(at=0.0, path="big", kind="x", key="x", value=None, blob=Blob(blob, 100_000))


def _signal(of: Things) -> Signal:
    data = {"run": of.run, "parent": of.run, "path": "hear"}
    return Signal(id="eve", type="hush.heard", source="", at=0.0, data=data, subject=of.run, causation=of.signal)


NAMED: dict[str, Ask] = {
    "find": lambda c, of: c.find(of.run),
    "find by its end": lambda c, of: c.find(of.run[-9:]),
    "run": lambda c, of: c.run(of.run),
    "runs": lambda c, of: c.runs(f"wf:{of.workflow} session:{of.session}", EVERYTHING),
    "count": lambda c, of: c.count(f"id:{of.run}"),
    "index": lambda c, of: c.index(f"wf:{of.workflow}", NEWEST_FIRST),
    "heads": lambda c, of: c.heads([of.number]),
    "matching": lambda c, of: c.matching([of.run], ""),
    "tally": lambda c, of: c.tally(f"wf:{of.workflow}"),
    "values": lambda c, of: c.values("wf", "", prefix=of.text),
    "facts": lambda c, of: c.facts(of.run),
    "last_facts": lambda c, of: c.last_facts([of.run]),
    "state": lambda c, of: _steps(c, of.run),
    "plan": lambda c, of: c.plan(of.plan),
    "source": lambda c, of: c.source(of.plan),
    "value": lambda c, of: c.value(_note(of.blob)),
    "logs": lambda c, of: c.logs(of.run),
    "log_chunks": lambda c, of: c.log_chunks(of.run),
    "log_lines": lambda c, of: c.log_lines(of.run, [of.chunk]),
    "log_levels": lambda c, of: c.log_levels(of.run, [of.chunk]),
    "log_find": lambda c, of: c.log_find(of.run, MARK),
    "approvals": lambda c, of: c.approvals(f"run:{of.run}", EVERYTHING),
    "approval": lambda c, of: c.approval(of.approval),
    "approval_ids": lambda c, of: c.approval_ids(f"run:{of.run}"),
    "approvals_of": lambda c, of: c.approvals_of([of.approval]),
    "vote": lambda c, of: c.vote(of.approval, "approved", by="eve"),
    "edited": lambda c, of: c.edited(of.approval, {"a": 1}),
    "escalate": lambda c, of: c.escalate(of.approval, by="eve"),
    "grants": lambda c, of: c.grants(),
    "revoke": lambda c, of: c.revoke(of.grant, by="eve"),
    "memories": lambda c, of: c.memories(of.text),
    "memory": lambda c, of: c.memory(of.memory),
    "forget": lambda c, of: c.forget([of.memory], by="eve"),
    "signals": lambda c, of: c.signals(f"run:{of.run}", EVERYTHING),
    "signal_ids": lambda c, of: c.signal_ids(f"run:{of.run}"),
    "signals_of": lambda c, of: c.signals_of([of.signal]),
    "signal": lambda c, of: c.signal(of.signal),
    "outcome": lambda c, of: c.outcome(of.signal),
    "answers": lambda c, of: c.answers([of.signal]),
    "lineage": lambda c, of: c.lineage(of.signal),
    "foresee_replay": lambda c, of: c.foresee_replay(ReplayRange(filter=f"run:{of.run}")),
    "replay_range": lambda c, of: _all(c.replay_range(ReplayRange(filter=f"run:{of.run}"), by="eve")),
    "dead_letters": lambda c, of: c.dead_letters(f"signal:{of.signal}", EVERYTHING),
    "dead_letter_ids": lambda c, of: c.dead_letter_ids(f"signal:{of.signal}"),
    "dead_letter": lambda c, of: c.dead_letter(of.letter),
    "letters_of": lambda c, of: c.letters_of([of.signal]),
    "replay_letter": lambda c, of: c.replay_letter(of.letter, by="eve"),
    "dismiss_letters": lambda c, of: c.dismiss_letters([of.letter], by="eve"),
    "workflow": lambda c, of: c.workflow(of.workflow),
    "first_seen": lambda c, of: c.first_seen([of.workflow]),
    "origin": lambda c, of: c.origin(of.plan),
    "replay": lambda c, of: c.replay(of.signal, by="eve"),
    "start": lambda c, of: c.start(StartRun(workflow=of.workflow)),
    **{f"command {type_}": _command(type_) for type_ in COMMANDS},
    "set_workflow": lambda c, of: c.set_workflow(of.workflow, "paused", by="eve"),
    "firings": lambda c, of: c.firings(f"wf:{of.workflow}", EVERYTHING),
    "fire": lambda c, of: c.fire(of.schedule, by="eve"),
    "set_schedule": lambda c, of: c.set_schedule(of.schedule, "paused", by="eve"),
    "agent": lambda c, of: c.agent(of.agent),
    "agent_sessions": lambda c, of: c.agent_sessions(f"run:{of.run}", EVERYTHING),
    "chat": lambda c, of: c.chat(of.agent, "hello", "mine", by="eve"),
    "listens": lambda c, of: c.listens(of.workflow),
    "say": lambda c, of: c.say(of.workflow, Message(text="hello"), by="eve"),
    "conversation": lambda c, of: c.conversation(of.session),
    "revoke_token": lambda c, of: c.revoke_token(of.token, by="eve"),
    "read_workflow": lambda c, of: c.read_workflow(
        f"name: x\nsteps: [{{id: a, type: workflow, workflow: {of.workflow}}}]\n"
    ),
    "costs": lambda c, of: c.costs("run", f"id:{of.run}"),
}
"""How something is asked for that has an id, a name or another mark: the answer is that for one which never was."""

WHOLE: dict[str, Ask] = {
    "workflows": lambda c, of: c.workflows(),
    "schedules": lambda c, of: c.schedules(),
    "agents": lambda c, of: c.agents(),
    "agent_statistics": lambda c, of: c.agent_statistics(0.0, [(of.agent, of.workflow)]),
    "tokens": lambda c, of: c.tokens(),
    "audit": lambda c, of: c.audit(AuditQuery()),
    "verify_audit": lambda c, of: c.verify_audit(),
    "spend": lambda c, of: c.spend(0.0),
    "statistics": lambda c, of: c.statistics(0.0),
    "activity": lambda c, of: c.activity(0.0, 4e9, 3),
    "holds": lambda c, of: c.holds(),
    "pruned": lambda c, of: c.pruned(),
    "deliveries": lambda c, of: c.deliveries("", EVERYTHING),
    "health": lambda c, of: c.health(),
}
"""What is asked without naming anything: it tells of nobody else."""

ELSEWHERE = {
    "position": "a number of the whole journal, by which every reader goes on",
    "watch": "test_streams_tell_of_nobody_else",
    "changes": "test_streams_tell_of_nobody_else",
    "pieces": "test_streams_tell_of_nobody_else",
    "publish": "test_an_id_of_another_tenant_is_free",
    "publish ": "test_a_signal_reaches_nothing_of_another_tenant",
    "register": "test_workflows_of_one_name_are_each_tenants_own",
    "register_all": "test_workflows_of_one_name_are_each_tenants_own",
    "keep_workflow": "test_workflows_of_one_name_are_each_tenants_own",
    "keep_agent": "test_agents_that_are_sent_are_of_the_projects_own_tenant",
    "translated": "a text, from which the answer is made and nothing else",
    "remember": "test_what_is_remembered_in_one_scope_is_each_tenants_own",
    "create_token": "test_a_token_is_of_the_tenant_of_who_makes_it",
    "switch": "test_a_switch_of_one_tenant_stops_nobody_else",
    "set_switch": "test_a_switch_of_one_tenant_stops_nobody_else",
}
ASKED = NAMED | WHOLE


def test_every_method_of_a_console_has_a_row() -> None:
    rows = {name.partition(" ")[0] for name in ASKED | ELSEWHERE}
    assert rows == RULES.keys()
    assert {name.removeprefix("command ") for name in NAMED if name.startswith("command ")} == COMMANDS.keys()
    for name, test in ELSEWHERE.items():
        assert test in globals() or name in ("position", "translated")


# ------------------------------------------------------------------------------------------------ the world

TOLD = SubscriptionSettings(url="http://127.0.0.1:9/", types=["fleet.**"], secret="NONE", networks=["127.0.0.0/8"])
"""Somebody who is to be told of the first tenant's runs, and never is."""


class World:
    """A project of two tenants, and their consoles: `default` has one of everything, `other` a workflow."""

    def __init__(self, engine: EmbeddedConsole, ours: Console, others: Console, root: Path) -> None:
        self.engine = engine
        self.ours = ours
        self.others = others
        self.root = root
        self.things = NEVER

    async def fill(self) -> None:
        files = ((self.ours, "hush-flow", FLOW), (self.ours, "hush-dead", DEAD), (self.others, "mine", OTHER))
        for console, name, text in files:
            file = self.root / f"{name}.yaml"
            file.write_text(text)
            await console.register(load_files(file, self.root)[0])
        said = await self.ours.chat("hush-agent", MARK, MARK, by="ana")
        run = await self.ours.start(StartRun(workflow="hush-flow", session=MARK, inputs={"large": MARK * 30_000}))
        async with asyncio.timeout(60):
            while not (asked := (await self.ours.approvals(f"run:{run}", EVERYTHING))[0]):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await self.engine.engine.wait(said)
        engine = self.engine.engine
        engine.store.logs.write(run, [LogLine(at=1.0, level="info", text=f"{MARK} line", path="big")], "default")
        await engine.store.logs.flush()
        signal, _ = await self.ours.publish(Signal(id="hush-signal", type="hush.asked", source="", at=1.0, data=MARK))
        kept = await self.ours.remember(f"{MARK} memory", scope="workflow/hush-flow", by="ana")
        issued = await self.ours.create_token(f"{MARK}-token", role="viewer", lasts=None, by="ana")
        head = await self.ours.run(run)
        blobs = [getattr(each.fact, "blob", None) for each in await self.ours.facts(run)]
        blob = next(each for each in blobs if isinstance(each, Blob))
        engine.hold("hush-held", FleetError(f"{MARK} it cannot be read"), "default")
        [letter], _ = await self.ours.dead_letters("", EVERYTHING)
        [chunk] = await self.ours.log_chunks(run)
        self.things = Things(
            run=run,
            number=head.seq,
            plan=head.plan,
            blob=blob.digest,
            approval=asked[0].id,
            signal=signal.id,
            memory=str(kept.data["memory"]),
            grant=asked[0].id,
            token=issued.token.id,
            session=MARK,
            chunk=chunk.id,
            letter=letter.id,
        )

    async def picture(self) -> bytes:
        """All that can be seen of what the first tenant has."""
        seen = [await answer(self.ours, NAMED[name], self.things) for name in READS]
        return msgspec.json.encode(seen, enc_hook=str)


READS = [name for name in NAMED if RULES[name.partition(" ")[0]].needs == "read"]


@pytest.fixture(params=["embedded", "attached", "no engine"])
async def world(
    request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """Who asks holds the engine, looks beside it, or has none."""
    place = place_at(tmp_path, subscriptions={f"{MARK}-desk": TOLD})
    engine = await embedded(place)
    beside = None
    who = {"ana": "default", "eve": "other"}
    identities = [Identity(name=name, tenant=tenant, role="admin", via="http") for name, tenant in who.items()]
    try:
        ours, others = (guarded(engine, identity) for identity in identities)
        made = World(engine, ours, others, tmp_path_factory.mktemp("files"))
        await made.fill()
        if request.param != "embedded":
            beside = await attached(place)
            made.ours, made.others = (guarded(beside, identity) for identity in identities)
        if request.param == "no engine":
            await engine.close()
        yield made
    finally:
        if beside is not None:
            await beside.close()
        await engine.close()


async def answer(console: Console, ask: Ask, of: Things) -> Any:
    """What somebody is told, be it an error."""
    try:
        found = ask(console, of)
        return await found if inspect.isawaitable(found) else found
    except FleetError as error:
        return [type(error).__name__, error.code, error.message, error.where, error.hint]


def plain(told: Any, of: Things) -> Any:
    """An answer without what was asked for in it, and without the ids of what was made to ask."""

    def without(value: Any) -> Any:
        if isinstance(value, str):
            for each in sorted({*of.texts, of.run[-9:], of.plan[:12]}, key=len, reverse=True):
                value = value.replace(each, "ID")
            return value
        if isinstance(value, dict):
            made = {"signal": "", "run": value.get("run") and "RUN"} if value.keys() >= {"signal", "status"} else {}
            return {without(name): without(each) for name, each in (value | made).items()}
        return [without(each) for each in value] if isinstance(value, list | tuple) else value

    return without(msgspec.to_builtins(told, enc_hook=str))


async def test_what_another_has_is_answered_as_what_never_was(world: World) -> None:
    differ: dict[str, Any] = {}
    before = await world.picture()
    for name, ask in NAMED.items():
        theirs, never = [plain(await answer(world.others, ask, of), of) for of in (world.things, NEVER)]
        if theirs != never:
            differ[name] = theirs, never
        if name not in READS:
            assert await world.picture() == before, f"something comes of {name}"
    assert differ == {}, msgspec.json.format(msgspec.json.encode(differ)).decode()


async def test_what_is_kept_from_others_is_there(world: World) -> None:
    """So that the rows ask for something."""
    empty = {"agent_sessions", "costs"}
    same = {
        name
        for name in READS
        if plain(await answer(world.ours, NAMED[name], world.things), world.things)
        == plain(await answer(world.ours, NAMED[name], NEVER), NEVER)
    }
    assert same <= empty | {"grants", "firings", "origin"}


async def test_nothing_of_another_is_told(world: World) -> None:
    assert MARK in str(await answer(world.ours, ASKED["deliveries"], NEVER)), "there is something to be told"
    for name, ask in ASKED.items():
        told = msgspec.json.encode(await answer(world.others, ask, NEVER), enc_hook=str).decode()
        assert MARK not in told, name
        assert not [each for each in world.things.texts if each in told], name


async def test_an_id_of_another_is_not_found(world: World) -> None:
    """The very words, for a run: no `forbidden`, nothing of whose it is."""
    with pytest.raises(NotFound) as caught:
        await world.others.run(world.things.run)
    assert caught.value.message == f"there is no run {world.things.run}"
    with pytest.raises(NotFound):
        await world.others.vote(world.things.approval, "approved", by="eve")


# ------------------------------------------------------------------------------------------------ streams


class Listening:
    """Who listens to something, and what was heard."""

    def __init__(self, stream: Any) -> None:
        self.heard: list[Any] = []
        self._task = asyncio.get_running_loop().create_task(self._listen(stream))

    async def _listen(self, stream: Any) -> None:
        async with aclosing(stream) as told:
            async for each in told:
                self.heard.append(each)

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


async def test_streams_tell_of_nobody_else(world: World) -> None:
    run, engine = world.things.run, world.engine.engine
    others = {
        "fleet": Listening(world.others.watch()),
        "run": Listening(world.others.watch(run)),
        "words": Listening(world.others.pieces(run, 0.01)),
        "changes": Listening(world.others.changes(0.01)),
    }
    ours = {"fleet": Listening(world.ours.watch()), "run": Listening(world.ours.watch(run))}
    driven = world.others.where != "none"
    if driven:
        ours["words"] = Listening(world.ours.pieces(run, 0.01))
    await until(
        lambda: (
            bool(others["changes"].heard) and all(each.heard for each in ours.values() if each is not ours.get("words"))
        )
    )
    if driven:
        await until(lambda: len(engine.pieces._watchers) == 2)  # pyright: ignore[reportPrivateUsage]
        engine.pieces.put(run, "gate", "a/llm/0", Delta("text", MARK), "default")
        engine.feed.progress(run, LogLine(at=1.0, level="info", text=MARK), "default")
        await world.ours.command(types.PAUSE, run, by="ana")
        await until(lambda: bool(ours["words"].heard))
    mine = await world.others.start(StartRun(workflow="mine"))
    if driven:
        await until(lambda: any(isinstance(each, Stored) and each.run == mine for each in others["fleet"].heard))
        await until(lambda: any(mine in change.runs for change in others["changes"].heard))
        assert any(isinstance(each, Stored) and each.run == run for each in ours["fleet"].heard)
    for each in (*others.values(), *ours.values()):
        await each.end()
    assert {each.run for each in others["fleet"].heard} <= {mine}
    assert others["run"].heard == []
    assert others["words"].heard == []
    assert {run for change in others["changes"].heard for run in change.runs} <= {mine}


# ------------------------------------------------------------------------------------------------ what is sent


async def test_a_signal_reaches_nothing_of_another_tenant(world: World) -> None:
    before = await world.picture()
    runs = [head.workflow for head in (await world.ours.runs("", EVERYTHING))[0]]
    for n, type_ in enumerate(("hush.heard", "hush.happened", "hush.asked")):
        of = world.things
        data = {"run": of.run, "parent": of.run, "path": "hear", "workflow": of.workflow, "approval": of.approval}
        sent = Signal(id=f"eve-{n}", type=type_, source="", at=0.0, data=data, subject=of.run, causation=of.signal)
        signal, _ = await world.others.publish(sent)
        _, results = await world.others.outcome(signal.id)
        assert world.things.run not in {result.run for result in results}
    assert await world.picture() == before
    ours = [head.workflow for head in (await world.ours.runs("", EVERYTHING))[0]]
    assert ours == runs, "no trigger of theirs went off"
    if world.others.where != "none":
        assert [head.workflow for head in (await world.others.runs("", EVERYTHING))[0]] == ["mine"]


async def test_an_id_of_another_tenant_is_free(world: World) -> None:
    """Nobody learns of a signal by trying whether its id is taken; what is sent again is the first."""
    before = await world.picture()
    for id_ in (world.things.signal, "never"):
        said = [await world.others.publish(Signal(id=id_, type="a.b", source="", at=0.0)) for _ in range(2)]
        assert [duplicate for _, duplicate in said] == [False, True]
        assert world.things.signal not in {signal.id for signal, _ in said}
    assert await world.picture() == before


async def test_a_key_of_another_tenant_is_free(world: World) -> None:
    await world.ours.publish(Signal(id="k1", type="a.b", source="", at=0.0, key="once"))
    _, duplicate = await world.others.publish(Signal(id="k2", type="a.b", source="", at=0.0, key="once"))
    assert not duplicate
    _, duplicate = await world.others.publish(Signal(id="k3", type="a.b", source="", at=0.0, key="once"))
    assert duplicate


async def test_no_command_says_which_run_becomes_of_it(world: World) -> None:
    before = await world.picture()
    mine = await world.others.start(StartRun(workflow="mine"))
    async with asyncio.timeout(60):
        while world.others.where != "none" and (await world.others.run(mine)).finished_at is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    given = {"run": world.things.run, "new": world.things.run, "from": "a"}
    told = await answer(world.others, lambda c, of: c.command(types.RETRY, mine, by="eve", data=given), NEVER)
    assert not isinstance(told, list), told
    assert told.run not in (mine, world.things.run)
    assert await world.picture() == before


async def test_workflows_of_one_name_are_each_tenants_own(world: World) -> None:
    before = await world.picture()
    file = world.root / "hush-flow.yaml"
    file.write_text(FLOW.replace('"hush?"', '"mine?"'))
    await world.others.register(load_files(file, world.root)[0])
    file.write_text(FLOW.replace('"hush?"', '"mine, too?"'))
    await world.others.register_all(load_files(file, world.root))
    assert {each.name for each in await world.others.workflows()} == {"hush-flow", "mine"}
    await world.others.set_workflow("hush-flow", "paused", by="eve")
    assert await world.picture() == before
    assert {each.status for each in await world.ours.workflows()} == {"active"}


async def test_agents_that_are_sent_are_of_the_projects_own_tenant(world: World) -> None:
    with pytest.raises(Forbidden):
        await world.others.keep_agent("name: hush-agent\nsystem: mine\n")
    assert await world.others.agents() == []


async def test_what_is_remembered_in_one_scope_is_each_tenants_own(world: World) -> None:
    before = await world.picture()
    await world.others.remember(f"{MARK} memory", scope="workflow/hush-flow", by="eve")
    assert await world.picture() == before
    assert len(await world.ours.memories()) == 1


async def test_a_token_is_of_the_tenant_of_who_makes_it(world: World) -> None:
    issued = await world.others.create_token("mine", role="viewer", lasts=None, by="eve")
    assert issued.token.tenant == "other"
    assert [each.name for each in await world.others.tokens()] == ["mine"]
    assert [each.name for each in await world.ours.tokens()] == [f"{MARK}-token"]


async def test_a_switch_of_one_tenant_stops_nobody_else(world: World) -> None:
    before = await world.picture()
    await world.others.set_switch("off", by="eve", reason="mine")
    assert (await world.ours.switch()).position == "on"
    assert await world.picture() == before
    if world.others.where != "none":
        assert (await world.others.switch()).position == "off"
        await world.ours.set_switch("off", by="ana", reason="everybody")
        await world.others.set_switch("on", by="eve")
        assert ((await world.others.switch()).position, (await world.others.switch()).by) == ("off", "ana")
