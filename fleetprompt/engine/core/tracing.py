"""Where a run is in a trace (W3C Trace Context). Ids are derived and never drawn: whoever tells of a step, before or
after a crash, calls it by the same name.

A run is one trace: that of the caller who started it with a `traceparent`, or one of its own. Runs that started it
otherwise, as parent or by a signal, are linked.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final, NamedTuple

from fleetprompt.engine.core.facts import RunCreated
from fleetprompt.engine.core.state import Step

HEADER: Final = "traceparent"
_FORM: Final = re.compile(r"^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$")
SAMPLED: Final = 1


class Spot(NamedTuple):
    """A span, as others refer to it."""

    trace: str
    """32 hexadecimal digits."""
    span: str
    """16 hexadecimal digits."""
    sampled: bool = True

    @property
    def traceparent(self) -> str:
        """As the header says it."""
        return f"00-{self.trace}-{self.span}-{'01' if self.sampled else '00'}"


def parse(text: str) -> Spot | None:
    """What a `traceparent` says; None for one that is malformed, which is to be ignored (W3C Trace Context, 3.2.2)."""
    found = _FORM.match(text.strip())
    return Spot(found[1], found[2], bool(int(found[3], 16) & SAMPLED)) if found else None


def inside(spot: Spot, *parts: str | int) -> Spot:
    """A span in the same trace, named by where it belongs and by what it is."""
    named = "\n".join((spot.trace, spot.span, *map(str, parts)))
    return spot._replace(span=sha256(named.encode()).hexdigest()[:16])


def of_run(created: RunCreated) -> Spot:
    """The span of a whole run."""
    caller = parse(created.traceparent)
    trace = caller.trace if caller is not None else sha256(f"fleetprompt/{created.run}".encode()).hexdigest()[:32]
    return inside(Spot(trace, "0" * 16, caller is None or caller.sampled), created.run)


def of_step(created: RunCreated, step: Step, attempt: int | None = None) -> Spot:
    """The span of an attempt at a step, by default the present one."""
    return inside(of_run(created), step.path, step.generation, step.attempt if attempt is None else attempt)
