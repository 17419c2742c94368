"""One transaction of the writer: appends and other work in the order they were asked for.

First everything together; if the database objects, once more one by one, each in a savepoint, so that only the guilty
fail. Independent of the database and of how the writer waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, TypeVar

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.store import projection
from fleetprompt.engine.store.batch import Applier, Mismatch, Pending, conflict
from fleetprompt.engine.store.dialect import Dialect
from fleetprompt.engine.store.statements import Session
from fleetprompt.engine.store.writer import Chore, Settle

T = TypeVar("T")


class AppendJob:
    """An append."""

    __slots__ = ("pending", "settle")

    def __init__(self, pending: Pending, settle: Settle) -> None:
        self.pending = pending
        self.settle = settle


class WorkJob:
    """A function to run inside the transaction; it is settled with what that returns or raises."""

    __slots__ = ("function", "settle")

    def __init__(self, function: Callable[[Session], Any], settle: Settle) -> None:
        self.function = function
        self.settle = settle


class ChoreJob:
    """A chore, to be done in transactions of its own."""

    __slots__ = ("chore", "settle")

    def __init__(self, chore: Chore, settle: Settle) -> None:
        self.chore = chore
        self.settle = settle


class LookJob:
    """A look at the version of the data between two transactions."""

    __slots__ = ("settle",)

    def __init__(self, settle: Settle) -> None:
        self.settle = settle


Job = AppendJob | WorkJob
Due = Job | ChoreJob | LookJob
Result = tuple[Settle, Any]
"""Who is told what became of a job, and what."""


class Transaction:
    """How jobs are performed between BEGIN and COMMIT."""

    def __init__(self, dialect: Dialect, applier: Applier) -> None:
        self._dialect = dialect
        self._applier = applier

    def together(self, session: Session, jobs: Sequence[Job], seq: int) -> list[Result]:
        """Perform all jobs behind position `seq`. Raises what makes `apart` necessary, see `is_fault`."""
        results: list[Result] = []
        for kind, group in groupby(jobs, type):
            if kind is AppendJob:
                appends = [job for job in group if isinstance(job, AppendJob)]
                outcomes, seq = self._applier.apply(session, [job.pending for job in appends], seq)
                results += zip((job.settle for job in appends), outcomes, strict=True)
            else:
                results += [(job.settle, self._in_savepoint(session, job)) for job in group]
        return results

    def apart(self, session: Session, jobs: Sequence[Job], seq: int) -> list[Result]:
        """Perform jobs one by one: each that cannot be performed fails alone. Raises faults of the database only."""
        self.taken_back()
        results: list[Result] = []
        for job in jobs:
            if isinstance(job, WorkJob):
                results.append((job.settle, self._in_savepoint(session, job)))
            else:
                outcome, seq = self._alone(session, job.pending, seq)
                results.append((job.settle, outcome))
        return results

    def taken_back(self) -> None:
        """To be told when what was performed did not become durable."""
        self._applier.forget()

    def is_fault(self, error: Exception) -> bool:
        """Whether the database itself failed, so that trying one by one is pointless."""
        return self._dialect.explain(error, "") is not None

    def _alone(self, session: Session, pending: Pending, seq: int) -> tuple[Any, int]:
        session.execute("SAVEPOINT alone", ())
        try:
            (outcome,), after = self._applier.apply(session, [pending], seq)
        except Exception as error:
            if self.is_fault(error):
                raise
            session.execute("ROLLBACK TO SAVEPOINT alone", ())
            self.taken_back()
            outcome, after = self._refusal(pending, error), seq
        session.execute("RELEASE SAVEPOINT alone", ())
        return outcome, after

    def _refusal(self, pending: Pending, error: Exception) -> FleetError:
        if isinstance(error, Mismatch) or self._dialect.is_conflict(error):
            return conflict(pending.entry, str(error) or "its journal moved on")
        refusal = projection.unstorable(pending.entry, error)
        refusal.__cause__ = error
        return refusal

    def _in_savepoint(self, session: Session, job: WorkJob | AppendJob) -> Any:
        assert isinstance(job, WorkJob)
        session.execute("SAVEPOINT work", ())
        try:
            value = job.function(session)
        except Exception as error:
            if self.is_fault(error):
                raise
            session.execute("ROLLBACK TO SAVEPOINT work", ())
            value = error
        session.execute("RELEASE SAVEPOINT work", ())
        return value


def resolve(results: Sequence[Result]) -> None:
    """Tell everybody what became of their job, in order, from the loop. A mistake of one keeps nobody waiting."""
    for settle, value in results:
        try:
            settle(value)
        except Exception as error:
            context = {"message": "what waited for the store failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
