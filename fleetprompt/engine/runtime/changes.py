"""What has changed, gathered for those who only need to know where to look again.

The engine notes in passing, whoever listens takes it in its own time: slow listeners get fewer and larger changes.
"""

from __future__ import annotations

import asyncio

from fleetprompt.engine.core.facts import AnyFact
from fleetprompt.engine.ports import Change

MOST_RUNS = 2_000
"""Runs that a change lists. A list is read again at once from there on."""


class Listener:
    """What has changed since it was taken last."""

    __slots__ = ("_event", "_kinds", "_lost", "_runs", "_seq", "_signals", "_troubles", "_workflows", "tenant")

    def __init__(self, tenant: str | None = None) -> None:
        self.tenant = tenant
        """Whose changes it gathers; None: everybody's."""
        self._runs: set[str] = set()
        self._kinds: set[type[AnyFact]] = set()
        self._signals = self._workflows = self._troubles = self._lost = False
        self._seq = 0
        self._event = asyncio.Event()

    def note(self, run: str, seq: int, facts: tuple[AnyFact, ...]) -> None:
        """A run has new facts, the last of them at that position. Called for every append: it must cost nothing."""
        self._seq = seq
        self._kinds.update(map(type, facts))
        self._add(run)

    def mark(
        self,
        *,
        run: str = "",
        signals: bool = False,
        workflows: bool = False,
        troubles: bool = False,
        lost: bool = False,
    ) -> None:
        """Something has changed that no fact tells."""
        self._signals |= signals
        self._workflows |= workflows
        self._troubles |= troubles
        if lost:
            self._lost = True
            self._runs.clear()
        if run:
            self._add(run)
        self._event.set()

    def _add(self, run: str) -> None:
        if not self._lost:
            self._runs.add(run)
            if len(self._runs) > MOST_RUNS:
                self._lost = True
                self._runs.clear()
        self._event.set()

    def reached(self, seq: int) -> None:
        """Nothing before that position is to be told."""
        self._seq = max(self._seq, seq)

    async def wait(self) -> None:
        """Until something has changed."""
        await self._event.wait()

    def take(self, *, engine: bool = True, silent: bool = False) -> Change:
        """What has changed; from here on it gathers anew."""
        change = Change(
            runs=frozenset(self._runs),
            kinds=frozenset(str(kind.__struct_config__.tag) for kind in self._kinds),
            signals=self._signals or self._lost,
            workflows=self._workflows or self._lost,
            troubles=self._troubles or self._lost,
            seq=self._seq,
            lost=self._lost,
            engine=engine,
            silent=silent,
        )
        self._runs.clear()
        self._kinds.clear()
        self._signals = self._workflows = self._troubles = self._lost = False
        self._event.clear()
        return change
