"""Signals: stored once, routed in the transaction of their facts, answered by result rows."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace
from store_kit import NOW, created, entry, fact, normal, put, signal, start

from fleetprompt.engine.core.errors import FleetError, InvalidInput, NotFound, Refused
from fleetprompt.engine.core.firing import Firing
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import FIRING_FIELDS, SIGNAL_FIELDS
from fleetprompt.engine.core.signal import Result
from fleetprompt.engine.ports import Conflict, Page, Store, Unheard, Wait
from fleetprompt.engine.store.memory import MemoryStore


async def test_a_signal_comes_back_whole_with_its_place(store: Store) -> None:
    sent = signal(
        data={"deep": [1, {"é": None}]},
        subject="r1",
        key="k",
        correlation="c",
        causation="z",
        traceparent="00-1",
        by="ana",
    )
    publication = await store.signals.publish(sent)
    assert not publication.duplicate
    assert publication.signal.sequence > 0
    assert await store.signals.get(sent.id) == publication.signal
    assert normal(publication.signal) | {"sequence": 0} == normal(sent) | {"sequence": 0}
    assert await store.signals.unrouted() == [publication.signal]
    assert await store.signals.get("unknown") is None


async def test_of_two_signals_with_one_key_the_first_counts(store: Store) -> None:
    first = await store.signals.publish(signal(key="k", data=1))
    again = await store.signals.publish(signal(key="k", data=2))
    assert again.duplicate
    assert again.signal == first.signal
    other = await store.signals.publish(signal(key="k", tenant="b"))
    assert not other.duplicate
    assert await store.signals.of_key("k") == first.signal
    assert await store.signals.of_key("k", "b") == other.signal
    assert await store.signals.of_key("other") is None
    assert [each.id for each in await store.signals.unrouted()] == [first.signal.id, other.signal.id]
    await store.signals.publish(signal())
    assert await store.signals.of_key("") is None


async def test_one_id_is_one_signal(store: Store) -> None:
    sent = signal()
    await store.signals.publish(sent)
    assert (await store.signals.publish(sent)).duplicate
    with pytest.raises(FleetError):
        await store.signals.publish(signal(id=sent.id, tenant="b"))


async def test_many_at_once_keep_their_order_and_their_keys(store: Store) -> None:
    done = await asyncio.gather(*(store.signals.publish(signal(key=f"k{i % 20}")) for i in range(60)))
    assert sum(not each.duplicate for each in done) == 20
    unrouted = await store.signals.unrouted()
    assert [each.key for each in unrouted] == [f"k{i}" for i in range(20)]
    assert [each.key for each in await store.signals.unrouted(limit=3)] == ["k0", "k1", "k2"]
    assert [await store.signals.backlog(most) for most in (3, 20, 1000)] == [3, 20, 20]
    await store.signals.close(unrouted[0].id)
    assert await store.signals.backlog() == 19


async def test_a_signal_is_routed_with_the_facts_it_causes(store: Store) -> None:
    sent = await store.signals.publish(signal())
    answer = Result(signal=sent.signal.id, status="accepted", run="r1", data={"n": 1})
    await put(store, start("r1", routed=(sent.signal.id,), results=(answer,)))
    assert await store.signals.unrouted() == []
    assert await store.signals.results(sent.signal.id) == (True, [answer])
    again = Result(signal=sent.signal.id, status="refused", run="r2", reason="no")
    await put(store, start("r2", results=(again,)))
    assert await store.signals.results(sent.signal.id) == (True, [answer, again])


async def test_a_conflict_leaves_the_signal_unrouted(store: Store) -> None:
    sent = await store.signals.publish(signal())
    await put(store, start("r1"))
    answer = Result(signal=sent.signal.id, status="accepted", run="r1")
    with pytest.raises(Conflict):
        await store.journal.append(entry("r1", 1, fact(2), routed=(sent.signal.id,), results=(answer,)))
    assert await store.signals.unrouted() == [sent.signal]
    assert await store.signals.results(sent.signal.id) == (False, [])


async def test_closing_a_signal(store: Store) -> None:
    sent = await store.signals.publish(signal())
    refusal = Result(signal=sent.signal.id, status="refused", reason="no such run")
    await store.signals.close(sent.signal.id, [refusal])
    assert await store.signals.results(sent.signal.id) == (True, [refusal])
    better = Result(signal=sent.signal.id, status="accepted")
    await store.signals.close(sent.signal.id, [better])
    assert await store.signals.results(sent.signal.id) == (True, [better])
    with pytest.raises(NotFound):
        await store.signals.close("unknown")
    assert await store.signals.results("unknown") == (False, [])


async def test_answers_of_many_signals_at_once_are_those_of_each(store: Store) -> None:
    sent = [signal(id=f"s{number}") for number in range(4)]
    foreign = signal(id="foreign", tenant="b")
    for each in (*sent, foreign):
        await store.signals.publish(each)
    await put(store, start("r1"))
    heard = tuple(Result(signal="s0", status="accepted", run=run, data={"n": 1}) for run in ("r1", "a"))
    await put(store, entry("r1", 2, fact(1), results=heard))
    await store.signals.close("s1", (Result(signal="s1", status="refused", reason="no"),))
    await store.signals.close("s2")
    ids = ["s3", "s2", "gone", "s1", "s0", "foreign"]
    answers = await store.signals.answers(ids)
    assert set(answers) == {"s0", "s1", "s2", "s3"}
    for id_, answer in answers.items():
        assert answer == await store.signals.results(id_)
    assert [result.run for result in answers["s0"][1]] == ["a", "r1"]
    assert answers["s3"] == (False, [])
    assert set(await store.signals.answers(ids, "b")) == {"foreign"}
    assert await store.signals.answers([]) == {}


async def test_signals_leave_a_run_with_its_facts(store: Store) -> None:
    known = await store.signals.publish(signal(key="known"))
    leaving = signal("audit.done", data={"n": 1}, key="once")
    await put(store, start("r1", signals=(leaving, signal(key="known"))))
    unrouted = await store.signals.unrouted()
    assert [each.id for each in unrouted] == [known.signal.id, leaving.id]
    assert unrouted[1].data == {"n": 1}
    assert unrouted[1].sequence > unrouted[0].sequence


async def test_a_start_in_process_brings_its_signal(store: Store) -> None:
    sent = signal("fleet.run.start", key="k")
    answer = Result(signal=sent.id, status="accepted", run="r1")
    await put(store, start("r1", received=sent, routed=(sent.id,), results=(answer,)))
    assert await store.signals.unrouted() == []
    assert await store.signals.results(sent.id) == (True, [answer])
    assert (await store.signals.publish(signal(key="k"))).signal.id == sent.id
    for again in (signal(key="k"), sent):
        with pytest.raises(Conflict):
            await store.journal.append(start("r2", received=again))
    assert await store.runs.get("r2") is None


async def test_two_starts_with_one_key_in_one_batch(store: Store) -> None:
    done = await asyncio.gather(
        store.journal.append(start("r1", received=signal(key="k"))),
        store.journal.append(start("r2", received=signal(key="k"))),
        store.journal.append(start("r3", received=signal(key="l"))),
        return_exceptions=True,
    )
    assert [type(each).__name__ for each in done] == ["Appended", "Conflict", "Appended"]


async def _ids(store: Store, text: str, **page: object) -> list[str]:
    query = parse(text, SIGNAL_FIELDS).require()
    found, _ = await store.signals.list(query, Page(**page), now=NOW + 60)
    return [each.id for each in found]


async def test_the_list_is_newest_first_and_pages(store: Store) -> None:
    for i in range(7):
        await store.signals.publish(signal(id=f"s{i}"))
    await store.signals.publish(signal(id="other", tenant="b"))
    everything = parse("", SIGNAL_FIELDS)
    seen: list[str] = []
    cursor = ""
    while True:
        found, cursor = await store.signals.list(everything, Page(limit=3, cursor=cursor), now=NOW)
        seen += [each.id for each in found]
        if not cursor:
            break
    assert seen == [f"s{i}" for i in range(6, -1, -1)]
    assert await _ids(store, "", oldest_first=True) == seen[::-1]


async def test_filters_see_what_became_of_a_signal(store: Store) -> None:
    await store.signals.publish(signal(id="open"))
    await store.signals.publish(signal("deploy.done", id="nobody", key="k1"))
    await store.signals.close("nobody")
    await store.signals.publish(signal(id="hit"))
    await put(store, start("r1", routed=("hit",), results=(Result(signal="hit", status="accepted", run="r1"),)))
    await store.signals.publish(signal(id="no"))
    await store.signals.close("no", [Result(signal="no", status="refused", reason="x")])
    await store.signals.publish(signal(id="both"))
    await store.signals.close("both", [Result(signal="both", status="refused", run="r2")])
    await put(store, start("r2", results=(Result(signal="both", status="accepted", run="r3"),)))
    assert await _ids(store, "status:pending") == ["open"]
    assert await _ids(store, "status:accepted") == ["both", "hit", "nobody"]
    assert await _ids(store, "status:refused") == ["no"]
    assert await _ids(store, "run:r1,r3") == ["both", "hit"]
    assert await _ids(store, "-run:*") == ["no", "nobody", "open"]
    assert await _ids(store, "type:deploy.*") == ["nobody"]
    assert await _ids(store, "k1") == ["nobody"]
    assert await _ids(store, "-age>30s") == []


async def test_several_signals_and_the_ids_of_all_that_match(store: Store) -> None:
    for number in range(5):
        await store.signals.publish(signal("deploy.done" if number % 2 else "build.done", id=f"s{number}"))
    await store.signals.publish(signal(id="foreign", tenant="b"))
    assert await store.signals.ids(parse("", SIGNAL_FIELDS), now=NOW) == ["s4", "s3", "s2", "s1", "s0"]
    assert await store.signals.ids(parse("type:deploy.done", SIGNAL_FIELDS), now=NOW) == ["s3", "s1"]
    assert await store.signals.ids(parse("/s[12]/", SIGNAL_FIELDS), now=NOW) == ["s2", "s1"]
    found = await store.signals.several(["s3", "gone", "s0", "foreign"])
    assert found == [await store.signals.get("s0"), await store.signals.get("s3")]
    assert await store.signals.several([]) == []


# ---------------------------------------------------------------- many at once, and what nobody hears


async def _waits_for(store: Store, run: str, ref: str, tenant: str = "default") -> None:
    append = entry(run, 0, created(run, tenant=tenant), tenant=tenant)
    await put(store, replace(append, waits=(Wait(path="w", on="signal", ref=ref),)))


async def test_what_nobody_hears_is_stored_as_done_with(store: Store) -> None:
    await _waits_for(store, "r1", "order.paid")
    await _waits_for(store, "r2", "desk.*", tenant="b")
    sent = [
        signal(type_, id=type_ + tenant, tenant=tenant)
        for type_ in ("order.paid", "a.b")
        for tenant in ("default", "b")
    ]
    found = await asyncio.gather(*(store.signals.publish(each, unheard=Unheard()) for each in sent))
    done = {each.signal.id: each.routed for each in found}
    # A pattern may be for any type: of those the engine finds out itself.
    assert done == {"order.paiddefault": False, "order.paidb": False, "a.bdefault": True, "a.bb": False}
    assert {each.signal.id: each.waited for each in found} == {id_: not routed for id_, routed in done.items()}
    assert sorted(each.id for each in await store.signals.unrouted()) == ["a.bb", "order.paidb", "order.paiddefault"]
    assert (await store.signals.results("a.bdefault")) == (True, [])
    heard = await store.signals.publish(signal("c.d", id="heard"))
    assert (heard.routed, heard.waited) == (False, False)
    alone = await store.signals.publish(signal("order.paid", id="alone"))
    assert (alone.routed, alone.waited) == (False, True)


async def test_why_a_signal_starts_nothing_is_stored_with_it(store: Store) -> None:
    await _waits_for(store, "r1", "order.paid")
    await store.signals.publish(signal("a.b", id="taken"))

    def passed(id_: str) -> Unheard:
        given = {"workflow": "w", "trigger": "t", "scheduled": id_, "due": NOW, "at": NOW, "signal": id_}
        return Unheard("its `if` does not hold", (Firing(**given, kind="signal", outcome="skipped", reason="so"),))

    every = [signal(id="s1"), signal(id="s2"), signal("order.paid", id="waited"), signal("a.b", id="taken")]
    for each in every[:1], every[1:3], every[3:]:
        await asyncio.gather(*(store.signals.publish(one, unheard=passed(one.id)) for one in each))
    told = {id_: (await store.signals.results(id_))[1] for id_ in ("s1", "s2", "waited", "taken")}
    reason = "its `if` does not hold"
    assert told == {
        **{id_: [Result(signal=id_, status="accepted", reason=reason)] for id_ in ("s1", "s2")},
        "waited": [],
        "taken": [],
    }
    found, _ = await store.firings.list(parse("", FIRING_FIELDS), Page(), now=NOW)
    assert [(each.signal, each.outcome, each.reason) for each in found] == [
        ("s2", "skipped", "so"),
        ("s1", "skipped", "so"),
    ]


async def test_of_many_at_once_each_gets_its_own_answer(store: Store) -> None:
    await store.signals.publish(signal(id="old", key="taken"))
    await store.signals.publish(signal(id="theirs", tenant="b"))
    many = [
        signal(id="new"),
        signal("again.same", id="new"),
        signal(id="same-key", key="taken"),
        signal(id="theirs"),
        signal(id="bad", data=object()),
        signal(id="last", key="k"),
        signal(id="lost", key="k"),
    ]
    before = store.journal.commits
    found = await asyncio.gather(*(store.signals.publish(each) for each in many), return_exceptions=True)
    told = [each if isinstance(each, BaseException) else (each.signal.id, each.duplicate) for each in found]
    assert told[:3] == [("new", False), ("new", True), ("old", True)]
    assert isinstance(told[3], Refused)
    assert isinstance(told[4], (TypeError, InvalidInput))
    assert told[5:] == [("last", False), ("last", True)]
    assert {each.id for each in await store.signals.unrouted()} == {"old", "theirs", "new", "last"}
    assert store.journal.commits - before <= len(many)


async def test_many_signals_share_transactions_and_keep_their_order(store: Store) -> None:
    many = [signal(id=f"s{n:03}") for n in range(400)]
    before = store.journal.commits
    found = await asyncio.gather(*(store.signals.publish(each) for each in many))
    places = [each.signal.sequence for each in found]
    assert places == sorted(places)
    assert len(set(places)) == 400
    assert [each.id for each in await store.signals.unrouted()] == [each.id for each in many]
    if not isinstance(store, MemoryStore):
        assert store.journal.commits - before < 40
