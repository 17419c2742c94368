"""sqlite-vec and NumPy find the same. Most builds of Python cannot load it: those of Linux distributions can."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.ports.memory import Memory, Vector, Which
from fleetprompt.engine.store import vec_sqlite
from fleetprompt.engine.store.database import SqlStore

needs_extension = pytest.mark.skipif(
    not vec_sqlite.extension(), reason="THIS PYTHON CANNOT LOAD sqlite-vec: run this file with that of the distribution"
)


@needs_extension
async def test_both_find_the_same_in_the_same_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(7)
    store = SqlStore(tmp_path / "fleet.db")
    await store.open()
    try:
        for k in range(200):
            numbers = tuple(rng.choice((-1.0, 0.0, 1.0)) for _ in range(rng.choice((3, 4))))
            memory = Memory(id=f"m{k}", scope="s", type="fact", text=f"text {k}", created_at=k, accessed_at=k)
            await store.memories.add(memory, Vector("e", numbers))
        which = Which(tenant="default", scope="s", at=1e9)
        for _ in range(30):
            asked = Vector("e", tuple(rng.choice((-1.0, 0.0, 1.0)) for _ in range(4)))
            limit = rng.choice((1, 5, 300))
            by_extension = [each.id for each in await store.memories.near(asked, which, limit=limit)]
            with monkeypatch.context() as without:
                without.setattr(vec_sqlite, "extension", str)
                by_numpy = [each.id for each in await store.memories.near(asked, which, limit=limit)]
            assert by_extension == by_numpy, asked
    finally:
        await store.close()


@needs_extension
async def test_nothing_else_can_be_loaded(tmp_path: Path) -> None:
    from sqlalchemy import text

    store = SqlStore(tmp_path / "fleet.db")
    await store.open()
    try:
        with pytest.raises(StoreUnavailable, match="not authorized"):
            await store.memories._reader.run(lambda connection: connection.execute(text("SELECT load_extension('x')")))
    finally:
        await store.close()
