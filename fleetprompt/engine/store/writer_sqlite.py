"""Group commit: one thread makes durable whatever was asked for while it made the last lot durable.

What is asked for in one turn of the event loop is handed over in lots, the first at once if the thread is idle. The
thread takes all there is, writes it in one transaction and tells everybody with one call into the loop.

A thread that writes competes with the loop for the interpreter and loses: of many effects that finish together, most
would wait for their commit, and be done again after a crash. So the loop stands back while much work is at stake.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from fleetprompt.engine.core.errors import InvalidInput, StoreUnavailable
from fleetprompt.engine.ports import Append
from fleetprompt.engine.store import dialect as sqlite
from fleetprompt.engine.store.batch import Applier, Pending
from fleetprompt.engine.store.dialect import SqliteDialect
from fleetprompt.engine.store.remains import OpenFiles
from fleetprompt.engine.store.session_sqlite import SqliteSession
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

LOT = 64
"""Jobs of one turn of the loop that are handed over before it ends: the thread writes while the loop goes on."""
MOST = 2_000
"""Jobs per transaction: a bound for how long the first of them waits for the last."""
STAKE = 0.25
"""Seconds of finished work that may be on their way to the disk before the loop stands back for the thread."""
STAND_BACK = 0.005
"""Seconds for which it does so at most: longer than a commit takes, and too short for an operator to notice."""
IDLE = 0.2
"""Seconds of silence after which the write-ahead log is emptied; under load SQLite does it in some commit."""
FEW = 32
"""Commits of a process that is not worth making room in the log for."""
WORTHWHILE = 100
"""Commits in the log that make this worthwhile."""


class SqliteWriter:
    """The writer thread of a SQLite store and the way to it.

    `patience`: seconds that a batch waits for another process to let go of the file. A commit that fails may still be
    found durable after a power failure, as the disk had it and could not say so: whoever goes on reads first.
    """

    def __init__(self, path: str, patience: float) -> None:
        self.path = path
        self.patience = patience
        self.commits = 0
        self._in_log = 0
        self._idle = False
        """The thread has nothing to do: the next job need not wait for the end of its turn."""
        self._dialect = SqliteDialect()
        self._transaction = Transaction(self._dialect, Applier(Statements(self._dialect)))
        self._queue: SimpleQueue[list[Due] | None] = SimpleQueue()
        self._turn: list[Due] = []
        self._asked = 0.0
        """Seconds of work whose outcomes were handed in, ever; written by the loop."""
        self._answered = 0.0
        """How many of them are answered for; written by the thread."""
        self._moved = threading.Event()
        self._slow = False
        """It was no use to stand back: nothing has become durable since."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._home: asyncio.AbstractEventLoop | None = None
        """The loop that is told what became of a job, also while the writer closes."""
        self._thread: threading.Thread | None = None
        self._session: SqliteSession | None = None
        self._files = OpenFiles(Path(path))
        """The file, as it was when it was opened by whoever reads it: the first job may come much later."""

    # ------------------------------------------------ in the loop

    def open(self) -> None:
        """Start the thread; the running loop is told what becomes of each job. Raises `StoreLost`, `StoreUnavailable`
        where there is no file by now."""
        self._files.require_file()
        self._loop = self._home = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="fleet-writer", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Write what was asked for, then stop."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = self._thread = None
        self._hand_over()
        self._queue.put(None)
        await loop.run_in_executor(None, thread.join)

    def post(self, entry: Append, then: Settle) -> None:
        """See `ports.Journal.post`."""
        try:
            job = AppendJob(Pending(entry), then)
        except InvalidInput as error:
            asyncio.get_running_loop().call_soon(then, error)
            return
        self._enqueue(job)
        if entry.work and self._loop is not None:
            self._asked += entry.work
            if self._asked - self._answered > STAKE and not self._slow:
                self._stand_back()

    def work(self, function: Callable[[Session], T]) -> asyncio.Future[T]:
        """Run a function in a transaction, with whatever else is due. It may run twice, the first time in vain."""
        future: asyncio.Future[T] = self._future()
        self._enqueue(WorkJob(function, into(future)))
        return future

    def between(self, chore: Chore) -> asyncio.Future[None]:
        """Do a chore in transactions of its own, which others may overtake and which are not synced."""
        future: asyncio.Future[None] = self._future()
        self._enqueue(ChoreJob(chore, into(future)))
        return future

    def version(self) -> asyncio.Future[int]:
        """A number that changes when another process commits."""
        future: asyncio.Future[int] = self._future()
        self._enqueue(LookJob(into(future)))
        return future

    def _future(self) -> asyncio.Future[Any]:
        return (self._loop or asyncio.get_running_loop()).create_future()

    def _stand_back(self) -> None:
        """Let the thread have the interpreter until less is at stake, or until it turns out that the disk is slow."""
        self._hand_over()
        until = time.monotonic() + STAND_BACK
        while True:
            self._moved.clear()
            if self._asked - self._answered <= STAKE:
                return
            if not self._moved.wait(max(until - time.monotonic(), 0.0)):
                self._slow = True
                return

    def _enqueue(self, job: Due) -> None:
        if self._loop is None:
            asyncio.get_running_loop().call_soon(job.settle, self._closed())
            return
        if not self._turn and not self._idle:
            self._loop.call_soon(self._hand_over)
        self._turn.append(job)
        if self._idle or len(self._turn) >= LOT:
            self._idle = False
            self._hand_over()

    def _closed(self) -> StoreUnavailable:
        return StoreUnavailable("the store is closed", where=self.path, hint="open it first")

    def _hand_over(self) -> None:
        if self._turn:
            self._queue.put(self._turn)
            self._turn = []

    # ------------------------------------------------ in the thread

    def _run(self) -> None:
        going = True
        while going:
            lots = [self._wait()]
            lots += [self._queue.get() for _ in range(self._queue.qsize())]
            going = None not in lots
            due = [job for lot in lots if lot is not None for job in lot]
            try:
                self._perform(due)
            except Exception as error:
                # A mistake of ours must not leave anybody waiting for ever.
                self._resolve([(job.settle, error) for job in due])
        if self._session is not None:
            self._session.close()
            self._session = None
        while self._queue.qsize():
            for job in self._queue.get() or ():
                self._resolve([(job.settle, self._closed())])

    def _wait(self) -> list[Due] | None:
        """The next lot; meanwhile, when nobody asks for anything, what was written moves from the log to the file."""
        if not self._queue.qsize():
            self._idle = True
        if self._in_log >= WORTHWHILE:
            try:
                return self._queue.get(timeout=IDLE)
            except Empty:
                self._in_log = 0
                if self._session is not None:
                    self._session.checkpoint()
        return self._queue.get()

    def _perform(self, due: Sequence[Due]) -> None:
        jobs = [job for job in due if isinstance(job, (AppendJob, WorkJob))]
        for at in range(0, len(jobs), MOST):
            some = jobs[at : at + MOST]
            results = self._write(some)
            self._answered += sum(job.pending.entry.work for job in some if isinstance(job, AppendJob))
            self._slow = False
            self._moved.set()
            self._resolve(results)
        for job in due:
            if isinstance(job, LookJob):
                self._resolve([(job.settle, self._look())])
            elif isinstance(job, ChoreJob):
                self._slice(job)

    def _resolve(self, results: Sequence[Result]) -> None:
        assert self._home is not None
        try:
            self._home.call_soon_threadsafe(resolve, results)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    def _write(self, jobs: Sequence[Job]) -> list[Result]:
        began = time.monotonic()
        while True:
            try:
                return self._commit(jobs)
            except Exception as error:
                self._take_back()
                self._transaction.taken_back()
                failure = self._failure(error)
                if not sqlite.is_busy(error) or time.monotonic() - began > self.patience:
                    return [(job.settle, failure) for job in jobs]
                time.sleep(0.05)

    def _commit(self, jobs: Sequence[Job]) -> list[Result]:
        session = self._begin()
        if self.commits >= FEW:
            session.make_room()
        try:
            results = self._transaction.together(session, jobs, session.position())
        except Exception as error:
            if self._transaction.is_fault(error):
                raise
            session.raw.execute("ROLLBACK")
            self._begin()
            results = self._transaction.apart(session, jobs, session.position())
        session.raw.execute("COMMIT")
        self.commits += 1
        self._in_log += 1
        return results

    def _begin(self, *, sync: bool = True) -> SqliteSession:
        session = self._opened()
        session.set_sync(sync)
        session.raw.execute(sqlite.BEGIN)
        # What is committed to a file that nobody finds any more would be told to be durable.
        session.files.require_there()
        return session

    def _opened(self) -> SqliteSession:
        if self._session is None:
            self._session = SqliteSession(self.path, self.patience, self._files)
        return self._session

    def _slice(self, job: ChoreJob) -> None:
        try:
            session = self._begin(sync=False)
            more = job.chore.perform(session)
            session.raw.execute("COMMIT")
            self.commits += 1
            self._in_log += 1
        except Exception as error:
            self._take_back()
            job.chore.settled(durable=False)
            self._resolve([(job.settle, self._failure(error))])
            return
        job.chore.settled(durable=True)
        if more:
            self._queue.put([job])
        else:
            self._resolve([(job.settle, None)])

    def _look(self) -> Any:
        try:
            session = self._opened()
            version = session.version()
            session.files.require()
            return version
        except Exception as error:
            return self._failure(error)

    def _take_back(self) -> None:
        """Leave the transaction; a connection that cannot even do that is replaced."""
        session = self._session
        if session is None:
            return
        try:
            if session.raw.in_transaction:
                session.raw.execute("ROLLBACK")
        except sqlite3.Error:
            self._session = None
            session.close()

    def _failure(self, error: Exception) -> Exception:
        explained = self._dialect.explain(error, self.path)
        if explained is None:
            return error
        explained.__cause__ = error
        return explained
