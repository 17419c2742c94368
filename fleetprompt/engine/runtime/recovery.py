"""Runs that nobody drives: those that another engine left, and those that sleep until their time or a signal comes."""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.evolve_work import PROCESS
from fleetprompt.engine.core.facts import AnyFact, StepInDoubt
from fleetprompt.engine.core.outcome import recovered
from fleetprompt.engine.core.run import fold
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import Corrupt
from fleetprompt.engine.runtime.driver import Driver

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

log = logging.getLogger("fleetprompt")

KEPT_PARKED = 512
"""Parked runs that are kept folded, so that a signal finds them at once."""
RECOVERY_BATCH = 500
DUE_BATCH = 1000
MOST_INTERRUPTED = 1_000_000


class Recovered(Struct, frozen=True):
    """What an engine took up when it opened."""

    runs: tuple[str, ...] = ()
    in_doubt: int = 0
    signals: tuple[str, ...] = ()
    """Ids of signals that were routed, oldest first."""
    corrupt: tuple[Corrupt, ...] = ()
    others: int = 0
    """Interrupted runs that were left alone."""


class Recovery:
    """Gives runs a driver."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._parked: dict[str, Run] = {}
        self._due: list[str] = []
        """Runs whose time has come, and which may not have heard yet what was recorded before."""
        self._ringing = True
        """Somebody sees to those that are due; at first whoever opens the engine."""

    async def take_up(self) -> Recovered:
        """Fold every interrupted run and go on with it. One that cannot be read is held; the others go on."""
        engine = self._engine
        now = engine.now()
        heads = await engine.store.runs.unfinished(now=now, limit=MOST_INTERRUPTED)
        corrupt: list[Corrupt] = []
        taken: list[str] = []
        doubtful = 0
        for start in range(0, len(heads), RECOVERY_BATCH):
            chosen = [head for head in heads[start : start + RECOVERY_BATCH] if head.id not in engine.live]
            histories = await engine.store.journal.histories([head.id for head in chosen])
            for head in chosen:
                found = histories[head.id]
                try:
                    run = fold(await engine.workflows.program(head.plan), readable(found))
                except Exception as error:
                    corrupt.append(found if isinstance(found, Corrupt) else Corrupt(0, head.id, 0, str(error)))
                    engine.hold(head.id, error, head.tenant)
                    continue
                doubtful += self._go_on(run)
                taken.append(head.id)
        _, wake = await engine.store.runs.due(now)
        if wake is not None:
            engine.timers.set("", wake)
        return Recovered(runs=tuple(taken), in_doubt=doubtful, corrupt=tuple(corrupt))

    def _go_on(self, run: Run) -> int:
        """Drive a run that another engine left; returns how many of its effects are in doubt now."""
        engine = self._engine
        killed = [
            (step.path, key, value)
            for step in run.pending.values()
            for kind, key, value, _ in step.notes or ()
            if kind == PROCESS and self._kill_orphan(run, step.path, value)
        ]
        doubtful = sum(isinstance(fact, StepInDoubt) for fact in recovered(run, engine.now(), ""))
        driver = engine.live[run.id] = Driver(engine, run)
        driver.tell(lambda run, now: recovered(run, now, "the engine stopped between intent and outcome", killed))
        return doubtful

    def _kill_orphan(self, run: Run, path: str, value: Any) -> bool:
        """Whether a program that was noted still ran, and was killed."""
        from fleetprompt.engine.outside.process import kill_orphan

        try:
            engine = int(value.get("engine", 0))
            if value.get("shared") and engine == os.getpid():
                # Others that we perform use it as well.
                return False
            killed = kill_orphan(int(value["pid"]), str(value["start_time"]), str(value["boot_id"]), engine)
        except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
            self._engine.trouble(f"orphan of {path} in run {run.id}", error)
            return False
        if killed:
            log.warning("killed the orphan process of %s in run %s", path, run.id)
        return killed

    # ------------------------------------------------------------ sleep

    def keep(self, run: Run) -> None:
        """The run is a row now; keep it folded for a while."""
        self._parked[run.id] = run
        if len(self._parked) > KEPT_PARKED:
            del self._parked[next(iter(self._parked))]

    async def revive(self, run_id: str) -> Driver | None:
        """Make a run live that is not; None when there is none. Raises `FleetError` when it cannot be read."""
        engine = self._engine
        run = self._parked.pop(run_id, None) or await engine.load(run_id)
        if run is None:
            return None
        engine.release(run_id)
        if run_id not in engine.live:
            if run.pending:
                self._go_on(run)
            else:
                engine.live[run_id] = Driver(engine, run)
        return engine.live.get(run_id)

    def wake(self, run_id: str) -> None:
        """The time of a run has come; empty: that of some which other engines have parked."""
        self._due.append(run_id)
        if not self._ringing:
            self.ring()

    def ring(self) -> None:
        """Wake those whose time has come, after all that was recorded before then has been routed."""
        self._ringing = True
        self._engine.spawn(self._ring())

    async def _ring(self) -> None:
        engine = self._engine
        try:
            while self._due:
                due, self._due = self._due, []
                await engine.bus.catch_up(engine.now())
                for run_id in due:
                    self._wake(run_id)
        finally:
            self._ringing = False

    def _wake(self, run_id: str) -> None:
        if not run_id:
            self._engine.spawn(self._wake_due())
            return
        driver = self._engine.live.get(run_id)
        if driver is not None:
            driver.timer = None
            driver.wake()
        else:
            self._engine.spawn(self._wake_parked(run_id))

    async def _wake_due(self) -> None:
        """Parked runs whose time has come, as the store knows them."""
        engine = self._engine
        now = engine.now()
        seen: set[str] = set()
        while True:
            most = len(seen) + DUE_BATCH
            due, wake = await engine.patient("timers", partial(engine.store.runs.due, now, most))
            fresh = [run_id for run_id in due if run_id not in seen]
            if not fresh:
                break
            # Until its append is durable a run that was woken is still among those that are due.
            seen.update(fresh)
            for run_id in fresh:
                if run_id not in engine.live:
                    await self._wake_parked(run_id)
        if wake is not None:
            engine.timers.set("", wake)

    async def _wake_parked(self, run_id: str) -> None:
        engine = self._engine
        driver = await engine.patient(f"run {run_id}", lambda: engine.reach(run_id))
        if driver is not None:
            driver.wake()


def readable(history: list[AnyFact] | Corrupt) -> list[AnyFact]:
    """The facts. Raises `FleetError` for a damaged journal."""
    if isinstance(history, Corrupt):
        raise FleetError(f"the journal of run {history.run} is damaged at fact {history.n}: {history.reason}")
    return history
