"""What a store asks of its write side; `writer_sqlite.py` and `writer_postgres.py` are the two there are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from fleetprompt.engine.ports import Append
from fleetprompt.engine.store.statements import Session

T = TypeVar("T")
Settle = Callable[[Any], None]
"""Called in the loop with what became of a job: its value, or an exception."""


def into(future: asyncio.Future[Any]) -> Settle:
    """Settle a future, unless nobody waits for it any more."""

    def settle(value: Any) -> None:
        if future.done():
            return
        if isinstance(value, Exception):
            future.set_exception(value)
        else:
            future.set_result(value)

    return settle


class Chore(Protocol):
    """Work that may wait, and that is done in slices so that others do not have to."""

    def perform(self, session: Session) -> bool:
        """Do a slice of it in a transaction; whether there is more."""
        ...

    def settled(self, *, durable: bool) -> None:
        """Hear whether the slice was committed."""
        ...


class Writer(Protocol):
    """What makes things durable."""

    @property
    def commits(self) -> int:
        """Transactions committed."""
        ...

    def post(self, entry: Append, then: Settle) -> None:
        """See `ports.Journal.post`."""
        ...

    def work(self, function: Callable[[Session], T]) -> asyncio.Future[T]:
        """Run a function in a transaction, with whatever else is due. It may run twice, the first time in vain."""
        ...

    def between(self, chore: Chore) -> asyncio.Future[None]:
        """Do a chore in transactions of its own, which others may overtake and which are not synced."""
        ...

    def version(self) -> asyncio.Future[int]:
        """A number that changes when another process commits."""
        ...
