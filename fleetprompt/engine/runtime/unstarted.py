"""Why triggers that hear a signal start nothing, on the record.

Signals come by thousands a second. What came of each is told with the signal; of a trigger whose `if` does not hold a
firing is recorded once in a while, which is enough to see what it makes of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from fleetprompt.engine.core.firing import Firing, Outcome
from fleetprompt.engine.core.routing import Missed, Passed, Routes, Start
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import Unheard

APART_SECONDS = 10.0
"""How long after a firing of a trigger that was skipped the next one is recorded."""
NAMED = 3
"""Triggers that are named; the others are counted."""
NOBODY = Unheard()


class Unstarted:
    """What was recorded last of triggers that signals have passed."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str, str], tuple[float, int]] = {}
        """By tenant, workflow and trigger: when that was, and how many it has skipped since."""

    def look(self, routes: Routes, signal: Signal, now: float) -> Unheard | None:
        """What is stored with a signal of which nothing comes; None where something does."""
        found = [] if signal.only else routes.route(signal)
        passed = [each for each in found if isinstance(each, Passed) and each.kind == "signal"]
        if signal.only or len(passed) < len(found):
            return None
        if not passed:
            return NOBODY
        firings = [self.firing(signal, each, now) for each in passed]
        return Unheard(why_of(passed), tuple(firing for firing in firings if firing is not None))

    def firing(self, signal: Signal, passed: Passed, now: float) -> Firing | None:
        """The firing of a trigger that starts nothing; None where one was recorded just now."""
        key = (signal.tenant, passed.workflow, passed.trigger)
        at, left = self._last.get(key, (-inf, 0))
        if 0 <= now - at < APART_SECONDS:
            self._last[key] = (at, left + 1)
            return None
        self._last[key] = (now, 0)
        more = f", as for {left} more since the last one that was recorded" if left else ""
        return firing_of(signal, passed, "skipped", passed.reason + more, now)

    def forget(self, firings: Sequence[Firing]) -> None:
        """Record the next of these triggers in any case: they were not stored."""
        for firing in firings:
            self._last.pop((firing.tenant, firing.workflow, firing.trigger), None)


def why_of(passed: Sequence[Passed]) -> str:
    """Why nothing comes of a signal, in one line."""
    named = [f"trigger {each.trigger} of {each.workflow}: {each.reason}" for each in passed[:NAMED]]
    return "; ".join([*named, *([f"{len(passed) - NAMED} more"] if len(passed) > NAMED else [])])


def firing_of(
    signal: Signal, trigger: Start | Missed | Passed, outcome: Outcome, reason: str, now: float, run: str = ""
) -> Firing:
    """The record of a trigger that has started no run on a signal."""
    return Firing(
        workflow=trigger.workflow,
        trigger=trigger.trigger,
        tenant=signal.tenant,
        kind=trigger.kind,
        scheduled=signal.id,
        due=signal.at,
        at=now,
        outcome=outcome,
        reason=reason,
        signal=signal.id,
        run=run,
    )
