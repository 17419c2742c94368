"""The audit log on a disk that others can write to: what is changed there is named, and no change is without entry."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.audit import AuditNote, hash_of
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports.audit import AuditQuery
from fleetprompt.engine.ports.token import Token
from fleetprompt.engine.store.database import SqlStore

NOW = 1_800_000_000.0


def note(object: str, tenant: str = "default") -> AuditNote:
    return AuditNote(tenant=tenant, at=NOW, by="ana", action="command", kind="run", object=object)


def sent(id_: str) -> Signal:
    return Signal(id=id_, type=types.PAUSE, source="cli/ana", at=NOW, subject="r", by="ana", audit=note(id_))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    made = SqlStore(tmp_path / "fleet.db")
    await made.open()
    for at in range(6):
        await made.audit.add(note(str(at)))
    yield made
    await made.close()


COPY = (
    'INSERT INTO audit SELECT tenant, {}, at, "by", role, via, credential, action, kind, object, outcome, code, detail,'
    " count, prev, hash FROM audit WHERE seq = 3"
)
"""An entry as another one, in a place where none belongs."""


def tamper(store: SqlStore, *statements: str) -> None:
    with sqlite3.connect(store.where) as connection:
        for each in statements:
            connection.execute(each)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "broken", "says"),
    [
        ("UPDATE audit SET \"by\" = 'eve' WHERE seq = 4", 4, "not what was written"),
        ("UPDATE audit SET outcome = 'refused' WHERE seq = 1", 1, "not what was written"),
        ("UPDATE audit SET at = at - 60 WHERE seq = 3", 3, "not what was written"),
        ("DELETE FROM audit WHERE seq = 3", 3, "missing"),
        ("DELETE FROM audit WHERE seq <= 2", 1, "missing"),
        ("DELETE FROM audit WHERE seq = 6", 6, "longer"),
        ("UPDATE audit SET prev = hash WHERE seq = 2", 2, "does not follow"),
        ("UPDATE audit SET seq = 99 WHERE seq = 6", 6, "missing"),
        (COPY.format(99), 99, "behind the end"),
        (COPY.format(7), 7, "behind the end"),
        (COPY.format(0), 0, "before the beginning"),
        (COPY.format(-5), -5, "before the beginning"),
        ("DELETE FROM audit_heads", 1, "behind the end"),
    ],
)
async def test_the_first_entry_that_was_tampered_with_is_named(
    store: SqlStore, statement: str, broken: int, says: str
) -> None:
    assert (await store.audit.verify()).ok
    tamper(store, statement)
    verdict = await store.audit.verify()
    assert (verdict.ok, verdict.broken) == (False, broken)
    assert says in verdict.problem


async def test_who_deletes_the_oldest_and_says_where_it_begins_is_found_out(store: SqlStore) -> None:
    """Deleting old entries leaves an entry in the chain: a beginning that none tells of is not one."""
    second = (await store.audit.list(AuditQuery(object="1")))[0]
    tamper(
        store,
        "DELETE FROM audit WHERE seq <= 2",
        f"UPDATE audit_heads SET base_seq = 2, base_hash = '{second.hash}'",
    )
    verdict = await store.audit.verify()
    assert not verdict.ok
    assert "no entry says" in verdict.problem


async def test_a_chain_that_was_written_anew_is_told_by_a_head_that_was_kept_elsewhere(store: SqlStore) -> None:
    kept = (await store.audit.verify()).head
    last = (await store.audit.list(AuditQuery(limit=1)))[0]
    forged = AuditNote(tenant="default", at=NOW, by="eve", action="command", kind="run", object="5")
    hash_ = hash_of(forged, 6, last.prev)
    tamper(
        store,
        f"UPDATE audit SET \"by\" = 'eve', hash = '{hash_}' WHERE seq = 6",
        f"UPDATE audit_heads SET hash = '{hash_}'",
    )
    assert (await store.audit.verify()).ok, "by itself it cannot be told"
    assert not (await store.audit.verify(known=kept)).ok


async def test_no_change_is_made_whose_entry_cannot_be_written(store: SqlStore) -> None:
    """Whatever stops the one between them stops both: they are one transaction."""
    tamper(store, "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no more'); END")
    token = Token(id="abc", tenant="default", name="ci", role="admin", created_at=NOW, created_by="ana")
    failed = await asyncio.gather(
        store.signals.publish(sent("s1")),
        store.tokens.add(token, "d" * 64, note("abc")),
        return_exceptions=True,
    )
    assert all(isinstance(each, Exception) for each in failed)
    assert await store.signals.get("s1") is None
    assert await store.tokens.find("abc") is None
    tamper(store, "DROP TRIGGER full")
    await store.signals.publish(sent("s1"))
    assert (await store.audit.list(AuditQuery(limit=1)))[0].object == "s1"
    assert (await store.audit.verify()).ok


async def test_no_entry_is_kept_of_a_change_that_was_not_made(store: SqlStore) -> None:
    tamper(store, "CREATE TRIGGER full BEFORE INSERT ON signals BEGIN SELECT RAISE(ABORT, 'no more'); END")
    with pytest.raises(sqlite3.IntegrityError, match="no more"):
        await store.signals.publish(sent("s1"))
    assert (await store.audit.list(AuditQuery(limit=1)))[0].object == "5"
