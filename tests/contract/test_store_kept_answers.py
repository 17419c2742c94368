"""Answers that are kept of every store: by tenant and key, for so long and no longer."""

from __future__ import annotations

import msgspec
import pytest
from store_kit import NOW

from fleetprompt.engine.ports import Store, kept_answer
from fleetprompt.engine.ports.kept_answer import KeptAnswer

ANSWER = KeptAnswer(
    tenant="default",
    key="k",
    request="r",
    at=NOW,
    status=201,
    headers=(("content-type", "application/json"), ("location", "/é")),
    body=b'{"a": "\xff"}',
)


def other(**fields: object) -> KeptAnswer:
    return msgspec.structs.replace(ANSWER, **fields)


async def test_an_answer_is_found_by_its_key_until_it_is_old(store: Store) -> None:
    answers = store.kept_answers
    await answers.keep(ANSWER, since=NOW - 10)
    assert await answers.find("k", since=NOW - 10) == ANSWER
    assert await answers.find("k", since=NOW + 1) is None
    assert await answers.find("j", since=0) is None
    assert await answers.find("k", since=0, tenant="b") is None
    await answers.keep(other(tenant="b", body=b""), since=NOW - 10)
    await answers.keep(other(status=202, at=NOW + 1), since=NOW - 10)
    assert await answers.find("k", since=0) == other(status=202, at=NOW + 1)
    assert await answers.find("k", since=0, tenant="b") == other(tenant="b", body=b"")


async def test_what_is_old_goes_when_others_come(store: Store) -> None:
    answers = store.kept_answers
    for n in range(30):
        await answers.keep(other(key=f"old-{n}", at=NOW - 100, tenant="ab"[n % 2]), since=0)
    for n in range(2):
        await answers.keep(other(key=f"new-{n}"), since=NOW - 10)
    assert (await store.check()).counts["kept_answers"] == 2


async def test_of_a_tenant_the_latest_stay(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_answer, "MOST_ANSWERS", 5)
    answers = store.kept_answers
    await answers.keep(other(tenant="b"), since=0)
    for n in range(9):
        await answers.keep(other(key=f"k{n}", at=NOW + n), since=0)
    assert [n for n in range(9) if await answers.find(f"k{n}", since=0) is not None] == [4, 5, 6, 7, 8]
    assert await answers.find("k", since=0, tenant="b") is not None


async def test_retention_deletes_those_of_its_tenant(store: Store) -> None:
    for tenant in ("default", "b"):
        await store.kept_answers.keep(other(tenant=tenant), since=0)
    assert await store.prune(before=NOW + 1) == {"kept_answers": 1}
    assert await store.kept_answers.find("k", since=0) is None
    assert await store.kept_answers.find("k", since=0, tenant="b") is not None
