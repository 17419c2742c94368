"""Approvals: rows that follow the facts, and votes that are unique before anybody acts on them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from store_kit import NOW, ask, entry, put, signal, start, vote

from fleetprompt.engine.core.errors import InvalidInput, Refused
from fleetprompt.engine.core.facts import ApprovalDecided, ApprovalVoted, Blob
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import APPROVAL_FIELDS
from fleetprompt.engine.core.signal import VOTE, Result
from fleetprompt.engine.ports import Page, Store


async def _asking(store: Store, run: str = "r1", **fields: object) -> None:
    await put(store, start(run), entry(run, 2, ask(**fields)))


def _decided(decision: str = "approved", id_: str = "apr-1") -> ApprovalDecided:
    return ApprovalDecided(path="gate", id=id_, decision=decision, by=("ana",), reason="vote", at=NOW + 5)


async def test_a_request_opens_an_approval(store: Store) -> None:
    await _asking(
        store,
        show={"cmd": ["rm", "-rf"]},
        approvers=("group:oncall", "ana"),
        quorum=2,
        form={"n": {"type": "integer"}},
        until=NOW + 60,
        on_timeout="escalate",
    )
    approval = await store.approvals.get("apr-1")
    assert approval is not None
    assert (approval.run, approval.path, approval.workflow, approval.status) == ("r1", "gate", "audit", "pending")
    assert approval.show == {"cmd": ["rm", "-rf"]}
    assert (approval.approvers, approval.quorum, approval.form) == (
        ("group:oncall", "ana"),
        2,
        {"n": {"type": "integer"}},
    )
    assert (approval.until, approval.on_timeout, approval.level) == (NOW + 60, "escalate", 0)
    assert (approval.requested_at, approval.decided_at, approval.digest) == (NOW + 1, None, "d" * 64)
    assert await store.approvals.get("unknown") is None


async def test_a_decision_closes_it(store: Store) -> None:
    await _asking(store)
    await put(store, entry("r1", 3, _decided("withdrawn")))
    approval = await store.approvals.get("apr-1")
    assert approval is not None
    assert (approval.status, approval.decided_at, approval.reason) == ("withdrawn", NOW + 5, "vote")


async def test_request_and_decision_in_one_append(store: Store) -> None:
    await put(store, start("r1"), entry("r1", 2, ask(), _decided("rejected")))
    approval = await store.approvals.get("apr-1")
    assert approval is not None
    assert approval.status == "rejected"


async def test_a_vote_is_kept_with_its_signal(store: Store) -> None:
    await _asking(store)
    sent = vote("ana", at=NOW + 2)
    await store.signals.publish(sent)
    (kept,) = await store.approvals.votes("apr-1")
    assert (kept.by, kept.decision, kept.at, kept.level) == ("ana", "approved", NOW + 2, 0)
    assert (kept.comment, kept.values, kept.via) == ("fine", {"n": 1}, "cli")
    assert await store.signals.unrouted() != []


async def test_a_second_decision_of_a_person_is_refused_at_once(store: Store) -> None:
    await _asking(store)
    await store.signals.publish(vote("ana"))
    again = vote("ana", "rejected")
    with pytest.raises(Refused, match="ana"):
        await store.signals.publish(again)
    assert await store.signals.get(again.id) is None
    assert len(await store.approvals.votes("apr-1")) == 1
    await store.signals.publish(vote("ben"))
    assert [each.by for each in await store.approvals.votes("apr-1")] == ["ana", "ben"]


async def test_a_vote_is_corrected_until_enough_people_agree(store: Store) -> None:
    await _asking(store, quorum=2)
    await store.signals.publish(vote("ana"))
    with pytest.raises(Refused, match="ana has decided already"):
        await store.signals.publish(vote("ana"))
    again, refused = vote("ana", seen={"comment": "changed"}, at=NOW + 4), vote("ana", seen={"comment": "no good"})
    await store.signals.publish(again)
    await store.signals.publish(refused)
    assert [each.comment for each in await store.approvals.votes("apr-1")] == ["fine"], "the engine may refuse it"
    await store.signals.close(refused.id, [Result(signal=refused.id, status="refused", reason="no")])
    assert [each.comment for each in await store.approvals.votes("apr-1")] == ["fine"], "then the earlier one stays"
    facts = [
        ApprovalVoted(
            path="gate", id="apr-1", by="ana", decision="approved", comment=comment, values=values, via="cli", at=at
        )
        for comment, values, at in (("fine", {"n": 1}, NOW + 5), ("changed", {"n": 2}, NOW + 6))
    ]
    await put(store, entry("r1", 3, *facts))
    assert [(each.comment, each.values) for each in await store.approvals.votes("apr-1")] == [("changed", {"n": 2})]
    await store.signals.publish(vote("ben"))
    with pytest.raises(Refused, match="ana has decided already"):
        await store.signals.publish(vote("ana", "rejected"))


async def test_of_a_correction_and_the_last_vote_at_once_neither_is_lost(store: Store) -> None:
    await _asking(store, quorum=2)
    first, *sent = vote("ana"), vote("ana", "rejected"), vote("ben")
    await store.signals.publish(first)
    done = await asyncio.gather(*map(store.signals.publish, sent), return_exceptions=True)
    assert [each.by for each in await store.approvals.votes("apr-1")] == ["ana", "ben"]
    assert not isinstance(done[1], Refused)
    taken = [each.id for each, said in zip(sent, done, strict=True) if not isinstance(said, Refused)]
    assert {each.id for each in await store.signals.unrouted()} == {first.id, *taken}


async def test_the_same_vote_signal_again_is_a_duplicate(store: Store) -> None:
    await _asking(store)
    sent = vote("ana", key="k")
    await store.signals.publish(sent)
    assert (await store.signals.publish(sent)).duplicate
    assert (await store.signals.publish(vote("ana", key="k"))).duplicate


async def test_of_many_votes_at_once_one_per_person_counts(store: Store) -> None:
    await _asking(store)
    done = await asyncio.gather(*(store.signals.publish(vote(f"p{i % 4}")) for i in range(20)), return_exceptions=True)
    assert sum(isinstance(each, Refused) for each in done) == 16
    assert len(await store.approvals.votes("apr-1")) == 4


async def test_a_vote_on_nothing_open_is_refused(store: Store) -> None:
    with pytest.raises(Refused, match="no approval"):
        await store.signals.publish(vote("ana"))
    await _asking(store)
    with pytest.raises(Refused, match="no approval"):
        await store.signals.publish(vote("ana", tenant="other"))
    await put(store, entry("r1", 3, _decided()))
    with pytest.raises(Refused, match="approved"):
        await store.signals.publish(vote("ana"))
    assert await store.signals.unrouted() == []


DIGEST, OTHER = "d" * 64, "e" * 64


@pytest.mark.parametrize(
    ("seen", "problem"),
    [
        ({}, ""),
        ({"digest": "", "level": None}, ""),
        ({"digest": DIGEST, "level": 1}, ""),
        ({"level": 1}, ""),
        ({"digest": DIGEST, "level": 0}, "level 1 by now"),
        ({"level": 0}, "level 1 by now"),
        ({"digest": OTHER, "level": 1}, "changed since"),
        ({"digest": OTHER}, "changed since"),
    ],
    ids=str,
)
async def test_a_vote_counts_for_what_was_seen_and_for_nothing_else(
    store: Store, seen: dict[str, Any], problem: str
) -> None:
    await _asking(store, digest=OTHER)
    await put(store, entry("r1", 3, ask(level=1, digest=DIGEST, at=NOW + 30)))
    if not problem:
        await store.signals.publish(vote("ana", seen=seen))
        assert [each.level for each in await store.approvals.votes("apr-1")] == [1]
        return
    with pytest.raises(Refused, match=problem):
        await store.signals.publish(vote("ana", seen=seen))
    assert await store.approvals.votes("apr-1") == []
    assert await store.signals.unrouted() == []


async def test_an_approval_holds_what_it_releases(store: Store) -> None:
    secrets = {"/headers/auth": ["Bearer ", {"secret": "TOKEN"}]}
    await _asking(store, input={"url": "http://a", "headers": {"auth": ""}}, secrets=secrets)
    await _asking(store, "r2", id_="apr-2", blob=Blob(digest="b" * 64, size=70_000))
    small, large = await store.approvals.get("apr-1"), await store.approvals.get("apr-2")
    assert small is not None
    assert (small.input, small.secrets, small.blob) == (
        {"url": "http://a", "headers": {"auth": ""}},
        secrets,
        None,
    )
    assert large is not None
    assert (large.input, large.blob) == (None, Blob(digest="b" * 64, size=70_000))


@pytest.mark.parametrize("data", [None, {}, {"approval": "apr-1"}, {"approval": "apr-1", "decision": "maybe"}, [1]])
async def test_a_vote_that_is_none(store: Store, data: object) -> None:
    await _asking(store)
    with pytest.raises(InvalidInput):
        await store.signals.publish(signal(VOTE, by="ana", data=data))
    assert await store.signals.unrouted() == []


async def test_an_escalation_renews_the_approval_and_lets_people_vote_again(store: Store) -> None:
    await _asking(store)
    await store.signals.publish(vote("ana"))
    renewed = ask(level=1, message="Really?", approvers=("boss",), at=NOW + 30)
    await put(store, entry("r1", 3, renewed))
    approval = await store.approvals.get("apr-1")
    assert approval is not None
    assert (approval.level, approval.message, approval.approvers) == (1, "Really?", ("boss",))
    assert approval.requested_at == NOW + 1
    await store.signals.publish(vote("ana", "rejected"))
    assert [(each.level, each.decision) for each in await store.approvals.votes("apr-1")] == [
        (0, "approved"),
        (1, "rejected"),
    ]


async def test_a_vote_fact_is_kept_once(store: Store) -> None:
    await _asking(store)
    await store.signals.publish(vote("ana", at=NOW + 2))
    said: dict[str, Any] = {"decision": "approved", "comment": "fine", "values": {"n": 1}, "via": "cli"}
    facts = [ApprovalVoted(path="gate", id="apr-1", by=by, at=NOW + 3, **said) for by in ("ana", "ben")]
    await put(store, entry("r1", 3, *facts))
    assert [(each.by, each.at) for each in await store.approvals.votes("apr-1")] == [("ana", NOW + 2), ("ben", NOW + 3)]


async def test_a_vote_that_the_engine_refuses_no_longer_counts(store: Store) -> None:
    await _asking(store)
    sent = vote("eve")
    await store.signals.publish(sent)
    await store.signals.close(sent.id, [Result(signal=sent.id, status="refused", reason="not an approver")])
    assert await store.approvals.votes("apr-1") == []
    await store.signals.publish(vote("eve"))


async def test_a_fork_leaves_the_approval_to_its_original(store: Store) -> None:
    await _asking(store)
    await put(store, start("r2"), entry("r2", 2, ask(message="copied"), _decided("rejected")))
    approval = await store.approvals.get("apr-1")
    assert approval is not None
    assert (approval.run, approval.message, approval.status) == ("r1", "Restart?", "pending")


async def test_the_inbox(store: Store) -> None:
    for i in range(5):
        asked = ask(id_=f"apr-{i}", at=NOW + i, approvers=(f"p{i % 2}",), until=NOW + 100 * i)
        await put(store, start(f"r{i}"), entry(f"r{i}", 2, asked))
    await put(store, entry("r3", 3, _decided(id_="apr-3")), start("x", tenant="b"), entry("x", 2, ask("b"), tenant="b"))

    async def ids(text: str, **page: object) -> list[str]:
        query = parse(text, APPROVAL_FIELDS).require()
        found, _ = await store.approvals.list(query, Page(**page), now=NOW)
        return [each.id for each in found]

    assert await ids("") == [f"apr-{i}" for i in (4, 3, 2, 1, 0)]
    assert await ids("status:pending", limit=2) == ["apr-4", "apr-2"]
    assert await ids("approver:p1") == ["apr-3", "apr-1"]
    assert await ids("run:r2") == ["apr-2"]
    assert await ids("expires<150s status:pending") == ["apr-1", "apr-0"]
    assert await ids("step:gat restart", oldest_first=True, limit=1) == ["apr-0"]
    assert await store.approvals.find("r-2") == ["apr-2"]
    assert await store.approvals.find("apr-") == [f"apr-{i}" for i in (4, 3, 2, 1, 0)]
    assert await store.approvals.find("b") == []


async def test_several_approvals_come_with_their_votes_and_the_ids_of_all_that_match(store: Store) -> None:
    for number in range(5):
        await put(store, start(f"r{number}"), entry(f"r{number}", 2, ask(id_=f"apr-{number}")))
    await put(store, entry("r3", 3, _decided("approved", "apr-3")))
    for who in ("bo", "ana"):
        await store.signals.publish(vote(by=who, approval="apr-1"))
    ids = await store.approvals.ids(parse("status:pending", APPROVAL_FIELDS), now=NOW)
    assert ids == ["apr-0", "apr-1", "apr-2", "apr-4"]
    assert await store.approvals.ids(parse("/pr-[14]/", APPROVAL_FIELDS), now=NOW) == ["apr-1", "apr-4"]
    assert await store.approvals.ids(parse("", APPROVAL_FIELDS), now=NOW, tenant="b") == []
    found = await store.approvals.several(["apr-4", "gone", "apr-1", "apr-3"])
    assert [approval.id for approval, _ in found] == ["apr-1", "apr-3", "apr-4"]
    for approval, votes in found:
        assert approval == await store.approvals.get(approval.id)
        assert votes == await store.approvals.votes(approval.id)
    assert len(found[0][1]) == 2
    assert await store.approvals.several(["apr-1"], "b") == []
    assert await store.approvals.several([]) == []
