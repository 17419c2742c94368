"""Deliveries: made with their signal, held by one at a time, and settled with their dead letters."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from store_kit import NOW, created, entry, put, signal

from fleetprompt.engine.core.delivery import Delivery, delivery_id
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import DEAD_LETTER_FIELDS, DELIVERY_FIELDS
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import Page, Store

LEASE = "host/1/a"


def delivery(sent: Signal, subscription: str = "ops", **fields: Any) -> Delivery:
    values: dict[str, Any] = {"due": NOW, "created_at": NOW}
    return Delivery(
        id=delivery_id(sent.id, subscription, sent.tenant),
        tenant=sent.tenant,
        subscription=subscription,
        signal=sent.id,
        type=sent.type,
        source=sent.source,
        **(values | fields),
    )


async def sends(store: Store, run: str, *pairs: tuple[Signal, Delivery], tenant: str = "default") -> None:
    """A run begins, and sends signals."""
    append = entry(run, 0, created(run, tenant=tenant), tenant=tenant)
    signals = tuple({sent.id: sent for sent, _ in pairs}.values())
    await put(store, replace(append, signals=signals, deliveries=tuple(each for _, each in pairs)))


async def listed(store: Store, text: str = "", tenant: str = "default") -> list[Delivery]:
    found, _ = await store.deliveries.list(parse(text, DELIVERY_FIELDS), Page(), now=NOW, tenant=tenant)
    return found


async def leased(store: Store, now: float = NOW, **fields: Any) -> list[tuple[Delivery, Signal]]:
    asked: dict[str, Any] = {"lease": LEASE, "until": now + 60, "most": 10} | fields
    return await store.deliveries.lease(asked.pop("subscription", "ops"), now=now, **asked)


async def letters(store: Store, tenant: str = "default") -> list[tuple[str, str, int]]:
    found, _ = await store.dead_letters.list(parse("", DEAD_LETTER_FIELDS), Page(), now=NOW, tenant=tenant)
    return [(each.target, each.status, each.attempts) for each in found]


async def test_it_is_made_with_its_signal(store: Store) -> None:
    sent = signal("a.b", id="s1")
    await sends(store, "r1", (sent, delivery(sent)), (sent, delivery(sent, "audit")))
    assert {each.subscription for each in await listed(store)} == {"ops", "audit"}
    assert await store.deliveries.due() == {("default", "ops"): NOW, ("default", "audit"): NOW}
    [(found, of)] = await leased(store)
    assert (found.signal, of.id, of.type, of.sequence > 0) == ("s1", "s1", "a.b", True)


async def test_a_signal_whose_key_was_there_before_is_not_delivered(store: Store) -> None:
    first, second = signal("a.b", id="s1", key="k"), signal("a.b", id="s2", key="k")
    await sends(store, "r1", (first, delivery(first)))
    await sends(store, "r2", (second, delivery(second)))
    assert [each.signal for each in await listed(store)] == ["s1"]


async def test_what_one_holds_nobody_else_gets_until_its_time_is_over(store: Store) -> None:
    sent = signal(id="s1")
    await sends(store, "r1", (sent, delivery(sent)))
    assert len(await leased(store)) == 1
    assert await leased(store, lease="host/2/b") == []
    assert await store.deliveries.due() == {("default", "ops"): NOW + 60}
    assert await store.deliveries.leases() == [LEASE]
    [(mine, _)] = await leased(store, NOW + 60, lease="host/2/b")
    late = replace(mine, status="delivered", attempts=1, at=NOW + 61, http=200)
    assert not await store.deliveries.settle(late, lease=LEASE)
    assert [each.status for each in await listed(store)] == ["pending"]
    assert await store.deliveries.settle(late, lease="host/2/b")
    assert not await store.deliveries.settle(late, lease="host/2/b")
    assert [(each.status, each.http) for each in await listed(store)] == [("delivered", 200)]
    assert await store.deliveries.due() == {}


async def test_what_a_dead_process_held_can_be_given_back(store: Store) -> None:
    sent = signal(id="s1")
    await sends(store, "r1", (sent, delivery(sent)))
    await leased(store)
    await store.deliveries.release(["host/9/z"])
    assert await leased(store) == []
    await store.deliveries.release([LEASE])
    assert len(await leased(store)) == 1


async def test_those_due_longest_come_first_and_not_more_than_asked(store: Store) -> None:
    pairs = [(each, delivery(each, due=NOW - n)) for n in range(4) for each in [signal(id=f"s{n}")]]
    future = signal(id="later")
    await sends(store, "r1", *pairs, (future, delivery(future, due=NOW + 1)))
    assert [each.signal for each, _ in await leased(store, most=3)] == ["s3", "s2", "s1"]
    assert [each.signal for each, _ in await leased(store, most=3)] == ["s0"]
    assert await leased(store, subscription="audit") == []
    assert await leased(store, tenant="b") == []


async def test_it_is_dead_with_a_letter_delivered_again_and_made_good(store: Store) -> None:
    sent = signal(id="s1")
    await sends(store, "r1", (sent, delivery(sent)))
    [(held, _)] = await leased(store)
    dead = replace(held, status="dead", attempts=3, at=NOW, http=404, code="TOOL_ERROR", reason="answered 404")
    assert await store.deliveries.settle(dead, lease=LEASE)
    assert await letters(store) == [("ops", "dead", 3)]
    [letter] = await store.dead_letters.of_signals(["s1"])
    assert (letter.kind, letter.reason) == ("subscription", "answered 404")
    assert await store.deliveries.again([letter.id], now=NOW + 5, tenant="b") == 0
    assert await store.deliveries.again([letter.id], now=NOW + 5) == 1
    assert await store.deliveries.again([letter.id], now=NOW + 5) == 0
    [(held, _)] = await leased(store, NOW + 5)
    assert held.attempts == 0
    assert await letters(store) == [("ops", "dead", 3)]
    assert await store.deliveries.settle(replace(held, status="delivered", attempts=1, http=200), lease=LEASE)
    assert await letters(store) == [("ops", "replayed", 3)]


async def test_with_a_receiver_that_is_gone_goes_all_that_was_on_its_way(store: Store) -> None:
    sent = [signal(id=f"s{n}") for n in range(3)]
    other = signal(id="o", tenant="b")
    pairs = [(each, delivery(each, due=NOW + n)) for n, each in enumerate(sent)]
    await sends(store, "r1", *pairs, (sent[0], delivery(sent[0], "audit")))
    await sends(store, "r2", (other, delivery(other)), tenant="b")
    [(held, _)] = await leased(store, most=1)
    gone = replace(held, status="dead", attempts=1, at=NOW, http=410, reason="gone")
    assert await store.deliveries.settle(gone, lease=LEASE, gone=True)
    assert sorted((each.subscription, each.status) for each in await listed(store)) == [
        ("audit", "pending"),
        *[("ops", "dead")] * 3,
    ]
    assert len(await letters(store)) == 3
    assert [each.status for each in await listed(store, tenant="b")] == ["pending"]


async def test_filters_and_retention(store: Store) -> None:
    sent = signal("deploy.done", id="s1", at=NOW - 100)
    late = signal("deploy.done", id="s2", at=NOW - 100)
    await sends(store, "r1", (sent, delivery(sent, created_at=NOW - 100)), (late, delivery(late)))
    for each in (sent, late):
        await store.signals.close(each.id)
    assert [each.signal for each in await listed(store, "type:deploy.* status:pending subscription:o* since:50s")] == [
        "s2"
    ]
    await store.prune(before=NOW - 50)
    assert [each.signal for each in await listed(store)] == ["s2"]
    assert await store.signals.get("s1") is None
    assert await store.signals.get("s2") is not None, "what is on its way needs its signal"
