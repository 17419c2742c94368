"""Step logs of the memory store."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from fleetprompt.engine.ports import LogLine
from fleetprompt.engine.store.lines import Tally, dropped, fit, size
from fleetprompt.engine.store.memory_state import State


class MemoryLogs:
    """Lines in the order they were written; the cursor is the position within the run."""

    def __init__(self, state: State, cap: int) -> None:
        self._state = state
        self._cap = cap

    def write(self, run: str, lines: Sequence[LogLine], tenant: str = "default") -> None:
        del tenant
        for line in lines:
            self._add(run, fit(line))

    def _add(self, run: str, line: LogLine) -> None:
        state, step = self._state, (run, line.path, line.attempt)
        kept = state.logs.setdefault(run, [])
        tally = state.log_tallies.get(step, Tally())
        if tally.dropped:
            at = next(i for i in range(len(kept) - 1, -1, -1) if _step(run, kept[i][1]) == step)
            kept[at] = (kept[at][0], dropped(tally.dropped + 1, line, tally.lines + 1))
            tally = tally.drop()
        else:
            ordinal = kept[-1][0] + 1 if kept else 1
            tally = tally.add(size(line), self._cap)
            stored = dropped(1, line, tally.lines + 1) if tally.dropped else replace(line, line=tally.lines)
            kept.append((ordinal, stored))
        state.log_tallies[step] = tally

    async def flush(self) -> None:
        """Nothing is ever queued here."""

    async def read(
        self, run: str, *, path: str | None = None, after: int = 0, limit: int = 1000, tail: bool = False
    ) -> tuple[list[LogLine], int]:
        kept = self._state.logs.get(run, [])
        found = [(at, line) for at, line in kept if at > after and (path is None or line.path == path)]
        found = found[-limit:] if tail else found[:limit]
        return [line for _, line in found], found[-1][0] if found else after


def _step(run: str, line: LogLine) -> tuple[str, str, int]:
    return run, line.path, line.attempt
