"""Who has started a run: whom `not: run.starter` keeps from deciding about it. PURE.

It follows a run to all that it leads to, so that nobody can have others ask in their stead: to its child runs, to the
runs that its signals and its end start, and to its retries.
"""

from __future__ import annotations

from collections.abc import Iterable

from fleetprompt.engine.core.facts import RunCreated
from fleetprompt.engine.core.signal import Signal


def of_run(created: RunCreated) -> tuple[str, ...]:
    """Everybody who has had a part in starting a run. Runs that were started before that was recorded tell their owner,
    who is the same for all but retries."""
    return created.starters or united((created.owner,))


def of_signal(signal: Signal) -> tuple[str, ...]:
    """Everybody who has had a part in a signal: who sent it, and who started the run that did."""
    return united((signal.by,), signal.starters)


def united(*several: Iterable[str]) -> tuple[str, ...]:
    """All of these, each once, in order."""
    return tuple(dict.fromkeys(person for people in several for person in people if person))
