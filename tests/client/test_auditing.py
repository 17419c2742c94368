"""What people do through consoles is in the audit log, by whatever face, and so is what they are refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from client_kit import attached, embedded, place_at

from fleetprompt.client.auditing import MINUTE, MOST, OTHERS, Repeats
from fleetprompt.client.files import load_files
from fleetprompt.client.guarded import guarded
from fleetprompt.client.identity import Face, Forbidden, Identity
from fleetprompt.client.protocol import Console, StartRun
from fleetprompt.client.saying import Message
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.audit import AuditNote
from fleetprompt.engine.core.errors import NotFound
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import Page
from fleetprompt.engine.ports.audit import AuditQuery
from fleetprompt.engine.store.database import SqlStore
from fleetprompt.engine.store.memory import MemoryStore

FLOW = "name: asks\ntriggers: [{type: signal, match: it.is}]\nsteps: [{id: gate, type: approval, message: Go?}]\n"
ANA = Identity(name="ana", role="admin", via="http", credential="t1")
VIEWER = Identity(name="vic", role="viewer", via="console", credential="t2")


@asynccontextmanager
async def closing_(console: Any) -> AsyncIterator[Any]:
    yield console
    await console.close()


async def told(console: Console) -> list[tuple[str, str, str, str]]:
    found = await console.audit(AuditQuery())
    return [(entry.by, entry.action, entry.outcome, entry.code) for entry in reversed(found)]


@pytest.mark.parametrize("opened", [embedded, attached])
async def test_what_is_changed_has_an_entry_with_who_it_was(tmp_path: Path, opened: Any) -> None:
    (tmp_path / "asks.yaml").write_text(FLOW)
    place = place_at(tmp_path)
    async with closing_(await opened(place)) as behind:
        ana = guarded(behind, ANA)
        await ana.register_all(load_files(tmp_path / "asks.yaml", tmp_path))
        await ana.register(load_files(tmp_path / "asks.yaml", tmp_path)[0])  # It is the same: nothing changes.
        run = await ana.start(StartRun(workflow="asks"))
        await ana.command(types.PAUSE, run, by="")
        await ana.set_workflow("asks", "paused", by="ana")
        issued = await ana.create_token("ci", role="viewer", lasts=None, by="")
        await ana.revoke_token(issued.token.id, by="")
        await ana.publish(Signal(id="x", type="a.b", source="", at=1.0))
        found = await ana.audit(AuditQuery())
        assert [(entry.action, entry.kind) for entry in reversed(found)] == [
            ("register", "workflow"),
            ("start", "run"),
            ("command/pause", "run"),
            ("set_workflow", "workflow"),
            ("create_token", "token"),
            ("revoke_token", "token"),
            ("publish", "signal a.b"),
        ]
        assert {(each.by, each.role, each.via, each.credential) for each in found} == {("ana", "admin", "http", "t1")}
        assert {entry.object for entry in found} == {"asks", run, issued.token.id, found[0].object}
        assert (await ana.signal(found[0].object))[0].type == "a.b"
        assert issued.secret not in str(found)
        assert (await ana.verify_audit()).ok


async def test_what_is_refused_is_told_too(tmp_path: Path) -> None:
    async with closing_(await embedded(place_at(tmp_path))) as behind:
        vic, ana = guarded(behind, VIEWER), guarded(behind, ANA)
        for _ in range(3):
            with pytest.raises(Forbidden):
                await vic.start(StartRun(workflow="asks"))
        with pytest.raises(Forbidden):
            await vic.tokens()
        with pytest.raises(NotFound):
            await ana.revoke_token("nothing", by="")
        assert (await ana.command(types.PAUSE, "no-such-run", by="")).status == "refused"
        await behind.refusals.close()
        assert await told(ana) == [
            ("vic", "start", "refused", "FORBIDDEN"),
            ("ana", "revoke_token", "refused", "VALIDATION_ERROR"),
            ("ana", "command/pause", "refused", "REFUSED"),
            ("vic", "tokens", "refused", "FORBIDDEN"),
            ("vic", "start", "refused", "FORBIDDEN"),
        ] or {each[1] for each in await told(ana)} == {"start", "tokens", "revoke_token", "command/pause"}
        counted = [entry.count for entry in await ana.audit(AuditQuery(action="start"))]
        assert sum(counted) == 3
        with pytest.raises(Forbidden):
            await vic.audit(AuditQuery())


AGENT = "name: helper\nsystem: the password is wonderland\n"
REFUSED_CALLS: list[tuple[str, dict[str, Any], str]] = [
    ("set_workflow", {"name": "asks", "status": "paused", "by": ""}, "workflow asks"),
    ("fire", {"schedule": "pulse/x", "by": ""}, "schedule pulse/x"),
    ("set_switch", {"position": "off", "by": ""}, "fleet off"),
    ("escalate", {"approval": "ap-1", "by": ""}, "approval ap-1"),
    ("vote", {"approval": "ap-1", "decision": "approved", "by": ""}, "approval ap-1"),
    ("replay", {"id_": "s1", "by": ""}, "signal s1"),
    ("dismiss_letters", {"ids": ["l1", "l2"], "by": ""}, "dead letter l1, l2"),
    ("remember", {"text": "the password is wonderland", "scope": "project", "by": ""}, "memory project"),
    ("keep_agent", {"text": AGENT}, "agent "),
    ("read_workflow", {"text": AGENT}, " "),
    ("create_token", {"name": "ci", "role": "admin", "lasts": None, "by": ""}, "token ci"),
    ("revoke_token", {"text": f"fleet_{'a' * 10}_wonderland", "by": ""}, f"token {'a' * 10}"),
    ("command", {"type_": types.CANCEL, "run": "r1", "by": ""}, "run r1"),
]


@pytest.mark.parametrize("given", ["by name", "in order"])
@pytest.mark.parametrize(("method", "arguments", "about"), REFUSED_CALLS)
async def test_a_refusal_tells_what_it_was_about_and_nothing_else_of_what_was_given(
    tmp_path: Path, method: str, arguments: dict[str, Any], about: str, given: str
) -> None:
    """Over HTTP arguments are given by name. A text that is sent can hold anything, and the log is for good."""
    async with closing_(await embedded(place_at(tmp_path))) as behind:
        vic, ana = guarded(behind, VIEWER), guarded(behind, ANA)
        [first, *_] = arguments
        ordered = [arguments[first]] if given == "in order" and method != "command" else []
        with pytest.raises(Forbidden):
            await getattr(vic, method)(*ordered, **{name: arguments[name] for name in [*arguments][len(ordered) :]})
        await behind.refusals.close()
        [entry] = await ana.audit(AuditQuery(outcome="refused"))
        assert f"{entry.kind} {entry.object}" == about
        assert entry.action == {"command": "command/cancel"}.get(method, method)
        assert "wonderland" not in str(entry)


async def test_a_signal_that_is_sent_brings_no_entry_of_its_own_making(tmp_path: Path) -> None:
    """Who publishes cannot say what the log is to tell of it."""
    forged = AuditNote(tenant="default", at=1.0, by="boss", action="vote")
    async with closing_(await embedded(place_at(tmp_path))) as behind:
        ana = guarded(behind, ANA)
        await ana.publish(Signal(id="x", type="a.b", source="", at=1.0, audit=forged, starters=("boss",)))
        assert await told(ana) == [("ana", "publish", "done", "")]


@pytest.mark.parametrize(("via", "entries"), [("console", [1] * 5), ("http", [1, 4])])
async def test_what_people_publish_is_told_one_by_one_and_what_systems_do_is_counted(
    tmp_path: Path, via: Face, entries: list[int]
) -> None:
    async with closing_(await embedded(place_at(tmp_path))) as behind:
        who = guarded(behind, msgspec.structs.replace(ANA, via=via))
        for n in range(5):
            await who.publish(Signal(id=f"x{n}", type="a.b", source="", at=1.0, key=f"k{n}"))
        await who.publish(Signal(id="y", type="a.c", source="", at=1.0))
        (sent, *_), _ = await who.signals("type:a.b", Page())
        await who.replay(sent.id, by="")
        await behind.published.close()
        found = [each for each in await who.audit(AuditQuery()) if each.action in ("publish", "replay")]
        assert sorted(each.count for each in found if each.kind == "signal a.b" and each.action == "publish") == entries
        assert [(each.kind, each.by) for each in found if each.action == "replay"] == [("signal a.b", "ana")]
        assert [each.count for each in found if each.kind == "signal a.c"] == [1]
        assert (await who.verify_audit()).ok


async def test_a_message_to_a_workflow_has_an_entry(tmp_path: Path) -> None:
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows/talks.yaml").write_text(
        "name: talks\ntriggers: [{type: chat}]\nsteps: [{id: a, type: transform, output: 1}]\n"
    )
    async with closing_(await embedded(place_at(tmp_path))) as behind:
        ana = guarded(behind, ANA)
        await ana.say("talks", Message(text="hello"), by="")
        [said] = [each for each in await ana.audit(AuditQuery()) if each.action == "say"]
        assert (said.by, said.kind, said.object, said.outcome) == ("ana", "workflow", "talks", "done")


async def test_what_the_audit_log_cannot_be_told_is_said_in_the_log_of_the_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refusals = Repeats(SqlStore(tmp_path / "closed.db"))
    await refusals.add(
        AuditNote(tenant="default", at=1.0, by="10.0.0.1", via="http", action="authenticate", outcome="refused")
    )
    await refusals.close()
    [said] = [record.message for record in caplog.records if record.name == "fleetprompt.client.auditing"]
    assert "lacks authenticate by 10.0.0.1 (refused): the store is closed" in said


async def test_nobody_fills_the_log_by_being_refused() -> None:
    store = MemoryStore()
    refusals = Repeats(store)

    def note(by: str, at: float) -> AuditNote:
        return AuditNote(
            tenant="default", at=at, by=by, via="http", action="authenticate", outcome="refused", code="401"
        )

    for at in range(1000):
        await refusals.add(note(f"10.0.0.{at}", 100.0 + at / 100))
        await refusals.add(note("10.0.0.1", 100.0 + at / 100))
    found = await store.audit.list(AuditQuery(limit=5000))
    assert len(found) == MOST + 1
    await refusals.add(note("10.0.0.1", 100.0 + MINUTE))
    found = await store.audit.list(AuditQuery(limit=5000))
    assert sum(entry.count for entry in found) == 2001, "how often is told when the minute is over"
    assert len(found) < 2 * MOST
    assert {entry.by for entry in found} >= {OTHERS, "10.0.0.1"}
    await refusals.close()
    assert (await store.audit.verify()).ok
