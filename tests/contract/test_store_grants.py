"""Grants for workflows: given in the transaction of the facts that tell of them, taken back once."""

from __future__ import annotations

from typing import Any

from store_kit import NOW, entry, put, start

from fleetprompt.engine.core.facts import RunForked, StepNoted
from fleetprompt.engine.ports import Store


def granted(id_: str, scope: str = "workflow", at: float = NOW, **more: Any) -> StepNoted:
    value = {"scope": scope, "tool": "fs.write", "subject": {"path": "a"}, "by": ["ana", "né"], "approval": id_}
    return StepNoted(at=at, path="ask", kind="grant", key="a/tool/0.0", value=value | {"agent": "a"} | more)


async def test_a_grant_holds_until_it_is_taken_back(store: Store) -> None:
    await put(store, start("r1"))
    await put(store, entry("r1", 2, granted("g1"), granted("g2", at=NOW + 1)))
    first, second = await store.grants.valid("audit")
    assert (first.id, second.id) == ("g1", "g2")
    assert (first.tool, first.subject, first.by, first.agent, first.run) == (
        "fs.write",
        {"path": "a"},
        "ana, né",
        "a",
        "r1",
    )
    assert await store.grants.revoke("g1", by="bob", at=NOW + 5)
    assert not await store.grants.revoke("g1", by="eve", at=NOW + 6)
    assert not await store.grants.revoke("nope", by="bob", at=NOW + 5)
    assert [grant.id for grant in await store.grants.valid(first.workflow)] == ["g2"]
    assert [(grant.id, grant.revoked_by) for grant in await store.grants.list()] == [("g2", ""), ("g1", "bob")]
    assert (await store.check()).ok


async def test_what_is_granted_for_a_run_or_copied_by_a_retry_is_none(store: Store) -> None:
    await put(store, start("r1"))
    await put(store, entry("r1", 2, granted("g1", "run"), granted("g2", subject="text")))
    await put(store, start("r2"))
    await put(store, entry("r2", 2, granted("g3"), RunForked(run="r1", upto=2, at=NOW), granted("g4")))
    assert [grant.id for grant in await store.grants.list()] == ["g4"]


async def test_tenants_see_their_own(store: Store) -> None:
    await put(store, start("r1", tenant="a"))
    await put(store, entry("r1", 2, granted("g1"), tenant="a"))
    [grant] = await store.grants.list("a")
    assert await store.grants.list() == []
    assert await store.grants.valid(grant.workflow, "b") == []
    assert not await store.grants.revoke("g1", by="eve", at=NOW, tenant="b")
    assert len(await store.grants.valid(grant.workflow, "a")) == 1
