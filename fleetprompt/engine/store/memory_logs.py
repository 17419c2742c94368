"""Step logs of the memory store."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from fleetprompt.engine.ports import LEVELS, LogChunk, LogLine, LogMatches
from fleetprompt.engine.store.lines import INSIDE, Tally, dropped, fit, size
from fleetprompt.engine.store.log_chunks import encode
from fleetprompt.engine.store.log_search import Search, finder
from fleetprompt.engine.store.memory_state import State


class MemoryLogs:
    """Lines in the order they were written; the cursor is the position within the run."""

    def __init__(self, state: State, cap: int) -> None:
        self._state = state
        self._cap = cap

    def write(self, run: str, lines: Sequence[LogLine], tenant: str = "default") -> None:
        self._state.log_tenants[run] = tenant
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
        self,
        run: str,
        *,
        path: str | None = None,
        after: int = 0,
        limit: int = 1000,
        tail: bool = False,
        tenant: str | None = None,
    ) -> tuple[list[LogLine], int]:
        found = [(at, line) for at, line in self._of(run, tenant, path, within=False) if at > after]
        found = found[-limit:] if tail else found[:limit]
        return [line for _, line in found], found[-1][0] if found else after

    async def chunks(
        self,
        run: str,
        *,
        path: str | None = None,
        within: bool = False,
        after: int = 0,
        limit: int = 5000,
        tenant: str | None = None,
    ) -> list[LogChunk]:
        """Every line is a chunk of its own, whose id is its position."""
        kept = [(at, line) for at, line in self._of(run, tenant, path, within=within) if at > after]
        return [
            LogChunk(at, line.path, line.attempt, line.line, line.line, at, line.at, self._dropped(run, line))
            for at, line in kept[:limit]
        ]

    def _dropped(self, run: str, line: LogLine) -> int:
        """How many lines a line stands for."""
        tally = self._state.log_tallies[_step(run, line)]
        return tally.dropped if line.line > tally.lines else 0

    async def lines(self, run: str, ids: Sequence[int], tenant: str | None = None) -> list[list[LogLine]]:
        kept = dict(self._kept(run, tenant))
        return [[kept[id_]] if id_ in kept else [] for id_ in ids]

    async def levels(self, run: str, ids: Sequence[int], tenant: str | None = None) -> list[bytes]:
        return [bytes(LEVELS.index(line.level) for line in lines) for lines in await self.lines(run, ids, tenant)]

    async def find(
        self,
        run: str,
        needle: str,
        *,
        path: str | None = None,
        within: bool = False,
        regex: bool = False,
        after: int | None = None,
        before: int | None = None,
        limit: int = 1000,
        tenant: str | None = None,
    ) -> LogMatches:
        search = Search(finder(needle, regex=regex), after=after, before=before, limit=limit)
        kept = self._of(run, tenant, path, within=within)
        full = not all(
            search.take(at, 0, encode([line]))
            for at, line in (reversed(kept) if search.backwards else kept)
            if (at < search.reached if search.backwards else at > search.reached)
        )
        return search.matches(more=full)

    def _of(self, run: str, tenant: str | None, path: str | None, *, within: bool) -> list[tuple[int, LogLine]]:
        inside = tuple(f"{path}{sign}" for sign in INSIDE) if within else ()
        return [
            (at, line)
            for at, line in self._kept(run, tenant)
            if path is None or line.path == path or line.path.startswith(inside)
        ]

    def _kept(self, run: str, tenant: str | None) -> Sequence[tuple[int, LogLine]]:
        return self._state.logs.get(run, []) if tenant in (None, self._state.log_tenants.get(run)) else []


def _step(run: str, line: LogLine) -> tuple[str, str, int]:
    return run, line.path, line.attempt
