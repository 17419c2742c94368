"""What a kind of database has to offer to be a store."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from fleetprompt.engine.ports import Health, Lease
from fleetprompt.engine.store.reading import Reader
from fleetprompt.engine.store.room import Room
from fleetprompt.engine.store.writer import Writer


class Backend(Protocol):
    """A database: how to open it, read it, write it, look after it."""

    @property
    def reader(self) -> Reader:
        """The read side; usable while open."""
        ...

    @property
    def writer(self) -> Writer:
        """The write side; usable while open."""
        ...

    async def upgrade(self) -> str:
        """Create the schema or bring it to this version, without opening; the version. Raises `StoreUnavailable`."""
        ...

    async def open(self) -> None:
        """Connect; create or upgrade the schema. Raises `StoreUnavailable`."""
        ...

    async def close(self) -> None:
        """Write what is queued and disconnect."""
        ...

    def lease(self) -> Lease | None:
        """The right to drive the runs of the store, where the database gives it; None where a file beside it does."""
        ...

    async def examine(self) -> Health:
        """Read everything and say what is wrong with it. Raises `StoreUnavailable`."""
        ...

    async def size(self) -> tuple[int, int]:
        """Bytes of the data, and of a log of its own. Raises `StoreUnavailable`."""
        ...

    async def shrink(self, *, whole: bool) -> Room:
        """Give back to the disk what deleted rows took; `whole`: by writing everything anew. Raises `Refused` where
        that is not the store's own business, and `StoreUnavailable`."""
        ...

    async def backup(self, target: Path) -> int:
        """Copy the store to a new file; its size in bytes. Raises `Refused` or `StoreUnavailable`."""
        ...
