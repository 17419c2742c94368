"""Whether an agent goes in circles. Pure: from its calls and what came of them.

Calls that wait for others (a person, another run) are left out: to ask the same again after a while is no circle.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fleetprompt.engine.agents.toolbox import VARS_SET
from fleetprompt.engine.agents.transcript import Call
from fleetprompt.engine.core.agent import Stuck
from fleetprompt.engine.core.codec import digest

SHORTEST_CYCLE, LONGEST_CYCLE = 2, 4


def stuck(calls: Sequence[Call], settings: Stuck, waiting: Collection[str] = ()) -> str:
    """Why an agent with these calls counts as stuck; empty where it does not. `waiting`: tools that wait for others."""
    done = [call for call in calls if call.settled and call.tool not in waiting]
    acts = [digest([call.tool, call.arguments]) for call in done]
    return (
        _repeated(done, acts, settings.repeats)
        or _failing(done, settings.repeats)
        or _cycle(done, acts, settings.cycles)
        or _stale(done, settings.stale)
    )


def _repeated(calls: Sequence[Call], acts: Sequence[str], most: int) -> str:
    if len(acts) < most or len({*acts[-most:]}) > 1:
        return ""
    return f"`{calls[-1].tool}` was called {most} times in a row with the same arguments"


def _failing(calls: Sequence[Call], most: int) -> str:
    last = calls[-most:]
    errors = {(call.tool, str((call.error or {}).get("code", "")), call.status) for call in last}
    if len(last) < most or len(errors) > 1 or last[-1].status != "failed":
        return ""
    return f"`{last[-1].tool}` failed {most} times in a row in the same way"


def _cycle(calls: Sequence[Call], acts: Sequence[str], times: int) -> str:
    for period in range(SHORTEST_CYCLE, LONGEST_CYCLE + 1):
        tail = acts[-period * times :]
        if len(tail) < period * times or len({*tail[:period]}) < 2:
            continue
        if all(tail[i] == tail[i % period] for i in range(len(tail))):
            names = ", ".join(f"`{call.tool}`" for call in calls[-period:])
            return f"the same {period} calls ({names}) were made {times} times over"
    return ""


def _stale(calls: Sequence[Call], most: int) -> str:
    if any(call.proposal.get("reach") != "read" or call.tool == VARS_SET for call in calls[-most:]):
        # What changes something says little more than that it did.
        return ""
    last = [digest(call.output) for call in calls[-most:] if call.status == "done"]
    if len(last) < most or len({*last}) > 1:
        return ""
    return f"the last {most} results were all the same"
