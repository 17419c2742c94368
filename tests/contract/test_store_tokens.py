"""Tokens: kept without their secrets, found by id whosever they are, and revoked once."""

from __future__ import annotations

from typing import Any

import pytest
from store_kit import NOW

from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.ports import Store
from fleetprompt.engine.ports.token import Token


def token(id_: str, **more: Any) -> Token:
    values: dict[str, Any] = {"tenant": "default", "name": "ci", "role": "viewer", "created_at": NOW}
    return Token(id=id_, created_by="ana", **(values | more))


async def test_what_is_kept_is_what_was_given(store: Store) -> None:
    given = token("aaa", name="né", expires_at=NOW + 5, role="admin")
    await store.tokens.add(given, "d" * 64)
    assert await store.tokens.find("aaa") == (given, "d" * 64)
    assert await store.tokens.find("aa") is None
    assert await store.tokens.find("") is None
    assert (await store.check()).ok
    assert (await store.check()).counts["tokens"] == 1


async def test_ids_are_unique_over_all_tenants(store: Store) -> None:
    await store.tokens.add(token("aaa"), "1" * 64)
    for tenant in ("default", "b"):
        with pytest.raises(Refused):
            await store.tokens.add(token("aaa", tenant=tenant), "2" * 64)
    found = await store.tokens.find("aaa")
    assert found is not None
    assert found[1] == "1" * 64


async def test_a_tenant_lists_and_revokes_its_own(store: Store) -> None:
    for id_, tenant, at in (("aaa", "a", NOW), ("bbb", "a", NOW + 1), ("ccc", "b", NOW + 2), ("abb", "a", NOW + 1)):
        await store.tokens.add(token(id_, tenant=tenant, created_at=at), id_)
    assert [each.id for each in await store.tokens.list("a")] == ["abb", "bbb", "aaa"]
    assert await store.tokens.list() == []
    assert not await store.tokens.revoke("ccc", by="eve", at=NOW, tenant="a")
    assert not await store.tokens.revoke("nope", by="eve", at=NOW, tenant="a")
    assert await store.tokens.revoke("aaa", by="bob", at=NOW + 9, tenant="a")
    assert not await store.tokens.revoke("aaa", by="eve", at=NOW + 10, tenant="a")
    revoked = (await store.tokens.list("a"))[-1]
    assert (revoked.revoked_at, revoked.revoked_by) == (NOW + 9, "bob")
    foreign = await store.tokens.find("ccc")
    assert foreign is not None
    assert foreign[0].revoked_at is None


async def test_when_it_was_used_last(store: Store) -> None:
    await store.tokens.add(token("aaa"), "1")
    await store.tokens.used("aaa", NOW + 3)
    await store.tokens.used("nope", NOW + 4)
    assert [each.last_used_at for each in await store.tokens.list()] == [NOW + 3]


async def test_whether_any_counts(store: Store) -> None:
    assert not await store.tokens.any_counts(NOW)
    await store.tokens.add(token("aaa", tenant="b", expires_at=NOW + 5), "1")
    assert [await store.tokens.any_counts(at) for at in (NOW, NOW + 5)] == [True, False]
    await store.tokens.add(token("bbb"), "2")
    assert await store.tokens.any_counts(NOW + 5)
    await store.tokens.revoke("bbb", by="ana", at=NOW + 6)
    assert not await store.tokens.any_counts(NOW + 5)
