"""A console at the other end of HTTP: all of the protocol, as who has come, and what happens where the line is cut."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest
from client_kit import ME, embedded, place_at, start_of, until
from cut import Cut

from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.guarded import RULES, guarded
from fleetprompt.client.http import link as link_module
from fleetprompt.client.http import messages
from fleetprompt.client.http.address import Address as There
from fleetprompt.client.http.address import address_of
from fleetprompt.client.http.console import RemoteConsole, connect
from fleetprompt.client.http.link import OtherVersion, Unauthorized
from fleetprompt.client.http.methods import LOCAL, method
from fleetprompt.client.identity import Forbidden, Identity
from fleetprompt.client.protocol import Console, Disconnected, ReplayRange, StartRun
from fleetprompt.client.saying import Message
from fleetprompt.daemon import telling
from fleetprompt.daemon.access import Rules
from fleetprompt.daemon.daemon import daemon
from fleetprompt.daemon.serving import Address
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import InvalidInput, NotFound, Refused
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import Change, Page, Stored
from fleetprompt.engine.ports.audit import AuditQuery

FLOW = """
name: asks
inputs: {name: {type: string, default: world}}
triggers: [{id: nightly, type: schedule, cron: "0 3 * * *"}]
steps:
  - {id: say, type: shell, argv: [echo, "hello ${{ inputs.name }}"]}
  - {id: gate, type: approval, message: "Go on with ${{ inputs.name }}?"}
"""
BIG = 'name: big\nsteps: [{id: a, type: transform, output: "${{ inputs.text }}"}]\ninputs: {text: {type: string}}\n'
TOKENS = {
    f"fleet_{role}": Identity(name=f"the-{role}", role=role, via="http", credential=role)
    for role in ("viewer", "operator", "approver", "admin")
}


class Served:
    """A daemon around an engine, whose tokens can be taken away."""

    def __init__(self, console: EmbeddedConsole, root: Path, url: str, tokens: dict[str, Identity]) -> None:
        self.console = console
        self.root = root
        self.url = url
        self.tokens = tokens

    def there(self, role: str = "admin") -> There:
        file = self.root / f"{role}.token"
        file.write_text(f"fleet_{role}\n")
        file.chmod(0o600)
        return address_of(self.url, token_file=file)


@asynccontextmanager
async def serving(root: Path, port: int = 0) -> AsyncGenerator[Served]:
    (root / "asks.yaml").write_text(FLOW)
    (root / "big.yaml").write_text(BIG)
    console = await embedded(place_at(root, groups={"oncall": ["the-admin"]}))
    tokens = dict(TOKENS)

    async def authenticate(token: str) -> Identity | None:
        return tokens.get(token)

    try:
        async with daemon(
            console,
            root,
            root / "none",
            Address(port=port, socket=root / ".fleet/fleet.sock"),
            Rules(operator=ME, local_role=None),
            console_for=lambda identity: guarded(console, identity),
            authenticate=authenticate,
            has_tokens=lambda: asyncio.sleep(0, True),
            counts=lambda id_: asyncio.sleep(0, any(each.credential == id_ for each in tokens.values())),
            told=lambda files: None,
        ) as ready:
            yield Served(console, root, ready.url, tokens)
    finally:
        await console.close()


@asynccontextmanager
async def connected(served: Served, role: str = "admin") -> AsyncGenerator[RemoteConsole]:
    console = await connect(served.there(role))
    try:
        yield console
    finally:
        await console.close()


async def asking(served: Served, name: str = "world") -> str:
    """A run that waits for an approval; its id."""
    console = served.console
    run = await console.start(start_of(served.root / "asks.yaml", inputs={"name": name}))
    async with aclosing(console.watch(run)) as facts:  # pyright: ignore[reportArgumentType]
        async for _ in facts:
            if (await console.run(run)).status == "waiting":
                return run
    raise AssertionError


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(link_module, "MOST_SECONDS", 0.05)
    monkeypatch.setattr(telling.Telling.__init__, "__kwdefaults__", {"beat": 0.05})


# ---------------------------------------------------------------- the whole protocol


async def test_every_read_gives_what_it_gives_in_the_engines_process(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, connected(served) as far:
        run = await asking(served)
        near = guarded(served.console, TOKENS["fleet_admin"])
        big = await near.start(StartRun(files=start_of(tmp_path / "big.yaml").files, inputs={"text": "x" * 200_000}))
        await served.console.engine.wait(big)
        head = await near.run(run)
        [approval], _ = await near.approvals("", Page(limit=9))
        [signal, *_], _ = await near.signals("", Page(limit=9))
        chunks = [chunk.id for chunk in await near.log_chunks(run)]
        large = next(each.fact for each in await near.facts(big) if getattr(each.fact, "blob", None) is not None)
        await near.remember("The desk closes at five.", scope="shared", by="")
        [memory] = await near.memories("desk")
        calls: dict[str, tuple[Any, ...]] = {
            "find": ("last",),
            "run": (run,),
            "runs": ("wf:asks", Page(limit=3)),
            "count": ("",),
            "index": ("",),
            "heads": ([head.seq, 10**6],),
            "matching": ([run], "status:waiting"),
            "tally": ("",),
            "values": ("wf", ""),
            "facts": (run,),
            "last_facts": ([run],),
            "plan": (head.plan,),
            "source": (head.plan,),
            "value": (large,),
            "position": (),
            "pruned": (),
            "logs": (run,),
            "log_chunks": (run,),
            "log_lines": (run, chunks),
            "log_levels": (run, chunks),
            "log_find": (run, "hello"),
            "approvals": ("status:pending", Page(limit=3)),
            "approval": (approval.id,),
            "approval_ids": ("",),
            "approvals_of": ([approval.id],),
            "grants": (),
            "memories": ("desk",),
            "memory": (memory.id,),
            "signals": ("", Page(limit=3)),
            "signal_ids": ("",),
            "signals_of": ([signal.id],),
            "signal": (signal.id,),
            "outcome": (signal.id,),
            "answers": ([signal.id],),
            "lineage": (signal.id,),
            "foresee_replay": (ReplayRange(filter="type:order.*"),),
            "dead_letters": ("", Page(limit=3)),
            "dead_letter_ids": ("",),
            "letters_of": ([signal.id],),
            "deliveries": ("", Page(limit=3)),
            "workflows": (),
            "workflow": ("asks",),
            "first_seen": (["asks", "none"],),
            "origin": (head.plan,),
            "agents": (),
            "agent_statistics": (0.0, [("a", "b")]),
            "agent_sessions": ("", Page(limit=3)),
            "conversation": ("nobody",),
            "listens": ("asks",),
            "schedules": (),
            "firings": ("", Page(limit=3)),
            "costs": (
                "workflow",
                "",
            ),
            "spend": (0.0,),
            "statistics": (0.0,),
            "activity": (0.0, 1e9, 4),
            "switch": (),
            "holds": (),
            "tokens": (),
            "audit": (AuditQuery(limit=5),),
            "verify_audit": (),
        }
        for name, args in calls.items():
            here, there = await getattr(near, name)(*args), await getattr(far, name)(*args)
            assert there == here, name
            assert type(there) is type(here), name
        state = await far.state(run, upto=5)
        assert (state.status, state.n) == ((await near.state(run, upto=5)).status, 5)
        assert (await far.health()).pid == (await near.health()).pid
        with pytest.raises(NotFound, match="there is no agent"):
            await far.agent("nobody")
        with pytest.raises(NotFound):
            await far.dead_letter("none")
        # Whatever reads has been compared above, changes below, or goes on.
        rest = {name for name, rule in RULES.items() if rule.needs == "read"} - set(calls)
        assert rest == {"state", "agent", "dead_letter", "health", "watch", "changes", "pieces"}


async def test_whatever_changes_something_is_done_by_who_has_come(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, connected(served) as far:
        by = "somebody else"  # Is not sent.
        file = await far.read_workflow(FLOW, "asks.yaml")
        assert await far.register(file) == file.digest
        await far.register_all([file])
        run = await far.start(StartRun(workflow="asks", texts={"name": "moon"}, by=by))
        await until_waiting(far, run)
        [approval], _ = await far.approvals("status:pending", Page(limit=1))
        assert await far.edited(approval.id, {}) is None
        assert (await far.escalate(approval.id, by=by)).status == "refused"
        voted = await far.vote(approval.id, "approved", by=by, digest=approval.digest, level=approval.level)
        assert voted.status == "accepted"
        _, [vote] = await far.approval(approval.id)
        assert (vote.by, vote.via) == ("the-admin", "cli")
        assert (await far.command(types.PAUSE, run, by=by)).status in ("accepted", "refused")
        sent = Signal(id="s-1", type="order.placed", source="cli/me", at=1.0, by=by)
        stored, duplicate = await far.publish(sent)
        assert (stored.by, stored.source, duplicate) == ("the-admin", "cli/the-admin", False)
        assert (await far.replay(stored.id, by=by)).signal.by == "the-admin"
        assert (await far.set_workflow("asks", "paused", by=by)).status == "accepted"
        assert (await far.set_workflow("asks", "active", by=by)).status == "accepted"
        assert (await far.set_schedule("asks/nightly", "paused", by=by, reason="night")).status == "accepted"
        assert (await far.schedules())[0].by == "the-admin"
        assert (await far.fire("asks/nightly", by=by)).status == "accepted"
        assert (await far.set_switch("paused", by=by)).status == "accepted"
        assert ((await far.switch()).position, (await far.switch()).by) == ("paused", "the-admin")
        assert (await far.set_switch("on", by=by)).status == "accepted"
        kept = await far.remember("noted", scope="shared", by=by)
        assert (await far.forget([kept.data["memory"]], by=by)).status == "accepted"
        assert (await far.revoke("nothing", by=by)).status == "refused"
        issued = await far.create_token("ben", role="viewer", lasts=60.0, by=by)
        assert issued.token.created_by == "the-admin"
        assert (await far.revoke_token(issued.token.id, by=by)).revoked_by == "the-admin"
        said = [each async for each in far.replay_range(ReplayRange(filter="type:order.*"), by=by)]
        assert [(each.signal.type, each.signal.by) for each in said] == [("order.placed", "the-admin")]
        with pytest.raises(NotFound):
            await far.replay_letter("none", by=by)
        assert (await far.dismiss_letters(["none"], by=by)).data == {"dismissed": 0}
        assert await far.translated(FLOW.encode()) is None
        sent_file = await far.read_workflow(FLOW.replace("name: asks", "name: sent"), "sent.yaml")
        kept_one = await far.keep_workflow(sent_file)
        assert (kept_one.name, kept_one.plan) == ("sent", sent_file.digest)
        agent = await far.keep_agent("name: clerk\nmodel: simulated/script\n")
        assert (agent.name, (await far.agent("clerk")).name) == ("clerk", "clerk")
        with pytest.raises(NotFound):
            await far.chat("nobody", "hello", "talk", by=by)
        with pytest.raises(NotFound):
            await far.say("asks", Message(text="hello"), by=by)
        done = {"read_workflow", "register", "start", "edited", "escalate", "vote", "command", "publish", "replay"}
        done |= {"set_workflow", "set_schedule", "fire", "remember", "forget", "revoke", "create_token", "revoke_token"}
        done |= {"replay_range", "replay_letter", "dismiss_letters", "translated", "keep_workflow", "keep_agent"}
        done |= {"chat", "say", "tokens", "set_switch", "register_all", "audit", "verify_audit"}
        assert not {name for name, rule in RULES.items() if rule.needs != "read"} - done


async def until_waiting(console: Console | RemoteConsole, run: str) -> None:
    async with asyncio.timeout(60):
        while (await console.run(run)).status != "waiting":  # noqa: ASYNC110 nothing tells
            await asyncio.sleep(0.01)


def test_every_method_of_the_protocol_can_be_called_from_elsewhere() -> None:
    for name in set(RULES) - LOCAL:
        found = method(name)
        assert found is not None
        assert found.streams == inspect.isasyncgenfunction(getattr(RemoteConsole, name, None)), name
        # A plan is made where it runs: what others have made of a text is nobody's to trust.
        assert "WorkflowFile" not in str(get_type_hints(found.arguments)), name
    assert all(method(name) is None for name in (*LOCAL, "close", "store", "__init__", "behind"))


# ---------------------------------------------------------------- who one is


@pytest.mark.parametrize(
    ("role", "may"),
    [("viewer", ()), ("operator", ("start",)), ("approver", ("vote",)), ("admin", ("start", "vote", "tokens"))],
)
async def test_a_role_does_over_the_network_what_it_may_do_anywhere(
    tmp_path: Path, role: str, may: tuple[str, ...]
) -> None:
    async with serving(tmp_path) as served, connected(served, role) as far:
        run = await asking(served)
        assert (far.hello.name, far.hello.role, far.hello.project) == (f"the-{role}", role, tmp_path.name)
        assert far.hello.groups == (["oncall"] if role == "admin" else [])
        assert (await far.run(run)).status == "waiting"
        [approval], _ = await far.approvals("", Page(limit=1))
        does: dict[str, Callable[[], Any]] = {
            "start": lambda: far.start(StartRun(workflow="asks")),
            "vote": lambda: far.vote(approval.id, "approved", by="", digest=approval.digest, level=approval.level),
            "tokens": far.tokens,
        }
        for name, do in does.items():
            if name in may:
                await do()
            else:
                with pytest.raises(Forbidden, match=f"the-{role} may not"):
                    await do()


async def test_over_the_unix_socket_the_kernel_says_who_one_is(tmp_path: Path) -> None:
    async with serving(tmp_path):
        far = await connect(address_of(f"unix:{tmp_path}/.fleet/fleet.sock"))
        assert (far.hello.role, far.hello.name) == ("admin", Path(tmp_path).owner())
        await far.close()


async def test_who_is_not_let_in_is_told_what_to_do(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        with pytest.raises(Unauthorized) as without:
            await connect(address_of(served.url))
        assert "--token-file" in without.value.hint
        served.tokens.clear()
        with pytest.raises(Unauthorized, match="expired or revoked") as revoked:
            await connect(served.there())
        assert revoked.value.where.endswith("admin.token")
        assert "fleet token create" in revoked.value.hint


async def test_a_console_goes_on_as_nobody_else(tmp_path: Path) -> None:
    """A file with the token of another: what the console shows of who acts, and what it offers, would be wrong."""
    async with serving(tmp_path) as served:
        far = await connect(served.there("viewer"))
        gone = served.tokens.pop("fleet_viewer")
        served.tokens["fleet_other"] = msgspec.structs.replace(gone, name="somebody else")
        (tmp_path / "viewer.token").write_text("fleet_other")
        with pytest.raises(Unauthorized):
            await far.position()
        assert not await far.link.back()
        assert "somebody else (viewer of default) by now" in far.link.lost
        assert far.link.refused
        served.tokens["fleet_other"] = gone
        assert await far.link.back()
        assert await far.position() >= 0
        await far.close()


async def test_a_token_that_is_revoked_ends_what_it_listens_to_and_a_new_one_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, connected(served, "viewer") as far:
        heard: list[Change] = []
        listening = asyncio.create_task(listen(far, heard))
        await until(lambda: bool(heard))
        gone = served.tokens.pop("fleet_viewer")
        await until(lambda: any(not change.engine for change in heard))
        await until(lambda: "expired or revoked" in far.lost)
        with pytest.raises(Disconnected, match="expired or revoked"):
            await far.runs("", Page(limit=1))
        served.tokens["fleet_other"] = gone
        (tmp_path / "viewer.token").write_text("fleet_other")
        await until(lambda: not far.lost)
        await until(lambda: heard[-1].engine and heard[-1].lost)
        listening.cancel()


async def listen(console: RemoteConsole, heard: list[Change]) -> None:
    async with aclosing(console.changes(0.01)) as changes:
        async for change in changes:
            heard.append(change)  # noqa: PERF401 it is looked at meanwhile


async def test_another_version_is_told_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as served:
        monkeypatch.setattr(link_module, "PROTOCOL", messages.PROTOCOL + 1)
        with pytest.raises(OtherVersion, match="speaks version 1 of the console protocol"):
            await connect(served.there())


# ---------------------------------------------------------------- bad input


async def test_what_is_sent_wrongly_is_refused_and_nothing_else_happens(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, connected(served) as far:
        for name, body in [
            ("run", b"{"),
            ("run", b"[]"),
            ("run", b"{}"),
            ("run", b'{"run": 1}'),
            ("run", b"\xff"),
            ("run", b"[" * 100_000),
            ("runs", b'{"filter_": "", "page": {"limit": "x"}}'),
            ("runs", b'{"filter_": "status:bogus", "page": {"limit": 1}}'),
            ("start", b'{"request": {"files": [{"text": "name: [", "named": "../../x"}]}}'),
            ("value", b'{"fact": {}}'),
            ("vote", b'{"approval": "x", "decision": "perhaps"}'),
            ("watch", b'{"after": "x"}'),
        ]:
            with pytest.raises(InvalidInput):
                await far.link.ask(name, body, changes=False)
        for name in ("close", "behind", "state", "__class__", "x" * 300):
            with pytest.raises(NotFound):
                await far.link.ask(name, b"{}", changes=False)
        assert await far.count("") == 0


# ---------------------------------------------------------------- a line that is cut


async def test_every_fact_is_told_once_however_often_the_line_is_cut(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, Cut.before(served.url) as cut:
        far = await connect(address_of(cut.url, token_file=served.there().token_file))
        told: list[int] = []
        lost: list[str] = []
        far.link.told = lost.append

        async def follow() -> None:
            async with aclosing(far.watch()) as facts:  # pyright: ignore[reportArgumentType]
                async for each in facts:
                    if isinstance(each, Stored):
                        told.append(each.seq)  # noqa: PERF401 it is looked at meanwhile

        following = asyncio.create_task(follow())
        for turn in range(6):
            for name in ("a", "b", "c"):
                await asking(served, f"{name}{turn}")
                cut.now()
        last = await served.console.position()
        await until(lambda: bool(told) and told[-1] >= last)
        assert told[:last] == list(range(1, last + 1))
        await until(lambda: not far.lost)
        assert any(lost)
        assert lost[-1] == ""
        following.cancel()
        await far.close()


async def test_while_nobody_answers_everything_says_so_at_once_and_then_is_there_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, Cut.before(served.url) as cut:
        far = await connect(address_of(cut.url, token_file=served.there().token_file))
        heard: list[Change] = []
        listening = asyncio.create_task(listen(far, heard))
        await until(lambda: bool(heard))
        cut.stay()
        await until(lambda: not heard[-1].engine)
        assert far.where == "attached"
        for _ in range(3):
            with pytest.raises(Disconnected, match=r"cannot be reached|ended the connection"):
                await far.count("")
        assert await far.holds() == {}
        run = await asking(served)
        cut.heal()
        await until(lambda: heard[-1].engine and heard[-1].lost)
        assert [head.id for head in (await far.runs("", Page(limit=9)))[0]] == [run]
        await far.close()
        async with asyncio.timeout(30):
            await listening


async def test_what_was_asked_for_as_the_line_was_cut_may_have_been_done(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, Cut.before(served.url) as cut:
        far = await connect(address_of(cut.url, token_file=served.there().token_file))
        cut.swallow_answers()
        asked = asyncio.create_task(far.remember("kept", scope="shared", by=""))
        await until(lambda: cut.asked > 1)
        async with asyncio.timeout(30):
            while not await served.console.memories("kept"):  # noqa: ASYNC110 nothing tells
                await asyncio.sleep(0.01)
        cut.stay()
        with pytest.raises(Disconnected) as lost:
            await asked
        assert "may have been done" in lost.value.hint
        await far.close()


async def test_a_journal_that_is_another_one_is_not_followed_as_if_it_were_the_same(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, Cut.before(served.url) as cut:
        await asking(served)
        far = await connect(address_of(cut.url, token_file=served.there().token_file))
        facts = far.watch(after=10_000)
        waiting = asyncio.ensure_future(anext(facts))
        await until(lambda: cut.asked > 1)
        cut.now()
        with pytest.raises(Refused, match="it is another one"):
            await waiting
        await far.close()


async def test_what_is_not_understood_is_not_asked_for_as_fast_as_one_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, paused = 0, 0
    timeout = asyncio.timeout

    def puzzled(line: bytes) -> messages.Told:
        nonlocal told
        told += 1
        raise msgspec.ValidationError("a fact of tomorrow")

    def counted(seconds: float | None) -> asyncio.Timeout:
        nonlocal paused
        paused += seconds == link_module.MOST_SECONDS
        return timeout(seconds)

    async with serving(tmp_path) as served, connected(served) as far:
        monkeypatch.setattr(link_module, "_told", puzzled)
        monkeypatch.setattr(link_module.asyncio, "timeout", counted)
        async with aclosing(far.changes(0.01)) as changes:
            async for change in changes:
                assert not change.engine
                if told == 3:
                    break
        assert paused == 3


@pytest.mark.parametrize("error", [OSError("a disk"), ValueError("a mistake of ours")])
async def test_what_ends_a_stream_by_mistake_is_told_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    async def broken(self: EmbeddedConsole, seconds: float = 0.05) -> AsyncGenerator[Change]:
        raise error
        yield Change()

    monkeypatch.setattr(EmbeddedConsole, "changes", broken)
    async with serving(tmp_path) as served, connected(served) as far, aclosing(far.changes(0.01)) as changes:
        assert not (await anext(changes)).engine
    said = [record for record in caplog.records if record.name == "fleetprompt.daemon.telling"]
    assert said
    assert "/api/console/changes" in said[0].message
    assert str(error) in caplog.text
