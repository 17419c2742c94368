"""The audit log of every store: a chain for each tenant, written with the change that it tells of or not at all."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from store_kit import NOW, start

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.audit import PRUNED, START, AuditNote, digest_of
from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import Store, Workflow
from fleetprompt.engine.ports.audit import AuditQuery
from fleetprompt.engine.ports.token import Token


def note(
    action: str = "command", object: str = "r1", *, at: float = NOW, tenant: str = "default", **more: object
) -> AuditNote:
    return msgspec.convert(
        {
            "tenant": tenant,
            "at": at,
            "by": "ana",
            "role": "admin",
            "via": "cli",
            "action": action,
            "object": object,
            **more,
        },
        AuditNote,
    )


def sent(id_: str = "s1", **fields: object) -> Signal:
    given = {"id": id_, "type": types.PAUSE, "source": "cli/ana", "at": NOW, "subject": "r1", "by": "ana", **fields}
    return msgspec.convert(given, Signal)


async def chain(store: Store, tenant: str = "default") -> list[tuple[int, str, str]]:
    found = await store.audit.list(AuditQuery(), tenant)
    return [(entry.seq, entry.action, entry.object) for entry in reversed(found)]


async def test_each_entry_follows_the_one_before_it_and_each_tenant_has_a_chain(store: Store) -> None:
    assert (await store.audit.verify()).ok
    first = await store.audit.add(note("start"))
    await store.audit.add(note("start", tenant="acme"))
    second = await store.audit.add(note("vote", "ap-1", detail=digest_of({"a": 1}), credential="t1", count=3))
    assert (first.seq, first.prev, second.seq, second.prev) == (1, START, 2, first.hash)
    assert await store.audit.list(AuditQuery()) == [second, first]
    assert (await store.audit.list(AuditQuery(), "acme"))[0].seq == 1
    verdict = await store.audit.verify()
    assert (verdict.ok, verdict.entries, verdict.head) == (True, 2, second.hash)
    assert (await store.audit.verify(known=first.hash)).ok, "a head from before is in the chain"
    lost = await store.audit.verify(known="f" * 64)
    assert (lost.ok, lost.broken) == (False, 3)


async def test_entries_are_found_by_what_they_say(store: Store) -> None:
    for at, (by, action) in enumerate([("ana", "start"), ("bo", "vote"), ("ana", "vote")]):
        await store.audit.add(note(action, f"o{at}", at=NOW + at, by=by))
    await store.audit.add(note("vote", "o9", at=NOW + 9, outcome="refused", code="REFUSED"))

    async def found(**query: object) -> list[str]:
        return [entry.object for entry in await store.audit.list(msgspec.convert(query, AuditQuery))]

    assert await found(by="ana") == ["o9", "o2", "o0"]
    assert await found(action="vote", outcome="done") == ["o2", "o1"]
    assert await found(since=NOW + 2) == ["o9", "o2"]
    assert await found(limit=1) == ["o9"]
    assert await found(before=3, object="o1") == ["o1"]


async def test_a_command_and_its_entry_are_kept_together_and_once(store: Store) -> None:
    published = await store.signals.publish(sent(audit=note()))
    assert published.signal.audit is None
    again = await store.signals.publish(sent(audit=note()))
    assert again.duplicate
    assert await chain(store) == [(1, "command", "r1")]
    kept = await store.signals.get("s1")
    assert kept is not None
    assert kept.audit is None, "nobody reads it from a signal"


async def test_many_that_come_at_once_have_an_entry_each(store: Store) -> None:
    await asyncio.gather(*(store.signals.publish(sent(f"s{at}", audit=note(object=str(at)))) for at in range(40)))
    found = await chain(store)
    assert [seq for seq, _, _ in found] == [*range(1, 41)]
    assert {object for _, _, object in found} == set(map(str, range(40)))
    assert (await store.audit.verify()).ok


async def test_what_a_run_takes_up_brings_its_entry_with_its_facts(store: Store) -> None:
    await store.journal.append(start("r1", received=sent(audit=note("pause"))))
    assert await chain(store) == [(1, "pause", "r1")]


async def test_facts_of_runs_write_nothing(store: Store) -> None:
    await store.journal.append(start("r1"))
    assert await chain(store) == []


async def test_a_vote_that_does_not_count_has_no_entry_of_a_change(store: Store) -> None:
    vote = sent(type=types.VOTE, data={"approval": "ap-9", "decision": "approved"}, audit=note("vote", "ap-9"))
    with pytest.raises(Refused):
        await store.signals.publish(vote)
    assert await chain(store) == []


async def test_tokens_and_workflows_are_changed_with_their_entries(store: Store) -> None:
    token = Token(id="abc", tenant="default", name="ci", role="admin", created_at=NOW, created_by="ana")
    await store.tokens.add(token, "d" * 64, note("create_token", "abc"))
    with pytest.raises(Refused):
        await store.tokens.add(token, "d" * 64, note("create_token", "abc"))
    assert await store.tokens.revoke("abc", by="ana", at=NOW, audit=note("revoke_token", "abc"))
    assert not await store.tokens.revoke("abc", by="ana", at=NOW, audit=note("revoke_token", "abc"))
    workflow = Workflow(name="w", tenant="default", status="active", plan="p", file="", updated_at=NOW)
    await store.catalog.set_workflow(workflow, note("register", "w"))
    assert await chain(store) == [(1, "create_token", "abc"), (2, "revoke_token", "abc"), (3, "register", "w")]


async def test_older_entries_can_go_and_the_chain_says_so(store: Store) -> None:
    for at in range(5):
        await store.audit.add(note(object=str(at), at=NOW + at))
    before = await store.audit.verify()
    middle = (await store.audit.list(AuditQuery(object="1")))[0]
    assert await store.audit.prune(NOW + 2, note("prune", at=NOW + 9)) == 2
    found = await chain(store)
    assert found == [(3, "command", "2"), (4, "command", "3"), (5, "command", "4"), (6, PRUNED, "2")]
    verdict = await store.audit.verify(known=before.head)
    assert (verdict.ok, verdict.entries) == (True, 4)
    assert (await store.audit.verify(known=middle.hash)).ok, "also a head that is the last of what went"
    assert await store.audit.prune(NOW + 2, note("prune", at=NOW + 9)) == 0
    assert await store.audit.prune(NOW + 99, note("prune", at=NOW + 99)) == 3, "the last entry stays"
    assert [action for _, action, _ in await chain(store)] == [PRUNED, PRUNED]
    assert (await store.audit.verify()).ok


async def test_what_no_text_is_does_not_break_the_chain(store: Store) -> None:
    await store.audit.add(note(object="a\0b\ud800" + "x" * 1000))
    assert (await store.audit.verify()).ok
    [entry] = await store.audit.list(AuditQuery(object="a\0b\ud800" + "x" * 1000))
    assert len(entry.object) == 300
