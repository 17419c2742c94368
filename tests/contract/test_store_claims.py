"""Claims: what spans runs is taken and released in the transaction of the facts."""

from __future__ import annotations

import asyncio

import pytest
from store_kit import entry, fact, put, start, take

from fleetprompt.engine.ports import ClaimRefused, Conflict, Store


async def _held(store: Store, scope: str, tenant: str = "default") -> list[tuple[str, str, int]]:
    return [(holder.run, holder.path, holder.amount) for holder in await store.claims.holders(scope, tenant)]


async def test_a_scope_holds_no_more_than_its_limit(store: Store) -> None:
    await put(store, start("r1", takes=(take("pool", 2),)), start("r2", takes=(take("pool", 2),)))
    with pytest.raises(ClaimRefused) as refused:
        await store.journal.append(start("r3", takes=(take("pool", 2),)))
    assert refused.value.slot.scope == "pool"
    assert sorted(holder.run for holder in refused.value.holders) == ["r1", "r2"]
    assert await store.runs.get("r3") is None
    assert await store.journal.facts("r3") == []
    assert await _held(store, "pool") == [("r1", "", 1), ("r2", "", 1)]
    await put(store, entry("r1", 2, fact(3), releases=("",)))
    await put(store, start("r3", takes=(take("pool", 2),)))
    assert await _held(store, "pool") == [("r2", "", 1), ("r3", "", 1)]


async def test_a_claim_that_is_held_is_not_taken_twice(store: Store) -> None:
    await put(store, start("r1", takes=(take("pool", 1, "a"),)))
    await put(store, entry("r1", 2, fact(3), takes=(take("pool", 1, "a"),)))
    assert await _held(store, "pool") == [("r1", "a", 1)]
    with pytest.raises(ClaimRefused):
        await store.journal.append(entry("r1", 3, fact(4), takes=(take("pool", 1, "b"),)))


async def test_amounts_add_up(store: Store) -> None:
    await put(store, start("r1", takes=(take("money", 10, amount=6),)))
    with pytest.raises(ClaimRefused):
        await store.journal.append(start("r2", takes=(take("money", 10, amount=5),)))
    await put(store, start("r2", takes=(take("money", 10, amount=4),)))
    assert await _held(store, "money") == [("r1", "", 6), ("r2", "", 4)]


async def test_one_refused_claim_takes_the_others_of_its_entry_back(store: Store) -> None:
    await put(store, start("r1", takes=(take("full", 1),)))
    with pytest.raises(ClaimRefused):
        await store.journal.append(start("r2", takes=(take("free", 1), take("full", 1))))
    assert await _held(store, "free") == []


async def test_a_refused_entry_keeps_what_it_would_have_released(store: Store) -> None:
    await put(store, start("r1", takes=(take("full", 1),)), start("r2", takes=(take("free", 1, "a"),)))
    with pytest.raises(ClaimRefused):
        await store.journal.append(entry("r2", 2, fact(3), releases=("a",), takes=(take("full", 1, "b"),)))
    assert await _held(store, "free") == [("r2", "a", 1)]


async def test_a_refused_claim_of_a_run_that_another_tenant_has_is_a_conflict(store: Store) -> None:
    """Whoever is behind the journal, or beside it, has to learn that first."""
    await put(store, start("r1", takes=(take("full", 1),)))
    await put(store, start("r2", takes=(take("full", 1),), tenant="b"))
    with pytest.raises(Conflict):
        await store.journal.append(start("r1", takes=(take("full", 1),), tenant="b"))


async def test_releases_come_before_takes(store: Store) -> None:
    await put(store, start("r1", takes=(take("pool", 1, "a"),)))
    await put(store, entry("r1", 2, fact(3), releases=("a",), takes=(take("pool", 1, "b"),)))
    assert await _held(store, "pool") == [("r1", "b", 1)]


async def test_a_path_is_released_in_every_scope_and_a_star_releases_all(store: Store) -> None:
    await put(store, start("r1", takes=(take("x", 9), take("y", 9, "a"), take("z", 9, "a"), take("z", 9, "b"))))
    await put(store, start("r2", takes=(take("x", 9), take("z", 9, "a"))))
    await put(store, entry("r1", 2, fact(3), releases=("a",)))
    assert await _held(store, "y") == []
    assert await _held(store, "z") == [("r1", "b", 1), ("r2", "a", 1)]
    await put(store, entry("r1", 3, fact(4), releases=("*",)))
    assert await _held(store, "x") == [("r2", "", 1)]
    assert await _held(store, "z") == [("r2", "a", 1)]


async def test_in_one_batch_claims_are_decided_in_order(store: Store) -> None:
    await put(store, start("r1", takes=(take("pool", 1),)), start("r2"), start("r3"))
    done = await asyncio.gather(
        store.journal.append(entry("r2", 2, fact(3), takes=(take("pool", 1),))),
        store.journal.append(entry("r1", 2, fact(3), releases=("*",))),
        store.journal.append(entry("r3", 2, fact(3), takes=(take("pool", 1),))),
        store.journal.append(entry("r2", 2, fact(3), takes=(take("pool", 1),))),
        return_exceptions=True,
    )
    assert [type(each).__name__ for each in done] == ["ClaimRefused", "Appended", "Appended", "ClaimRefused"]
    refused = done[3]
    assert isinstance(refused, ClaimRefused)
    assert [holder.run for holder in refused.holders] == ["r3"]


async def test_never_more_than_the_limit_however_many_try(store: Store) -> None:
    tries = [store.journal.append(start(f"r{i}", takes=(take("pool", 7),))) for i in range(60)]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(not isinstance(each, ClaimRefused) for each in done) == 7
    assert len(await store.claims.holders("pool")) == 7


async def test_a_conflict_takes_nothing_and_releases_nothing(store: Store) -> None:
    await put(store, start("r1", takes=(take("pool", 5, "a"),)))
    with pytest.raises(Conflict):
        await store.journal.append(entry("r1", 1, fact(2), releases=("a",), takes=(take("pool", 5, "b"),)))
    assert await _held(store, "pool") == [("r1", "a", 1)]


async def test_claims_of_tenants_are_apart(store: Store) -> None:
    await put(store, start("r1", takes=(take("pool", 1),)), start("r2", tenant="b", takes=(take("pool", 1),)))
    assert await _held(store, "pool") == [("r1", "", 1)]
    assert await _held(store, "pool", "b") == [("r2", "", 1)]


async def test_a_claim_larger_than_its_limit_is_refused_even_when_free(store: Store) -> None:
    with pytest.raises(ClaimRefused) as refused:
        await store.journal.append(start("r1", takes=(take("pool", 1, amount=2),)))
    assert refused.value.holders == ()
