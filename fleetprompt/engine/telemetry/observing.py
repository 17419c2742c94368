"""What becomes durable, as those see it who count it or tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from fleetprompt.engine.core.facts import AnyFact, RunForked
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import Append, Store


class Observer(Protocol):
    """Is told of every append once it is durable. It must be quick, and can change nothing."""

    traces: ClassVar[bool]
    """Whether it tells of traces: then those who are called are told where in one they are."""

    async def begin(self, store: Store) -> None:
        """The store is open, and nothing has been committed yet. Raises `StoreUnavailable`."""
        ...

    def committed(self, run: Run, entry: Append) -> None:
        """These facts are durable; `run` is as they have made it."""
        ...


def new_facts(entry: Append) -> Sequence[AnyFact]:
    """The facts of an append without those that a retry has copied from its original, which were told then."""
    facts = entry.facts
    if entry.after:
        # Copies are the beginning of a run.
        return facts
    for i in range(len(facts) - 1, -1, -1):
        if isinstance(facts[i], RunForked):
            return facts[i + 1 :]
    return facts
