"""What a driver is told: something that happened, who waits for what comes of it, and the signal it came with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from fleetprompt.engine.core.command import Refusal
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.facts import AnyFact
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.core.state import Run

Ask = Callable[[Run, float], "list[AnyFact] | Refusal"]
"""Something that happened: given the run and the time, the facts it makes."""


class Message:
    """An entry of the inbox."""

    __slots__ = ("after", "answer", "ask", "offer", "overheard", "received", "reserves", "result", "signal")

    def __init__(
        self,
        ask: Ask,
        *,
        signal: Signal | None = None,
        received: bool = False,
        overheard: bool = False,
        offer: bool = False,
        after: float | None = None,
        answer: asyncio.Future[Any] | None = None,
        reserves: Collection[str] = (),
    ) -> None:
        self.ask = ask
        self.reserves = reserves
        """Ids of the reservations that its facts make: where one does not fit, it is not asked again."""
        self.signal = signal
        self.received = received
        """The signal is not in the store yet: it goes in with the facts."""
        self.overheard = overheard
        """The signal is not for this run alone: it gets a result where it led to facts, and is not done with."""
        self.offer = offer
        """It holds for the moment only: not asked again when the store refuses what came of it."""
        self.after = after
        """It happened then, when an engine may have been away: timers that were due by then come first."""
        self.answer = answer
        """Resolved with the signal's result (None without a signal) once it is durable."""
        self.result: Result | None = None

    def settle(self) -> None:
        """Tell whoever waits that it is durable."""
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(self.result)

    def fail(self, error: FleetError) -> None:
        """Tell whoever waits that nothing came of it."""
        if self.answer is None or self.answer.done():
            return
        if self.signal is not None and not self.overheard:
            run = self.result.run if self.result is not None else self.signal.subject
            self.answer.set_result(Result(signal=self.signal.id, status="refused", run=run, reason=error.message))
        else:
            self.answer.set_exception(error)
