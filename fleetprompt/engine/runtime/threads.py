"""Threads for functions that block.

Those of the standard library keep a process alive until the last function has returned, and nothing can stop one. These
do not: what outlasts the grace of a closing engine is left behind, as it is by a crash.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Job = tuple["Future[Any]", Callable[[], Any]]


class Threads(Executor):
    """At most so many threads, started as they are needed. To be used from one thread only."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._idle = Semaphore(0)
        self._started = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function in a thread."""
        future: Future[T] = Future()
        self._jobs.put((future, partial(fn, *args, **kwargs)))
        if self._started < self._most and not self._idle.acquire(blocking=False):
            self._started += 1
            Thread(target=self._work, name=f"fleet-step-{self._started}", daemon=True).start()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:
        """Begin nothing any more. What has begun is not waited for, whatever is asked."""
        try:
            while job := self._jobs.get_nowait():
                job[0].cancel()
        except Empty:
            pass
        for _ in range(self._started):
            self._jobs.put(None)

    def _work(self) -> None:
        while job := self._jobs.get():
            future, call = job
            if future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            # Nobody's arguments and results are kept while this thread waits for the next function.
            del job, future, call
            self._idle.release()
