"""Threads for functions that block: as many as allowed, and none that a process has to wait for."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest

from fleetprompt.engine.runtime.threads import Threads


def test_threads_are_few_and_keep_no_process_alive() -> None:
    threads = Threads(2)
    begun, gate = threading.Barrier(3), threading.Event()

    def block() -> bool:
        begun.wait(10)
        return gate.wait(10)

    assert len({threads.submit(threading.get_ident).result() for _ in range(20)}) <= 2
    with pytest.raises(ValueError, match="invalid literal"):
        threads.submit(int, "x").result()
    blocked = [threads.submit(block) for _ in range(2)]
    begun.wait(10)
    queued = threads.submit(threading.get_ident)
    threads.shutdown()
    with pytest.raises(CancelledError):
        queued.result()
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("fleet-step")]
    assert all(thread.daemon for thread in ours)
    gate.set()
    assert [future.result() for future in blocked] == [True, True]
