"""Group commit on Postgres: a task that makes everything durable that was asked for while it was busy.

Other engines write to the same database. Whoever writes holds one advisory lock, so that positions in the journal
become visible in their order, and what was read of claims stays true.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from fleetprompt.engine.core.errors import InvalidInput, StoreUnavailable
from fleetprompt.engine.ports import Append
from fleetprompt.engine.store import dialect_postgres as postgres
from fleetprompt.engine.store.batch import Applier, Pending
from fleetprompt.engine.store.dialect_postgres import PostgresDialect
from fleetprompt.engine.store.statements import Session, Statements
from fleetprompt.engine.store.transaction import (
    AppendJob,
    ChoreJob,
    Due,
    Job,
    LookJob,
    Result,
    Transaction,
    WorkJob,
    resolve,
)
from fleetprompt.engine.store.writer import Chore, Settle, into

T = TypeVar("T")

MOST = 2_000
"""Jobs per transaction."""
PAUSE = 0.2
"""Seconds between two attempts to reach a server."""


class PostgresSession:
    """The writer's connection, seen from the code that runs in its greenlet."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection

    def execute(self, sql: str, parameters: Sequence[Any]) -> int:
        return self.connection.exec_driver_sql(sql, tuple(parameters)).rowcount

    def fetch(self, sql: str, parameters: Sequence[Any]) -> Sequence[Sequence[Any]]:
        return self.connection.exec_driver_sql(sql, tuple(parameters)).all()

    def position(self) -> int:
        """The highest `seq` ever given."""
        return self.connection.exec_driver_sql(postgres.POSITION).scalar_one()


class _NotBegun(Exception):
    """The transaction could not begin: nothing was asked of the server, it can be asked again."""


class PostgresWriter:
    """The writer of one process. `patience`: seconds for which an unreachable server is tried again."""

    def __init__(self, dialect: PostgresDialect, where: str, patience: float) -> None:
        self.commits = 0
        self._dialect = dialect
        self._where = where
        self._patience = patience
        self._transaction = Transaction(dialect, Applier(Statements(dialect)))
        self._queue: list[Due] = []
        self._asked = asyncio.Event()
        self._open = False
        self._engine: AsyncEngine | None = None
        self._connection: AsyncConnection | None = None
        self._task: asyncio.Task[None] | None = None

    def open(self, engine: AsyncEngine) -> None:
        """Write through this engine, which belongs to the writer."""
        self._engine = engine
        self._open = True
        self._task = asyncio.get_running_loop().create_task(self._run(), name="fleet-writer")

    async def close(self) -> None:
        """Write what was asked for, then stop."""
        self._open = False
        self._asked.set()
        task, self._task = self._task, None
        if task is not None:
            await task

    def post(self, entry: Append, then: Settle) -> None:
        """See `ports.Journal.post`."""
        try:
            self._ask(AppendJob(Pending(entry), then))
        except InvalidInput as error:
            asyncio.get_running_loop().call_soon(then, error)

    def work(self, function: Callable[[Session], T]) -> asyncio.Future[T]:
        """Run a function in a transaction, with whatever else is due. It may run twice, the first time in vain."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._ask(WorkJob(function, into(future)))
        return future

    def between(self, chore: Chore) -> asyncio.Future[None]:
        """Do a chore in transactions of its own, which others may overtake and which are not synced."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ask(ChoreJob(chore, into(future)))
        return future

    def version(self) -> asyncio.Future[int]:
        """A number that rises when any process commits, this one included."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._ask(LookJob(into(future)))
        return future

    def _ask(self, job: Due) -> None:
        if not self._open:
            hint = "open it first"
            closed = StoreUnavailable("the store is closed", where=self._where, hint=hint)
            asyncio.get_running_loop().call_soon(job.settle, closed)
            return
        self._queue.append(job)
        self._asked.set()

    async def _run(self) -> None:
        while self._open or self._queue:
            await self._asked.wait()
            self._asked.clear()
            due, self._queue = self._queue, []
            try:
                await self._perform(due)
            except Exception as error:
                # A mistake of ours must not leave anybody waiting for ever.
                resolve([(job.settle, error) for job in due])
        await self._drop()

    async def _perform(self, due: Sequence[Due]) -> None:
        jobs = [job for job in due if isinstance(job, (AppendJob, WorkJob))]
        for at in range(0, len(jobs), MOST):
            some = jobs[at : at + MOST]
            try:
                resolve(await self._in_transaction(lambda connection, some=some: self._commit(connection, some)))
            except Exception as error:
                resolve([(job.settle, error) for job in some])
        for job in due:
            if isinstance(job, ChoreJob):
                await self._slice(job)
            elif isinstance(job, LookJob):
                try:
                    resolve([(job.settle, await self._in_transaction(_version))])
                except Exception as error:
                    resolve([(job.settle, error)])

    async def _in_transaction(self, function: Callable[[sa.Connection], T]) -> T:
        """Run a function that begins and ends a transaction. Raises `StoreUnavailable`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        while True:
            try:
                connection = await self._connected()
                return await connection.run_sync(function)
            except Exception as error:
                await self._drop()
                begun = not isinstance(error, (_NotBegun, OSError))
                cause = error.__cause__ if isinstance(error, _NotBegun) else error
                assert isinstance(cause, Exception)
                if begun or loop.time() > until:
                    raise self._dialect.explain(cause, self._where) or cause from cause
                await asyncio.sleep(PAUSE)

    async def _connected(self) -> AsyncConnection:
        if self._connection is None:
            assert self._engine is not None
            self._connection = await self._engine.connect()
        return self._connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()

    def _begin(self, connection: sa.Connection, *first: str) -> PostgresSession:
        try:
            for statement in (*first, postgres.LOCK):
                connection.exec_driver_sql(statement)
        except Exception as error:
            raise _NotBegun from error
        return PostgresSession(connection)

    def _commit(self, connection: sa.Connection, jobs: Sequence[Job]) -> list[Result]:
        session = self._begin(connection)
        try:
            results = self._transaction.together(session, jobs, session.position())
        except Exception as error:
            if self._transaction.is_fault(error):
                self._transaction.taken_back()
                raise
            connection.rollback()
            session = self._begin(connection)
            results = self._transaction.apart(session, jobs, session.position())
        try:
            connection.commit()
        except Exception:
            self._transaction.taken_back()
            raise
        self.commits += 1
        return results

    async def _slice(self, job: ChoreJob) -> None:
        try:
            more = await self._in_transaction(lambda connection: self._do(connection, job.chore))
        except Exception as error:
            job.chore.settled(durable=False)
            resolve([(job.settle, error)])
            return
        job.chore.settled(durable=True)
        if more:
            self._queue.append(job)
            self._asked.set()
        else:
            resolve([(job.settle, None)])

    def _do(self, connection: sa.Connection, chore: Chore) -> bool:
        more = chore.perform(self._begin(connection, postgres.UNSYNCED))
        connection.commit()
        self.commits += 1
        return more


def _version(connection: sa.Connection) -> int:
    version: int = connection.exec_driver_sql(postgres.VERSION).scalar_one()
    connection.rollback()
    return version
