"""Which store is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.store.database import SqlStore, store_at
from fleetprompt.engine.store.memory import MemoryStore


@pytest.mark.parametrize(
    ("target", "where"),
    [
        ("fleet.db", "fleet.db"),
        (Path("a") / "fleet.db", "a/fleet.db"),
        ("sqlite:///fleet.db", "fleet.db"),
        ("sqlite+aiosqlite:////var/fleet.db", "/var/fleet.db"),
        ("postgresql://ana:secret@db/fleet?schema=one", "postgresql://ana:***@db/fleet?schema=one"),
        ("postgres://db/fleet", "postgres://db/fleet"),
    ],
)
def test_a_path_or_a_url(target: str | Path, where: str) -> None:
    assert SqlStore(target).where == where


def test_memory_is_a_store_too() -> None:
    assert isinstance(store_at("memory:"), MemoryStore)
    assert isinstance(store_at("fleet.db"), SqlStore)


def test_home_is_known() -> None:
    assert SqlStore("~/fleet.db").where == str(Path.home() / "fleet.db")


@pytest.mark.parametrize(
    "target",
    ["", "mysql://root:secret@db/x", "sqlite://", "sqlite:///:memory:", "x://[::", "postgresql://db/x?schema=A-b"],
)
def test_what_cannot_be_a_store(target: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        SqlStore(target)
    assert refused.value.hint
    assert "secret" not in refused.value.message
