"""When a console in Textual's test driver has done what it was asked to, on a machine of any speed.

After every key the driver waits until the process has used little time for a moment. On a slow machine that is soon the
case: it was not given any. Then a test looks before the key was dealt with. What is waited for here is that nothing is
left to do: no callback in the loop, and no other thread that has run for a moment, or would if it could. Timers are not
waited for, nor other processes.

It also waits for every widget to have looked at its messages; where the console is left meanwhile, they never do.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import textual.app
import textual.pilot
from textual.pilot import Pilot

MOMENT = 0.02
"""Seconds in which nothing may happen: more than Textual takes between two updates of a screen."""
MOMENTS = 50
"""How many of these are waited for at most, and how many..."""
TURNS = 1_000
"""...turns of the loop within each: some threads and tasks never rest."""
PATIENCE = 120.0
"""Seconds that a widget may take for its messages."""
THREADS = Path("/proc/self/task")


async def idle(min_sleep: float = MOMENT, max_sleep: float = 1) -> None:
    """What is done in place of Textual's `wait_for_idle`."""
    for _ in range(MOMENTS):
        await _quiet()
        before = _resting()
        await asyncio.sleep(MOMENT)
        await _quiet()
        if before is not None and _resting() == before:
            return


async def _quiet() -> None:
    loop: Any = asyncio.get_running_loop()
    for _ in range(TURNS):
        await asyncio.sleep(0)
        if not loop._ready:
            return


def _resting() -> dict[str, str] | None:
    """How long each other thread has run so far; None if one of them would run."""
    found: dict[str, str] = {}
    own = str(threading.get_native_id())
    for thread in THREADS.iterdir():
        if thread.name == own:
            continue
        try:
            state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
            ran = (thread / "schedstat").read_text().split()[0]
        except OSError:
            # It has ended meanwhile.
            continue
        if state in "RD":
            return None
        found[thread.name] = ran
    return found


_for_messages = Pilot._wait_for_screen


async def _or_the_end(pilot: Pilot[Any], timeout: float = PATIENCE) -> bool:
    looked = asyncio.ensure_future(_for_messages(pilot, PATIENCE))
    try:
        await asyncio.wait({looked}, timeout=MOMENT)
        while not looked.done() and not pilot.app._exit:
            await asyncio.wait({looked}, timeout=MOMENT)
        return looked.done() and looked.result()
    finally:
        looked.cancel()


def wait_until_all_is_done() -> None:
    """Have the driver do so, where the system tells what threads do."""
    Pilot._wait_for_screen = _or_the_end
    if (THREADS / str(threading.get_native_id()) / "schedstat").exists():
        textual.app.wait_for_idle = textual.pilot.wait_for_idle = idle  # type: ignore[attr-defined]
