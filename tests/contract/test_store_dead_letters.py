"""Dead letters: written with what closes their signal, one of a signal and a place, kept apart by tenant."""

from __future__ import annotations

from typing import Any

import pytest
from store_kit import NOW, signal

from fleetprompt.engine.core.dead_letter import DeadLetter, dead_letter
from fleetprompt.engine.core.errors import InvalidInput, NotFound
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import DEAD_LETTER_FIELDS, SIGNAL_FIELDS
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports import Page, Store


def letter(sent: Signal, target: str = "deploy", **fields: Any) -> DeadLetter:
    values: dict[str, Any] = {"code": "VALIDATION_ERROR", "reason": "no number", "at": NOW}
    return dead_letter(sent, "workflow", target, "t", **(values | fields))


async def listed(store: Store, text: str = "", tenant: str = "default") -> list[DeadLetter]:
    found, _ = await store.dead_letters.list(parse(text, DEAD_LETTER_FIELDS), Page(), now=NOW + 3600, tenant=tenant)
    return found


async def close(store: Store, sent: Signal, *dead: DeadLetter, revived: tuple[str, ...] = ()) -> None:
    await store.signals.publish(sent)
    await store.signals.close(sent.id, (Result(sent.id, "refused", run="deploy"),), dead=dead, revived=revived)


async def test_a_signal_is_closed_with_its_letters_or_not_at_all(store: Store) -> None:
    sent = signal(id="s1")
    with pytest.raises(NotFound):
        await store.signals.close("s1", dead=(letter(sent),))
    assert await listed(store) == []
    await close(store, sent, letter(sent), letter(sent, "other", code="INTERNAL"))
    [other, first] = await listed(store)
    assert (first.target, first.status, first.attempts, first.reason) == ("deploy", "dead", 1, "no number")
    assert (other.target, other.code) == ("other", "INTERNAL")
    assert await store.dead_letters.get(first.id) == first
    assert [each.id for each in await store.dead_letters.of_signals(["s1"])] == [first.id, other.id]
    assert await store.dead_letters.ids(parse("", DEAD_LETTER_FIELDS), now=NOW) == [other.id, first.id]
    assert (await store.signals.results("s1"))[0]


async def test_what_fails_again_is_the_same_letter_with_one_attempt_more(store: Store) -> None:
    sent = signal(id="s1")
    await close(store, sent, letter(sent))
    again = signal(id="s2", replay_of="s1")
    await close(store, again, letter(again, reason="still none", at=NOW + 5))
    [found] = await listed(store)
    assert (found.signal, found.attempts, found.reason, found.at) == ("s1", 2, "still none", NOW + 5)


async def test_what_was_done_at_last_is_replayed_and_may_die_again(store: Store) -> None:
    sent = signal(id="s1")
    await close(store, sent, letter(sent))
    [found] = await listed(store)
    await close(store, signal(id="s2"), revived=(found.id, "dl-unknown"))
    assert [each.status for each in await listed(store)] == ["replayed"]
    assert await store.dead_letters.dismiss([found.id], by="ana", at=NOW + 9) == 0
    third = signal(id="s3", replay_of="s1")
    await close(store, third, letter(third))
    [found] = await listed(store)
    assert (found.status, found.attempts) == ("dead", 2)


async def test_what_is_dismissed_says_who_did_it(store: Store) -> None:
    sent = signal(id="s1")
    await close(store, sent, letter(sent))
    [found] = await listed(store)
    assert await store.dead_letters.dismiss([found.id, "dl-unknown"], by="ana", at=NOW + 9, tenant="b") == 0
    assert await store.dead_letters.dismiss([found.id, "dl-unknown"], by="ana", at=NOW + 9) == 1
    [after] = await listed(store)
    assert (after.status, after.by, after.settled_at) == ("dismissed", "ana", NOW + 9)


async def test_filters_find_letters_and_the_signals_they_are_about(store: Store) -> None:
    sent, fine, foreign = signal("a.b", id="s1"), signal("a.c", id="s2"), signal("a.b", id="s3", tenant="b")
    await close(store, sent, letter(sent))
    await close(store, fine)
    await close(store, foreign, letter(foreign))
    assert [each.signal for each in await listed(store, "wf:dep* status:dead type:a.* attempts<2")] == ["s1"]
    assert await listed(store, "code:INTERNAL") == []
    assert [each.signal for each in await listed(store, tenant="b")] == ["s3"]
    query = parse("dead:deploy", SIGNAL_FIELDS)
    found, _ = await store.signals.list(query, Page(), now=NOW)
    assert [each.id for each in found] == ["s1"]
    found, _ = await store.signals.list(parse("-dead:*", SIGNAL_FIELDS), Page(), now=NOW)
    assert [each.id for each in found] == ["s2"]
    with pytest.raises(InvalidInput):
        await listed(store, "nonsense:1")


async def test_retention_takes_letters_by_when_they_failed_last(store: Store) -> None:
    old, late = signal(id="s1", at=NOW), signal(id="s2", at=NOW)
    await close(store, old, letter(old))
    await close(store, late, letter(late, at=NOW + 100))
    counts = await store.prune(before=NOW + 50)
    assert counts["dead_letters"] == 1
    assert [each.signal for each in await listed(store)] == ["s2"]
